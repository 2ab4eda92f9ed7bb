"""The batch size that a machine is fastest with, by a clock that the work itself moves on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.data.dataset import Images
from harness.robustness.batch_size import CANDIDATES, fastest

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.core

MANY = np.zeros((2000, 1, 1, 1), np.float32)


class Work:
    """Takes as long as is said for each batch size; what is said to be an error is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, images_per_s: Mapping[int, float | Exception]) -> None:
        self._images_per_s = images_per_s
        self.now_s = 0.0
        self.sizes: list[int] = []
        self.warm: set[int] = set()
        monkeypatch.setattr(time, "perf_counter", lambda: self.now_s)

    def __call__(self, images: Images) -> None:
        size = len(images)
        self.sizes.append(size)
        speed = self._images_per_s[size]
        if isinstance(speed, Exception):
            raise speed
        self.now_s += size / speed + (0 if size in self.warm else 3.0)  # whatever is new is slow at first
        self.warm.add(size)

    @property
    def tried(self) -> list[int]:
        return list(dict.fromkeys(self.sizes))


Working = Callable[..., Work]


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> Working:
    def made(*images_per_s: float | Exception) -> Work:
        return Work(monkeypatch, dict(zip(CANDIDATES, images_per_s, strict=False)))

    return made


def test_the_most_images_a_second_win_and_much_larger_ones_are_not_tried(working: Working) -> None:
    work = working(100, 200, 300, 250)
    assert fastest(work, MANY) == 125
    assert work.tried == [32, 64, 125, 250], "500 and 1000 would be slower still"


def test_a_little_slower_is_no_reason_to_stop(working: Working) -> None:
    assert fastest(working(100, 99, 95, 120, 90), MANY) == 250


def test_the_largest_may_be_the_fastest(working: Working) -> None:
    assert fastest(working(1, 2, 3, 4, 5, 6), MANY) == 1000


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory")])
def test_memory_that_is_full_ends_the_search(working: Working, error: Exception) -> None:
    work = working(100, 200, 300, error, 900, 900)
    assert fastest(work, MANY) == 125
    assert work.tried == [32, 64, 125, 250]


def test_what_fails_with_the_smallest_batch_is_no_matter_of_size(working: Working) -> None:
    with pytest.raises(RuntimeError, match="no such operator"):
        fastest(working(RuntimeError("no such operator")), MANY)


@pytest.mark.parametrize(("images", "tried"), [(1, [1]), (32, [32]), (63, [32]), (64, [32, 64]), (249, [32, 64, 125])])
def test_there_are_no_more_images_than_there_are(
    monkeypatch: pytest.MonkeyPatch, images: int, tried: list[int]
) -> None:
    work = Work(monkeypatch, {size: size for size in (1, *CANDIDATES)})
    found = fastest(work, MANY[:images])
    assert work.tried == tried
    assert found == (tried[-1] if images > 1 else CANDIDATES[0])


def test_fast_work_is_timed_for_a_moment_and_slow_work_once(working: Working) -> None:
    work = working(32 / 0.01, 64 / 10)
    assert fastest(work, MANY) == 32
    assert 15 <= work.sizes.count(32) - 1 <= 16, "0.15 s of it"
    assert work.sizes.count(64) == 2, "one unmeasured and one that is"


def test_gradients_of_a_model_are_what_is_timed(working: Working) -> None:
    torch = pytest.importorskip("torch")
    from harness.attacks.differentiable import Differentiable
    from harness.robustness.batch_size import for_gradients

    work = working(100, 300, 200)
    weight = torch.ones(())
    differentiated: list[bool] = []

    def model(images: Tensor) -> Tensor:
        work(images.detach().numpy())
        differentiated.append(images.requires_grad)
        found: Tensor = torch.stack([images.mean((1, 2, 3)), weight.expand(len(images))], 1)
        return found

    assert for_gradients(Differentiable(model), MANY) == 64
    assert work.tried == [32, 64, 125]
    assert all(differentiated)
