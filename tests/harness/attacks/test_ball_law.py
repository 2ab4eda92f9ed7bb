"""The law of all attacks: what comes back is an image of the ball, whatever the model does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.attacks.attack import Attack, BlackBox
from harness.attacks.ball import NORMS, Norm
from harness.attacks.registry import NAMES, attack, settings_of
from tests.harness.attacks.attacking import blind
from tests.harness.attacks.linear_models import pixels

SMALL = {"steps": 3, "queries": 20, "draws": 3, "targets": 2, "restarts": 2}
"""Hyper-parameters of attacks, by their names; those that an attack does not have are left out."""

SHAPES = ((1, 1, 1), (1, 5, 3), (3, 4, 4), (5, 2, 2))

Logits = Callable[[Tensor, Tensor], Tensor]
"""Images (n, …) and a linear model's logits of them (n, classes) to other logits (n, classes)."""


def bright(images: Tensor) -> Tensor:
    return (images.flatten(1).mean(1) > 0.5)[:, None]


def no_gradient_at_dark_values(images: Tensor, logits: Tensor) -> Tensor:
    """Return finite logits whose gradient is NaN: of a root at zero, times zero."""
    return logits + (images - 0.5).relu().sqrt().flatten(1).sum(1, keepdim=True)


MODELS: dict[str, Logits] = {
    "linear": lambda images, logits: logits,
    "constant": lambda images, logits: 0 * logits,
    "huge": lambda images, logits: 1e30 * logits,
    "tiny": lambda images, logits: 1e-30 * logits,
    "saturated": lambda images, logits: 200 * logits,
    "infinite": lambda images, logits: 1e38 * (1e3 * logits),
    "not a number": lambda images, logits: math.nan * logits,
    "not a number where it is bright": lambda images, logits: logits.where(~bright(images), math.nan),
    "gradient not a number": no_gradient_at_dark_values,
}


def small(name: str, **more: int) -> Attack | BlackBox:
    """Return an attack that does little."""
    fields = settings_of(attack(name, {}))
    return attack(name, {key: value for key, value in {**SMALL, **more}.items() if key in fields})


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    kind=st.sampled_from(tuple(MODELS)),
    classes=st.integers(2, 5),
    n=st.integers(1, 3),
    radius=st.floats(1e-4, 1.0),
    unjudged=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_the_result_is_an_image_of_the_ball(
    name: str,
    norm: Norm,
    shape: tuple[int, int, int],
    kind: str,
    classes: int,
    n: int,
    radius: float,
    unjudged: bool,
    seed: int,
) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(math.prod(shape), classes, generator=random)
    images, labels = pixels(n, shape, seed), torch.randint(classes, (n,), generator=random)
    ids, epsilon = torch.arange(n) + seed, radius if norm == "linf" else 3 * radius
    way = small(name)

    def model(shown: Tensor) -> Tensor:
        return MODELS[kind](shown, shown.flatten(1) @ weight - 1)

    target: Any = blind(model) if unjudged and isinstance(way, Attack) else model
    before, labels_before, ids_before = images.clone(), labels.clone(), ids.clone()
    found = way(target, images, labels, epsilon=epsilon, norm=norm, image_ids=ids, seed=seed)

    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    changes = (found.double() - before.double()).flatten(1)
    assert changes.norm(dim=1, p=math.inf if norm == "linf" else 2).max() <= epsilon + 1e-6
    assert torch.equal(images, before)
    assert torch.equal(labels, labels_before)
    assert torch.equal(ids, ids_before)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NAMES)
def test_two_classes_are_enough_for_a_large_ball_to_be_lost(name: str, norm: Norm) -> None:
    images = torch.full((4, 1, 4, 4), 0.5)

    def model(shown: Tensor) -> Tensor:
        z = shown.flatten(1).sum(1) - 8.2
        return torch.stack([-z, z], 1)

    way, labels = small(name, steps=20, queries=200, draws=50), torch.zeros(4, dtype=torch.int64)
    found = way(model, images, labels, epsilon=0.4, norm=norm)
    assert (model(found).argmax(1) == 1).all()
