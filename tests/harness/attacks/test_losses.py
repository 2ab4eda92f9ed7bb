from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.attacks.losses import cross_entropy, dlr, targeted_dlr

LOGITS = torch.tensor([[4.0, 1.0, 3.0, 0.0, 2.0], [4.0, 1.0, 3.0, 0.0, 2.0], [4.0, 1.0, 3.0, 0.0, 2.0]])
LABELS = torch.tensor([0, 2, 3])


def logits_of(n: int, classes: int, seed: int) -> Tensor:
    return 3 * torch.randn(n, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_dlr_by_hand() -> None:
    # z_1st - z_3rd = 4 - 2; right by 1, wrong by 1, wrong by 4.
    torch.testing.assert_close(dlr(LOGITS, LABELS), torch.tensor([-0.5, 0.5, 2.0]))


def test_targeted_dlr_by_hand() -> None:
    # z_1st - (z_3rd + z_4th) / 2 = 4 - (2 + 1) / 2.
    found = targeted_dlr(LOGITS, LABELS, torch.tensor([1, 0, 4]))
    torch.testing.assert_close(found, torch.tensor([(1 - 4) / 2.5, (4 - 3) / 2.5, (2 - 0) / 2.5]))


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [torch.log(torch.tensor(3.0)), 0.0]])
    torch.testing.assert_close(cross_entropy(logits, torch.tensor([0, 1])), torch.tensor([2.0, 4.0]).log())


@given(
    classes=st.integers(4, 12), seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0)
)
def test_dlr_changes_neither_with_the_logits_scale_nor_with_their_shift(
    classes: int, seed: int, scale: float, shift: float
) -> None:
    logits = logits_of(6, classes, seed)
    labels, targets = torch.arange(6) % classes, (torch.arange(6) + 1) % classes
    other = scale * logits + shift
    torch.testing.assert_close(dlr(other, labels), dlr(logits, labels))
    torch.testing.assert_close(targeted_dlr(other, labels, targets), targeted_dlr(logits, labels, targets))


@given(classes=st.integers(2, 12), seed=st.integers(0, 10_000))
def test_dlr_is_above_zero_exactly_where_the_decision_is_wrong(classes: int, seed: int) -> None:
    logits = logits_of(8, classes, seed)
    labels = torch.arange(8) % classes
    assert torch.equal(dlr(logits, labels) > 0, logits.argmax(1) != labels)


@given(classes=st.integers(3, 12), seed=st.integers(0, 10_000))
def test_dlr_of_a_right_decision_lies_between_minus_one_and_zero(classes: int, seed: int) -> None:
    logits = logits_of(8, classes, seed)
    found = dlr(logits, logits.argmax(1))
    assert (found >= -1).all()
    assert (found <= 0).all()


def test_with_few_classes_the_margin_is_left() -> None:
    two, label = torch.tensor([[3.0, 1.0], [1.0, 3.0]]), torch.tensor([0, 0])
    torch.testing.assert_close(dlr(two, label), torch.tensor([-2.0, 2.0]))
    three = torch.tensor([[3.0, 1.0, 0.5], [3.0, 1.0, 0.5]])
    torch.testing.assert_close(targeted_dlr(three, label, torch.tensor([1, 2])), torch.tensor([-2.0, -2.5]))


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_equal_logits_give_finite_losses_and_gradients(classes: int) -> None:
    labels, targets = torch.tensor([0, 1]), torch.tensor([1, 0])
    for loss in (cross_entropy, dlr, lambda z, y: targeted_dlr(z, y, targets)):
        logits = torch.full((2, classes), 7.0, requires_grad=True)
        losses = loss(logits, labels)
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        assert losses.shape == (2,)
        assert losses.isfinite().all()
        assert gradient.isfinite().all()


@given(seed=st.integers(0, 10_000))
def test_an_image_s_loss_depends_on_no_other_image(seed: int) -> None:
    logits = logits_of(5, 6, seed)
    labels, targets = torch.arange(5), torch.arange(1, 6)
    for row in range(5):
        part = slice(row, row + 1)
        assert torch.equal(dlr(logits[part], labels[part]), dlr(logits, labels)[part])
        alone = targeted_dlr(logits[part], labels[part], targets[part])
        assert torch.equal(alone, targeted_dlr(logits, labels, targets)[part])
