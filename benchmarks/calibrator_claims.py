"""What `calibrators.py` claims of our rows against the peers'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.calibrator_contestants import GEMM_FLOAT, OURS, SEARCH, Row

ENTROPY_FASTER = 5.0
CLEAN_LOST_AT_MOST = 0.001
_CHANCE = 1.645

Found = tuple[str, str, str, bool]
"""What is claimed, found, allowed, and whether it holds."""


def judged(rows: Sequence[Row]) -> Iterator[Found]:
    """Yield the claims: our rows against the peers' of the same method."""
    for mine in rows:
        for peer in rows:
            if mine.method == peer.method and alike(mine.who, peer.who):
                against = f"{mine.method}: {mine.who} against {peer.who}"
                for what, value, limit, holds in (*faster(mine, peer), *as_good(mine, peer)):
                    yield f"{against}: {what}", value, limit, holds


def alike(mine: str, peer: str) -> bool:
    """Say whether two are held against each other: modelopt leaves Gemm in float, the other peers do not."""
    return mine in OURS and peer not in OURS and (mine == GEMM_FLOAT) == peer.startswith("modelopt")


def faster(mine: Row, peer: Row) -> Iterator[Found]:
    """Hold times against each other: ranges against ranges, a whole graph against a whole graph.

    The twin writes no graph by itself; its ranges and its table stand against the whole of what others do to a graph
    that was exported for them.
    """
    if peer.who == SEARCH:
        if mine.method != "entropy":
            return
        needed, theirs, ours = ENTROPY_FASTER, peer.times("ranges_s"), mine.times("ranges_s")
    else:
        needed, theirs, ours = 1.0, peer.times("graph_s"), mine.times("graph_s") or mine.times("ranges_s")
    ratio = min(theirs) / min(ours)
    yield "times faster", f"{ratio:.2f}", f">= {needed:.2f}", ratio >= needed


def as_good(mine: Row, peer: Row) -> Iterator[Found]:
    """Hold accuracy against accuracy, and flips against flips where both search as finely in the same layers."""
    lost = peer.clean - mine.clean
    yield "clean lost", f"{lost:+.4f}", f"<= {CLEAN_LOST_AT_MOST:.4f}", lost <= CLEAN_LOST_AT_MOST
    if mine.method == "entropy" and peer.who != SEARCH:
        return
    allowed = peer.flips + _CHANCE * np.sqrt(np.sum(mine.flipped != peer.flipped))
    yield "flips", str(mine.flips), f"<= {allowed:.0f}", mine.flips <= allowed
