"""Faults planted in `quantized_drawings.residual`, each with the rule and the node that lint has to name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from tests.calibration.graphs.quantized_drawings import SCALE, Array, Model, between, find, read, requantize, store


def scale_from_images(model: Model) -> None:
    between(model, "images.q", helper.make_node("ReduceMax", ["images"], ["peak"], keepdims=0))
    read(model, "images.q", 0, "images")
    for name in ("images.q", "images.dq"):
        read(model, name, 1, "peak")


def no_zero_point(model: Model) -> None:
    for name in ("images.q", "images.dq"):
        find(model, name).input.pop()


def other_axis(model: Model) -> None:
    find(model, "stem.w.dq").attribute[0].i = 1
    store(model, stem__w__s=np.full(3, SCALE), stem__w__z=np.zeros(3, np.int8))


def quantized_bias(layer: str, position: int, values: Array) -> Callable[[Model], None]:
    def plant(model: Model) -> None:
        store(model, b__i=values, b__s=SCALE)
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b.i", "b.s"], ["b.dq"], "b.dq"))
        read(model, layer, position, "b.dq")

    return plant


def norm_behind_a_pair(model: Model) -> None:
    ends = {name: np.ones(16, np.float32) for name in ("gamma", "beta", "mean", "var")}
    store(model, **ends)
    requantize(model, "stem", "stem.relu")
    between(model, "stem.relu", helper.make_node("BatchNormalization", ["stem.dq", *ends], ["norm"], "norm"))


def bias_behind_a_pair(model: Model) -> None:
    store(model, b=np.ones((1, 16, 1, 1), np.float32))
    requantize(model, "stem", "stem.relu")
    between(model, "stem.relu", helper.make_node("Add", ["b", "stem.dq"], ["shifted"], "shifted"))


def pair_behind_bias(model: Model) -> None:
    store(model, b=np.ones((1, 16, 1, 1), np.float32))
    between(model, "stem.relu", helper.make_node("Add", ["b", "stem"], ["shifted"], "shifted"))
    requantize(model, "shifted", "stem.relu")


def zero_point_from_images(model: Model) -> None:
    cast = helper.make_node("Cast", ["peak"], ["zero"], to=TensorProto.INT8)
    between(model, "images.q", helper.make_node("ReduceMax", ["images"], ["peak"], keepdims=0), cast)
    read(model, "images.q", 0, "images")
    read(model, "images.q", 2, "zero")


def two_scales(model: Model) -> None:
    store(model, other=SCALE / 2)
    read(model, "images.dq", 1, "other")


def quantized_constant_of_an_add(model: Model) -> None:
    quantized_bias("add", 1, np.ones((1, 16, 1, 1), np.int8))(model)
    read(model, "add", 0, "body")


def float_weight(model: Model) -> None:
    store(model, w=np.ones((10, 16), np.float32))
    read(model, "head", 1, "w")


def all_float(model: Model) -> None:
    float_weight(model)
    read(model, "head", 0, "flat")


def plain_mean(model: Model) -> None:
    store(model, axes=np.array([-2, -1]))
    find(model, "pool").op_type = "ReduceMean"
    read(model, "pool", 0, "add.relu")
    read(model, "pool", 1, "axes")


def float_add(model: Model) -> None:
    read(model, "add", 0, "body")
    read(model, "add", 1, "stem.relu")


FAULTS: dict[str, tuple[str, str, Callable[[Model], None]]] = {
    "zero point": ("non-zero-zero-point", "images.q", lambda m: store(m, images__z=np.int8(3))),
    "zero point of a weight": (
        "non-zero-zero-point",
        "stem.w.dq",
        lambda m: store(m, stem__w__z=np.eye(16, dtype=np.int8)[2]),
    ),
    "zero point of the images": ("non-zero-zero-point", "images.q", zero_point_from_images),
    "uint8": ("uint8", "images.q", lambda m: store(m, images__z=np.uint8(0))),
    "uint8 by default": ("uint8", "images.q", no_zero_point),
    "uint8 weight": (
        "uint8",
        "stem.w.dq",
        lambda m: store(m, stem__w__i=np.ones((16, 3, 3, 3), np.uint8), stem__w__z=np.zeros(16, np.uint8)),
    ),
    "int32 weight": (
        "not-int8",
        "stem.w.dq",
        lambda m: store(m, stem__w__i=np.ones((16, 3, 3, 3), np.int32), stem__w__z=np.zeros(16, np.int32)),
    ),
    "int16": ("not-int8", "images.q", lambda m: store(m, images__z=np.int16(0))),
    "scale 0": ("scale", "images.q", lambda m: store(m, images__s=np.float32(0))),
    "scale below 0": ("scale", "images.q", lambda m: store(m, images__s=-SCALE)),
    "scale NaN": ("scale", "images.q", lambda m: store(m, images__s=np.float32(np.nan))),
    "scale infinite": ("scale", "stem.w.dq", lambda m: store(m, stem__w__s=np.full(16, np.float32(np.inf)))),
    "scale of the images": ("scale", "images.q", scale_from_images),
    "two scales": ("scale", "images.dq", two_scales),
    "per-channel activation": (
        "per-channel-activation",
        "images.q",
        lambda m: store(m, images__s=np.full(3, SCALE), images__z=np.zeros(3, np.int8)),
    ),
    "weight axis": ("weight-axis", "stem.w.dq", other_axis),
    "int32 bias": ("quantized-bias", "stem", quantized_bias("stem", 2, np.ones(16, np.int32))),
    "int8 bias": ("quantized-bias", "head", quantized_bias("head", 2, np.ones(10, np.int8))),
    "bias of an Add": ("quantized-bias", "add", quantized_constant_of_an_add),
    "pair before ReLU": ("split-fusion", "stem.q", lambda m: requantize(m, "stem", "stem.relu")),
    "pair before batch norm": ("split-fusion", "stem.q", norm_behind_a_pair),
    "pair behind bias": ("split-fusion", "shifted.q", pair_behind_bias),
    "pair before bias": ("split-fusion", "stem.q", bias_behind_a_pair),
    "float input": ("unquantized-input", "body", lambda m: read(m, "body", 0, "stem.relu")),
    "float weight": (
        "unquantized-input",
        "head",
        float_weight,
    ),
    "float layer": ("float-layer", "head", all_float),
    "float skip": ("float-residual", "add", lambda m: read(m, "add", 1, "stem.relu")),
    "float Add": ("float-residual", "add", float_add),
    "float pool": ("float-pool", "pool", lambda m: read(m, "pool", 0, "add.relu")),
    "float mean": ("float-pool", "pool", plain_mean),
}
