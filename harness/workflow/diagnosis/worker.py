"""The asked process: `python -m harness.workflow.diagnosis.worker`, which a broken package or driver may take down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.child.answering import Report, answer


def _backend(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    from harness.workflow.diagnosis.backend_state import backend_state

    return backend_state(request["backend"], report).to_json()


def _auto(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    from engines.registry import AUTO, choose

    del request, report
    backend, reason = choose(AUTO)
    return {"backend": backend, "reason": reason}


def _gpu(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    from dataclasses import asdict

    from engines.cuda.driver import find_gpu

    del request, report
    return asdict(find_gpu())


_QUESTIONS = {"backend": _backend, "auto": _auto, "gpu": _gpu}


def _work(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    return _QUESTIONS[request["question"]](request, report)


if __name__ == "__main__":
    answer(_work)
