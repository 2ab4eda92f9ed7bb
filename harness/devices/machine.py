"""The machine that is read: this one, or the files and answers that were recorded of another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.devices.nvidia import Ask, ask_driver, ask_record
from harness.devices.tree import SYSTEM_ROOT, is_recorded


@dataclass(frozen=True)
class Machine:
    """Where every reader of the device reads.

    Attributes:
        root: the folder that /proc, /sys and /etc lie in.
    """

    root: Path = SYSTEM_ROOT

    @property
    def is_simulated(self) -> bool:
        """Whether recorded files stand in for the machine."""
        return is_recorded(self.root)

    @cached_property
    def gpu(self) -> Ask:
        """What answers about the NVIDIA GPU, see `nvidia.QUESTIONS`."""
        return ask_record(self.root) if self.is_simulated else ask_driver


THIS_MACHINE = Machine()
