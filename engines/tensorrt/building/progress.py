"""TensorRT's own account of a build's progress, as one fraction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from engines.backend import Report
from engines.tensorrt import versions
from engines.tensorrt.flavour import Bindings


class Phases:
    """The phases of a build, each with a number of steps, some within a step of another.

    Every step counts the same within its phase, and a phase fills the step of its parent that it happens in. Phases of
    one parent that follow each other within one step cannot be told apart from it, so the fraction never falls.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._phases: dict[str, tuple[str | None, int, int]] = {}
        self._furthest = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """Begin a phase of so many steps."""
        self._phases[phase] = (parent, max(steps, 1), 0)

    def step(self, phase: str, step: int) -> None:
        """Note that a step of a phase, counted from 0, is done."""
        parent, steps, _ = self._phases[phase]
        self._phases[phase] = (parent, steps, min(step + 1, steps))
        self._furthest = max(self._furthest, min(self._done(phase), 1.0))
        self._report(self._furthest)

    def finish(self, phase: str) -> None:
        """End a phase."""
        self._phases.pop(phase, None)

    def _done(self, phase: str) -> float:
        """Return the fraction of the whole that is done up to a phase's last step."""
        parent, steps, done = self._phases[phase]
        fraction = done / steps
        if parent is None or parent not in self._phases:
            return fraction
        _, parent_steps, parent_done = self._phases[parent]
        within = fraction * self._share(phase) if parent_done < parent_steps else 0.0
        return self._done(parent) + within

    def _share(self, phase: str) -> float:
        """Return the share of the whole that a phase is."""
        parent, _, _ = self._phases[phase]
        if parent is None or parent not in self._phases:
            return 1.0
        return self._share(parent) / self._phases[parent][1]


def monitor(trt: Bindings, report: Report) -> Any:
    """Return a progress monitor for the builder, or None where this version has none."""
    base = versions.progress_base(trt)
    if base is None:
        return None
    phases = Phases(report)

    class Monitor(base):  # type: ignore[misc, valid-type]  # the class is the module's own
        def __init__(self) -> None:
            super().__init__()

        # TensorRT takes an exception for the wish to cancel the build.
        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            with suppress(Exception):
                phases.start(phase, parent, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            with suppress(Exception):
                phases.step(phase, step)
            return True

        def phase_finish(self, phase: str) -> None:
            with suppress(Exception):
                phases.finish(phase)

    make: Callable[[], Any] = Monitor
    return make()
