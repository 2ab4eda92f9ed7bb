"""Whether one engine is faster than another, from windows that were run in turn: a ratio, its interval, a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from contracts.errors import InputError
from harness.measurement.percentiles import Times

Word = Literal["faster", "slower", "inconclusive"]

CONFIDENCE = 0.99
MINIMUM_PAIRS = 20
"""So few pairs tell too little of how far pairs scatter for an interval to be believed."""


@dataclass(frozen=True)
class Verdict:
    """What paired windows say.

    Attributes:
        ratio: latency of the first engine divided by the other's: the geometric mean over pairs.
        ci99: its interval.
        word: faster or slower, of the first engine, where the interval leaves out 1; else inconclusive.
        pairs: how many were counted.
        reason: why nothing is concluded, None where something is.
    """

    ratio: float | None
    ci99: tuple[float, float] | None
    word: Word
    pairs: int
    reason: str | None


def verdict(ours_ms: Times, theirs_ms: Times) -> Verdict:
    """Judge by the medians of paired windows.

    The logarithms of a pair's ratio are taken for normal about their mean, whose 99 % interval is Student's. A pair's
    windows follow each other at once, so that what drifts over a run drifts in both.

    Args:
        ours_ms: float64, shape (pairs,), positive: the first engine's medians.
        theirs_ms: float64, shape (pairs,), positive: the other's, of the same pairs.

    Raises:
        InputError: the shapes differ, or a median is not positive.
    """
    if ours_ms.shape != theirs_ms.shape or not (np.all(ours_ms > 0) and np.all(theirs_ms > 0)):
        raise InputError(f"paired medians are positive and as many of both, got {ours_ms.shape} and {theirs_ms.shape}")
    pairs = len(ours_ms)
    if pairs < MINIMUM_PAIRS:
        return Verdict(
            None, None, "inconclusive", pairs, f"{pairs} pairs of windows are too few: {MINIMUM_PAIRS} are needed"
        )
    from scipy.stats import t

    logs = np.log(ours_ms / theirs_ms)
    mean, error = float(logs.mean()), float(logs.std(ddof=1)) / pairs**0.5
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, pairs - 1)) * error
    low, high = float(np.exp(mean - reach)), float(np.exp(mean + reach))
    word: Word = "faster" if high < 1 else "slower" if low > 1 else "inconclusive"
    reason = (
        None if word != "inconclusive" else f"the interval {low:.3f} to {high:.3f} holds 1: they may be equally fast"
    )
    return Verdict(float(np.exp(mean)), (low, high), word, pairs, reason)
