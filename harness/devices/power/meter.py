"""What every energy meter gives: joules by rail since it was opened, whatever its sensor counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Rails = Mapping[str, float]
Clock = Callable[[], float]


class Sensor(Protocol):
    """Reads joules or watts by rail at this moment."""

    def __call__(self) -> Rails:
        """Return one number a rail; a rail that does not answer now is left out."""
        ...


@dataclass(frozen=True)
class Rig:
    """A sensor, and what its rails mean.

    Attributes:
        source: nvml, ina3221, rapl.
        rail_set: which rails these are, in words: numbers of different sets are never compared.
        total: the rails whose sum is what the machine, or the GPU, takes; empty where no such rails exist.
        reason: why there is no total; None where there is.
        joules: reads counters that only grow; None where the sensor tells watts.
        watts: reads power, which is integrated; None where the sensor counts joules.
    """

    source: str
    rail_set: str
    total: tuple[str, ...]
    reason: str | None = None
    joules: Sensor | None = None
    watts: Sensor | None = None


@dataclass(frozen=True)
class Absent:
    """Why no sensor answers here, in a clause with what would mend it."""

    reason: str


@dataclass(frozen=True)
class Metered:
    """What a meter has counted.

    Attributes:
        seconds: since it was made, at the moment that the sensor was read.
        joules: by rail, in that time.
    """

    seconds: float
    joules: Rails

    def watts_since(self, before: Metered) -> Rails:
        """Return the mean power by rail from an earlier moment on; a rail that was silent all along is left out."""
        seconds = self.seconds - before.seconds
        return {
            rail: (value - before.joules.get(rail, 0.0)) / seconds for rail, value in self.joules.items() if seconds > 0
        }


class Meter:
    """Adds up joules by rail from the moment that it is made; whoever holds it samples it often."""

    def __init__(self, rig: Rig, clock: Clock = time.monotonic) -> None:
        self.rig = rig
        self._clock = clock
        self._added: dict[str, float] = {}
        self._made_s = self._at_s = clock()
        self._last = self._read()

    def sample(self) -> Metered:
        """Read the sensor; return what was counted since the meter was made.

        Watts are integrated by trapezoids from sample to sample. A rail that missed a sample is integrated from its
        last answer.
        """
        now_s, now = self._clock(), self._read()
        for rail, value in now.items():
            if rail in self._last:
                before = self._last[rail]
                grown = (value - before) if self.rig.joules else (value + before) / 2 * (now_s - self._at_s)
                self._added[rail] = self._added.get(rail, 0.0) + max(grown, 0.0)
        self._at_s, self._last = now_s, {**self._last, **now}
        return Metered(now_s - self._made_s, dict(self._added))

    def _read(self) -> Rails:
        sensor = self.rig.joules or self.rig.watts
        return sensor() if sensor is not None else {}
