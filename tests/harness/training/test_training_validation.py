from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.attacks.pgd import PGD
from harness.training.validation import Validation
from tests.harness.training.small_tasks import halves, network, recipe, trained

CPU = torch.device("cpu")


@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=300),
    samples=st.integers(0, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_validation_images_are_apart_and_every_class_keeps_its_share(
    labels: list[int], samples: int, seed: int
) -> None:
    array = np.array(labels, np.int64)
    drawn = Validation.draw(array, samples, seed)
    assert sorted([*drawn.ids, *drawn.rest]) == list(range(len(array)))
    sizes = np.bincount(array)
    assert len(drawn) == min(samples, len(array) // 10, len(array) - np.count_nonzero(sizes))
    if sizes.min(initial=300, where=sizes > 0) > 1:
        shares = np.bincount(array[drawn.ids], minlength=len(sizes)) - sizes * len(drawn) / len(array)
        assert (np.abs(shares) <= 1 + 1e-9).all()


def test_the_seed_decides_which() -> None:
    labels = np.arange(1000) % 10
    ids = [tuple(Validation.draw(labels, 50, seed).ids) for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_validation_images_are_never_trained_on() -> None:
    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(36, 2)
            self.seen: set[float] = set()

        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                self.seen |= set(images.detach().flatten(1).double().sum(1).tolist())
            scores: Tensor = self.head(images.flatten(1))
            return scores

    model, split = Watching(), halves(200)
    outcome = trained(model, recipe(validation_samples=15), split=split)
    sums = torch.from_numpy(split.images).flatten(1).double().sum(1)
    kept = [float(total) in model.seen for total in sums]
    assert outcome.validation_ids == tuple(np.flatnonzero(~np.array(kept)))
    assert len(outcome.validation_ids) == 15


def test_accuracies_are_those_of_the_model_under_pgd() -> None:
    model, split = network(), halves(200)
    settings = recipe("pgd", epsilon=0.25, precision="float32")
    trained(model, settings, split=split)
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    whole = Validation(np.arange(200), np.empty(0, np.int64))
    verdict = whole.judge(model, split, settings, 7, CPU, lambda _: None)
    right = model(images).argmax(1) == labels
    attack = PGD(steps=10, step_size=0.0625, random_start=True)
    found = attack(model, images, labels, epsilon=0.25, seed=7)
    assert verdict.clean == float(right.float().mean())
    assert verdict.robust == pytest.approx(
        float((right & (model(found).argmax(1) == labels)).float().mean()), abs=0.005
    )
    assert verdict.robust is not None
    assert 0 < verdict.robust < verdict.clean
    assert 0 < verdict.gradients < 10 * int(right.sum())  # an image that is fooled is attacked no further


def test_standard_training_is_judged_without_an_attack() -> None:
    whole = Validation(np.arange(96), np.empty(0, np.int64))
    verdict = whole.judge(network(), halves(), recipe(), 0, CPU, lambda _: None)
    assert verdict.clean is not None
    assert (verdict.robust, verdict.gradients) == (None, 0)
