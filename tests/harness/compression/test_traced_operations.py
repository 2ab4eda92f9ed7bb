"""Whatever way a model is written, the same places are found."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from calibration.rules import Place, places
from contracts.errors import InputError
from harness.compression.operations import operations
from harness.compression.traced import traced
from harness.compression.twin import Twin
from tests.harness.compression.small_networks import pixels, settled


def quantized(model: nn.Module, shape: tuple[int, int, int]) -> list[tuple[str, int, bool]]:
    found: tuple[Place, ...] = places(operations(traced(model.eval(), shape).graph).values())
    return [(place.kind, place.position, place.axis is not None) for place in found]


class Functional(nn.Module):
    """Convolution, sum in place, average pool and linear layer without a module among them."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(2, 2, 3, 3))
        self.matrix = nn.Parameter(torch.randn(3, 8))

    def forward(self, images: Tensor) -> Tensor:
        out = F.conv2d(images, self.kernel, padding=1)
        out += images
        F.relu_(out)
        return F.linear(F.avg_pool2d(out, 2).flatten(1), self.matrix)


def test_functional_calls_are_seen_like_modules() -> None:
    assert quantized(Functional(), (2, 4, 4)) == [
        ("Conv", 0, False),
        ("Conv", 1, True),
        ("Add", 0, False),
        ("Add", 1, False),
        ("AveragePool", 0, False),
        ("Gemm", 0, False),
        ("Gemm", 1, True),
    ]


@pytest.mark.parametrize("fused", [True, False])
def test_attention_is_two_matrix_products_of_activations(fused: bool) -> None:
    class Attends(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            tokens = images.flatten(2)
            if fused:
                return F.scaled_dot_product_attention(tokens, tokens, tokens).mean(2)
            weights = torch.softmax(tokens @ tokens.transpose(1, 2) / tokens.shape[-1] ** 0.5, -1)
            return (weights @ tokens).mean(2)

    model, images = Attends(), pixels(3, 4, 2, 3)
    assert quantized(model, (4, 2, 3)) == [("MatMul", 0, False), ("MatMul", 1, False)] * 2
    torch.testing.assert_close(traced(model, (4, 2, 3))(images), model(images))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("boolean", [True, False])
def test_attention_taken_apart_is_the_same_function(causal: bool, boolean: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            mask = torch.ones(4, 4).tril()
            self.register_buffer("mask", mask.bool() if boolean else mask)

        def forward(self, images: Tensor) -> Tensor:
            tokens = images.flatten(2)
            mask = None if causal else self.mask
            return F.scaled_dot_product_attention(tokens, tokens, tokens, mask, is_causal=causal, scale=0.7).mean(2)  # type: ignore[arg-type]

    model, images = Attends(), pixels(3, 4, 2, 3)
    torch.testing.assert_close(traced(model, (4, 2, 3))(images), model(images))


class Creates(nn.Module):
    """Attention over tokens with all that a forward may make: a mask, positions, a token for every image, a cast."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        count = tokens.shape[1]
        mask = torch.full((count, count), float("-inf")).triu(1)
        positions = F.one_hot((torch.arange(count) + 1) % 4, 4).float()
        first = torch.zeros(images.shape[0], count, 4)
        weights = torch.softmax(tokens @ tokens.transpose(1, 2) + mask, -1)
        mixed = F.scaled_dot_product_attention(weights @ tokens, tokens, tokens, is_causal=True)
        return (mixed.float() + positions + first).sum(1)


def test_what_a_forward_creates_follows_its_images() -> None:
    network = traced(Creates().eval(), (4, 2, 3))
    for node in network.graph.nodes:
        devices = [value for value in (*node.args, *node.kwargs.values()) if isinstance(value, torch.device)]
        assert not devices, node.format_node()
    assert network.to("meta")(torch.empty(5, 4, 2, 3, device="meta")).device.type == "meta"


def test_what_a_forward_creates_from_constants_is_a_buffer() -> None:
    network = traced(Creates().eval(), (4, 2, 3))
    made = [node.name for node in network.graph.nodes if node.op == "call_function" and not node.all_input_nodes]
    assert made == []
    masks = [buffer for buffer in network.buffers() if buffer.shape == (6, 6)]
    assert {buffer.dtype for buffer in masks} == {torch.float32, torch.bool}


def test_only_float_tensors_that_depend_on_the_images_are_quantized() -> None:
    class Numbers(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            best = images.flatten(2).argmax(2)
            moved = best + images.flatten(2).argmin(2)  # a sum of integers
            return F.one_hot(moved % 4, 4).float().mean(1) + torch.full((4,), 0.5) + moved.float()

    assert quantized(Numbers(), (4, 2, 3)) == [("Add", 0, False), ("Add", 1, False)]
    kinds = [operation.kind for operation in operations(traced(Numbers().eval(), (4, 2, 3)).graph).values()]
    assert [kind for kind in kinds if kind.startswith("Add")] == ["Add of int64", "Add", "Add"]


def test_a_tensor_without_inputs_is_a_constant() -> None:
    graph = fx.Graph()
    images = graph.placeholder("images")
    shift = graph.call_function(torch.ops.aten.ones.default, ([4],))
    graph.output(graph.call_function(torch.ops.aten.add.Tensor, (images, shift)))
    for node, value in ((images, torch.zeros(2, 4)), (shift, torch.ones(4))):
        node.meta["val"] = value
    (found,) = operations(graph).values()
    assert [operand.constant for operand in found.inputs] == [False, True]


def test_a_trace_runs_in_mixed_precision() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.conv(images).float().mean((2, 3))
            return out

    network, images = traced(settled(Casts()), (4, 2, 3)), pixels(3, 4, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(images)
    torch.testing.assert_close(found.float(), network(images), rtol=0.02, atol=0.02)
    assert not torch.equal(found.float(), network(images)), "the convolution is to run in bfloat16"


@pytest.mark.parametrize(
    ("layer", "axis"),
    [
        (nn.Conv2d(4, 8, 3, groups=2), 0),
        (nn.Conv2d(4, 4, 3, groups=4), 0),
        (nn.Conv2d(4, 8, 3, padding="same"), 0),
        (nn.ConvTranspose2d(4, 8, 3), 1),
        (nn.ConvTranspose2d(4, 8, 3, groups=2), 1),
    ],
    ids=["grouped", "depthwise", "same", "transposed", "grouped transposed"],
)
def test_weights_have_a_scale_for_every_output_channel(layer: nn.Module, axis: int) -> None:
    model = settled(nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    twin = Twin(traced(model, (4, 6, 6)))
    (weights,) = twin.weight_quantizers().values()
    weight: Tensor = layer.weight  # type: ignore[assignment]
    others = [other for other in range(4) if other != axis]
    torch.testing.assert_close(weights.scale, weight.detach().abs().amax(others) / 127)
    images = pixels(5, 4, 6, 6)
    twin.calibrate("minmax", [images])
    torch.testing.assert_close(twin(images), model(images), atol=0.02, rtol=0.05)


def test_sums_and_means_that_are_no_residual_and_no_pool_are_left_alone() -> None:
    class Others(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.ones(1, 2, 1, 1))

        def forward(self, images: Tensor) -> Tensor:
            moved = images + self.shift * 2
            return moved.mean((1, 2, 3)).unsqueeze(1) + 1.0

    assert quantized(Others(), (2, 4, 4)) == []


def test_a_mean_over_the_image_is_a_global_average_pool() -> None:
    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((-1, -2))

    assert quantized(Mean(), (2, 4, 4)) == [("GlobalAveragePool", 0, False)]


@pytest.mark.parametrize("bits", range(1, 17))
def test_every_width_from_the_sign_to_sixteen_bits_is_simulated(bits: int) -> None:
    model = settled(Functional())
    twin = Twin(traced(model, (2, 4, 4)), bits)
    images = pixels(6, 2, 4, 4)
    twin.calibrate("minmax", [images])
    for quantizer in (*twin.activation_quantizers().values(), *twin.weight_quantizers().values()):
        assert quantizer.bits == bits
    scale = twin.weight_quantizers()["kernel"].scale.reshape(-1, 1, 1, 1)
    with torch.no_grad():
        steps = twin.weight_quantizers()["kernel"](model.get_parameter("kernel")) / scale
    torch.testing.assert_close(steps, steps.round())
    assert len(steps.unique()) <= 2**bits
    assert twin(images).isfinite().all()


def test_layers_that_are_kept_in_float_have_no_quantizers() -> None:
    network = traced(settled(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten())), (2, 6, 6))
    twin = Twin(network, keep_float=["2"])
    assert set(twin.weight_quantizers()) == {"0.weight"}
    assert set(twin.activation_quantizers()) == {"input_1"}
    with pytest.raises(InputError, match=r"unknown layer in quantize\.keep_float '3'"):
        Twin(network, keep_float=["3"])
