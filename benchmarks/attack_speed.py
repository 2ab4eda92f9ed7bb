"""PGD of 20 steps by four libraries, and the bare gradients that none of them can do without."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.attack_peers import PGD_STEPS, pgd_contestants
from benchmarks.attack_subject import LAYOUTS, Setting, Subject, Took
from contracts.files import read_json, write_json

if TYPE_CHECKING:
    import torch

_BATCHES = (50, 125, 250, 500, 1000)
_ROUNDS = 5  # one random start decides three or four images of a thousand
_CHOOSING_ROUNDS = 2
_SHORT = 4  # steps that choose a setting
_CHOOSING_EPSILON = 0.05

Settings = dict[str, Setting]


@dataclass(frozen=True)
class Speed:
    """One library's PGD.

    Attributes:
        epsilon: of the Linf ball.
        who: its name; of bare gradients with their precision.
        images: how many.
        robust: how many are right afterwards, in float32, or are outside the ball, by seed; none for bare gradients.
        outside: how many came back outside the ball, of all seeds.
        wall_s: seconds, the least of the rounds.
        cpu_s: seconds of all threads together, the least of the rounds.
        setting: batch and layout.
    """

    epsilon: float
    who: str
    images: int
    robust: tuple[int, ...]
    outside: int
    wall_s: float
    cpu_s: float
    setting: Setting

    @property
    def images_per_s(self) -> float:
        """Images a second."""
        return self.images / self.wall_s

    @property
    def robust_share(self) -> float | None:
        """The mean robust accuracy over the seeds; None for bare gradients."""
        return sum(self.robust) / (len(self.robust) * self.images) if self.robust else None


def measured(subject: Subject, epsilons: Sequence[float], folder: Path) -> list[Speed]:
    """Time all contestants in turn, each in its fastest setting, and keep what was found."""
    settings = chosen(subject)
    rows = [row for epsilon in epsilons for row in in_turn(subject, epsilon, settings)]
    for epsilon in epsilons:
        found = [asdict(row) for row in rows if row.epsilon == epsilon]
        write_json(_path(folder, epsilon, len(subject.images)), found)
    return rows


def kept(folder: Path, epsilons: Sequence[float], images: int) -> list[Speed]:
    """Return what was found before."""
    paths = [path for epsilon in epsilons if (path := _path(folder, epsilon, images)).exists()]
    rows: list[dict[str, Any]] = [row for path in paths for row in read_json(path, "the timings")]
    return [Speed(**{**row, "robust": tuple(row["robust"]), "setting": Setting(**row["setting"])}) for row in rows]


def _path(folder: Path, epsilon: float, images: int) -> Path:
    return folder / f"pgd-{epsilon:g}-{images}.json"


def chosen(subject: Subject) -> Settings:
    """Return every contestant's fastest setting, by a few steps."""
    best: dict[str, tuple[float, Setting]] = {}
    batches = [batch for batch in _BATCHES if batch <= len(subject.images)] or [len(subject.images)]
    for _ in range(_CHOOSING_ROUNDS):  # the first one also fills caches
        for setting in [Setting(batch, layout) for batch in batches for layout in LAYOUTS]:
            for who, call in contestants(subject, setting, _CHOOSING_EPSILON, _SHORT, seed=0).items():
                wall_s = subject.timed(call)[1].wall_s
                if who not in best or wall_s < best[who][0]:
                    best[who] = wall_s, setting
    return {who: setting for who, (_, setting) in best.items()}


def in_turn(subject: Subject, epsilon: float, settings: Settings) -> list[Speed]:
    """Run the contestants one after another, again and again, so that what else the machine does meets them all.

    Every round has a seed of its own.
    """
    import numpy as np
    import torch

    times: dict[str, list[Took]] = {who: [] for who in settings}
    robust: dict[str, list[int]] = {who: [] for who in settings}
    outside = dict.fromkeys(settings, 0)
    for seed in range(_ROUNDS):
        for who in list(settings) if seed % 2 == 0 else reversed(settings):
            call = contestants(subject, settings[who], epsilon, PGD_STEPS, seed)[who]
            torch.manual_seed(seed)
            np.random.seed(seed)  # ART draws from it
            made, took = subject.timed(call)
            times[who].append(took)
            if made is not None:
                standing, left = _judged(subject, epsilon, made)
                robust[who].append(standing)
                outside[who] += left
    return [
        Speed(
            epsilon=epsilon,
            who=who,
            images=len(subject.images),
            robust=tuple(robust[who]),
            outside=outside[who],
            wall_s=min(took.wall_s for took in times[who]),
            cpu_s=min(took.cpu_s for took in times[who]),
            setting=setting,
        )
        for who, setting in settings.items()
    ]


def _judged(subject: Subject, epsilon: float, made: Any) -> tuple[int, int]:
    """Return how many images are robust, and how many left the ball."""
    import torch

    adversarial = torch.as_tensor(made, device=subject.images.device)
    rows = torch.arange(len(subject.images), device=subject.images.device)
    outside = subject.outside(adversarial, rows, epsilon)
    clean_wrong = subject.wrong(subject.images, rows)
    robust = ~clean_wrong & (outside | ~subject.wrong(adversarial, rows))
    return int(robust.sum()), int(outside.sum())


def contestants(
    subject: Subject, setting: Setting, epsilon: float, steps: int, seed: int
) -> dict[str, Callable[[], Any]]:
    """Return the libraries' calls, and those of bare gradients in float32 and in half precision."""
    calls = pgd_contestants(subject, setting, epsilon, steps, seed)
    for half in dict.fromkeys((None, subject.half)):
        name = f"{PGD_STEPS} gradients, {str(half or 'float32').removeprefix('torch.')}"
        calls[name] = functools.partial(_gradients, subject, setting, half, steps)
    return calls


def _gradients(subject: Subject, setting: Setting, half: torch.dtype | None, steps: int) -> None:
    """Take so many gradients of the cross-entropy at every image, and do nothing with them."""
    import torch

    model = subject.models[setting.layout]
    rows = torch.arange(len(subject.images), device=subject.images.device)
    for images, labels, _ in subject.batches(rows, setting):
        variable = images.requires_grad_()
        for _ in range(steps):
            with torch.autocast(subject.device, half or torch.bfloat16, enabled=half is not None):
                logits = model(variable)
            torch.autograd.grad(torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum"), variable)
