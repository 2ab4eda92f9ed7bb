"""What `attacks.py` finds and claims, from finished pieces and timings alone; nothing is rounded in our favour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.attack_chunks import ATTACKS, Piece
from benchmarks.attack_code import code_of
from benchmarks.attack_peers import OURS, PEER
from benchmarks.attack_speed import Speed

WHOLE = "whole set"

WEAKER_WHOLE, WEAKER_ALONE = 0.3, 0.5  # points of robust accuracy that ours may be above the peer's
TIME_CPU = {"apgd-ce": 0.6, "apgd-t": 0.6, "fab-t": 0.7, "square": 0.7}
TIME_CUDA = 0.4
PGD_FASTER = {"cpu": 1.6, "cuda": 2.5}
PGD_APART = 0.2  # points

Found = tuple[str, str, str, bool]
"""What is claimed, found, allowed, and whether it holds."""


@dataclass(frozen=True)
class Pair:
    """Ours against the peer on the same images.

    Attributes:
        epsilon: of the ball.
        attack: its name, or `WHOLE`.
        images: how many, those that are wrong when clean included.
        clean: how many are right when clean.
        robust: how many stay right, ours and the peer's.
        wall_s: seconds, ours and the peer's.
        cpu_s: seconds of all threads together, ours and the peer's.
    """

    epsilon: float
    attack: str
    images: int
    clean: int
    robust: tuple[int, int]
    wall_s: tuple[float, float]
    cpu_s: tuple[float, float]

    @property
    def weaker(self) -> float:
        """Points of robust accuracy by which ours is above the peer's."""
        return 100 * (self.robust[0] - self.robust[1]) / self.images


def pairs(pieces: Sequence[Piece]) -> list[Pair]:
    """Return a row an epsilon and attack, over the chunks that both sides finished, and one for all attacks."""
    ours, theirs = (
        {(piece.epsilon, piece.attack, piece.start, piece.images): piece for piece in pieces if piece.who == who}
        for who in (OURS, PEER)
    )
    both = {key: (piece, theirs[key]) for key, piece in ours.items() if key in theirs}
    rows = []
    for epsilon in dict.fromkeys(epsilon for epsilon, *_ in both):
        chunks = {key: found for key, found in both.items() if key[0] == epsilon}
        for attack in ATTACKS:
            if alone := [found for key, found in chunks.items() if key[1] == attack]:
                rows.append(_pair(epsilon, attack, [[found] for found in alone]))
        by_chunk = [
            [found for key, found in chunks.items() if key[2:] == place]
            for place in dict.fromkeys(key[2:] for key in chunks)
        ]
        if whole := [attacks for attacks in by_chunk if len(attacks) == len(ATTACKS)]:
            rows.append(_pair(epsilon, WHOLE, whole))
    return rows


def _pair(epsilon: float, attack: str, chunks: Sequence[Sequence[tuple[Piece, Piece]]]) -> Pair:
    """Return the worst case of every chunk's attacks, image by image, and the sum of their times."""
    robust = [0, 0]
    for attacks in chunks:
        for side in (0, 1):
            standing = set(attacks[0][side].right)
            standing -= {image for found in attacks for image in found[side].fooled}
            robust[side] += len(standing)
    sides = [[found[side] for attacks in chunks for found in attacks] for side in (0, 1)]
    wall_s, cpu_s = ([sum(getattr(piece, name) for piece in side) for side in sides] for name in ("wall_s", "cpu_s"))
    return Pair(
        epsilon=epsilon,
        attack=attack,
        images=sum(attacks[0][0].images for attacks in chunks),
        clean=sum(len(attacks[0][0].right) for attacks in chunks),
        robust=(robust[0], robust[1]),
        wall_s=(wall_s[0], wall_s[1]),
        cpu_s=(cpu_s[0], cpu_s[1]),
    )


def set_claims(rows: Sequence[Pair], pieces: Sequence[Piece], device: str) -> Iterator[Found]:
    """Hold our attacks against pyautoattack's.

    Args:
        rows: of `pairs`.
        pieces: that they were made from; those that other code made say nothing of ours as it is now.
        device: cpu or cuda.
    """
    for row in rows:
        about = f"epsilon {row.epsilon:g}, {row.attack}, {row.images} images"
        allowed = WEAKER_WHOLE if row.attack == WHOLE else WEAKER_ALONE
        yield f"{about}: points weaker", f"{up(row.weaker):+.2f}", f"<= {allowed:.2f}", row.weaker <= allowed
        if row.attack != WHOLE:
            ratio, limit = row.wall_s[0] / row.wall_s[1], TIME_CUDA if device == "cuda" else TIME_CPU[row.attack]
            yield f"{about}: time, ours / peer", f"{up(ratio):.2f}", f"<= {limit:.2f}", ratio <= limit
    ours = [piece for piece in pieces if piece.who == OURS]
    if ours:
        old = sum(piece.code != code_of(piece.attack) for piece in ours)
        yield "pieces of ours by older code, to be removed and made again", str(old), "0", old == 0
        outside = sum(len(piece.outside) for piece in ours)
        yield "images of ours outside the ball", str(outside), "0", outside == 0


def pgd_claims(rows: Sequence[Speed], device: str) -> Iterator[Found]:
    """Hold our PGD against the fastest peer's, and its robust accuracy, a mean over seeds, against every peer's."""
    for epsilon in dict.fromkeys(row.epsilon for row in rows):
        named = {row.who: row for row in rows if row.epsilon == epsilon and row.robust}
        ours = named.pop(OURS, None)
        if ours is None or ours.robust_share is None or not named:
            continue
        about = f"PGD-20, epsilon {epsilon:g}, {ours.images} images"
        fastest = max(named.values(), key=lambda row: row.images_per_s)
        ratio, needed = ours.images_per_s / fastest.images_per_s, PGD_FASTER[device]
        yield f"{about}: times {fastest.who}", f"{down(ratio):.2f}", f">= {needed:.2f}", ratio >= needed
        for row in named.values():
            apart = 100 * (ours.robust_share - (row.robust_share or 0))
            shown = up(apart) if apart > 0 else down(apart)
            yield (
                f"{about}, {len(row.robust)} seeds: points from {row.who}",
                f"{shown:+.2f}",
                f"{PGD_APART:.2f}",
                abs(apart) <= PGD_APART,
            )


def up(value: float, digits: int = 2) -> float:
    """Round up, but for the noise of floating point."""
    return float(math.ceil(round(value * 10.0**digits, 6)) / 10.0**digits)


def down(value: float, digits: int = 2) -> float:
    """Round down, but for the noise of floating point."""
    return float(math.floor(round(value * 10.0**digits, 6)) / 10.0**digits)
