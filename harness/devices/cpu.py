"""The CPU: its name, the cores we may use, its instruction sets, and how busy, fast and shared it is right now."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.devices.tree import SYSTEM_ROOT, is_recorded, read_fields, read_line, read_number

SAMPLE_S = 0.3
"""How long the load of the cores is sampled."""

ARM_CORES = {
    ("0x41", "0xd03"): "ARM Cortex-A53",
    ("0x41", "0xd07"): "ARM Cortex-A57",
    ("0x41", "0xd08"): "ARM Cortex-A72",
    ("0x41", "0xd0b"): "ARM Cortex-A76",
    ("0x41", "0xd0c"): "ARM Neoverse-N1",
    ("0x41", "0xd40"): "ARM Neoverse-V1",
    ("0x41", "0xd42"): "ARM Cortex-A78AE",
    ("0x41", "0xd49"): "ARM Neoverse-N2",
    ("0x41", "0xd4f"): "ARM Neoverse-V2",
    ("0x41", "0xd83"): "ARM Neoverse-V3AE",
    ("0x4e", "0x004"): "NVIDIA Carmel",
}
"""Cores by (CPU implementer, CPU part): 64-bit ARM kernels give numbers where x86 kernels give a model name."""


@dataclass(frozen=True)
class CpuLoad:
    """Shares of the sampled time in [0, 1] over the cores that we may use."""

    busy_fraction: float
    steal_fraction: float


def cpu_name(root: Path = SYSTEM_ROOT) -> str:
    """Return the CPU's model name, or "unknown CPU"."""
    fields = dict(reversed(_cpuinfo(root)))
    if name := fields.get("model name"):
        return " ".join(name.split())
    core = (fields.get("CPU implementer", ""), fields.get("CPU part", ""))
    return ARM_CORES.get(core) or (f"ARM core {'/'.join(core)}" if all(core) else "unknown CPU")


def usable_cores(root: Path = SYSTEM_ROOT) -> tuple[int, ...]:
    """Return the numbers of the cores that this process may run on (of a recorded tree: all its cores)."""
    if not is_recorded(root) and hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    recorded = tuple(int(value) for name, value in _cpuinfo(root) if name == "processor" and value.isdecimal())
    return recorded or tuple(range(os.cpu_count() or 1))


def cpu_flags(root: Path = SYSTEM_ROOT) -> frozenset[str]:
    """Return the instruction sets by the kernel's names: `flags` on x86, `Features` on ARM."""
    return frozenset(flag for name, value in _cpuinfo(root) if name in {"flags", "Features"} for flag in value.split())


def supports_bf16(root: Path = SYSTEM_ROOT) -> bool:
    """Say whether the CPU multiplies bfloat16 natively (AVX512-BF16, AMX, ARMv8.6 BF16)."""
    return not cpu_flags(root).isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def frequencies_mhz(root: Path = SYSTEM_ROOT, cores: Collection[int] = ()) -> list[float]:
    """Return the clock of some cores now: cpufreq's, else that of all cores in cpuinfo; nothing where neither tells.

    Args:
        root: of the machine.
        cores: their numbers; empty takes all usable ones.
    """
    khz = [read_number(_cpufreq(root, core) / "scaling_cur_freq") for core in cores or usable_cores(root)]
    mhz = [value / 1000 for value in khz if value is not None]
    return mhz or [float(value) for name, value in _cpuinfo(root) if name == "cpu MHz"]


def frequency_mhz(root: Path = SYSTEM_ROOT) -> float | None:
    """Return the mean clock of the usable cores now, or None."""
    mhz = frequencies_mhz(root)
    return round(sum(mhz) / len(mhz), 1) if mhz else None


def governor(root: Path = SYSTEM_ROOT) -> str | None:
    """Return the usable cores' frequency governors, comma-separated where they differ, or None."""
    found = {read_line(_cpufreq(root, core) / "scaling_governor") for core in usable_cores(root)}
    return ",".join(sorted(name for name in found if name)) or None


def load_average_1m(root: Path = SYSTEM_ROOT) -> float | None:
    """Return the load average of the last minute, or None."""
    words = (read_line(root / "proc/loadavg") or "").split()
    return float(words[0]) if words else None


def swap_used_bytes(root: Path = SYSTEM_ROOT) -> int | None:
    """Return the bytes in swap, zram included, or None."""
    fields = dict(read_fields(root / "proc/meminfo"))
    if "SwapTotal" not in fields or "SwapFree" not in fields:
        return None
    total, free = (int(fields[name].split()[0]) for name in ("SwapTotal", "SwapFree"))
    return (total - free) * 1024


def swapped_in_pages(root: Path = SYSTEM_ROOT) -> int | None:
    """Return how many pages came back from swap since boot, or None."""
    counted = dict(read_fields(root / "proc/vmstat", " "))
    return int(counted["pswpin"]) if "pswpin" in counted else None


def quota_throttled(root: Path = SYSTEM_ROOT) -> int | None:
    """Return how often this process's control group (version 2) used up its CPU quota, or None where it has none."""
    group = read_line(root / "proc/self/cgroup") or ""
    if not group.startswith("0::/"):
        return None
    place = root / "sys/fs/cgroup" / group.removeprefix("0::/")
    if (read_line(place / "cpu.max") or "max").startswith("max"):
        return None
    counted = dict(read_fields(place / "cpu.stat", " "))
    return int(counted["nr_throttled"]) if "nr_throttled" in counted else None


def process_cpu_s(pid: int) -> float | None:
    """Return the CPU seconds that a process of this machine has used, all its threads together; None without it."""
    text = read_line(SYSTEM_ROOT / f"proc/{pid}/stat")
    if text is None:
        return None
    fields = text.rpartition(")")[2].split()  # its name may hold blanks and brackets
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_times_s(root: Path = SYSTEM_ROOT, cores: Collection[int] = ()) -> tuple[float, float, float] | None:
    """Return (total, busy, stolen) seconds of some cores since boot, or None where the kernel does not count.

    Args:
        root: of the machine.
        cores: their numbers; empty takes all usable ones.
    """
    wanted = {f"cpu{core}" for core in cores or usable_cores(root)}
    lines = [line.split() for line in (read_line(root / "proc/stat") or "").splitlines()]
    rows = [[int(word) for word in line[1:9]] for line in lines if line and line[0] in wanted and len(line) > 8]
    if not rows:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    user, nice, system, idle, iowait, irq, softirq, steal = (sum(column) / ticks for column in zip(*rows, strict=True))
    busy = user + nice + system + irq + softirq
    return busy + idle + iowait + steal, busy, steal


def sample_load(root: Path = SYSTEM_ROOT) -> CpuLoad | None:
    """Watch the usable cores for `SAMPLE_S`; None where nothing counts, as in a recorded tree.

    Time that the hypervisor gave to another guest is stolen and not busy.
    """
    before = cpu_times_s(root)
    if before is None:
        return None if is_recorded(root) else _sample_psutil()
    time.sleep(SAMPLE_S)
    after = cpu_times_s(root)
    if after is None or after[0] <= before[0]:
        return None
    total, busy, steal = (end - start for start, end in zip(before, after, strict=True))
    return CpuLoad(busy_fraction=round(busy / total, 4), steal_fraction=round(steal / total, 4))


def _sample_psutil() -> CpuLoad:
    """Sample on a system without /proc/stat, where no hypervisor's share is counted."""
    import psutil

    return CpuLoad(busy_fraction=psutil.cpu_percent(SAMPLE_S) / 100, steal_fraction=0.0)


def _cpuinfo(root: Path) -> list[tuple[str, str]]:
    return read_fields(root / "proc/cpuinfo")


def _cpufreq(root: Path, core: int) -> Path:
    return root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
