from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch_pruning")

import torch
from torch import Tensor, nn

from contracts.errors import InputError
from harness.compression.pruning import Pruning, gradients_of, prune
from harness.compression.pruning.importance import WEIGHT_SCORES
from harness.compression.pruning.settings import NEEDS, Scope
from tests.harness.compression.small_networks import Residual, pixels, plain, settled

EXAMPLE = torch.zeros(1, 1, 8, 8)
PLANTED = [1, 4]
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def cut_of(
    model: nn.Module, layer: str, pruning: Pruning, gradients: Callable[[nn.Module], None] | None = None
) -> list[int]:
    history = prune(model, EXAMPLE, pruning, gradients)
    return next(channels for name, out, channels in history if (name, out) == (layer, True))


def shrink(model: nn.Module, factor: float) -> None:
    """Make the planted channels' weights small, in every layer that they go with."""
    with torch.no_grad():
        for name in ("0.weight", "1.weight"):
            model.get_parameter(name)[PLANTED] *= factor
        model.get_parameter("3.weight")[:, PLANTED] *= factor


@pytest.mark.parametrize("method", ["l1", "l2"])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_the_smallest_channels_go(method: str, scope: Scope) -> None:
    model = settled(plain())
    shrink(model, 1e-3)
    limits = {"3": 0.0} if scope == "local" else {}
    share = 0.25 if scope == "local" else 2 / 24
    assert cut_of(model, "0", Pruning(method=method, sparsity=share, scope=scope, limits=limits)) == PLANTED


def test_many_small_weights_and_few_large_ones_are_ranked_by_the_norm() -> None:
    def network() -> nn.Module:
        model = settled(
            nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
        )
        with torch.no_grad():
            model.get_parameter("0.weight")[0] = 0.2  # l1 1.8, l2 0.36
            model.get_parameter("0.weight")[1] = 0
            model.get_parameter("0.weight")[1, 0, 0, 0] = 1.0  # l1 1, l2 1
            model.get_parameter("3.weight")[:] = 0.1
        return model

    assert cut_of(network(), "0", Pruning(method="l1")) == [1]
    assert cut_of(network(), "0", Pruning(method="l2")) == [0]


def test_small_scales_of_batch_norms_go_and_layers_without_stay() -> None:
    model = settled(plain())
    with torch.no_grad():
        model.get_parameter("1.weight")[PLANTED] = 0
        model.get_parameter("0.weight")[PLANTED] *= 100  # the weights say the opposite
    history = prune(model, EXAMPLE, Pruning(method="bn-scale", sparsity=0.25))
    assert ("0", True, PLANTED) in history
    assert not any(name == "3" and out for name, out, _ in history), "no batch norm behind it"


@pytest.mark.parametrize("method", ["taylor", "robust-taylor"])
def test_channels_that_the_loss_does_not_depend_on_go(method: str) -> None:
    model = settled(plain())
    with torch.no_grad():
        model.get_parameter("0.weight")[PLANTED] *= 100
        model.get_parameter("3.weight")[:, PLANTED] = 0  # no gradient reaches them
    gradients = gradients_of(pixels(6, 1, 8, 8), LABELS, 4)
    assert cut_of(model, "0", Pruning(method=method, sparsity=0.25), gradients) == PLANTED
    assert all(parameter.grad is None for parameter in model.parameters()), "cleared"


def test_the_loss_alone_sets_robust_taylor_apart() -> None:
    def only_left(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        moved = images.clone()
        moved[..., 4:] = 0
        return moved

    def importance(attack: Callable[[nn.Module, Tensor, Tensor], Tensor] | None, method: str) -> list[int]:
        model = settled(plain())
        gradients = gradients_of(pixels(6, 1, 8, 8), LABELS, 3, attack)
        return cut_of(model, "3", Pruning(method=method, sparsity=0.5), gradients)

    assert importance(None, "taylor") == importance(None, "robust-taylor")
    assert importance(only_left, "taylor") == importance(only_left, "robust-taylor")
    assert importance(None, "taylor") != importance(only_left, "taylor")


def test_gradients_are_those_of_the_mean_loss_whatever_the_batch_and_the_attack_leave_behind() -> None:
    model = settled(Residual()).train()
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    images = pixels(6, 1, 8, 8)

    def careless(network: nn.Module, given: Tensor, labels: Tensor) -> Tensor:
        assert not network.training
        torch.autograd.backward(nn.functional.cross_entropy(network(given), labels))
        return given

    gradients_of(images, LABELS, 4, careless)(model)
    found = [parameter.grad for parameter in model.parameters()]
    assert model.training and all(torch.equal(buffer, statistics[name]) for name, buffer in model.named_buffers())
    model.zero_grad()
    torch.autograd.backward(nn.functional.cross_entropy(model.eval()(images), LABELS))
    for parameter, grad in zip(model.parameters(), found, strict=True):
        assert grad is not None and parameter.grad is not None
        torch.testing.assert_close(grad, parameter.grad)


def test_what_has_no_importance_is_refused() -> None:
    with pytest.raises(InputError, match=r"prune\.method 'taylor' reads gradients of a loss, and none are given"):
        prune(settled(plain()), EXAMPLE, Pruning(method="taylor"))
    with pytest.raises(InputError, match=r"prune\.method 'taylor' found no gradient in any parameter"):
        prune(settled(plain()), EXAMPLE, Pruning(method="taylor"), lambda _: None)
    without = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    with pytest.raises(InputError, match="reads the scales of batch norms, and Sequential has none: choose 'l1'"):
        prune(without, EXAMPLE, Pruning(method="bn-scale"))
    broken = settled(plain())
    with torch.no_grad():
        broken.get_parameter("0.weight")[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite weights or gradients around layer '0'"):
        prune(broken, EXAMPLE, Pruning())


def test_every_method_is_computed() -> None:
    assert [*WEIGHT_SCORES, *(name for name, needs in NEEDS.items() if needs.seed)] == list(NEEDS)
