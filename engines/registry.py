"""The backends by name. A new one is a file and a line here."""

from __future__ import annotations

from importlib import import_module

from contracts.errors import MissingDependencyError, unknown_name
from engines.backend import Backend, Precision

_BACKENDS = {
    "openvino": "engines.openvino.backend:OpenVINO",
    "onnxruntime": "engines.onnxruntime.backend:ONNXRuntime",
    "torch": "engines.torch.backend:Torch",
}

AUTO = "auto"
NAMES: tuple[str, ...] = tuple(_BACKENDS)

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


def usable_backend(name: str, precision: Precision) -> Backend:
    """Return the backend of that name, ready to build this precision on this machine.

    Raises:
        InputError: unknown backend, or one that lacks the precision.
        MissingDependencyError: it does not work here; the sentence names the command that mends it.
    """
    found = backend(name)
    found.check_precision(precision)
    state = found.availability(precision)
    if not state.usable:
        raise MissingDependencyError(f"backend {name} ({precision}) does not work here: {state.reason}; {state.remedy}")
    return found


def choose(name: str) -> tuple[str, str]:
    """Resolve `auto`; return the backend's name and the reason in one sentence."""
    if name != AUTO:
        backend(name)
        return name, f"backend {name}, as asked"
    return _EMBEDDED_DEFAULT, (
        "backend auto takes openvino: no backend of this version runs on an NVIDIA GPU, and OpenVINO is the fastest "
        "on x86-64 and ARM CPUs"
    )
