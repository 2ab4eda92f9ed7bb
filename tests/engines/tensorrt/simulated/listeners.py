"""What user code derives from: loggers, profilers, progress monitors; their methods are pure virtual in TensorRT."""

from __future__ import annotations

import sys
from typing import Any

from tests.engines.tensorrt.simulated.behaviour import Behaviour, stored


def _pure(name: str) -> Any:
    raise RuntimeError(f'Tried to call pure virtual function "{name}"')


class ILogger(Behaviour):
    """Has to be derived from."""

    def log(self, severity: Any, msg: str) -> None:
        """Be overridden."""
        _pure("ILogger::log")


class Logger(ILogger):
    """Prints what is severe enough."""

    def _begin(self, min_severity: Any = None) -> None:
        self._min_severity = min_severity or self._trt.ILogger.Severity.WARNING

    min_severity = stored(None)

    def log(self, severity: Any, msg: str) -> None:
        """Print one message to stderr."""
        if int(severity) <= int(self._min_severity):
            sys.stderr.write(f"[simulated TRT] [{severity.name[0]}] {msg}\n")


class IProfiler(Behaviour):
    """Has to be derived from."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Be overridden."""
        _pure("IProfiler::reportLayerTime")


class Profiler(IProfiler):
    """Prints every layer's time."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Print one time."""
        sys.stdout.write(f"{layer_name}: {ms}ms\n")


class IProgressMonitor(Behaviour):
    """Has to be derived from."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Be overridden."""
        _pure("IProgressMonitor::phaseStart")

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Be overridden."""
        return bool(_pure("IProgressMonitor::stepComplete"))

    def phase_finish(self, phase_name: str) -> None:
        """Be overridden."""
        _pure("IProgressMonitor::phaseFinish")


BEHAVIOURS: dict[str, type] = {
    "ILogger": ILogger,
    "Logger": Logger,
    "IProfiler": IProfiler,
    "Profiler": Profiler,
    "IProgressMonitor": IProgressMonitor,
}
