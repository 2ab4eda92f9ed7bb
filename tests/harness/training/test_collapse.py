from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from harness.data.dataset import Split
from harness.data.registry import find
from harness.training import collapse
from harness.training.collapse import FALLBACK_STEPS, has_collapsed
from harness.training.recipe import Method
from tests.harness.training import small_tasks
from tests.harness.training.small_tasks import halves, recipe, trained


@pytest.mark.parametrize(
    ("robust", "best", "single_step", "samples", "collapsed"),
    [
        (0.00, 0.45, 0.95, 500, True),
        (0.20, 0.45, 0.60, 500, True),
        (0.24, 0.45, 0.95, 500, False),  # more than half of the best is left
        (0.05, 0.45, 0.20, 500, False),  # its own images are not right either: the training diverged
        (0.00, 0.10, 0.30, 500, True),  # less than guessing, and far above it on its own images
        (0.20, 0.45, 0.60, 10, False),  # of ten images that is chance
        (0.00, 0.00, 0.90, 500, False),
    ],
)
def test_a_collapse_is_a_fall_that_the_single_step_does_not_see(
    robust: float, best: float, single_step: float, samples: int, collapsed: bool
) -> None:
    assert has_collapsed(robust, best, single_step, samples) is collapsed


def half_of_the_digits() -> Split:
    whole = find("digits").read().train
    return whole.take(np.flatnonzero(whole.labels < 5))


def network() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels, stride in ((1, 1), (32, 2)):
        layers += [nn.Conv2d(channels, 32, 3, stride, 1), nn.BatchNorm2d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 5)).eval()


# At this radius FGSM with a random start learns to mislead its own step, without anything planted: measured with seeds
# 0 to 3, after eight epochs up to 0.50 of its own images were right and at most 0.01 of the others under PGD, while the
# guarded runs reached 0.20 to 0.32.
COLLAPSING = recipe(
    "fgsm-rs",
    epochs=8,
    epsilon=0.4,
    schedule="constant",
    batch_size=32,
    weight_decay=0.0,
    validation_samples=71,
    precision="float32",
)


def test_a_real_collapse_is_undone_and_training_becomes_robust(monkeypatch: pytest.MonkeyPatch) -> None:
    split, model = half_of_the_digits(), network()
    guarded = trained(model, COLLAPSING, split=split)
    (warning,) = guarded.warnings
    assert "training: fgsm-rs collapsed in epoch " in warning
    assert "from a robust accuracy of 20.0% (the best before, or that of guessing) to " in warning
    assert f"with PGD of {FALLBACK_STEPS} steps" in warning
    undone = int(warning.split("epoch ")[1].split(",")[0])
    assert [epoch.number for epoch in guarded.epochs] == list(range(1, 9))
    assert [epoch.single_step is None for epoch in guarded.epochs] == [number >= undone for number in range(1, 9)]
    steps = (undone, 1 + 1), (8 - undone + 1, FALLBACK_STEPS + 1)  # epochs of each kind, the one undone with the first
    least = sum(epochs * passes for epochs, passes in steps)
    assert least < guarded.gradient_passes <= least + 9  # validation: a tenth of the images, ten steps, nine times

    monkeypatch.setattr(collapse, "has_collapsed", lambda *_: False)
    alone = trained(network(), COLLAPSING, split=split)
    assert alone.warnings == ()
    last, single_step = alone.epochs[-1].robust, alone.epochs[-1].single_step
    assert last is not None
    assert single_step is not None
    assert last < 0.1
    assert single_step > 0.35
    assert max(epoch.robust or 0 for epoch in guarded.epochs) > last + 0.08


def test_what_was_learnt_in_an_epoch_that_is_undone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the second epoch is called a collapse."""
    asked: list[float] = []

    def second(robust: float, best: float, single_step: float, samples: int) -> bool:
        asked.append(best)
        return len(asked) == 2

    monkeypatch.setattr(collapse, "has_collapsed", second)
    settings = recipe("n-fgsm", epochs=3, validation_samples=9, ema_decay=0.9, keep="last")
    model = small_tasks.network()
    outcome = trained(model, settings)
    assert len(asked) == 2  # PGD is not watched
    assert [epoch.number for epoch in outcome.epochs] == [1, 2, 3]
    assert int(model.get_buffer("1.num_batches_tracked")) == 3 * 6
    assert len(outcome.warnings) == 1


def test_multi_step_methods_are_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "has_collapsed", lambda *_: pytest.fail("watched"))
    for method in ("standard", "pgd", "trades"):
        assert trained(small_tasks.network(), recipe(method, epochs=1, validation_samples=9)).warnings == ()


@pytest.mark.parametrize(
    ("method", "samples", "images", "warned"),
    [
        ("n-fgsm", 0, 96, True),
        ("fgsm-rs", 9, 9, True),  # a tenth of nine images is none
        ("n-fgsm", 9, 96, False),
        ("pgd", 0, 96, False),
        ("standard", 0, 96, False),
    ],
)
def test_a_single_step_without_anyone_to_judge_it_is_warned_of(
    method: Method, samples: int, images: int, warned: bool
) -> None:
    found = trained(small_tasks.network(), recipe(method, epochs=1, validation_samples=samples), split=halves(images))
    assert len(found.warnings) == warned
    if warned:
        assert (
            f"training: no validation images are kept aside, without which a collapse of {method}" in found.warnings[0]
        )
