"""Agreement: what roundings explain passes, what they do not is told, and nothing is claimed that is not known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from contracts.errors import InputError
from engines.backend import PRECISIONS
from engines.checks.agreement import Agreement, agreement, error_limit, unknown
from engines.checks.error import LARGEST, relative_error, spread
from engines.checks.probe_images import probe_count, probe_images
from engines.checks.reference import Reference, references, without_rounding
from engines.engine import Array
from tests.engines.checks.chains import chain
from tests.engines.tiny_graphs import SHAPE, classifier, graph, pixels, reference

pytestmark = pytest.mark.core

SEEDS = st.integers(0, 2**32 - 1)


def scores(seed: int, n: int = 40, classes: int = 7) -> Array:
    return np.random.default_rng(seed).standard_normal((n, classes)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, scale=st.floats(1e-3, 1e3), part=st.floats(1e-3, 10))
def test_the_error_knows_no_scale_and_grows_with_the_difference(seed: int, scale: float, part: float) -> None:
    expected, noise = scores(seed).astype(np.float64), scores(seed + 1).astype(np.float64)
    error = relative_error(expected + part * noise, expected)
    assert relative_error(scale * (expected + part * noise), scale * expected) == pytest.approx(error)
    assert relative_error(expected + 2 * part * noise, expected) == pytest.approx(2 * error)
    assert relative_error(expected, expected) == 0


def test_scores_of_other_images_are_the_root_of_two_away() -> None:
    assert relative_error(scores(0, 5000), scores(1, 5000)) == pytest.approx(2**0.5, rel=0.05)


def test_a_network_that_tells_no_images_apart_is_held_to_the_size_of_its_scores() -> None:
    same = np.full((8, 3), 5.0)
    assert spread(same) == pytest.approx(0.1 * 5 * 3**0.5)
    assert relative_error(same * 1.001, same) == pytest.approx(0.01)
    assert relative_error(np.zeros((8, 3)), np.zeros((8, 3))) == 0
    assert relative_error(np.ones((8, 3)), np.zeros((8, 3))) == LARGEST


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_limit_is_where_agreement_ends(precision: str) -> None:
    expected = scores(0).astype(np.float64)
    off = scores(1) / relative_error(expected + scores(1), expected)  # one spread away
    limit = error_limit(precision, 0.0)  # type: ignore[arg-type]
    for factor, holds in ((0.99, True), (1.01, False)):
        found = agreement(expected + factor * limit * off, Reference(expected, 0.0), precision)  # type: ignore[arg-type]
        assert found.holds is holds
        assert found.error == pytest.approx(factor * limit, rel=1e-3)


def test_roundings_of_the_graph_itself_are_allowed_for() -> None:
    expected = scores(0)
    engine = expected + 0.1 * scores(1)
    assert agreement(engine, Reference(expected, 0.0), "int8").holds is False
    assert agreement(engine, Reference(expected, 0.1), "int8").holds is True
    coarse = agreement(engine, Reference(expected, 30.0), "int8")
    assert coarse.limit == error_limit("int8", 1.0)
    assert "only gross faults show" in str(coarse.warning())


def test_a_decision_counts_as_changed_only_where_the_reference_is_sure() -> None:
    expected = np.tile(np.eye(4, dtype=np.float32), (16, 1))
    sure = Reference(np.concatenate([expected[:-1], [[0.5, 0.4999, 0, 0]]]).astype(np.float32), 0.0)
    swapped = sure.values.copy()
    swapped[-1] = [0.4999, 0.5, 0, 0]
    assert agreement(swapped, sure, "fp32").changed_decisions == 0
    swapped[:5] = np.roll(swapped[:5], 1, axis=1)
    found = agreement(swapped, sure, "fp32")
    assert (found.changed_decisions, found.changed_limit, found.images) == (5, 4, 64)


def test_few_images_that_are_all_wrong_do_not_hide_behind_the_others() -> None:
    expected = scores(0, 64)
    engine = expected.copy()
    engine[::16] = -engine[::16]
    assert agreement(engine, Reference(expected, 0.01), "int8").holds is False


def test_scores_that_are_not_finite_never_agree() -> None:
    expected = scores(0)
    for value in (np.nan, np.inf):
        engine = expected.copy()
        engine[3, 2] = value
        found = agreement(engine, Reference(expected, 0.0), "int8")
        assert found.holds is False
        assert found.error == LARGEST
    broken = expected.copy()
    broken[3, 2] = np.nan
    found = agreement(expected, Reference(broken, 0.0), "int8")
    assert found.holds is None
    assert "not finite for 1 of 40 images" in str(found.reason)


def test_it_survives_json() -> None:
    for found in (agreement(scores(0), Reference(scores(1), 0.1), "bf16"), unknown("a reference", "no GPU is here")):
        assert Agreement.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    with pytest.raises(InputError, match="not whole"):
        Agreement.from_json({"images": 3})
    assert "not known: no GPU is here" in str(unknown("a reference", "no GPU is here").warning())


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, shape=st.tuples(st.integers(1, 4), st.integers(1, 33), st.integers(1, 33)), n=st.integers(1, 9))
def test_probe_images_are_images_and_the_same_for_a_seed(seed: int, shape: tuple[int, int, int], n: int) -> None:
    images = probe_images(n, shape, seed)
    assert images.shape == (n, *shape)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_array_equal(images, probe_images(n, shape, seed))


def test_probe_images_are_smooth_and_unlike_each_other() -> None:
    images = probe_images(64, (3, 32, 32))
    noise = np.random.default_rng(0).random((64, 3, 32, 32), np.float32)

    def step(values: Array) -> float:  # between neighbours, over the contrast
        return float(np.abs(np.diff(values, axis=3)).mean() / values.std())

    assert step(images) < step(noise) / 2
    assert images.mean((1, 2, 3)).std() > 10 * noise.mean((1, 2, 3)).std()
    assert not np.array_equal(images, probe_images(64, (3, 32, 32), seed=1))
    assert probe_count((1, 8, 8)) == 64
    assert probe_count((3, 512, 512)) == 16


def test_the_reference_is_the_graph_as_written_in_any_number_of_images() -> None:
    model, images = classifier(), pixels(37)
    (found,) = references(model, ["scores"], images)
    np.testing.assert_array_equal(found.values, reference(model, images))
    assert found.rounding == 0


def test_rounding_is_how_far_the_graph_is_from_itself_with_clips_alone() -> None:
    model = classifier(quantized=True)
    unrounded = without_rounding(model)
    assert unrounded is not None
    onnx.checker.check_model(unrounded, full_check=True)
    kinds = [node.op_type for node in unrounded.graph.node]
    assert kinds.count("Clip") == 2
    images = probe_images(64, SHAPE)
    (found,) = references(model, ["scores"], images)
    assert found.rounding == pytest.approx(relative_error(reference(unrounded, images), found.values), rel=1e-6)
    assert 0 < found.rounding < 0.1


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_a_clip_ends_where_the_integers_do(kind: type[np.integer[Any]]) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["scores"]),
    ]
    constants: dict[str, npt.NDArray[Any]] = {"scale": np.asarray(0.5, np.float32), "zero": np.asarray(3, kind)}
    model = graph(nodes, constants, {"images": ["batch", 4]}, {"scores": ["batch", 4]})
    unrounded = without_rounding(model)
    assert unrounded is not None
    far = np.asarray([[-1e3, 1e3, 0.26, -0.26]], np.float32)
    rounded, clipped = reference(model, far), reference(unrounded, far)
    np.testing.assert_array_equal(rounded[:, :2], clipped[:, :2])
    np.testing.assert_array_equal(clipped[:, 2:], far[:, 2:])


def test_faults_of_a_quantized_network_are_beyond_the_limit() -> None:
    model, images = chain(4, quantized=True, relu=True), probe_images(64, SHAPE)
    (expected,) = references(model, ["scores"], images)
    assert agreement(reference(model, images), expected, "int8").holds is True
    for name, (tensors, change) in FAULTS.items():
        wrong = onnx.ModelProto.FromString(model.SerializeToString())
        for tensor in wrong.graph.initializer:
            if tensor.name in tensors:
                tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
        found = agreement(reference(wrong, images), expected, "int8")
        assert found.holds is False, (name, found)


FAULTS: dict[str, tuple[tuple[str, ...], Callable[[npt.NDArray[Any]], npt.NDArray[Any]]]] = {
    "a scale of one layer doubled": (("conv1.weight.scale",), lambda value: 2 * value),
    "a weight transposed": (("conv2.weight", "conv2.weight.q"), lambda value: value.swapaxes(2, 3)),
    "activations clipped to an eighth of their ranges": (
        ("relu1.scale", "relu2.scale", "relu3.scale", "flat.scale"),
        lambda v: v / 8,
    ),
}


def test_what_is_not_known_neither_holds_nor_fails() -> None:
    assert unknown("a reference", "why").holds is None
    assert replace(unknown("a reference", "why"), error=0.1).holds is None
