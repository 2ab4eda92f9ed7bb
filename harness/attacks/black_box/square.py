"""Square Attack (Andriushchenko et al. 2020, arXiv 1912.00049): random search by squares that shrink; scores alone."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from harness.attacks import draws
from harness.attacks.attack import BlackBox
from harness.attacks.ball import Ball
from harness.attacks.black_box.screening import Screening
from harness.attacks.black_box.square_l2 import L2Proposals
from harness.attacks.black_box.square_proposals import Draw, LinfProposals, Proposals
from harness.attacks.victim import Victim

Array = npt.NDArray[Any]

_PROPOSALS: dict[str, type[Proposals]] = {"linf": LinfProposals, "l2": L2Proposals}
_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # proposals
_PUBLISHED_QUERIES = 10_000  # that these are of


@dataclass(frozen=True, kw_only=True)
class Square(BlackBox):
    """Random changes inside squares, kept where they lower the margin; the defaults are those of AutoAttack.

    Every image has squares of its own. The margin is the label's score minus the largest of the others.

    Attributes:
        queries: an image and restart, the starting point's included.
        p_init: share of the image's area that the first squares cover; halved again and again.
        restarts: searches an image, each from another start, until one fools the victim.
        rescale_schedule: whether squares shrink faster where there are fewer than 10,000 queries, so that each size has
            its part of them; AutoAttack leaves the schedule as it is.
    """

    name: ClassVar[str] = "square"

    queries: int = 5000
    p_init: float = 0.8
    restarts: int = 1
    rescale_schedule: bool = False

    def __post_init__(self) -> None:
        for setting in ("queries", "restarts"):
            if getattr(self, setting) < 1:
                raise InputError(f"attack.square: {setting} must be at least 1, got {getattr(self, setting)}")
        if not 0.0 < self.p_init <= 1.0:
            raise InputError(f"attack.square: p_init must be above 0 and at most 1, got {self.p_init}")

    def share(self, proposal: int) -> float:
        """Return the share of the image's area that a proposal's square covers; proposals are numbered from 0."""
        if self.rescale_schedule:
            proposal = proposal * _PUBLISHED_QUERIES // self.queries
        return math.ldexp(self.p_init, -bisect_left(_HALVED_AFTER, proposal))

    def run(self, victim: Victim, images: Array, labels: Array, ball: Ball, image_ids: Array, seed: int) -> Array:
        """Attack a batch; see `BlackBox`."""
        proposals = _PROPOSALS[ball.norm](images, ball)
        found: Array = images.copy()
        lowest = np.full(len(images), np.inf, np.float32)
        standing = np.arange(len(images))
        for restart in range(self.restarts):
            best, search = images.copy(), Screening(victim, labels)
            for query in range(self.queries):
                draw = partial(draws.uniform, seed, image_ids[standing], restart * self.queries + query)
                points, rows = self._points(proposals, best, standing, query, draw)
                if len(rows) == 0:
                    continue
                better = search.improved(points, rows)
                best[rows[better]] = points[better]
                standing = standing[search.lowest[standing] > -np.inf]
                if len(standing) == 0:
                    break
            nearer = search.lowest < lowest
            found[nearer], lowest[nearer] = best[nearer], search.lowest[nearer]
            if len(standing) == 0:
                break
        return found

    def _points(
        self, proposals: Proposals, best: Array, standing: Array, query: int, draw: Draw
    ) -> tuple[Array, Array]:
        """Return what to ask, and of which images.

        A square that already is as proposed has a margin that is known: it counts as asked, and costs nothing.
        """
        if query == 0:
            return proposals.first(standing, draw), standing
        points = proposals.next(best, standing, self.share(query - 1), draw)
        changed = (points != best[standing]).any(axis=(1, 2, 3))
        return points[changed], standing[changed]
