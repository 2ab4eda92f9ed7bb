from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

pytest.importorskip("torch_pruning")

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from contracts.errors import InputError
from harness.compression.pruning import History, Pruning, prune, replay
from harness.compression.size import size_of
from harness.models.build import build_model
from tests.harness.compression.pruning.networks import Grouped, ImageJoined, layers
from tests.harness.compression.small_networks import Residual, plain, settled

EXAMPLE = torch.zeros(1, 1, 8, 8)


def wide() -> nn.Module:
    """Return three convolutions of uneven widths, named 0, 2 and 4, and a head, 7."""
    widths = (1, 20, 33, 40)
    blocks = [(nn.Conv2d(*pair, 3, padding=1), nn.ReLU()) for pair in pairwise(widths)]
    flat = [layer for block in blocks for layer in block]
    return nn.Sequential(*flat, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 3))


def attention() -> nn.Module:
    return build_model("vit-tiny", None, (1, 8, 8), 3)


def in_steps(model: nn.Module, pruning: Pruning, steps: int) -> list[History]:
    """Cut a model in steps, other weights between them as fine-tuning leaves."""
    history: History = []
    cuts: list[History] = []
    for number, cut in enumerate(pruning.in_steps(steps)):
        cuts.append(prune(model, EXAMPLE, cut, None, history))
        history += cuts[-1]
        torch.manual_seed(number)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.5 * weight.std(unbiased=False) * torch.randn_like(weight))
    return cuts


NETWORKS: list[Callable[[], nn.Module]] = [wide, plain, Residual, ImageJoined, Grouped, attention]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(NETWORKS),
    st.integers(5, 95),
    st.integers(2, 6),
    st.sampled_from([1, 2, 3, 4, 8]),
    st.sampled_from([0.0, 0.3, 0.9]),
)
def test_several_cuts_leave_the_channels_that_one_leaves(
    make: Callable[[], nn.Module], percent: int, steps: int, round_to: int, limit: float
) -> None:
    once, several, same = settled(make()), settled(make()), settled(make())
    first = next(name for name, layer in once.named_modules() if isinstance(layer, nn.Conv2d))
    pruning = Pruning(sparsity=percent / 100, round_to=round_to, limits={first: limit})
    try:
        prune(once, EXAMPLE, pruning)
    except InputError as error:
        with pytest.raises(InputError, match="not a single channel"):
            in_steps(several, pruning, steps)
        assert "not a single channel" in str(error)
        assert layers(several) == layers(same), "refused by the first cut"
        return
    cuts = in_steps(several, pruning, steps)
    assert shapes(several) == shapes(once)
    replay(same, [entry for cut in cuts for entry in cut])
    assert shapes(same) == shapes(once)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def test_the_cuts_on_the_way_are_equal_shares_of_what_is_left() -> None:
    model, counts = settled(wide()), []
    history: History = []
    for cut in Pruning(sparsity=0.75, round_to=4).in_steps(2):
        history += prune(model, EXAMPLE, cut, None, history)
        counts.append([layers(model)[name] for name in ("0", "2", "4")])
    assert counts == [[10, 16, 20], [4, 8, 8]], "half, rounded to channels alone, and then to multiples of four"


def test_a_cut_that_finds_nothing_more_is_empty() -> None:
    model = settled(plain())
    *_, last = in_steps(model, Pruning(sparsity=0.1), 6)
    assert last == []
    assert layers(model) == {"0": 7, "3": 14, "6": 3}


@settings(max_examples=15, deadline=None)
@example(percent=80, steps=2, round_to=8)
@given(st.integers(10, 80), st.integers(2, 6), st.sampled_from([1, 4, 8]))
def test_global_cuts_take_the_share_of_all_channels_however_many_they_are(
    percent: int, steps: int, round_to: int
) -> None:
    model = settled(wide())
    in_steps(model, Pruning(sparsity=percent / 100, scope="global", round_to=round_to, max_sparsity=0.9), steps)
    counts = [layers(model)[name] for name in ("0", "2", "4")]
    gone = sum((20, 33, 40)) - sum(counts)
    most = sum((20, 33, 40)) - 3 * max(round_to, 4)  # a layer keeps round_to channels, and a tenth of its own
    assert 0 <= gone - min(0.93 * percent, most) < max(round_to, 33 % round_to + round_to)
    assert all(count % round_to == 0 or count == before for count, before in zip(counts, (20, 33, 40), strict=True))


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_the_digits_network_keeps_its_parameters(steps: int) -> None:
    torch.manual_seed(0)
    model = build_model("digits-cnn", None, (1, 8, 8), 10)
    in_steps(model, Pruning(sparsity=0.5, round_to=8), steps)
    assert size_of(model, (1, 8, 8)).parameters == 33_114
