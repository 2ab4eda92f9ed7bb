from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from harness.attacks.pgd import PGD
from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.data.dataset import Split
from harness.data.registry import find
from harness.training.recipe import METHODS, Method
from harness.training.validation import Validation, Verdict
from tests.harness.training.small_tasks import halves, network, recipe, trained


def bits(model: nn.Module) -> Tensor:
    return torch.cat([tensor.detach().flatten().double() for tensor in model.state_dict().values()])


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Plant robust accuracies, the clean ones in the other order; return what was judged."""
    seen: list[Tensor] = []

    def judge(self: Validation, model: nn.Module, split: Split, settings: Any, *_: Any) -> Verdict:
        assert not model.training
        seen.append(bits(model))
        robust = (0.3, 0.6, 0.6, 0.2)[len(seen) - 1]
        return Verdict(1 - robust, robust if settings.adversarial else None, 87)

    monkeypatch.setattr(Validation, "judge", judge)
    return seen


@pytest.mark.parametrize(
    ("method", "keep", "kept"),
    [("pgd", "best", 3), ("pgd", "last", 4), ("standard", "best", 4), ("standard", "last", 4)],
)
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_epoch_that_is_kept_is_the_later_of_the_best(
    method: Method, keep: Any, kept: int, decay: float, judged: list[Tensor]
) -> None:
    model = network()
    outcome = trained(model, recipe(method, epochs=4, validation_samples=9, keep=keep, ema_decay=decay))
    assert outcome.kept_epoch == kept
    assert torch.equal(bits(model), judged[kept - 1])
    assert not torch.equal(judged[2], judged[3])


def test_clean_accuracy_judges_standard_training(judged: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = trained(network(), recipe(epochs=3, validation_samples=9))
    assert outcome.kept_epoch == 1
    assert [(epoch.clean, epoch.robust) for epoch in outcome.epochs] == [(0.7, None), (0.4, None), (0.4, None)]


@pytest.mark.parametrize(
    ("method", "passes"), [("standard", 1), ("pgd", 3 + 1), ("trades", 3 + 2), ("n-fgsm", 2), ("fgsm-rs", 2)]
)
def test_gradient_passes_are_those_of_search_and_training(method: Method, passes: int) -> None:
    outcome = trained(network(), recipe(method, pgd_steps=3))
    assert outcome.gradient_passes == 2 * passes


def test_gradient_passes_count_what_goes_through_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted a second time: by a hook on the network's backward pass."""
    for method in METHODS:
        model, seen = network(), 0

        def count(gradient: Tensor) -> None:
            nonlocal seen
            seen += len(gradient)

        def watch(module: nn.Module, given: Any, scores: Tensor, count: Any = count) -> None:
            if scores.requires_grad:
                scores.register_hook(count)  # type: ignore[no-untyped-call]

        model.register_forward_hook(watch)
        outcome = trained(model, recipe(method, epochs=1, validation_samples=9, epsilon=0.2))
        assert outcome.gradient_passes * 87 == pytest.approx(seen), method


def test_gradient_passes_count_validation_too(judged: list[Tensor]) -> None:
    assert trained(network(), recipe("n-fgsm", validation_samples=9)).gradient_passes == 2 * (
        2 + 1
    )  # 87 are trained on


def test_without_validation_images_nothing_is_judged() -> None:
    outcome = trained(network(), recipe("n-fgsm", epochs=3))
    assert outcome.validation_ids == ()
    assert outcome.kept_epoch == 3
    assert [epoch.number for epoch in outcome.epochs] == [1, 2, 3]
    assert all((epoch.clean, epoch.robust) == (None, None) for epoch in outcome.epochs)
    assert all(0 <= (epoch.single_step or -1) <= 1 for epoch in outcome.epochs)
    assert outcome.loss == outcome.epochs[-1].loss


def test_a_twin_is_settled_whenever_weights_are_put_in_place() -> None:
    twin = Twin(traced(network(), (1, 6, 6)))
    twin.calibrate("minmax", iter([torch.from_numpy(halves().images)]))
    modes = []

    def settle() -> None:
        modes.append(twin.training)
        twin.fit_weights()

    trained(twin, recipe("n-fgsm", ema_decay=0.9, validation_samples=9), settle=settle)
    assert len(modes) >= 2 * 2 + 1  # the average in and out, every epoch, and the outcome
    assert not any(modes)
    before = {name: quantizer.scale.clone() for name, quantizer in twin.weight_quantizers().items()}
    twin.fit_weights()
    assert all(torch.equal(quantizer.scale, before[name]) for name, quantizer in twin.weight_quantizers().items())


@pytest.fixture(scope="module")
def digits() -> tuple[Split, Split]:
    data = find("digits").read()
    return data.train, data.test.take(slice(0, 200))


def robust_accuracy(method: Method, digits: tuple[Split, Split]) -> float:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    ).eval()
    trained(model, recipe(method, epochs=10, epsilon=0.15, batch_size=64, pgd_steps=4), split=digits[0])
    images, labels = torch.from_numpy(digits[1].images), torch.from_numpy(digits[1].labels)
    found = PGD(steps=10, step_size=0.0375, random_start=True)(model, images, labels, epsilon=0.15)
    return float((model(found).argmax(1) == labels).float().mean())


def test_adversarial_training_makes_robust_and_standard_training_does_not(digits: tuple[Split, Split]) -> None:
    found = {method: robust_accuracy(method, digits) for method in METHODS}
    standard = found.pop("standard")
    assert standard < 0.2
    assert all(robust > standard + 0.25 for robust in found.values()), (standard, found)
    assert np.ptp(list(found.values())) < 0.35
