"""The layer that writes the logits is found, and computes in float32 where the rest is rounded."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from harness.attacks.differentiable import Differentiable
from harness.attacks.head import exact, head_of

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Scaled(nn.Module):
    """Its logits are not what a layer wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return twice the layer's output."""
        scaled: Tensor = 2 * self.layer(images.flatten(1))
        return scaled


def network() -> tuple[nn.Sequential, nn.Linear]:
    """Return a model and its head."""
    torch.manual_seed(0)
    head = nn.Linear(16, 3)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), head).eval(), head


def test_the_head_is_the_layer_whose_output_comes_back_as_it_is() -> None:
    model, head = network()
    assert head_of(model, IMAGES) is head
    assert head_of(nn.Sequential(model, nn.Identity()), IMAGES) is head
    assert head_of(Scaled(), IMAGES) is None
    assert head_of(lambda images: images.flatten(1), IMAGES) is None
    assert not head._forward_hooks


def test_only_the_head_is_not_rounded() -> None:
    model, head = network()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        features = model[:3](IMAGES)
    assert features.dtype == torch.bfloat16
    expected = head(features.float()).detach()
    torch.testing.assert_close(Differentiable(model, torch.bfloat16).rounded_logits(IMAGES), expected, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(IMAGES).dtype == torch.bfloat16, "it is as it was"


def test_rounding_the_head_too_is_farther_off() -> None:
    model, head = network()
    head.weight.data.mul_(100)
    truth = model(IMAGES).detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = (model(IMAGES).float() - truth).abs().mean()
    assert (Differentiable(model, torch.bfloat16).rounded_logits(IMAGES) - truth).abs().mean() < rounded


def test_an_error_inside_leaves_the_layer_as_it_was() -> None:
    _, head = network()
    with pytest.raises(ValueError, match="inside"), exact(head):
        raise ValueError("inside")
    assert "forward" not in vars(head)
