"""The building process: `python -m harness.workflow.build_worker`, for builders that may take their process with them.

TensorRT's ends in a segmentation fault in more than one way, and a board's kernel kills what takes too much memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.loading import build_engine
from harness.child.answering import Report, answer


def _build(request: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    manifest, layers = build_engine(
        request["backend"],
        request["precision"],
        Path(request["graph"]),
        Path(request["folder"]),
        request["options"],
        report,
    )
    return {"engine": manifest.to_json(), "layers": layers}


if __name__ == "__main__":
    answer(_build)
