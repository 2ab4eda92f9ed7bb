"""The tables of `attacks.py` as lines of text, and the page that keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import attack_peers as peers
from benchmarks.attack_claims import WHOLE, Found, Pair, down, up
from contracts.files import write_text

if TYPE_CHECKING:
    from benchmarks.attack_chunks import Piece
    from benchmarks.attack_speed import Speed
    from harness.devices.environment import Environment


def set_table(rows: Sequence[Pair], pieces: Sequence[Piece], asked: int) -> Iterator[str]:
    """Yield the attack set's table: robust accuracy and seconds, ours and the peer's, for the images that both did."""
    yield f"Attack set, Linf, one restart, each attack alone; {asked} images asked for. Seconds of ours and the peer's."
    yield ""
    yield (
        f"{'epsilon':>7}  {'attack':<9}  {'images':>6}  {'clean':>7}  {'robust':>7}  {'peer':>7}  {'wall s':>8}  "
        f"{'peer':>8}  {'ratio':>6}  {'CPU s':>8}  {'peer':>8}  {'ratio':>6}"
    )
    for row in rows:
        ours, theirs = up(100 * row.robust[0] / row.images), down(100 * row.robust[1] / row.images)
        yield (
            f"{row.epsilon:>7g}  {row.attack:<9}  {row.images:>6}  {100 * row.clean / row.images:>6.2f}%  {ours:>6.2f}%"
            f"  {theirs:>6.2f}%  {_seconds(row.wall_s)}  {_seconds(row.cpu_s)}"
        )
    if not rows:
        yield "(no piece is finished on both sides)"
    yield ""
    yield from _settings(pieces)
    lost = sum(len(piece.outside) for piece in pieces if piece.who == peers.PEER)
    yield f"Images of the peer outside the ball: {lost}. '{WHOLE}' is the worst case of the four, its time their sum."


def _seconds(both: tuple[float, float]) -> str:
    return f"{up(both[0], 1):>8.1f}  {down(both[1], 1):>8.1f}  {up(both[0] / both[1]):>6.2f}"


def _settings(pieces: Sequence[Piece]) -> Iterator[str]:
    """Say what each side ran with."""
    ran = {
        f"{piece.attack} of {piece.who}: {piece.precision}, batch {piece.setting.batch}, {piece.setting.layout}"
        for piece in pieces
    }
    yield from sorted(ran)


def speed_table(rows: Sequence[Speed]) -> Iterator[str]:
    """Yield PGD's table; what is robust is out of all images, a mean over seeds."""
    yield f"PGD of {peers.PGD_STEPS} steps of epsilon / 10 from a random start, every library in its fastest setting."
    yield ""
    yield (
        f"{'epsilon':>7}  {'by':<22}  {'images':>6}  {'images/s':>8}  {'per CPU s':>9}  {'robust':>7}  {'outside':>7}  "
        "setting"
    )
    for row in rows:
        robust = "" if row.robust_share is None else f"{100 * row.robust_share:.2f}%"
        outside = str(row.outside) if row.robust else ""
        yield (
            f"{row.epsilon:>7g}  {row.who:<22}  {row.images:>6}  {row.images_per_s:>8.0f}  "
            f"{row.images / row.cpu_s:>9.0f}  {robust:>7}  {outside:>7}  "
            f"batch {row.setting.batch}, {row.setting.layout}"
        )
    yield ""
    by_seed = "; ".join(f"{row.epsilon:g} {row.who} {', '.join(map(str, row.robust))}" for row in rows if row.robust)
    yield f"Robust images by seed: {by_seed}."
    yield "Gradients are the limit of who takes them at every image; ours leaves out images that are already wrong."


def claims_table(claims: Sequence[Found]) -> Iterator[str]:
    """Yield a line a claim."""
    width = max((len(what) for what, *_ in claims), default=0)
    for what, value, limit, holds in claims:
        yield f"{what:<{width}}  {value:>9}  {limit:>10}  {'holds' if holds else 'DOES NOT HOLD'}"


def software(place: Environment) -> str:
    """Return where it ran, and the versions of what it compares."""
    chip = f"{place.gpu}, {place.cpu}" if place.gpu else place.cpu
    found = ", ".join(f"{name} {peers.version(peer)}" for peer, name in peers.PEERS.items())
    return f"{chip}, {place.cores} cores, torch {place.packages.get('torch', 'not installed')}; {found}"


def write_page(path: Path, command: str, lines: Sequence[str]) -> None:
    """Write the page of measurements."""
    head = ["# Attacks, measured", "", f"`{command}`", "```"]
    write_text(path, "\n".join([*head, *lines, "```"]) + "\n")
