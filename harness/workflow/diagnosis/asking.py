"""Asking the backends, the driver and `auto`: all at once, and each that may crash in a process of its own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import registry
from engines.cuda.driver import Gpu, NoGpu
from harness.child.conversation import Answered, ask_child
from harness.workflow.diagnosis.backend_state import IMPORTED, BackendState, backend_state, silent_state

WORKER = (sys.executable, "-m", "harness.workflow.diagnosis.worker")
DEADLINE_S = 60.0
"""After this a question counts as hanging: a small board takes seconds for TensorRT's import."""


@dataclass(frozen=True)
class Auto:
    """What the backend `auto` stands for here, None where it cannot be told, and why."""

    backend: str | None
    reason: str


@dataclass(frozen=True)
class Answers:
    """What everything that was asked answered.

    Attributes:
        backends: every one of the registry, in its order.
        auto: what `auto` takes.
        gpu: what the driver says of the first GPU.
    """

    backends: tuple[BackendState, ...]
    auto: Auto
    gpu: Gpu | NoGpu


@dataclass(frozen=True)
class _Silent:
    """Why a child did not answer, and whether it had come as far as having imported its package."""

    reason: str
    was_imported: bool


def ask_all(names: tuple[str, ...] = registry.NAMES) -> Answers:
    """Ask the backends of these names, `auto` and the driver; none can end this process."""
    apart = [name for name in names if registry.backend(name).builds_apart]
    pool = ThreadPoolExecutor(max_workers=len(apart) + 2)
    try:
        # The threads sleep while their children work; meanwhile the backends that crash nobody are asked here.
        gpu = pool.submit(_ask, {"question": "gpu"})
        auto = pool.submit(_ask, {"question": "auto"})
        asked = {name: pool.submit(_ask, {"question": "backend", "backend": name}) for name in apart}
        states = {name: backend_state(name) for name in names if name not in asked}
        states.update({name: _state(name, future.result()) for name, future in asked.items()})
        return Answers(tuple(states[name] for name in names), _chosen(auto.result()), _gpu(gpu.result()))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # interrupted, nobody waits for a child that hangs


def _ask(request: Mapping[str, str]) -> Mapping[str, Any] | _Silent:
    heard: list[float] = []
    with tempfile.TemporaryDirectory(prefix="harness-doctor-") as scratch:
        log = Path(scratch) / "log"
        answer = ask_child(WORKER, request, deadline_s=DEADLINE_S, log=log, on_progress=heard.append)
    if isinstance(answer, Answered):
        told: Mapping[str, Any] = answer.result
        return told
    return _Silent(answer.reason, max(heard, default=0.0) >= IMPORTED)


def _state(name: str, told: Mapping[str, Any] | _Silent) -> BackendState:
    if not isinstance(told, _Silent):
        return BackendState.from_json(told)
    when = "when it is asked whether it runs here" if told.was_imported else "when it is imported"
    return silent_state(name, f"its package {_present(told.reason, when)}")


def _chosen(told: Mapping[str, Any] | _Silent) -> Auto:
    if not isinstance(told, _Silent):
        return Auto(**told)
    return Auto(None, f"the choice asks TensorRT, whose package {_present(told.reason, 'then')}: name a backend")


def _gpu(told: Mapping[str, Any] | _Silent) -> Gpu | NoGpu:
    if isinstance(told, _Silent):
        return NoGpu(
            f"the NVIDIA driver {_present(told.reason, 'when it is initialised')}",
            "run `nvidia-smi`, which names what is wrong between GPU and driver, or restart the machine",
        )
    if "reason" in told:
        return NoGpu(**told)
    major, minor = told["compute_capability"]
    return Gpu(**{**told, "compute_capability": (major, minor)})


def _present(reason: str, when: str) -> str:
    """Return a clause that follows a package's or the driver's name, of what is always so and not of one attempt."""
    signal = reason.removeprefix("crashed with ")
    return f"crashes {when} ({signal})" if signal != reason else f"does not answer {when} ({reason})"
