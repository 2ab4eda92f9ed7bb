"""The building process: `python -m harness.workflow.build_worker`, for builders that may take their process with them.

TensorRT's ends in a segmentation fault in more than one way, and a board's kernel kills what takes too much memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.making import EngineRequest, make_engine
from harness.child.answering import Report, answer


def _make(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    return make_engine(EngineRequest.from_json(request["engine"]), Path(request["folder"]), report).to_json()


if __name__ == "__main__":
    answer(_make)
