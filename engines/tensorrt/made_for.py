"""What a plan is bound to, and whether it can be loaded here: plans move neither between versions nor between GPUs."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from engines.cuda.driver import Gpu
from engines.tensorrt.flavour import Flavour

_VERSION, _SYSTEM, _GPU, _CAPABILITY, _OLDEST_CAPABILITY = (
    "version",
    "system",
    "gpu",
    "compute_capability",
    "compute_capability_from",
)
_AMPERE = (8, 0)


def made_for(flavour: Flavour, version: str, gpu: Gpu | None, options: Mapping[str, Any]) -> dict[str, str]:
    """Return what a plan that is built here is bound to, by name.

    TensorRT times its kernels on one GPU and keeps the plan to that model, unless an option says that it serves all of
    one compute capability, or all from Ampere on. TensorRT-RTX compiles for the GPU when it loads.

    Args:
        flavour: which product.
        version: of its package.
        gpu: the GPU that is here, None without one.
        options: of the build, by name.
    """
    bound = {_VERSION: version, _SYSTEM: f"{platform.system()} {platform.machine()}".lower()}
    if not flavour.needs_gpu or gpu is None:
        return bound
    if options["hardware_compatibility"] == "ampere_plus":
        return {**bound, _OLDEST_CAPABILITY: "8.0"}
    bound[_CAPABILITY] = gpu.capability
    return bound if options["hardware_compatibility"] == "same_compute_capability" else {**bound, _GPU: gpu.model}


def unfit(
    flavour: Flavour, bound: Mapping[str, str], version: str, gpu: Gpu | None, options: Mapping[str, Any]
) -> str | None:
    """Return in a clause why a plan cannot be loaded here, None where it can.

    Args:
        flavour: which product.
        bound: what `made_for` gave where the plan was built.
        version: of the product's package here.
        gpu: the GPU that is here; None where there is none, which is another complaint.
        options: that the plan was built with.
    """
    here = {
        _VERSION: version,
        _SYSTEM: f"{platform.system()} {platform.machine()}".lower(),
        **({} if gpu is None else {_GPU: gpu.model, _CAPABILITY: gpu.capability}),
    }
    words = {
        _VERSION: f"{flavour.title} {{}}",
        _SYSTEM: "{}",
        _GPU: "the GPU {}",
        _CAPABILITY: "compute capability {}",
    }
    for name, word in words.items():
        if name == _VERSION and _loads_newer(bound.get(name), version, options):
            continue
        if name in bound and bound[name] != here.get(name, bound[name]):
            return f"it was built for {word.format(bound[name])}, and here is {word.format(here[name])}"
    targets = options.get("compute_capabilities")
    if targets and gpu is not None and gpu.capability not in targets:
        return f"it was compiled for compute capability {' and '.join(targets)}, and here is {gpu.capability}"
    if _OLDEST_CAPABILITY in bound and gpu is not None and gpu.compute_capability < _AMPERE:
        return f"it was built for GPUs from compute capability 8.0 on, and here is {gpu.name} with {gpu.capability}"
    return None


def _loads_newer(built: str | None, version: str, options: Mapping[str, Any]) -> bool:
    """Say whether a version-compatible plan loads: in its own major version or a later one, never in an older one."""
    return bool(options.get("version_compatible")) and built is not None and _numbers(built) <= _numbers(version)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
