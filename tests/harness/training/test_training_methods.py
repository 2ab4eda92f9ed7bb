from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from harness.training.methods import BY_NAME
from harness.training.objective import objective
from harness.training.perturbation import Perturbation
from harness.training.recipe import METHODS, Method
from tests.harness.training.small_tasks import halves, network, recipe


def test_the_table_has_the_methods_that_a_recipe_knows() -> None:
    assert tuple(BY_NAME) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_a_method_perturbs_what_it_says(method: Method) -> None:
    assert recipe(method).adversarial is (BY_NAME[method].search is not None)
    assert BY_NAME[method].passes(7) > 1 or not recipe(method).adversarial
    assert not BY_NAME[method].single_step or BY_NAME[method].passes(7) == BY_NAME[method].passes(70)


def test_no_two_methods_train_alike() -> None:
    """Equal draws: a method that falls back on another one's search or loss has its loss."""
    split = halves(32)
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    losses = set()
    for method in METHODS:
        settings = recipe(method, epsilon=0.2)
        torch.manual_seed(0)
        loss, _ = objective(network(), images, labels, Perturbation.of(settings), settings)
        losses.add(round(loss.item(), 6))
    assert len(losses) == len(METHODS)
