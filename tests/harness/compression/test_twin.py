from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration.table import CalibrationTable, TensorScale
from contracts.errors import InputError
from harness.compression.traced import traced
from harness.compression.twin import Twin
from tests.harness.compression.small_networks import Residual, Shared, pixels, plain, settled

IMAGES = pixels(16, 1, 8, 8)


def batches() -> Iterator[Tensor]:
    yield from torch.split(IMAGES, 5)


def calibrated(model: nn.Module, calibrator: str = "minmax") -> Twin:
    twin = Twin(traced(model, (1, 8, 8)))
    twin.calibrate(calibrator, batches())
    return twin


@pytest.mark.parametrize("make", [plain, Residual])
def test_off_it_is_the_model_and_on_it_is_close(make: type[nn.Module]) -> None:
    model = settled(make())
    twin = calibrated(model)
    with torch.no_grad():
        exact, on, off = model(IMAGES), twin(IMAGES), twin.quantize(False)(IMAGES)
    torch.testing.assert_close(off, exact, rtol=1e-4, atol=1e-4)
    assert 1e-4 < (on - exact).abs().max() < 0.1 * exact.abs().max()


def test_the_model_that_it_is_made_of_stays_float() -> None:
    model = settled(plain())
    before, names = model(IMAGES), set(model.state_dict())
    first = calibrated(model)
    second = Twin(traced(model, (1, 8, 8)))
    torch.testing.assert_close(model(IMAGES), before, rtol=0, atol=0)
    assert set(model.state_dict()) == names
    own = {id(quantizer) for quantizer in first.weight_quantizers().values()}
    assert not own & {id(quantizer) for quantizer in second.weight_quantizers().values()}


@pytest.mark.parametrize("make", [plain, Residual])
def test_a_table_and_weights_make_the_same_twin_again(make: type[nn.Module], tmp_path: Path) -> None:
    twin = calibrated(settled(make()))
    twin.table("minmax", "clean", (1, 2)).write(tmp_path / "table.json")
    again = Twin(traced(settled(make(), seed=9), (1, 8, 8)))
    assert not torch.equal(again(IMAGES), twin(IMAGES))
    again.load_weights(twin.weights())
    again.load_table(CalibrationTable.read(tmp_path / "table.json"))
    assert torch.equal(again(IMAGES), twin(IMAGES))
    assert again.table("minmax", "clean", (1, 2)) == twin.table("minmax", "clean", (1, 2))


def test_a_plain_network_is_quantized_in_front_of_every_layer() -> None:
    twin = Twin(traced(settled(plain()), (1, 8, 8)))
    assert set(twin.weight_quantizers()) == {"0.weight", "3.weight", "6.weight"}
    assert len(twin.activation_quantizers()) == 3
    quantizers = [node for node in twin.network.graph.nodes if node.op == "call_module"]
    assert len(quantizers) == 6
    last: Any = next(node for node in twin.network.graph.nodes if node.op == "output").args[0]
    assert last.target is torch.ops.aten.linear.default, "logits are not quantized"


def test_a_residual_network_has_one_quantizer_a_tensor_at_every_place() -> None:
    twin = Twin(traced(settled(Residual()), (1, 8, 8)))
    nodes = {node.name: node for node in twin.network.graph.nodes}
    # The stem's output feeds two convolutions and is quantized once; both sides of the sum and the pool's input are.
    convolutions = ["conv2d", "conv2d_1", "conv2d_2"]
    assert set(twin.activation_quantizers()) == {"images", "relu", *convolutions[1:], "relu_1", "view"}
    assert set(twin.weight_quantizers()) == {f"{layer}.weight" for layer in ("stem", "first", "skip", "head")}
    (behind_the_stem,) = nodes["relu"].users
    assert {user.name for user in behind_the_stem.users} == set(convolutions[1:])
    for name in ("add", "adaptive_avg_pool2d"):
        assert all("quantizers.of_" in str(source.target) for source in nodes[name].all_input_nodes)


def test_inputs_given_by_name_and_names_of_methods_are_quantized() -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, values: Tensor) -> Tensor:
            out: Tensor = self.conv(input=values)
            return out

    twin = Twin(traced(ByName().eval(), (1, 8, 8)))
    assert set(twin.activation_quantizers()) == {"values"}
    assert set(twin.weight_quantizers()) == {"conv.weight"}


def test_a_sum_with_a_number_is_no_residual() -> None:
    class Shift(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images + 0.5

    assert Twin(traced(Shift().eval(), (1, 8, 8))).activation_quantizers() == {}


def test_scales_come_from_the_float_model_alone() -> None:
    model = settled(plain())
    twin = Twin(traced(model, (1, 8, 8)))
    for quantizer in twin.activation_quantizers().values():
        quantizer.scale.fill_(1e-3)  # would clip everything behind
    twin.calibrate("minmax", batches())
    inner = model[:3](IMAGES).detach().abs().max()  # type: ignore[index]
    assert float(twin.activation_quantizers()["relu"].scale) == pytest.approx(float(inner) / 127, rel=1e-4)
    assert all(quantizer.see is None for quantizer in twin.activation_quantizers().values())
    assert all(quantizer.enabled for quantizer in twin.activation_quantizers().values())


def test_how_images_are_batched_does_not_change_the_scales() -> None:
    one, other = Twin(traced(settled(plain()), (1, 8, 8))), Twin(traced(settled(plain()), (1, 8, 8)))
    one.calibrate("percentile", iter([IMAGES]))
    other.calibrate("percentile", iter(torch.split(IMAGES.flip(0), 3)))
    for name, quantizer in one.activation_quantizers().items():
        torch.testing.assert_close(other.activation_quantizers()[name].scale, quantizer.scale)


def test_a_channel_of_zeros_does_not_break_the_twin() -> None:
    model = settled(plain())
    with torch.no_grad():
        model.get_parameter("3.weight")[4] = 0
    twin = calibrated(model)
    scales = twin.table("minmax", "clean", ()).tensors["3.weight"].scales
    assert min(scales) > 0
    assert max(scales) < float("inf")
    assert twin(IMAGES).isfinite().all()


def test_activations_that_are_not_finite_are_named() -> None:
    model = settled(plain())
    with torch.no_grad():
        model.get_parameter("3.bias")[0] = float("nan")
    with pytest.raises(InputError, match=r"activations of view \(input of 6\) are not finite"):
        calibrated(model)


def test_calibration_without_images_or_with_an_unknown_calibrator_is_refused() -> None:
    with pytest.raises(InputError, match=r"no calibration images: set data\.calibration_samples"):
        Twin(traced(settled(plain()), (1, 8, 8))).calibrate("minmax", iter(()))
    with pytest.raises(InputError, match="unknown calibrator 'entropi'"):
        calibrated(settled(plain()), "entropi")


def test_a_table_of_another_model_is_refused() -> None:
    table = calibrated(settled(plain())).table("minmax", "clean", ())
    with pytest.raises(InputError, match="does not belong to this graph: they differ in"):
        Twin(traced(settled(Residual()), (1, 8, 8))).load_table(table)
    narrower = {**table.tensors, "3.weight": TensorScale((0.1,) * 15, 0, "channel maximum", (15, 8, 3, 3))}
    with pytest.raises(InputError, match=r"they differ in 3\.weight"):
        Twin(traced(settled(plain()), (1, 8, 8))).load_table(replace(table, tensors=narrower))
    with pytest.raises(InputError, match="one of 8 bits and the model quantizes to 4"):
        Twin(traced(settled(plain()), (1, 8, 8)), bits=4).load_table(table)


def test_more_bits_are_closer() -> None:
    model = settled(plain())
    errors = []
    for bits in (3, 4, 6, 8, 12):
        twin = Twin(traced(model, (1, 8, 8)), bits)
        twin.calibrate("minmax", batches())
        errors.append(float((twin(IMAGES) - model(IMAGES)).detach().abs().mean()))
    assert errors == sorted(errors, reverse=True)


def test_gradients_reach_images_and_weights_also_of_a_layer_that_is_called_twice() -> None:
    twin = Twin(traced(settled(Shared()), (2, 4, 4)))
    images = pixels(4, 2, 4, 4).requires_grad_()
    twin.calibrate("minmax", iter([images.detach()]))
    twin.train()(images).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    for name, parameter in twin.named_parameters():
        assert parameter.grad is not None, name


class Tied(nn.Module):
    """One square matrix whose output channels lie along its second axis, then twice along its first."""

    def __init__(self) -> None:
        super().__init__()
        self.square = nn.Parameter(torch.linspace(-1, 2, 64).reshape(8, 8).exp())
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = torch.sigmoid(images.mean(1) @ self.square / 8)
        tokens = torch.sigmoid(F.linear(tokens, self.square) / 8)
        logits: Tensor = self.head(F.linear(tokens, self.square).mean(1))
        return logits


def test_a_weight_that_is_used_along_two_axes_has_scales_for_both(tmp_path: Path) -> None:
    twin = calibrated(settled(Tied()))
    square = twin.weights()["square"].abs()
    quantizers = twin.weight_quantizers()
    assert {name: made.axis for name, made in quantizers.items()} == {
        "square": 1,
        "square along 0": 0,
        "head.weight": 0,
    }
    torch.testing.assert_close(quantizers["square"].scale, square.amax(0) / 127)
    torch.testing.assert_close(quantizers["square along 0"].scale, square.amax(1) / 127)
    twin.table("minmax", "clean", ()).write(tmp_path / "table.json")
    table = CalibrationTable.read(tmp_path / "table.json")
    assert {table.tensors[name].shape for name in ("square", "square along 0")} == {(8, 8)}
    again = Twin(traced(settled(Tied()), (1, 8, 8))).load_table(table)
    assert torch.equal(again(IMAGES), twin(IMAGES))


def test_a_twin_without_the_first_axis_of_a_weight_finds_the_scales_of_the_second() -> None:
    twin = calibrated(settled(Tied()))
    fewer = Twin(traced(settled(Tied()), (1, 8, 8)), keep_float=["matmul"])
    fewer.load_scales(twin.table("minmax", "clean", ()).tensors)
    scales = twin.weight_quantizers()["square along 0"].scale
    assert torch.equal(fewer.weight_quantizers()["square"].scale, scales)


def test_weight_scales_are_taken_from_the_weights_as_they_are() -> None:
    twin = calibrated(settled(plain()))
    before = {name: quantizer.scale.clone() for name, quantizer in twin.weight_quantizers().items()}
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(2)
    twin.fit_weights()
    for name, quantizer in twin.weight_quantizers().items():
        torch.testing.assert_close(quantizer.scale, 2 * before[name])


def test_weight_scales_can_be_taken_on_another_device() -> None:
    twin = Twin(traced(settled(plain()), (1, 8, 8))).to("meta")
    twin.fit_weights()
    assert {quantizer.scale.device.type for quantizer in twin.weight_quantizers().values()} == {"meta"}
