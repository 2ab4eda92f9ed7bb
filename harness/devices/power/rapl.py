"""A CPU's energy by RAPL, as the kernel's powercap folders count it.

Packages are added to a total. A package contains its subdomains (cores, uncore, memory on some), and `psys` contains
the packages: both are told and never added.
"""

from __future__ import annotations

from pathlib import Path

from harness.devices.power.meter import Absent, Rails, Rig
from harness.devices.tree import read_line, read_number

FOLDER = "sys/class/powercap"


def rapl_rig(root: Path) -> Rig | Absent:
    """Return how the CPU's energy is read, or why it is not."""
    domains = {_rail(domain): domain for domain in sorted(root.glob(f"{FOLDER}/intel-rapl:*"))}
    if not domains:
        return Absent("this machine counts no CPU energy: its kernel shows no RAPL (virtual machines rarely do)")
    readable = {rail: domain for rail, domain in domains.items() if read_number(domain / "energy_uj") is not None}
    packages = tuple(rail for rail in readable if rail.startswith("package-") and "/" not in rail)
    if not packages:
        return Absent(
            "the CPU's energy counters may be read by root alone: "
            f"allow it with 'sudo chmod a+r /{FOLDER}/intel-rapl:*/energy_uj' and measure again"
        )
    counters = Counters(readable)
    rail_set = "+".join(packages) + ", the CPU packages without the rest of the machine"
    return Rig("rapl", rail_set, packages, joules=counters)


class Counters:
    """Joules by rail; a counter that started over at its range is carried on."""

    def __init__(self, domains: dict[str, Path]) -> None:
        self._domains = domains
        self._last: dict[str, float] = {}
        self._carried: dict[str, float] = {}

    def __call__(self) -> Rails:
        """Return joules by rail, which only grow as long as this is asked once in a range: about a minute."""
        found = {}
        for rail, domain in self._domains.items():
            microjoules = read_number(domain / "energy_uj")
            if microjoules is None:
                continue
            if microjoules < self._last.get(rail, 0.0):
                self._carried[rail] = self._carried.get(rail, 0.0) + (
                    read_number(domain / "max_energy_range_uj") or 0.0
                )
            self._last[rail] = microjoules
            found[rail] = (microjoules + self._carried.get(rail, 0.0)) / 1e6
        return found


def _rail(domain: Path) -> str:
    """Name a domain by the kernel's names, below its package: package-0, package-0/core, psys."""
    name = read_line(domain / "name") or domain.name
    number = domain.name.removeprefix("intel-rapl:").partition(":")
    return f"package-{number[0]}/{name}" if number[2] else name
