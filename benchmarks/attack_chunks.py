"""The attack set cut into pieces: one side's attack on one chunk of images, a file each, so that a run can go on.

A piece is timed beside the other side's same piece, and who goes first alternates: whatever is finished is a fair
table of fewer images.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.attack_code import code_of
from benchmarks.attack_peers import OURS, PEER, attack_of_ours, attack_of_peer, installed, version
from benchmarks.attack_subject import LAYOUTS, Setting, Subject
from contracts.files import read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")

_BATCHES = (125, 250, 500, 1000)
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Piece:
    """What one side's attack did to a chunk of images.

    Attributes:
        epsilon: of the Linf ball.
        attack: its name.
        who: `OURS` or `PEER`.
        start: the first image.
        images: how many, those that are wrong when clean included.
        right: the images that are right when clean, and were attacked.
        fooled: those of them that are wrong afterwards, in float32 and inside the ball.
        outside: those that came back outside the ball.
        wall_s: seconds.
        cpu_s: seconds of all threads together.
        code: digest of our attack's code, or the peer's version.
        setting: batch and layout.
        precision: of gradients or scores.
    """

    epsilon: float
    attack: str
    who: str
    start: int
    images: int
    right: tuple[int, ...]
    fooled: tuple[int, ...]
    outside: tuple[int, ...]
    wall_s: float
    cpu_s: float
    code: str
    setting: Setting
    precision: str


@dataclass(frozen=True)
class Slot:
    """A piece that is to be made, and where it is kept.

    Attributes:
        order: ours goes first where it is odd; it alternates from attack to attack and from chunk to chunk.
    """

    epsilon: float
    attack: str
    start: int
    images: int
    order: int

    def path(self, folder: Path, who: str, precision: str) -> Path:
        """Return the piece's file."""
        return folder / f"{self.epsilon:g}-{self.attack}-{self.start:05}-{self.images}-{who}-{precision}.json"


def slots(images: int, chunk: int, epsilons: Sequence[float], attacks: Sequence[str]) -> list[Slot]:
    """Return what is to be made by either side, in order: all of a chunk before the next one."""
    starts = range(0, images, chunk)
    wanted = [(epsilon, attack, start) for start in starts for epsilon in epsilons for attack in attacks]
    return [
        Slot(epsilon, attack, start, min(chunk, images - start), order + start // chunk)
        for order, (epsilon, attack, start) in enumerate(wanted)
    ]


def finished(wanted: Sequence[Slot], folder: Path, precision: Callable[[str], str]) -> list[Piece]:
    """Return the pieces that are there."""
    paths = [slot.path(folder, who, precision(who)) for slot in wanted for who in (OURS, PEER)]
    return [_read(path) for path in paths if path.exists()]


def _read(path: Path) -> Piece:
    found: dict[str, Any] = read_json(path, "the piece")
    for name in ("right", "fooled", "outside"):
        found[name] = tuple(found[name])
    return Piece(**{**found, "setting": Setting(**found["setting"])})


@dataclass(frozen=True)
class Bench:
    """Makes pieces.

    Attributes:
        subject: model and images.
        folder: where pieces are kept.
        batch: of ours, None to choose the fastest.
        chunk: how many images a piece has at most.
    """

    subject: Subject
    folder: Path
    batch: int | None
    chunk: int

    def precision(self, who: str) -> str:
        """Return what gradients or scores of a side's attack are computed in."""
        half = self.subject.half if who == OURS else None
        return "float32" if half is None else str(half).removeprefix("torch.")

    def make(self, wanted: Sequence[Slot]) -> Iterator[Piece]:
        """Make what is not there yet, and yield it."""
        sides = [OURS, PEER] if installed(PEER) else [OURS]
        warm: set[tuple[str, str]] = set()
        for slot in wanted:
            for who in sides if slot.order % 2 else reversed(sides):
                path = slot.path(self.folder, who, self.precision(who))
                if path.exists():
                    continue
                setting = self._setting(slot.attack, who)
                if (slot.attack, who) not in warm:
                    self._attacked(slot.attack, who, slot.epsilon, self._right(0, self.chunk), setting, short=True)
                    warm.add((slot.attack, who))
                piece = self._piece(slot, who, setting)
                write_json(path, asdict(piece))
                yield piece

    def _right(self, start: int, images: int) -> Tensor:
        """Return the rows of a chunk that are right when clean."""
        import torch

        rows = torch.arange(start, min(start + images, len(self.subject.images)), device=self.subject.images.device)
        return rows[~self.subject.wrong(self.subject.images[rows], rows)]

    def _attacked(
        self, attack: str, who: str, epsilon: float, rows: Tensor, setting: Setting, *, short: bool
    ) -> Tensor:
        import torch

        if who == OURS:
            attacking = attack_of_ours(attack, self.subject, setting, epsilon, short)
        else:
            model = self.subject.models[setting.layout]
            attacking = attack_of_peer(attack, model, epsilon, self.subject.device, short)
        return torch.cat([attacking(*batch) for batch in self.subject.batches(rows, setting)])

    def _piece(self, slot: Slot, who: str, setting: Setting) -> Piece:
        rows = self._right(slot.start, slot.images)
        call = functools.partial(self._attacked, slot.attack, who, slot.epsilon, rows, setting, short=False)
        made, took = self.subject.timed(call)
        outside = self.subject.outside(made, rows, slot.epsilon)
        fooled = self.subject.wrong(made, rows) & ~outside
        return Piece(
            epsilon=slot.epsilon,
            attack=slot.attack,
            who=who,
            start=slot.start,
            images=slot.images,
            right=tuple(rows.tolist()),
            fooled=tuple(rows[fooled].tolist()),
            outside=tuple(rows[outside].tolist()),
            wall_s=took.wall_s,
            cpu_s=took.cpu_s,
            code=code_of(slot.attack) if who == OURS else version(PEER),
            setting=setting,
            precision=self.precision(who),
        )

    def _setting(self, attack: str, who: str) -> Setting:
        """Return the fastest setting on the first images, remembered in the folder."""
        path = self.folder / _SETTINGS
        known: dict[str, Any] = read_json(path, "the settings") if path.exists() else {}
        key = f"{attack} {who} {self.precision(who)} {self.batch if who == OURS else None} {self.chunk}"
        if key not in known:
            known[key] = self._timings(attack, who)
            write_json(path, known)
        best = min(known[key], key=lambda tried: float(tried["wall_s"]))
        return Setting(best["batch"], best["layout"])

    def _timings(self, attack: str, who: str) -> list[dict[str, Any]]:
        """Time a short attack in every setting, the better of two rounds."""
        sizes = [size for size in _BATCHES if size <= self.chunk] or [self.chunk]
        batches = [self.batch] if who == OURS and self.batch else sizes
        settings = [Setting(batch, layout) for batch in batches for layout in LAYOUTS]
        rows = self._right(0, max(sizes))
        seconds: dict[Setting, list[float]] = {setting: [] for setting in settings}
        for _ in range(3):  # the first is for caches
            for setting in settings:
                call = functools.partial(self._attacked, attack, who, 0.05, rows, setting, short=True)
                seconds[setting].append(self.subject.timed(call)[1].wall_s)
        return [{**asdict(setting), "wall_s": min(found[1:])} for setting, found in seconds.items()]
