"""A Jetson board by its sysfs: NVML answers next to nothing there.

Recorded from public documentation of JetPack 5 and 6 on Orin; the power mode is matched by name, since numbers differ
between boards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.devices.tree import SYSTEM_ROOT, read_line, read_number

JETPACK_OF_L4T = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7", "39": "7"}
GPU_DEVFREQ = ("17000000.gpu", "17000000.ga10b", "gpu-gpc-0")
"""The GPU's devfreq node on JetPack 6, JetPack 5 and Thor."""


@dataclass(frozen=True)
class JetsonState:
    """The board at one moment; None where a file is absent.

    Attributes:
        power_mode: nvpmodel's name of the mode, such as "15W" or "MAXN_SUPER".
        gpu_clock_mhz: the GPU's clock.
        gpu_temperature_c: degrees Celsius.
        throttle_events: over-current and thermal events since boot.
    """

    power_mode: str | None
    gpu_clock_mhz: float | None
    gpu_temperature_c: float | None
    throttle_events: float | None


def board_model(root: Path = SYSTEM_ROOT) -> str | None:
    """Return the board's name from the device tree, or None (a PC, a virtual machine, a container without it)."""
    name = read_line(root / "proc/device-tree/model") or read_line(root / "sys/firmware/devicetree/base/model")
    return None if name == "linux,dummy-virt" else name


def jetpack(root: Path = SYSTEM_ROOT) -> str | None:
    """Return JetPack and Linux-for-Tegra versions such as "6 (L4T 36.4.0)", or None off a Jetson."""
    text = read_line(root / "etc/nv_tegra_release")
    found = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text or "")
    if found is None:
        return None
    major, revision = found.groups()
    return f"{JETPACK_OF_L4T.get(major, 'unknown')} (L4T {major}.{revision})"


def read_jetson(root: Path = SYSTEM_ROOT) -> JetsonState:
    """Return the board's state; off a Jetson every field is None."""
    clocks = (read_number(root / f"sys/class/devfreq/{name}/cur_freq") for name in GPU_DEVFREQ)
    hertz = next((value for value in clocks if value is not None), None)
    counters = [read_number(path) for path in root.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")]
    events = [value for value in counters if value is not None]
    return JetsonState(
        power_mode=_power_mode(root),
        gpu_clock_mhz=None if hertz is None else hertz / 1e6,
        gpu_temperature_c=_gpu_temperature_c(root),
        throttle_events=sum(events) if events else None,
    )


def power_modes(root: Path = SYSTEM_ROOT) -> dict[int, str]:
    """Return the board's power modes, names by the numbers that `nvpmodel -m` takes; off a Jetson there are none."""
    table = read_line(root / "etc/nvpmodel.conf") or ""
    found: list[tuple[str, str]] = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", table)
    return {int(number): name for number, name in found}


def _power_mode(root: Path) -> str | None:
    """Name the mode that nvpmodel last set, without running it: its status file joined with its table."""
    status = re.search(r"pmode:(\d+)", read_line(root / "var/lib/nvpmodel/status") or "")
    if status is None:
        return None
    number = int(status[1])
    return power_modes(root).get(number, f"mode {number}")


def _gpu_temperature_c(root: Path) -> float | None:
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        if (read_line(zone / "type") or "").lower() in {"gpu-thermal", "gpu-therm"}:
            millidegrees = read_number(zone / "temp")
            return None if millidegrees is None else millidegrees / 1000
    return None
