"""What an engine takes of memory: its files, the measuring process, the GPU. Host and device are never added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engines.backend import EngineManifest
from harness.devices.nvidia import Ask
from harness.measurement.job import Process

NO_PROCESS = "no measuring process lived to tell its memory"


@dataclass(frozen=True)
class MemoryWindow:
    """The measuring process of one batch size, in bytes.

    Attributes:
        batch: images of one query.
        process_peak_bytes: most resident memory up to the window's end.
        baseline_bytes: resident memory with the runtime imported and no engine loaded.
        device_peak_bytes: see `Memory`.
    """

    batch: int
    process_peak_bytes: int
    baseline_bytes: int
    device_peak_bytes: int | None


@dataclass(frozen=True)
class Memory:
    """Sizes in bytes, of the batch size whose process grew largest. None is explained in `reasons`.

    Attributes:
        engine_bytes: the engine's files.
        weights_bytes: the constants inside the engine.
        device_peak_bytes: most of the GPU's memory that the process held, its CUDA context included.
        process_peak_bytes: most resident memory of the measuring process.
        baseline_bytes: the same process with the runtime imported and no engine loaded.
        reasons: why a size is None, or how it was found where that is weaker.
        windows: every batch size's process.
    """

    engine_bytes: int
    weights_bytes: int
    device_peak_bytes: int | None
    process_peak_bytes: int | None
    baseline_bytes: int | None
    reasons: tuple[str, ...] = ()
    windows: tuple[MemoryWindow, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values under the result document's names."""
        return {**asdict(self), "reasons": list(self.reasons), "windows": [asdict(window) for window in self.windows]}


class GpuMemory:
    """What a process holds of a GPU's memory, asked of the driver from outside the process."""

    def __init__(self, ask: Ask, pid: int) -> None:
        """Look for the first time, before the engine is loaded.

        Args:
            ask: asks NVML.
            pid: the process.
        """
        self._ask = ask
        self._pid = pid
        self._used_before: int | None = ask("used_bytes")
        self._others = self._processes()
        self._peak: int | None = None
        self.reason: str | None = None

    @property
    def peak_bytes(self) -> int | None:
        """The most that was seen; None where nothing was, with `reason`."""
        return self._peak

    def look(self) -> None:
        """Look again, while the engine is loaded."""
        seen = self._of_the_process()
        if seen is None:
            used: int | None = self._ask("used_bytes")
            grown = None if used is None or self._used_before is None else used - self._used_before
            seen = grown if grown is not None and grown > 0 else None
            self.reason = (
                "no growth of a GPU's memory was seen: there is no GPU, or its driver does not tell"
                if seen is None
                else "the driver does not tell the process's share: it is the growth of the whole GPU's memory in use"
            )
        if seen is not None:
            self._peak = max(self._peak or 0, seen)

    def _of_the_process(self) -> int | None:
        """Return the process's memory: by its number, or, where the driver counts other numbers, of the only new one.

        In a container NVML tells the host's process numbers.
        """
        now = self._processes()
        if self._pid in now:
            return now[self._pid]
        new = [held for pid, held in now.items() if pid not in self._others]
        return new[0] if len(new) == 1 else None

    def _processes(self) -> Mapping[int, int]:
        found: list[tuple[int, int | None]] = self._ask("processes") or []
        return {pid: held for pid, held in found if held is not None}


def memory(manifest: EngineManifest, batch: int, baseline: Process, end: Process, gpu: GpuMemory | None) -> Memory:
    """Return what one batch size took.

    Args:
        manifest: the engine's.
        batch: images of one query.
        baseline: the process with the runtime imported and no engine loaded.
        end: the process at the window's end.
        gpu: the GPU's memory, looked at during the window; None where the engine runs on the CPU.
    """
    peak = None if gpu is None else gpu.peak_bytes
    reason = f"{manifest.backend} runs on the CPU here, which has no memory of its own" if gpu is None else gpu.reason
    return Memory(
        engine_bytes=manifest.engine_bytes,
        weights_bytes=manifest.weights_bytes,
        device_peak_bytes=peak,
        process_peak_bytes=end.peak_bytes,
        baseline_bytes=baseline.resident_bytes,
        reasons=() if reason is None else (reason,),
        windows=(MemoryWindow(batch, end.peak_bytes, baseline.resident_bytes, peak),),
    )


def largest_of(manifest: EngineManifest, found: Sequence[Memory]) -> Memory:
    """Return the memory of the batch size whose process grew largest, with every batch size's beside it."""
    if not found:
        return Memory(manifest.engine_bytes, manifest.weights_bytes, None, None, None, (NO_PROCESS,))
    largest = max(found, key=lambda each: each.process_peak_bytes or 0)
    return Memory(**{**vars(largest), "windows": tuple(window for each in found for window in each.windows)})
