"""How fast the CPU and a Jetson's GPU run now, how fast they may, and how fast they could."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.devices.cpu import frequency_mhz, usable_cores
from harness.devices.jetson import GPU_DEVFREQ
from harness.devices.tree import SYSTEM_ROOT, read_line, read_number


@dataclass(frozen=True)
class Clock:
    """One clock in MHz; None where nothing tells.

    Attributes:
        now_mhz: its frequency at this moment.
        lowest_mhz: the lowest that it may fall to.
        highest_mhz: the highest that it may rise to, under the power mode or a limit that someone set.
        possible_mhz: the highest that the hardware has.
    """

    now_mhz: float | None = None
    lowest_mhz: float | None = None
    highest_mhz: float | None = None
    possible_mhz: float | None = None

    @property
    def is_limited(self) -> bool:
        """Whether it may not rise to what the hardware has."""
        return None not in (self.highest_mhz, self.possible_mhz) and (self.highest_mhz or 0) < (self.possible_mhz or 0)

    @property
    def is_free(self) -> bool:
        """Whether it follows the load, between two limits."""
        return None not in (self.lowest_mhz, self.highest_mhz) and (self.lowest_mhz or 0) < (self.highest_mhz or 0)


def cpu_clock(root: Path = SYSTEM_ROOT) -> Clock:
    """Return the usable cores' clock: the mean now, and the widest limits of any core."""
    folders = [root / f"sys/devices/system/cpu/cpu{core}/cpufreq" for core in usable_cores(root)]
    return Clock(
        now_mhz=frequency_mhz(root),
        lowest_mhz=_mhz(min(_numbers(folders, "scaling_min_freq"), default=None), per_mhz=1e3),
        highest_mhz=_mhz(max(_numbers(folders, "scaling_max_freq"), default=None), per_mhz=1e3),
        possible_mhz=_mhz(max(_numbers(folders, "cpuinfo_max_freq"), default=None), per_mhz=1e3),
    )


def jetson_gpu_clock(root: Path = SYSTEM_ROOT) -> Clock:
    """Return the clock of a Jetson's GPU; off a Jetson nothing tells."""
    folders = [root / "sys/class/devfreq" / name for name in GPU_DEVFREQ]
    folder = next((each for each in folders if read_number(each / "cur_freq") is not None), None)
    if folder is None:
        return Clock()
    steps = [float(word) for word in (read_line(folder / "available_frequencies") or "").split() if word.isdecimal()]
    now, lowest, highest = (read_number(folder / name) for name in ("cur_freq", "min_freq", "max_freq"))
    return Clock(*(_mhz(value, per_mhz=1e6) for value in (now, lowest, highest, max(steps, default=None))))


def _numbers(folders: Iterable[Path], name: str) -> list[float]:
    return [value for folder in folders if (value := read_number(folder / name)) is not None]


def _mhz(value: float | None, *, per_mhz: float) -> float | None:
    return None if value is None else round(value / per_mhz, 1)
