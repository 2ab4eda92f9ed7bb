from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from contracts.errors import InputError
from harness.compression.traced import traced
from harness.models.build import build_model
from tests.harness.compression.small_networks import Residual, Shared, pixels, plain, settled


def norms(network: fx.GraphModule) -> int:
    return sum("batch_norm" in str(node.target) for node in network.graph.nodes if node.op == "call_function")


def shape_of(images: Tensor) -> tuple[int, int, int]:
    channels, height, width = images.shape[1:]
    return channels, height, width


def assert_same_function(model: nn.Module, images: Tensor, left: int) -> None:
    with torch.no_grad():
        before = model(images)
        found = traced(model, shape_of(images))
        torch.testing.assert_close(found(images), before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
        torch.testing.assert_close(model(images), before, rtol=0, atol=0)
    assert norms(found) == left


def test_resnet18_has_no_batch_norm_left() -> None:
    pytest.importorskip("torchvision")
    assert_same_function(settled(build_model("resnet18", None, (3, 32, 32), 10)), pixels(2, 3, 32, 32), left=0)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)], (2, 6, 6)),
        ([nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4)], (4, 6, 6)),
        ([nn.ConvTranspose2d(2, 4, 3, stride=2), nn.BatchNorm2d(4)], (2, 5, 5)),
        ([nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, affine=False)], (2, 6, 6)),
        ([nn.Flatten(), nn.Linear(8, 5), nn.BatchNorm1d(5)], (2, 2, 2)),
    ],
    ids=["no bias", "groups", "transposed", "no affine", "linear"],
)
def test_a_norm_behind_a_layer_is_folded(layers: list[nn.Module], shape: tuple[int, ...]) -> None:
    assert_same_function(settled(nn.Sequential(*layers)), pixels(3, *shape), left=0)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3)], (2, 6, 6)),
        ([nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)], (2, 6, 6)),
        ([nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)], (2, 6, 6)),
        ([nn.ConvTranspose2d(4, 4, 3, groups=2), nn.BatchNorm2d(4)], (4, 6, 6)),
    ],
    ids=["in front", "behind a ReLU", "batch statistics", "grouped transposed"],
)
def test_a_norm_that_cannot_be_folded_stays(layers: list[nn.Module], shape: tuple[int, ...]) -> None:
    assert_same_function(settled(nn.Sequential(*layers)), pixels(3, *shape), left=1)


def test_a_norm_over_the_tokens_behind_a_linear_layer_stays() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.norm(self.head(images.flatten(2))).flatten(1)
            return out

    assert_same_function(settled(Tokens()), pixels(3, 4, 2, 2), left=1)


def test_a_layer_that_is_called_twice_keeps_its_weights() -> None:
    assert_same_function(settled(Shared()), pixels(3, 2, 4, 4), left=1)


def test_a_layer_whose_output_goes_elsewhere_too_keeps_its_weights() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)

        def forward(self, images: Tensor) -> Tensor:
            conv = self.conv(images)
            out: Tensor = self.norm(conv) + conv
            return out

    assert_same_function(settled(Branch()), pixels(3, 2, 4, 4), left=1)


def test_a_folded_bias_takes_no_name_that_the_model_uses() -> None:
    class OwnBias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.randn(4))
            self.norm = nn.BatchNorm2d(4)

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.norm(F.conv2d(images, self.weight)) + self.bias.view(1, -1, 1, 1)
            return out

    assert_same_function(settled(OwnBias()), pixels(3, 2, 6, 6), left=0)


@pytest.mark.parametrize("make", [plain, Residual])
def test_the_model_itself_is_left_alone(make: type[nn.Module]) -> None:
    model = settled(make())
    names = set(model.state_dict())
    found = traced(model, (1, 8, 8))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.zero_()
    assert set(model.state_dict()) == names
    assert model(pixels(2, 1, 8, 8)).abs().sum() > 0


def test_a_model_that_branches_on_its_data_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if images.sum() > 0 else -images

    with pytest.raises(InputError, match=r"Branching cannot be traced .* must not branch"):
        traced(Branching().eval(), (1, 4, 4))


def test_a_trace_that_is_another_function_is_refused() -> None:
    class Noisy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) + torch.rand_like(images).mean((2, 3))

    with pytest.raises(
        InputError, match=r"Noisy was traced as another function \(scores up to .* apart\): its forward"
    ):
        traced(Noisy().eval(), (1, 4, 4))


def test_scores_of_a_broken_model_are_no_difference() -> None:
    model = settled(plain())
    with torch.no_grad():
        model.get_parameter("6.bias")[1] = float("nan")
    assert traced(model, (1, 8, 8))(pixels(2, 1, 8, 8)).isnan().any()
