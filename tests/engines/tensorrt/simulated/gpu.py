"""The simulated GPU that plans are built for: the one of the simulated CUDA driver, told by the same variable."""

from __future__ import annotations

import os

DEFAULT = "8.9"


def compute_capability() -> tuple[int, int]:
    """Return `SIMULATED_COMPUTE_CAPABILITY`, 8.9 if it is not set."""
    major, _, minor = os.environ.get("SIMULATED_COMPUTE_CAPABILITY", DEFAULT).partition(".")
    return int(major), int(minor)


def name() -> str:
    """Return its name, as the simulated driver tells it."""
    return "simulated GPU {}.{}".format(*compute_capability())


def dla_cores() -> int:
    """Return `SIMULATED_DLA_CORES`, 0 if it is not set."""
    return int(os.environ.get("SIMULATED_DLA_CORES", "0"))
