from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.core


def test_reading_and_showing_results_loads_no_runtime() -> None:
    code = (
        "import sys, reports.html, reports.terminal, reports.store, reports.schema\n"
        "heavy = {'torch', 'openvino', 'onnxruntime', 'onnx', 'tensorrt', 'plotly', 'rich', 'scipy', 'harness'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
