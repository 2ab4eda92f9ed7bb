from __future__ import annotations

import pytest

pytest.importorskip("torch_pruning")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from contracts.errors import InputError
from harness.compression.pruning import Pruning, prune, ratio_for
from harness.compression.size import size_of
from tests.harness.compression.small_networks import plain, settled

SHAPE = (1, 8, 8)


def pruned(ratio: float) -> nn.Module:
    model = settled(plain())
    prune(model, torch.zeros(1, *SHAPE), Pruning(sparsity=ratio))
    return model


def macs(model: nn.Module) -> float:
    return size_of(model, SHAPE).macs


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_the_least_pruning_that_reaches_a_number_of_macs(share: float) -> None:
    wanted = share * macs(settled(plain()))
    asked: list[float] = []

    def quantity(model: nn.Module) -> float:
        asked.append(macs(model))
        return asked[-1]

    found = ratio_for(pruned, quantity, wanted, tolerance=0)
    assert found.quantity == macs(pruned(found.ratio)) <= wanted
    assert macs(pruned(found.ratio - 1 / 24)) > wanted, "a channel less is too much"
    assert len(asked) <= 10


@given(st.floats(0.06, 0.99), st.sampled_from([0.0, 0.05, 0.2]))
def test_what_is_found_is_close_from_below(wanted: float, tolerance: float) -> None:
    asked: list[float] = []

    def make(ratio: float) -> nn.Module:
        return nn.Linear(round((1 - ratio) * 2**12), 1, device="meta")

    def quantity(model: nn.Module) -> float:
        asked.append(model.get_parameter("weight").numel() / 2**12)
        return asked[-1]

    found = ratio_for(make, quantity, wanted, tolerance=tolerance)
    assert found.quantity == pytest.approx(1 - found.ratio, abs=2**-13)
    assert found.quantity <= wanted
    assert found.quantity >= wanted * (1 - tolerance) - 0.95 / 2**9 - 2**-12
    assert len(asked) <= 10


def test_the_same_channel_counts_are_measured_once() -> None:
    """Multiples of eight of 8 and 16 channels: one network can be made, whatever the ratio."""
    asked: list[float] = []

    def make(ratio: float) -> nn.Module:
        model = settled(plain())
        prune(model, torch.zeros(1, *SHAPE), Pruning(sparsity=ratio, round_to=8))
        return model

    def quantity(model: nn.Module) -> float:
        asked.append(macs(model))
        return asked[-1]

    wanted = 0.9 * macs(settled(plain()))
    assert ratio_for(make, quantity, wanted, tolerance=0).quantity <= wanted
    assert len(asked) == 1


def test_what_cannot_be_reached_is_refused_with_what_was() -> None:
    least = macs(pruned(0.95))
    with pytest.raises(
        InputError, match=rf"100 cannot be reached .* smallest value, {least:g}, .* channel ratio of 0\.95"
    ):
        ratio_for(pruned, macs, 100, tolerance=0.1)
