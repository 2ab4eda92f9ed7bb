from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("torch_pruning")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.compression.pruning import History, Pruning, prune, replay
from harness.compression.pruning.settings import Scope
from harness.models.checkpoint import load_into, read_weights, save_weights
from tests.harness.compression.pruning.networks import Grouped, ImageJoined, blind, layers
from tests.harness.compression.small_networks import Residual, pixels, plain, settled

EXAMPLE = torch.zeros(1, 1, 8, 8)


def three(widths: tuple[int, int, int] = (20, 30, 40)) -> nn.Module:
    """Return three convolutions that shrink on their own, named 0, 2 and 4, and a head, 8."""
    first, second, third = widths
    return settled(
        nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(third, 3),
        )
    )


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 95), st.sampled_from([1, 2, 3, 4, 8]))
def test_every_layer_loses_the_share_rounded_up_and_keeps_a_multiple(percent: int, round_to: int) -> None:
    model = three()
    prune(model, EXAMPLE, Pruning(sparsity=percent / 100, round_to=round_to))
    for name, before in (("0", 20), ("2", 30), ("4", 40)):
        least = math.ceil(before * 5 / 100)  # what max_sparsity leaves
        left = (before * (100 - percent)) // 100 // round_to * round_to
        fewest = math.ceil(least / round_to) * round_to
        assert layers(model)[name] == max(left, fewest)
    assert layers(model)["8"] == 3, "the classes stay"
    assert model(pixels(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize("make", [plain, Residual, ImageJoined, Grouped])
@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.75])
def test_the_pruned_network_is_the_whole_one_blind_to_what_went(make: type[nn.Module], sparsity: float) -> None:
    whole, model = settled(make()), settled(make())
    history = prune(model, EXAMPLE, Pruning(sparsity=sparsity))
    if make is not Grouped:  # a group norm sees all channels of its group
        blind(whole, history)
        torch.testing.assert_close(model(pixels(4, 1, 8, 8)), whole(pixels(4, 1, 8, 8)))
    assert all(count < layers(whole)[name] for name, count in layers(model).items() if name not in ("6", "head"))


def test_all_groups_of_a_group_convolution_and_a_group_norm_lose_the_same() -> None:
    model = Grouped().eval()
    history = prune(model, EXAMPLE, Pruning(sparsity=0.5))
    assert (model.grouped.in_channels, model.grouped.out_channels, model.norm.num_channels) == (4, 8, 8)
    cut = {(name, out): channels for name, out, channels in history}
    assert [each % 4 for each in cut["grouped", False]] == [each % 4 for each in cut["grouped", False]][:2] * 2
    assert len({each % 4 for each in cut["grouped", True]}) == 2, "four parts of four, each loses the same two"


@pytest.mark.parametrize("round_to", [1, 4])
def test_global_takes_the_share_of_all_channels_and_no_layer_loses_more_than_it_may(round_to: int) -> None:
    model = three((20, 40, 40))
    with torch.no_grad():
        model.get_parameter("2.weight")[:36] *= 1e-3
        model.get_parameter("4.weight")[:, :36] *= 1e-3
    pruning = Pruning(sparsity=0.4, scope="global", max_sparsity=0.75, round_to=round_to)
    prune(model, EXAMPLE, pruning)
    counts = layers(model)
    assert counts["2"] == math.ceil(10 / round_to) * round_to, "36 of 40 are near zero, and 30 may go"
    left = counts["0"] + counts["2"] + counts["4"]
    assert 60 - round_to < left <= 60
    assert all(counts[name] % round_to == 0 for name in ("0", "2", "4"))


@pytest.mark.parametrize("scope", ["local", "global"])
def test_limits_replace_the_share_of_their_layers(scope: Scope) -> None:
    model = three()
    prune(model, EXAMPLE, Pruning(sparsity=0.5, scope=scope, limits={"0": 0.0, "2": 0.1}))
    counts = layers(model)
    assert (counts["0"], counts["2"], counts["4"], counts["8"]) == (20, 27, 20, 3)


def test_of_layers_that_shrink_together_the_smallest_limit_counts() -> None:
    model = settled(Residual())
    prune(model, EXAMPLE, Pruning(sparsity=0.5, limits={"skip": 0.2, "first": 0.75}))
    assert layers(model) == {"stem": 4, "first": 6, "skip": 6, "head": 3}


def test_the_longest_name_wins_and_a_container_stands_for_its_layers() -> None:
    model = nn.Sequential(three(), nn.Identity()).eval()
    prune(model, EXAMPLE, Pruning(sparsity=0.5, limits={"0": 0.0, "0.4": 0.25}))
    assert [layers(model)[name] for name in ("0.0", "0.2", "0.4")] == [20, 30, 30]


def test_ignored_modules_keep_every_tensor() -> None:
    model = nn.Sequential(nn.Sequential(*list(three().children())[:3]), *list(three().children())[3:]).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prune(model, EXAMPLE, Pruning(sparsity=0.5, ignore=("0",)))
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("0."))
    assert len(after["2.weight"]) == 20, "the rest does shrink"
    ignored = three()
    prune(ignored, EXAMPLE, Pruning(sparsity=0.5, ignore=("2",)))
    assert layers(ignored) == {"0": 20, "2": 30, "4": 20, "8": 3}, "neither its outputs nor its inputs"


def test_the_seed_alone_decides_what_random_cuts() -> None:
    cuts = [prune(three(), EXAMPLE, Pruning(method="random", seed=seed)) for seed in (0, 0, 1)]
    assert cuts[0] == cuts[1] != cuts[2]
    assert prune(three(), EXAMPLE, Pruning()) == prune(three(), EXAMPLE, Pruning(seed=5))


@pytest.mark.parametrize("make", [plain, Residual, ImageJoined, Grouped])
def test_a_replayed_and_loaded_model_is_the_pruned_one(make: type[nn.Module], tmp_path: Path) -> None:
    model = settled(make())
    history: History = []
    for step in Pruning(sparsity=0.6).in_steps(2):
        history += prune(model, EXAMPLE, step, None, history)
    save_weights(model.state_dict(), tmp_path / "weights.safetensors")
    stored = [(layer, out, cut) for layer, out, cut in json.loads(json.dumps(history))]
    same, other = settled(make()), settled(make(), seed=7)
    replay(same, stored)
    replay(other, stored)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in same.state_dict().items())
    load_into(other, read_weights(tmp_path / "weights.safetensors"), tmp_path)
    images = pixels(4, 1, 8, 8)
    for each in (same, other):
        torch.testing.assert_close(each(images), model(images), rtol=0, atol=0)


def test_classes_stay_where_another_layer_has_as_many_outputs() -> None:
    class HeadFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(16, 8)
            self.second = nn.Conv2d(8, 16, 3)
            self.first = nn.Conv2d(1, 8, 3)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.relu(self.second(torch.relu(self.first(images)))).mean((2, 3)))
            return logits

    model = HeadFirst().eval()
    prune(model, EXAMPLE, Pruning(sparsity=0.5))
    assert layers(model) == {"head": 8, "second": 8, "first": 4}


def test_a_convolution_that_writes_logits_behind_a_pool_stays() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    prune(model.eval(), EXAMPLE, Pruning(sparsity=0.5))
    assert layers(model) == {"0": 4, "2": 6}
