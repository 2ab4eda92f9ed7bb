"""What the kernel's thermal zones say."""

from __future__ import annotations

from pathlib import Path

from harness.devices.tree import SYSTEM_ROOT, read_line, read_number

COLDEST_C = -100.0
"""A Jetson's zone whose part is switched off answers -256."""


def temperatures_c(root: Path = SYSTEM_ROOT) -> dict[str, float]:
    """Return degrees Celsius by the zone's name; several zones of one name are told by the hottest."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name, millidegrees = read_line(zone / "type"), read_number(zone / "temp")
        if name is not None and millidegrees is not None and millidegrees / 1000 > COLDEST_C:
            found[name] = max(found.get(name, COLDEST_C), round(millidegrees / 1000, 1))
    return found
