from __future__ import annotations

from copy import deepcopy

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.training.average import MovingAverage
from tests.harness.training.small_tasks import network, recipe, trained


def floats(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values() if tensor.is_floating_point()]


def moved(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else torch.ones_like(tensor))


@settings(max_examples=20, deadline=None)
@given(decay=st.floats(0.01, 0.9999), steps=st.integers(0, 20))
def test_the_average_is_that_of_a_plain_loop(decay: float, steps: int) -> None:
    model = network()
    average, expected = MovingAverage(model, decay), floats(model)
    for step in range(steps):
        moved(model, step)
        average.update()
        share = min(decay, (1 + step) / (10 + step))
        expected = [share * old + (1 - share) * new for old, new in zip(expected, floats(model), strict=True)]
    own = deepcopy(model.state_dict())
    with average.in_place():
        for found, wanted in zip(floats(model), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        assert int(model.get_buffer("1.num_batches_tracked")) == steps
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, own[name])


def test_the_model_s_own_weights_come_back_after_an_error() -> None:
    model = network()
    average = MovingAverage(model, 0.9)
    moved(model, 1)
    own = floats(model)
    with pytest.raises(KeyError), average.in_place():
        raise KeyError
    assert all(torch.equal(found, wanted) for found, wanted in zip(floats(model), own, strict=True))


def test_training_returns_the_average_and_goes_on_from_the_weights() -> None:
    plain, averaged = network(), network()
    losses = [trained(model, recipe(ema_decay=decay)).loss for model, decay in ((plain, 0.0), (averaged, 0.9))]
    assert losses[0] == losses[1]  # the way is the same, only what is returned is not
    assert not any(torch.equal(a, b) for a, b in zip(plain.parameters(), averaged.parameters(), strict=True))
