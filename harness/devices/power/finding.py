"""Which meter an engine's energy is read from. A new sensor is a file beside this one and a line here."""

from __future__ import annotations

from harness.devices.jetson import jetpack
from harness.devices.machine import Machine
from harness.devices.power.jetson import jetson_rig
from harness.devices.power.meter import Absent, Rig
from harness.devices.power.nvml import nvml_rig
from harness.devices.power.rapl import rapl_rig


def find_rig(machine: Machine, *, on_gpu: bool) -> Rig | Absent:
    """Return the meter of the part that an engine runs on.

    A board has one supply for its CPU and GPU, and its rails serve both. Elsewhere a GPU's engine is metered by the
    GPU, and a CPU's by the CPU.

    Args:
        machine: that is read.
        on_gpu: whether the engine runs on a GPU.
    """
    board = jetson_rig(machine.root)
    if isinstance(board, Rig) or jetpack(machine.root) is not None:
        return board
    return nvml_rig(machine.gpu) if on_gpu else rapl_rig(machine.root)
