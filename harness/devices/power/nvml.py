"""An NVIDIA GPU's energy by NVML: its counter (Volta and later), else its power."""

from __future__ import annotations

from harness.devices.nvidia import Ask
from harness.devices.power.meter import Absent, Rails, Rig

GPU = "gpu"


def nvml_rig(ask: Ask) -> Rig | Absent:
    """Return how the GPU's energy is read, or why it is not."""
    rail_set = "the whole GPU, its memory included, without the rest of the machine"
    if ask("energy_mj") is not None:
        return Rig("nvml", rail_set, (GPU,), joules=lambda: _answered(ask("energy_mj")))
    if ask("power_mw") is not None:
        return Rig("nvml", rail_set, (GPU,), watts=lambda: _answered(ask("power_mw")))
    return Absent("NVML tells neither energy nor power of this GPU (on a Jetson it never does; its rails may)")


def _answered(thousandths: float | None) -> Rails:
    return {} if thousandths is None else {GPU: thousandths / 1000}
