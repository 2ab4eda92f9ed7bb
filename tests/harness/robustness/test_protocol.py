"""The protocol: what each step gets, what an arm makes of it, and what is kept for the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from harness.attacks.attack import BlackBox
from harness.attacks.black_box.noise import Noise
from harness.progress import Advance, Silent
from harness.robustness.arms import Step
from harness.robustness.engagement import Engagement
from harness.robustness.journal import Journal
from harness.robustness.protocol import SHOWN, ArmOutcome, run

from .tiny_engines import EPSILON, Counted, Moved, brightness, engaged, grey

pytestmark = pytest.mark.core


def told(engagement: Engagement, *steps: tuple[str, BlackBox]) -> tuple[ArmOutcome, ...]:
    planned = [Step(arm, attack, None) for arm, attack in steps]
    return run(engagement, planned, Journal(None), Silent(), "a test")


def test_only_what_stands_goes_to_the_next_step_of_an_arm() -> None:
    engine = Counted(brightness())
    split = grey([0.2, 0.42, 0.48, 0.46, 0.6, 0.49])
    split.labels[5] = 1
    first, second, third, other = Moved(0.05), Moved(0.1), Moved(0.1), Moved(0.02)
    engagement = engaged(engine, split)
    before = engine.shown
    query, noise = told(engagement, ("query", first), ("query", second), ("query", third), ("noise", other))
    assert first.ids == [[0, 1, 2, 3, 4]], "what is wrong when clean is never attacked"
    assert second.ids == [[0, 1, 4]]
    assert third.ids == [[0, 4]]
    assert other.ids == [[0, 1, 2, 3, 4]], "another arm starts afresh"
    assert query.decisions.tolist() == [0, 1, 1, 1, 1, 0]
    assert noise.decisions.tolist() == [0, 0, 0, 0, 1, 0]
    assert [step.attacked for step in query.steps] == [5, 3, 2]
    assert [step.turned.tolist() for step in query.steps] == [[2, 3], [1], []]
    assert [step.queries for step in (*query.steps, *noise.steps)] == [10, 6, 4, 10]
    assert query.queries + noise.queries == engine.shown - before == 30
    assert (query.name, noise.name) == ("query", "noise")


def test_distances_are_the_smallest_of_an_arms_steps() -> None:
    split = grey([0.42, 0.48, 0.1, 0.45])
    split.labels[3] = 1
    (query,) = told(engaged(brightness(), split), ("query", Moved(0.3, returned=0.0)), ("query", Moved(0.09)))
    assert query.distances == pytest.approx([0.09, 0.09, np.inf, 0.0]), "0 where it is wrong when clean"
    assert query.decisions.tolist() == [1, 1, 0, 0]


def test_a_later_step_that_needs_more_changes_no_distance() -> None:
    steps: list[tuple[str, BlackBox]] = [("query", Moved(amount, returned=0.0)) for amount in (0.2, 0.3, 0.15)]
    (query,) = told(engaged(brightness(), grey([0.4, 0.25])), *steps[:2])
    assert query.distances == pytest.approx([0.2, 0.3])
    (query,) = told(engaged(brightness(), grey([0.4, 0.25])), *steps)
    assert query.distances == pytest.approx([0.15, 0.3])


@pytest.mark.parametrize("batch", [3, 7, 40])
def test_the_first_eight_that_were_turned_are_shown_in_the_splits_order(batch: int) -> None:
    values = np.tile([0.2, 0.45, 0.8, 0.41], 10)
    split = grey(values.tolist())
    (query,) = told(engaged(brightness(), split, batch=batch), ("query", Moved(0.1)))
    (step,) = query.steps
    turned = np.flatnonzero((values > 0.4) & (values < 0.5))
    assert SHOWN == 8
    assert step.turned.tolist() == turned.tolist()
    assert step.shown.tolist() == turned[:8].tolist()
    assert step.adversarial == pytest.approx(split.images[turned[:8]] + 0.1)
    assert step.adversarial.dtype == np.float32


def test_a_step_shows_only_what_it_turned_itself() -> None:
    split = grey([0.42, 0.48])
    (query,) = told(engaged(brightness(), split), ("query", Moved(0.05)), ("query", Moved(0.1)))
    assert [step.shown.tolist() for step in query.steps] == [[1], [0]]


def test_wavering_and_time_add_up() -> None:
    split = grey([0.42, 0.48])
    (query,) = told(engaged(brightness(), split), ("query", Moved(0.1, 0.0)), ("query", Moved(0.04, 0.0)))
    assert [step.wavering for step in query.steps] == [2, 1]
    assert query.wavering == 3
    assert query.seconds == sum(step.seconds for step in query.steps) > 0


def test_batches_cover_every_standing_image_once_and_report_progress() -> None:
    class Bars(Silent):
        def __init__(self) -> None:
            self.seen: list[tuple[str, float, list[float]]] = []

        @contextmanager
        def bar(self, description: str, total: float) -> Iterator[Advance]:
            """Note what is told."""
            moved: list[float] = []
            self.seen.append((description, total, moved))
            yield moved.append

    split = grey(np.linspace(0, 1, 23).tolist())
    split.labels[:5] = 1
    attack, bars = Moved(0.0), Bars()
    engagement = engaged(brightness(), split, batch=7)
    run(engagement, [Step("query", attack, None)], Journal(None), bars, "eval")
    assert attack.ids == [list(range(5, 12)), list(range(12, 19)), list(range(19, 23))]
    assert bars.seen == [("eval: query, moved", 18, [7, 7, 4])]


def test_nothing_to_attack_is_an_outcome_too() -> None:
    split = grey([0.1, 0.9])
    split.labels[:] = 1 - split.labels
    (query,) = told(engaged(brightness(), split), ("query", Noise()), ("query", Moved(0.1)))
    assert query.decisions.tolist() == [0, 1]
    assert (query.queries, query.wavering, query.seconds) == (0, 0, 0)
    for step in query.steps:
        assert (step.attacked, step.turned.tolist(), step.shown.tolist()) == (0, [], [])
        assert step.adversarial.shape == (0, 1, 2, 2)
    assert query.distances.tolist() == [0, 0]


def test_no_steps_are_no_arms() -> None:
    assert told(engaged(brightness(), grey([0.1]), epsilon=EPSILON)) == ()
