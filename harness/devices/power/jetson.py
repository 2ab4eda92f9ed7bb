"""A Jetson's rails by the INA3221 and INA238 sensors of its carrier and module, from sysfs.

Orin Nano and NX have VDD_IN, the whole module, which contains the other rails: those are never added to it. AGX Orin
has no rail for everything, and what its rails cover is not agreed on: they are told one by one, without a total.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.devices.power.meter import Absent, Rails, Rig
from harness.devices.tree import read_line, read_number

TOTAL = "VDD_IN"
DRIVERS = "sys/bus/i2c/drivers"
CHANNELS = range(1, 7)
"""Of an INA3221; the driver's channel 7 is the sum of others."""


def jetson_rig(root: Path) -> Rig | Absent:
    """Return how a board's rails are read, or why they are not."""
    rails = read_watts(root)
    if not rails:
        return Absent(
            f"no power sensor answers below {root / DRIVERS}: the container may not see /sys, or this is no Jetson"
        )
    has_total = TOTAL in rails
    return Rig(
        source="ina3221",
        rail_set=f"{TOTAL}, the whole module" if has_total else "+".join(sorted(rails)),
        total=(TOTAL,) if has_total else (),
        reason=None if has_total else "this board has no rail for the whole module, and its rails are not to be added",
        watts=lambda: read_watts(root),
    )


def read_watts(root: Path) -> Rails:
    """Return watts by the rail's label; a rail that is not connected (NC) is left out."""
    found = {**dict(_ina3221(root)), **dict(_ina3221x(root)), **dict(_ina238(root))}
    return {label: watts for label, watts in found.items() if "NC" not in label.split("_") and label != "NC"}


def _ina3221(root: Path) -> Iterator[tuple[str, float]]:
    for folder in sorted(root.glob(f"{DRIVERS}/ina3221/*/hwmon/hwmon*")):
        for channel in CHANNELS:
            label = read_line(folder / f"in{channel}_label")
            millivolts, milliamperes = (read_number(folder / f"{what}{channel}_input") for what in ("in", "curr"))
            if label is not None and millivolts is not None and milliamperes is not None:
                yield label, millivolts * milliamperes / 1e6


def _ina3221x(root: Path) -> Iterator[tuple[str, float]]:
    """JetPack 4 counts channels from 0 and tells milliwatts."""
    for folder in sorted(root.glob(f"{DRIVERS}/ina3221x/*/iio:device*")):
        for channel in range(3):
            label, milliwatts = (
                read_line(folder / f"rail_name_{channel}"),
                read_number(folder / f"in_power{channel}_input"),
            )
            if label is not None and milliwatts is not None:
                yield label, milliwatts / 1e3


def _ina238(root: Path) -> Iterator[tuple[str, float]]:
    """Thor's sensor of its input tells microwatts."""
    for folder in sorted(root.glob(f"{DRIVERS}/ina238/*/hwmon/hwmon*")):
        microwatts = read_number(folder / "power1_input")
        if microwatts is not None:
            yield read_line(folder / "power1_label") or read_line(folder / "name") or "ina238", microwatts / 1e6
