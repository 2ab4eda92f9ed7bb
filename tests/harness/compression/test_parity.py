"""An exported graph computes, node by node, what its twin computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from harness.compression.parity import NodeParity, node_parity
from tests.harness.compression.exported_pairs import NETWORKS, Pair, exported_pair
from tests.harness.compression.small_networks import pixels


def compared(pair: Pair, graph: onnx.ModelProto) -> tuple[NodeParity, ...]:
    return node_parity(pair.program, graph, [pixels(16, *pair.shape, seed=seed).numpy() for seed in (3, 4)])


@pytest.fixture(params=list(NETWORKS), scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    return exported_pair(request.param)


def test_the_program_is_the_twin(pair: Pair) -> None:
    images = pixels(3, *pair.shape)
    with torch.inference_mode():
        torch.testing.assert_close(pair.program.module()(images), pair.twin(images), rtol=0, atol=0)


def test_every_quantizer_agrees_to_the_bit_and_every_layer_to_rounding(pair: Pair) -> None:
    found = compared(pair, pair.of_twin)
    quantizers = [each for each in found if each.quantizer]
    assert len(quantizers) == len(pair.twin.activation_quantizers()) + len(pair.twin.weight_quantizers())
    assert sum(each.one_step for each in quantizers) <= 1e-4 * sum(each.values for each in quantizers)
    assert sum(each.further for each in quantizers) == 0
    for each in found:
        assert each.largest <= 1e-5, each
        assert each.operators <= 1, each


def test_every_operator_that_reads_a_quantizer_is_compared(pair: Pair) -> None:
    layers = {place.operation for place in pair.twin.places}
    assert sum(each.operators for each in compared(pair, pair.of_twin)) >= len(layers)


def scaled(graph: onnx.ModelProto, constant: str, factor: float) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    (tensor,) = (each for each in made.graph.initializer if each.name == constant)
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((value * factor).astype(value.dtype), constant))
    return made


def first(graph: onnx.ModelProto, kind: str, position: int) -> str:
    return next(str(node.input[position]) for node in graph.graph.node if node.op_type == kind)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (lambda graph: scaled(graph, first(graph, "QuantizeLinear", 1), 1.02), lambda each: each.largest > 1e-5),
        (lambda graph: scaled(graph, first(graph, "DequantizeLinear", 0), -1), lambda each: each.further > 0),
        (lambda graph: scaled(graph, first(graph, "Conv", 2), 1.01), lambda each: each.largest > 1e-5),
    ],
    ids=["scale", "weight", "bias"],
)
def test_a_wrong_constant_is_seen_where_it_is(
    fault: Callable[[onnx.ModelProto], onnx.ModelProto], seen: Callable[[NodeParity], bool]
) -> None:
    pair = exported_pair("residual")
    wrong = [each for each in compared(pair, fault(pair.of_twin)) if seen(each)]
    assert len(wrong) == 1, "nothing travels"


def test_values_on_an_edge_are_told_from_wrong_ones() -> None:
    pair = exported_pair("plain")
    moved = scaled(pair.of_twin, first(pair.of_twin, "QuantizeLinear", 1), 1 + 1e-4)
    (quantizer,) = (each for each in compared(pair, moved) if each.quantizer and each.one_step)
    assert 0 < quantizer.one_step < 0.01 * quantizer.values
    assert quantizer.further == 0


def test_batches_are_counted_together_and_numbers_that_are_none_are_seen() -> None:
    pair = exported_pair("plain")
    images = pixels(8, *pair.shape).numpy()
    once, twice = (node_parity(pair.program, pair.of_twin, np.split(images, parts)) for parts in (1, 2))
    assert [replace(each, largest=0.0) for each in once] == [replace(each, largest=0.0) for each in twice]
    broken = scaled(pair.of_twin, first(pair.of_twin, "Conv", 2), float("nan"))
    assert any(not each.largest <= 1e-5 for each in node_parity(pair.program, broken, [images]))
