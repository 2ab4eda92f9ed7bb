"""The arms under an attack that only asks: no model is at hand, and torch is not imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engines.engine import Engine, LoadOptions
from harness.attacks.noise import Noise
from harness.data.dataset import Split
from harness.robustness.arms import Engagement, run_arm
from harness.robustness.decisions import decide
from harness.robustness.worst_case import worst_case

pytestmark = pytest.mark.core

Array = npt.NDArray[Any]

EPSILON = 0.1


class Corner(Engine):
    """Class 1 is what is brighter than 0.5 in its first pixel."""

    def __init__(self) -> None:
        super().__init__((1, 2, 2), 2, LoadOptions(batch_size=1))
        self.shown = 0

    def _activate(self) -> None:
        pass

    def _infer(self, images: Array) -> Array:
        self.shown += len(images)
        return self.scores(images)

    def scores(self, images: Array) -> Array:
        """Return the margin either way."""
        margin = images[:, 0, 0, 0] - 0.5
        return np.stack([-margin, margin], 1).astype(np.float32)

    def _bind(self, images: Array) -> Callable[[], None]:
        return lambda: None

    def _deactivate(self) -> None:
        pass


def engaged(engine: Corner, draws: int) -> Engagement:
    """Return 40 images near the border and 40 beyond the ball's reach."""
    values = np.array([0.45] * 20 + [0.55] * 20 + [0.2] * 20 + [0.8] * 20, np.float32)
    images = np.broadcast_to(values[:, None, None, None], (80, 1, 2, 2)).copy()
    split = Split(images, (values > 0.5).astype(np.int64))
    clean = decide(engine.scores(images))
    return Engagement(engine, None, split, clean, Noise(draws=draws), EPSILON, seed=0)


def test_transfer_draws_once_and_the_loop_until_it_wins() -> None:
    with Corner() as engine:
        assert isinstance(engine, Corner)
        engagement = engaged(engine, draws=20)
        transfer = run_arm("transfer", engagement, lambda _: None)
        assert transfer.queries == engine.shown == 80
        seen = engine.shown
        loop = run_arm("loop", engagement, lambda _: None)
        assert loop.queries == engine.shown - seen
    labels = engagement.split.labels
    turned = transfer.decisions != labels
    assert 10 <= turned[:40].sum() <= 30, "half of all corners turn an image near the border"
    assert (loop.decisions != labels)[:40].all(), "one of twenty corners does"
    for outcome in (transfer, loop):
        assert (outcome.decisions == labels)[40:].all()
        assert outcome.wavering == 0
        moved = np.abs(outcome.adversarial - engagement.split.images[list(outcome.rows)])
        assert moved.max() <= EPSILON + 1e-6
        assert (decide(Corner().scores(outcome.adversarial)) != labels[list(outcome.rows)]).all()
    # The images beyond reach get all twenty draws, and everything is shown once more in the end.
    assert loop.queries > 40 * 20 + 80
    worst = worst_case(labels, engagement.clean_decisions, [transfer, loop])
    assert worst.robust.value == 0.5
    assert worst.unique_wins[0] == 0


def test_an_attack_that_only_asks_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np\n"
        "from harness.attacks.registry import attack\n"
        "from harness.attacks.run import adversarial_images\n"
        "import harness.robustness.arms, harness.robustness.decisions, harness.workflow.stages.evaluate\n"
        "zeros = np.zeros((2, 1, 4, 4), np.float32)\n"
        "found = adversarial_images(attack('noise', {}), None, lambda images, rows: rows == 0, zeros, rows := "
        "np.arange(2), epsilon=0.1, image_ids=rows, seed=0)\n"
        "print(found.max())"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert float(done.stdout) == pytest.approx(0.1)
