"""The quantize-dequantize operator against numpy and against ONNX Runtime's own pair of operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch")

import torch

from calibration.fake_quantize import ActivationQuantizer, WeightQuantizer, quantize_dequantize
from calibration.grid import integer_range

Array = npt.NDArray[np.float32]

PLACES = [(-1, ()), (0, (3,)), (1, (4,)), (2, (5,)), (3, (6,))]
SHAPE = (3, 4, 5, 6)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def scales(shape: tuple[int, ...]) -> Array:
    return np.asarray(np.random.default_rng(1).uniform(0.004, 0.02, shape), np.float32)


def grid(x: Array, scale: Array, axis: int, bits: int) -> Array:
    """Return the definition in numpy."""
    steps = scale.reshape([-1 if place == axis else 1 for place in range(x.ndim)]) if scale.ndim else scale
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return np.asarray(np.clip(np.rint(x / steps), low, high) * steps, np.float32)


def ours(x: Array, scale: Array, axis: int, bits: int) -> Array:
    return np.asarray(quantize_dequantize(torch.from_numpy(x), torch.from_numpy(np.asarray(scale)), axis, bits).numpy())


def onnx_pair(x: Array, scale: Array, axis: int) -> Array:
    """Return ONNX Runtime's QuantizeLinear and DequantizeLinear, its optimizations off."""
    import onnxruntime as ort

    along: dict[str, Any] = {} if scale.ndim == 0 else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **along),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **along),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    constants = [numpy_helper.from_array(scale, "s"), numpy_helper.from_array(np.zeros(scale.shape, np.int8), "z")]
    graph = helper.make_graph(nodes, "pair", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize(("axis", "shape"), PLACES)
def test_it_is_its_definition(bits: int, axis: int, shape: tuple[int, ...]) -> None:
    x, scale = normal(*SHAPE), scales(shape) * np.float32(2.0 ** (8 - bits))
    found = ours(x, scale, axis, bits)
    np.testing.assert_array_equal(found, grid(x, scale, axis, bits))
    assert len(np.unique(found)) > 2 ** (min(bits, 8) - 1), "the case must reach most of the grid"


@pytest.mark.parametrize(("axis", "shape"), PLACES)
def test_it_is_onnx_s_pair(axis: int, shape: tuple[int, ...]) -> None:
    x, scale = normal(*SHAPE), scales(shape)
    np.testing.assert_array_equal(ours(x, scale, axis, 8), onnx_pair(x, scale, axis))


def test_ties_go_to_even_and_both_ends_are_clipped_as_onnx_does() -> None:
    x = np.array([-200, -128.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 127.5, 1e30], np.float32).reshape(1, 10)
    one = np.ones((), np.float32)
    expected = [-128, -128, -2, -2, 0, 0, 2, 2, 127, 127]
    assert ours(x, one, -1, 8).ravel().tolist() == expected
    assert onnx_pair(x, one, -1).ravel().tolist() == expected


@given(
    bits=st.integers(2, 16),
    scale=st.floats(2.0**-42, 2.0**20, width=32),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_on_the_grid_stays(bits: int, scale: float, seed: int) -> None:
    x = normal(64, seed=seed) * np.float32(scale * 2 ** (bits - 1))
    step = np.array(scale, np.float32)
    once = ours(x, step, -1, bits)
    np.testing.assert_array_equal(ours(once, step, -1, bits), once)


@pytest.mark.parametrize(("axis", "shape"), PLACES)
def test_the_gradient_passes_inside_the_clipping_range_alone(axis: int, shape: tuple[int, ...]) -> None:
    x = torch.from_numpy(normal(*SHAPE)).requires_grad_()
    scale = torch.from_numpy(scales(shape))
    weight = torch.from_numpy(normal(*SHAPE, seed=2))
    (quantize_dequantize(x, scale, axis, 8) * weight).sum().backward()
    steps = scale.reshape([-1 if place == axis else 1 for place in range(4)]) if axis >= 0 else scale
    ratio = x.detach() / steps
    inside = (ratio > -128.5) & (ratio < 127.5)
    assert 0.05 < inside.float().mean() < 0.95, "the case must have both kinds"
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weight * inside, rtol=0, atol=0)


@pytest.mark.parametrize(("axis", "shape"), PLACES[:3])
def test_torch_accepts_the_operator(axis: int, shape: tuple[int, ...]) -> None:
    x = torch.from_numpy(normal(*SHAPE)).requires_grad_()
    torch.library.opcheck(quantize_dequantize, (x, torch.from_numpy(scales(shape)), axis, 8))


def test_16_bit_types_are_rounded_on_the_grid_of_float32() -> None:
    x = torch.from_numpy(normal(4096)).bfloat16()
    scale = torch.tensor(3.0 / 127)
    exact = quantize_dequantize(x.float(), scale, -1, 8)
    found = quantize_dequantize(x, scale, -1, 8)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, exact.bfloat16(), rtol=0, atol=0)


def test_integers_have_one_more_value_below_zero() -> None:
    assert [integer_range(bits) for bits in (2, 8, 16)] == [(-2, 1), (-128, 127), (-32768, 32767)]


def fitted(weight: torch.Tensor, axis: int) -> WeightQuantizer:
    quantizer = WeightQuantizer("conv.weight", weight.shape[axis], axis, 8).train()
    quantizer(weight)
    return quantizer


def test_a_channel_of_zeros_has_a_usable_scale() -> None:
    weight = torch.from_numpy(normal(3, 2, 3, 3))
    weight[1] = 0
    quantizer = fitted(weight, 0).eval()
    assert ((quantizer.scale > 0) & quantizer.scale.isfinite()).all()
    found = quantizer(weight)
    assert (found[1] == 0).all()
    assert found.isfinite().all()
    torch.testing.assert_close(found.abs().amax((1, 2, 3)), weight.abs().amax((1, 2, 3)))


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_fitted_in_training_and_kept_in_evaluation(axis: int) -> None:
    weight = torch.from_numpy(normal(3, 2, 3, 3))
    quantizer = fitted(weight, axis)
    before = quantizer.scale.clone()
    quantizer.eval()(weight * 2)
    torch.testing.assert_close(quantizer.scale, before, rtol=0, atol=0)
    quantizer.train()(weight * 2)
    torch.testing.assert_close(quantizer.scale, before * 2)


def test_a_quantizer_that_runs_twice_before_its_gradient_is_taken_has_one() -> None:
    weight = torch.from_numpy(normal(3, 2)).requires_grad_()
    weights = fitted(weight.detach(), 0)
    activation = ActivationQuantizer("relu", 8).train()
    first: Any = activation(weights(weight))
    second: Any = activation(weights(weight))
    (first + second).sum().backward()
    assert weight.grad is not None


def test_activation_ranges_stay_in_training() -> None:
    quantizer = ActivationQuantizer("relu", 8).train()
    quantizer(torch.full((4,), 12.7))
    assert float(quantizer.scale) == 1.0


def test_activation_ranges_follow_where_they_are_told_to() -> None:
    quantizer = ActivationQuantizer("relu", 8)
    quantizer.momentum = 0.25
    quantizer.eval()(torch.full((4,), 12.7))
    assert float(quantizer.scale) == 1.0
    quantizer.train()(torch.full((4,), -12.7))
    assert float(quantizer.scale) == pytest.approx(0.75 + 0.25 * 0.1)


def test_a_batch_of_zeros_moves_no_range() -> None:
    quantizer = ActivationQuantizer("relu", 8).train()
    quantizer.momentum = 0.25
    quantizer(torch.zeros(4))
    assert float(quantizer.scale) == 1.0


def test_off_it_is_the_identity() -> None:
    x = torch.from_numpy(normal(10))
    quantizer = ActivationQuantizer("relu", 8)
    quantizer.enabled = False
    assert quantizer(x) is x


def test_the_sign_has_one_magnitude_and_passes_gradients_within_it() -> None:
    x = torch.tensor([-3.0, -1.0, -0.0, 0.5, 2.0], requires_grad=True)
    out = quantize_dequantize(x, torch.tensor(2.0), -1, 1)
    assert out.tolist() == [-2.0, -2.0, 2.0, 2.0, 2.0]
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]


def test_under_one_bit_weights_train_beyond_the_mean_that_is_their_scale() -> None:
    weight = torch.tensor([[0.1, -0.2, 0.9, -1.0], [0.01, 0.02, -1.5, 0.03]], requires_grad=True)
    quantizer = WeightQuantizer("conv.weight", 2, 0, 1).train()
    quantizer(weight).sum().backward()
    torch.testing.assert_close(quantizer.scale, weight.detach().abs().mean(1))
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]]


def test_a_channel_that_is_nearly_nothing_has_a_scale_that_a_bias_can_be_counted_in() -> None:
    weight = torch.from_numpy(normal(4, 2, 3, 3))
    weight[2] *= 1e-6
    scale = fitted(weight, 0).scale
    assert float(scale[2]) == pytest.approx(float(scale.max()) / 1024)
    assert (fitted(torch.zeros(4, 2), 0).scale == 1 / 127).all()


@given(data=st.data(), axis=st.sampled_from([-1, 0, 1]), bits=st.integers(1, 16), seed=st.integers(0, 2**32 - 1))
def test_quantizing_twice_changes_nothing(data: st.DataObject, axis: int, bits: int, seed: int) -> None:
    x = normal(3, 4, 5, seed=seed) * np.float32(data.draw(st.floats(2.0**-20, 2.0**20, width=32)))
    shape = () if axis < 0 else (x.shape[axis],)
    scale = np.asarray(data.draw(st.lists(st.floats(2.0**-20, 2.0**20, width=32), min_size=5, max_size=5)), np.float32)
    scale = np.resize(scale, shape)
    once = ours(x, scale, axis, bits)
    np.testing.assert_array_equal(ours(once, scale, axis, bits), once)
