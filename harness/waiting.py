"""How long torch's threads spin while they wait for each other, which costs nothing alone and everything in company.

GNU OpenMP lets a thread spin for milliseconds at the end of every parallel loop. Where another program wants the same
cores, each of a network's hundreds of loops then waits for a time slice: a small network takes ten times as long. A
short spin costs a few microseconds a loop on an idle machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

_SPINS, _SHORT = "GOMP_SPINCOUNT", "1000"
_MARK = "HARNESS_SHORT_SPIN"


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Ask for short spins, before anything loads OpenMP; what the user set about waiting stays."""
    if _SPINS not in environment and "OMP_WAIT_POLICY" not in environment:
        environment[_SPINS] = _SHORT
        environment[_MARK] = "1"


def as_deployed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without our own setting: what is timed must wait as it does where it is deployed."""
    ours = {_SPINS, _MARK} if _MARK in environment else set()
    return {name: value for name, value in environment.items() if name not in ours}
