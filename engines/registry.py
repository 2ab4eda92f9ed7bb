"""The backends by name. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from contracts.errors import MissingDependencyError, unknown_name
from contracts.settings import from_section
from engines.backend import Backend, Precision

_BACKENDS = {
    "openvino": "engines.openvino.backend:OpenVINO",
    "onnxruntime": "engines.onnxruntime.backend:ONNXRuntime",
    "torch": "engines.torch.backend:Torch",
    "tensorrt": "engines.tensorrt.backend:TensorRT",
    "tensorrt-rtx": "engines.tensorrt.backend:TensorRTRTX",
}

AUTO = "auto"
NAMES: tuple[str, ...] = tuple(_BACKENDS)

_ON_A_GPU = "tensorrt"
_EMBEDDED_DEFAULT = "openvino"


def backend(name: str) -> Backend:
    """Return the backend of that name, usable here or not.

    Raises:
        InputError: there is none of that name.
    """
    if name not in _BACKENDS:
        raise unknown_name("backend", name, (*NAMES, AUTO))
    module, _, attribute = _BACKENDS[name].partition(":")
    found: Backend = getattr(import_module(module), attribute)()
    return found


def options(name: str, given: Mapping[str, Any]) -> Any:
    """Return a backend's build options, an instance of its class of them, from what the experiment says.

    Raises:
        InputError: unknown backend or option, or a value that cannot be.
    """
    return from_section(backend(name).options(), given, f"build.{name}")


def building_backend(name: str, precision: Precision) -> Backend:
    """Return the backend of that name, ready to build this precision on this machine.

    Raises:
        InputError: unknown backend, or one that lacks the precision.
        MissingDependencyError: it does not build here; the sentence names the command that mends it.
    """
    found = backend(name)
    found.check_precision(precision)
    state = found.availability(precision)
    if not state.usable:
        raise MissingDependencyError(
            f"backend {name} ({precision}) does not build here: {state.reason}; {state.remedy}"
        )
    return found


def running_backend(name: str) -> Backend:
    """Return the backend of that name, ready to run engines on this machine.

    Raises:
        InputError: unknown backend.
        MissingDependencyError: it does not run here; the sentence names the command that mends it.
    """
    found = backend(name)
    state = found.runnable()
    if not state.usable:
        raise MissingDependencyError(f"backend {name} does not run here: {state.reason}; {state.remedy}")
    return found


def choose(name: str) -> tuple[str, str]:
    """Resolve `auto`; return the backend's name and the reason in one sentence."""
    if name != AUTO:
        backend(name)
        return name, f"backend {name}, as asked"
    state = backend(_ON_A_GPU).runnable()
    if state.usable:
        return _ON_A_GPU, f"backend auto takes {_ON_A_GPU}: there are an NVIDIA GPU and the package"
    return _EMBEDDED_DEFAULT, (
        f"backend auto takes {_EMBEDDED_DEFAULT}, the fastest on x86-64 and ARM CPUs; {_ON_A_GPU} does not work here: "
        f"{state.reason}"
    )
