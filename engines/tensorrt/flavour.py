"""The two products behind one API, TensorRT 8.6 to 11 and TensorRT-RTX: which imports here, and how old it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from contracts.errors import MissingDependencyError

if TYPE_CHECKING:
    import tensorrt as trt

OLDEST = (8, 6)

_JETSON = Path("/etc/nv_tegra_release")

Value = TypeVar("Value")


class Bindings(Protocol):
    """What the backend uses of either module, typed by TensorRT 10's own stubs; see `versions.py` for the rest."""

    __version__: str
    ILogger: type[trt.ILogger]
    Builder: type[trt.Builder]
    BuilderFlag: type[trt.BuilderFlag]
    Dims: type[trt.Dims]
    DeviceType: type[trt.DeviceType]
    HardwareCompatibilityLevel: type[trt.HardwareCompatibilityLevel]
    IProfiler: type[trt.IProfiler]
    LayerInformationFormat: type[trt.LayerInformationFormat]
    MemoryPoolType: type[trt.MemoryPoolType]
    NetworkDefinitionCreationFlag: type[trt.NetworkDefinitionCreationFlag]
    OnnxParser: type[trt.OnnxParser]
    ProfilingVerbosity: type[trt.ProfilingVerbosity]
    Runtime: type[trt.Runtime]
    TensorIOMode: type[trt.TensorIOMode]


@dataclass(frozen=True)
class Flavour:
    """One of the two products.

    Attributes:
        backend: the backend's name.
        module: what is imported.
        title: its name in sentences.
        needs_gpu: whether building needs a GPU: TensorRT times its kernels, TensorRT-RTX compiles them when it runs.
        remedy: how it is installed.
    """

    backend: str
    module: str
    title: str
    needs_gpu: bool
    remedy: str


TENSORRT = Flavour(
    backend="tensorrt",
    module="tensorrt",
    title="TensorRT",
    needs_gpu=True,
    remedy="install it with: pip install 'edge-robustness-harness[tensorrt]'",
)
TENSORRT_RTX = Flavour(
    backend="tensorrt-rtx",
    module="tensorrt_rtx",
    title="TensorRT-RTX",
    needs_gpu=False,
    remedy="install it with: pip install 'edge-robustness-harness[tensorrt-rtx]'",
)


def bindings(flavour: Flavour) -> Bindings:
    """Import the flavour's module.

    Raises:
        MissingDependencyError: it does not import, or is older than 8.6.
    """
    from importlib import import_module

    try:
        module = import_module(flavour.module)
    except ModuleNotFoundError as error:
        lacks = "is not installed" if error.name == flavour.module else f"does not import ({error})"
        raise MissingDependencyError(f"{flavour.module} {lacks}; {_remedy(flavour)}") from error
    except Exception as error:  # its libraries' loader raises what it likes
        raise MissingDependencyError(f"{flavour.module} does not import ({error}); {_remedy(flavour)}") from error
    if not hasattr(module, "__version__"):  # a folder of that name, or type stubs without the package
        raise MissingDependencyError(f"{flavour.module} is not installed; {_remedy(flavour)}")
    found = cast(Bindings, module)
    if flavour is TENSORRT and version(found) < OLDEST:
        raise MissingDependencyError(
            f"TensorRT {found.__version__} is too old, 8.6 is the oldest that works; use JetPack 6 or newer on a "
            "Jetson (JetPack 5 has Python 3.8, which is out of scope), else pip install --upgrade tensorrt"
        )
    return found


def _remedy(flavour: Flavour) -> str:
    """Return how a flavour is installed here; JetPack's TensorRT is a package of the system's."""
    if flavour is TENSORRT and _JETSON.exists():
        return "sudo apt install python3-libnvinfer, and use a virtual environment made with --system-site-packages"
    return flavour.remedy


def begun(make: Callable[[], Value], flavour: Flavour, reason: Callable[[], str]) -> Value:
    """Return a builder or a runtime.

    Raises:
        MissingDependencyError: CUDA cannot begin here, which TensorRT tells as a constructor that gives nothing.
    """
    try:
        return make()
    except TypeError as error:
        raise MissingDependencyError(
            f"{flavour.title} cannot begin on this GPU: {reason()}; update the NVIDIA driver, or install the "
            f"{flavour.module} of its CUDA version ('harness doctor' tells both)"
        ) from error


def version(trt: Bindings) -> tuple[int, int]:
    """Return the major and minor version."""
    numbers = re.findall(r"\d+", trt.__version__)
    return int(numbers[0]), int(numbers[1])


def possibly(value: Value) -> Value | None:
    """Return the same: TensorRT answers None where it failed, which its type stubs deny."""
    return value


def is_simulated(trt: Bindings) -> bool:
    """Say whether a double stands in for the module."""
    module: Any = trt
    return bool(getattr(module, "__simulated__", False))
