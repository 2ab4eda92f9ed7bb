"""Kernel times remembered from one build to the next: a rebuild takes seconds and chooses the same kernels.

They hold for one GPU and one version of TensorRT, so that each pair has a file of its own.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.files import whole_file
from engines.cuda.driver import Gpu
from engines.tensorrt.flavour import possibly

if TYPE_CHECKING:
    import tensorrt

_MISMATCH_IS_REFUSED = False


def cache_file(flavour: str, version: str, gpu: Gpu) -> Path:
    """Return where the times of this GPU and version lie."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/nonexistent") / ".cache")
    name = "-".join(re.findall(r"[a-z0-9.]+", f"{flavour} {version} {gpu.model} {gpu.capability}".lower()))
    return root / "edge-robustness-harness" / "timing" / f"{name}.cache"


def attached(config: tensorrt.IBuilderConfig, file: Path) -> tensorrt.ITimingCache:
    """Give the builder what is remembered, and return the cache, which must outlive the build.

    What the builder does not take, it finds out anew.
    """
    known = b""
    with suppress(OSError):
        known = file.read_bytes()
    cache = possibly(config.create_timing_cache(known))
    taken: Any = cache is not None and config.set_timing_cache(cache, _MISMATCH_IS_REFUSED)
    if taken and cache is not None:
        return cache
    empty = config.create_timing_cache(b"")
    config.set_timing_cache(empty, _MISMATCH_IS_REFUSED)
    return empty


def keep(config: tensorrt.IBuilderConfig, file: Path) -> None:
    """Write what the builder knows now, where that can be; two builds at once lose one's times, never the file."""
    cache = possibly(config.get_timing_cache())
    if cache is None:
        return
    with suppress(OSError), whole_file(file) as temporary:
        temporary.write_bytes(bytes(cache.serialize()))
