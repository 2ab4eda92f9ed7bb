"""The arms that only ask: no model is at hand, and torch is not imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from harness.attacks.black_box.noise import Noise
from harness.attacks.black_box.rays import RayS
from harness.attacks.black_box.square import Square
from harness.attacks.differentiable import Differentiable
from harness.data.dataset import Images, Split
from harness.robustness.arms import Step, attack_batch
from harness.robustness.decisions import UNDECIDED, Scores, decide, decisions_of
from harness.robustness.engagement import EngineVictim

from .tiny_engines import EPSILON, Counted, Moved, brightness, engaged, grey

pytestmark = pytest.mark.core


class NoSources(Mapping[str, Differentiable]):
    """Sources that nobody may look at."""

    def __getitem__(self, name: str) -> NoReturn:
        raise AssertionError(f"{name} was asked for")

    def __iter__(self) -> Iterator[str]:
        return iter(["float", "twin"])

    def __len__(self) -> int:
        return 2


def corners() -> Split:
    """Return 20 images on each side near the border, which half of all corners turn, and as many beyond reach."""
    values = np.array([0.45] * 20 + [0.55] * 20 + [0.2] * 20 + [0.8] * 20, np.float32)
    images = np.broadcast_to(values[:, None, None, None], (80, 1, 2, 2)).copy()
    return Split(images, (values > 0.5).astype(np.int64))


def first_pixel(images: Images) -> Scores:
    """Class 1 is what is brighter than 0.5 in its first pixel."""
    margin = images[:, 0, 0, 0] - np.float32(0.5)
    return np.stack([-margin, margin], 1)


@pytest.mark.parametrize("draws", [1, 20])
def test_noise_draws_until_it_wins_and_every_image_shown_is_counted(draws: int) -> None:
    engine, split = Counted(first_pixel), corners()
    engagement = engaged(engine, split, NoSources())
    before = engine.shown
    found = attack_batch(engagement, Step("noise", Noise(draws=draws), None), engagement.right)
    assert found.queries == engine.shown - before
    turned = found.decisions != split.labels
    assert not turned[40:].any()
    assert np.isinf(found.distances[40:]).all()
    if draws == 1:
        assert found.queries == 80 + 80
        assert 10 <= turned[:40].sum() <= 30, "half of all corners turn an image near the border"
    else:
        assert turned[:40].all(), "one of twenty corners does"
        # The images beyond reach get all twenty draws, those near the border about two, and all are shown once more.
        assert 40 * 20 + 40 + 80 < found.queries < 40 * 20 + 4 * 40 + 80
    assert found.distances[turned] == pytest.approx(EPSILON)
    assert np.abs(found.adversarial - split.images).max() <= EPSILON + 1e-6
    assert found.wavering == 0


@pytest.mark.parametrize("attack", [Square(queries=30), RayS(queries=60)])
def test_queries_ask_the_engine_alone(attack: Square | RayS) -> None:
    engine = Counted(brightness())
    split = grey([0.2, 0.45, 0.55, 0.9])
    engagement = engaged(engine, split, NoSources())
    before = engine.shown
    found = attack_batch(engagement, Step("query", attack, None), engagement.right)
    assert found.decisions.tolist() == [0, 1, 0, 1]
    assert found.queries == engine.shown - before
    assert (found.distances[[1, 2]] <= EPSILON + 1e-6).all()


def test_what_fools_outside_the_ball_is_a_distance_and_no_success() -> None:
    split = grey([0.3, 0.9, 0.46])
    found = attack_batch(
        engaged(Counted(brightness()), split), Step("query", RayS(queries=300), None), np.arange(3, dtype=np.int64)
    )
    assert found.decisions.tolist() == [0, 1, 1], "0.2 and 0.4 away is farther than the ball reaches"
    assert found.distances[:2] == pytest.approx([0.2, 0.4], abs=2e-3)
    assert found.distances[2] <= EPSILON + 1e-6
    assert found.wavering == 0, "it was not in the ball that these fooled the engine"


def test_distances_are_of_the_balls_own_norm() -> None:
    split = grey([0.45, 0.3])
    engagement = engaged(Counted(brightness()), split, norm="l2", epsilon=0.6)
    found = attack_batch(engagement, Step("query", Moved(0.25), None), engagement.right)
    assert found.distances == pytest.approx([0.5, 0.5]), "four values by 0.25"
    nearer = attack_batch(engagement, Step("query", Moved(0.08), None), engagement.right)
    assert nearer.distances == pytest.approx([0.16, np.inf])


def test_an_attack_that_leaves_the_ball_is_a_bug_and_no_success() -> None:
    engagement = engaged(Counted(brightness()), grey([0.45, 0.3]), norm="l2", epsilon=0.49)
    with pytest.raises(RuntimeError, match=r"went 0\.5 from its images"):
        attack_batch(engagement, Step("query", Moved(0.25), None), engagement.right)


def test_an_attack_never_gets_the_engines_own_buffer() -> None:
    buffer = np.array([[0, 1]], np.float32)
    victim = EngineVictim(engaged(lambda _: buffer, grey([0.6]), clean=np.array([1])), np.array([0]))
    victim.scores(grey([0.6]).images, np.array([0]))[:] = 7
    assert buffer.tolist() == [[0, 1]]


def test_the_smallest_change_counts_whenever_it_was_shown() -> None:
    engagement = engaged(brightness(), grey([0.1, 0.45]))
    victim = EngineVictim(engagement, np.array([1]))
    for change in (0.2, 0.04, 0.08, 0.3):
        victim.scores(engagement.split.images[[1]] + np.float32(change), np.array([0]))
    assert victim.distances == pytest.approx([0.08]), "0.04 did not fool it"
    both = engagement.split.images[[1, 1]] + np.array([0.07, 0.09], np.float32)[:, None, None, None]
    victim.scores(both, np.array([0, 0]))
    assert victim.distances == pytest.approx([0.07])
    assert victim.claimed.tolist() == [True]
    assert victim.queries == 6


def test_the_final_pass_decides_whatever_the_attack_claims() -> None:
    split = grey([0.45, 0.1])
    # It shows the engine what fools it, and returns what does not.
    found = attack_batch(engaged(brightness(), split), Step("query", Moved(0.1, returned=0.0), None), np.arange(2))
    assert found.decisions.tolist() == [0, 0]
    assert found.distances == pytest.approx([0.1, np.inf])
    assert found.wavering == 1


def test_an_engine_that_wavers_is_counted() -> None:
    calls = {"n": 0}

    def wavering(images: Images) -> Scores:
        calls["n"] += 1
        return brightness(0.5 if calls["n"] == 1 else 0.58)(images)  # the last pass is another's

    split = grey([0.45, 0.49, 0.1, 0.2])
    engagement = engaged(wavering, split, clean=split.labels)
    found = attack_batch(engagement, Step("query", Moved(0.1), None), engagement.right)
    assert found.wavering == 1
    assert found.decisions.tolist() == [0, 1, 0, 0], "the final pass decides"


def test_the_attack_gets_places_in_the_split() -> None:
    attack = Moved(0.1)
    rows = np.array([1, 4])
    found = attack_batch(engaged(brightness(), grey([0.1] * 6)), Step("query", attack, None), rows)
    assert attack.ids == [[1, 4]]
    assert found.rows.tolist() == [1, 4]


def test_scores_that_are_not_finite_are_wrong_decisions() -> None:
    def spoilt(images: Images) -> Scores:
        scores = brightness()(images)
        scores[images.mean((1, 2, 3)) > 0.9, 0] = np.nan
        return scores

    split = grey([0.2, 0.85, 0.95])
    engagement = engaged(spoilt, split)
    assert engagement.clean_decisions.tolist() == [0, 1, UNDECIDED]
    assert engagement.right.tolist() == [0, 1], "what is wrong when clean is not attacked"
    found = attack_batch(engagement, Step("query", Moved(0.1), None), engagement.right)
    assert found.decisions.tolist() == [0, UNDECIDED]
    assert found.distances == pytest.approx([np.inf, 0.1])


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf])
def test_any_score_that_is_not_finite_leaves_an_image_undecided(spoilt: float) -> None:
    scores = np.array([[0, 2, 1], [0, spoilt, 1], [3, 2, spoilt]], np.float32)
    assert decide(scores).tolist() == [1, UNDECIDED, UNDECIDED]


def test_decisions_come_a_batch_at_a_time() -> None:
    split = grey(np.linspace(0.003, 1, 253).tolist())
    moved: list[float] = []
    found = decisions_of(brightness(), split.images, moved.append)
    assert found.dtype == np.int64
    assert (found == split.labels).all()
    assert moved == [125, 125, 3]


def test_an_attack_that_only_asks_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np\n"
        "from harness.attacks.registry import attack\n"
        "import harness.robustness.sanity.check, harness.workflow.stages.attack\n"
        "from harness.robustness.arms import ARMS\n"
        "from harness.robustness.plan import plan\n"
        "from harness.robustness.journal import Journal\n"
        "from harness.robustness.protocol import run\n"
        "from harness.progress import Silent\n"
        "from tests.harness.robustness.tiny_engines import brightness, engaged, grey\n"
        "settings = {'square': {'queries': 20}, 'rays': {'queries': 40}}\n"
        "steps = plan(ARMS, ['pgd'], lambda name: attack(name, settings.get(name, {})), []).steps\n"
        "arms = run(engaged(brightness(), grey([0.2, 0.45, 0.9])), steps, Journal(None), Silent(), '')\n"
        "print(*((arm.name, *arm.decisions.tolist()) for arm in arms))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "('query', 0, 1, 1) ('noise', 0, 1, 1)\n"
