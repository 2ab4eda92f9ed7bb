"""Recording a machine for a bug report: the files that the readers read, and what NVML answers; no serial number.

What is recorded is named here, file by file; nothing else is looked at, so nothing private can slip in with a folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import InputError
from contracts.files import write_text
from harness.devices.machine import Machine
from harness.devices.nvidia import QUESTIONS, RECORDED

_CPUFREQ = ("scaling_governor", "scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", "cpuinfo_max_freq")
_DEVFREQ = ("cur_freq", "min_freq", "max_freq", "available_frequencies")
_DRIVERS = "sys/bus/i2c/drivers"

FILES: tuple[str, ...] = (
    "etc/os-release",
    "etc/nv_tegra_release",
    "etc/nvpmodel.conf",
    "var/lib/nvpmodel/status",
    "proc/device-tree/model",
    "sys/firmware/devicetree/base/model",
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/loadavg",
    "proc/stat",
    "proc/vmstat",
    "proc/driver/nvidia/version",
    "sys/bus/pci/devices/*/vendor",
    "sys/bus/pci/devices/*/class",
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/thermal/thermal_zone*/temp",
    "sys/class/hwmon/hwmon*/oc*_event_cnt",
    *(f"sys/devices/system/cpu/cpu[0-9]*/cpufreq/{name}" for name in _CPUFREQ),
    *(f"sys/class/devfreq/*/{name}" for name in _DEVFREQ),
    *(f"{_DRIVERS}/ina3221/*/hwmon/hwmon*/{what}" for what in ("in*_label", "in*_input", "curr*_input")),
    *(f"{_DRIVERS}/ina3221x/*/iio:device*/{what}" for what in ("rail_name_*", "in_power*_input")),
    *(f"{_DRIVERS}/ina238/*/hwmon/hwmon*/{what}" for what in ("name", "power1_input", "power1_label")),
    *(f"sys/class/powercap/intel-rapl:*/{name}" for name in ("name", "energy_uj", "max_energy_range_uj")),
)
"""Everything that a reader in this package reads, as patterns below the root. A new reader's files belong here."""

_PRIVATE = re.compile(r"^(serial|hardware uuid)\b.*\n?", re.IGNORECASE | re.MULTILINE)
"""Lines of cpuinfo that tell one machine from all others of its kind: 32-bit ARM kernels print the board's serial."""


def record(machine: Machine, folder: Path) -> int:
    """Write what is read of a machine into a folder; `harness doctor --root` reads it again.

    Args:
        machine: that is recorded.
        folder: a new one, or an empty one.

    Returns:
        how many files were written.

    Raises:
        InputError: the folder holds something already, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty: name a new folder for the record")
    files = dict(_read(machine.root))
    answers = {question: machine.gpu(question) for question in QUESTIONS}
    if any(answer is not None for answer in answers.values()):
        answers["processes"] = None if answers["processes"] is None else []  # others' programs are nobody's business
        files[RECORDED] = json.dumps(answers, indent=2)
    try:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(folder / name, text)
    except OSError as error:
        raise InputError(f"the record could not be written to {folder}: {error.strerror or error}") from error
    return len(files)


def _read(root: Path) -> Iterator[tuple[str, str]]:
    for pattern in FILES:
        for path in sorted(root.glob(pattern)):
            try:
                text = path.read_bytes().decode("utf-8", errors="replace")
            except OSError:
                continue  # it is not there, or not ours to read: its reader has no answer here either
            yield str(path.relative_to(root)), _PRIVATE.sub("", text)
