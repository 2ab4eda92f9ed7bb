"""Which package opens the GPU: pycuda where it is installed, else cuda-python, or what `HARNESS_CUDA` names."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.errors import MissingDependencyError, unknown_name
from engines.cuda.calls import Calls
from engines.cuda.device import Device
from engines.cuda.driver import NoGpu, find_gpu

CHOICE = "HARNESS_CUDA"
"""The environment variable that chooses one of the implementations."""


@dataclass(frozen=True)
class _Implementation:
    package: str
    """What the package is imported as; the extra that installs it has the implementation's name."""
    module: str
    calls: str


_IMPLEMENTATIONS: Mapping[str, _Implementation] = {
    "pycuda": _Implementation("pycuda", "engines.cuda.pycuda", "PycudaCalls"),
    "cuda-python": _Implementation("cuda.bindings", "engines.cuda.cuda_python", "CudaPythonCalls"),
}


def implementations() -> tuple[str, ...]:
    """Return the names of the implementations whose package is installed, the preferred one first."""
    return tuple(name for name, known in _IMPLEMENTATIONS.items() if _is_installed(known.package))


def missing(implementation: str | None = None) -> tuple[str, str] | None:
    """Return why no device can be opened here and what mends that, or None where one can; nothing is opened.

    Args:
        implementation: as for `open_device`.

    Raises:
        InputError: there is no implementation of that name.
    """
    chosen, installed = _chosen(implementation), implementations()
    if chosen is not None and chosen not in installed:
        return f"{chosen} is not installed", _install(chosen)
    if not installed:
        return "neither cuda-python nor pycuda is installed", _install("cuda-python")
    gpu = find_gpu()
    return (gpu.reason, gpu.remedy) if isinstance(gpu, NoGpu) else None


def open_device(implementation: str | None = None) -> Device:
    """Return GPU 0, to be used in a with-statement.

    Args:
        implementation: "pycuda" or "cuda-python"; None takes what `HARNESS_CUDA` names, else the first installed one.

    Raises:
        InputError: there is no implementation of that name.
        MissingDependencyError: a package, the driver or a GPU is missing, or the package cannot be imported.
    """
    lack = missing(implementation)
    if lack is not None:
        reason, remedy = lack
        raise MissingDependencyError(f"{reason}: {remedy}")
    return Device(_calls(_chosen(implementation) or implementations()[0]))


def _calls(name: str) -> Calls:
    known = _IMPLEMENTATIONS[name]
    try:
        calls: Calls = getattr(importlib.import_module(known.module), known.calls)()
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is installed but cannot be imported ({error}): install it again, or choose another with {CHOICE}"
        ) from error
    return calls


def _chosen(implementation: str | None) -> str | None:
    chosen = implementation or os.environ.get(CHOICE) or None
    if chosen is not None and chosen not in _IMPLEMENTATIONS:
        raise unknown_name("CUDA implementation", chosen, _IMPLEMENTATIONS)
    return chosen


def _install(name: str) -> str:
    return f"pip install 'edge-robustness-harness[{name}]'"


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the package that it lies in is missing
        return False
