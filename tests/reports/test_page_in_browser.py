from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.document import ResultDocument
from reports.html import write_html
from reports.store import StoredResult

pytestmark = [pytest.mark.core, pytest.mark.browser]


def opened(page: Path) -> tuple[str, str]:
    """Return the document after its scripts ran, and what the browser's console said."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    done = subprocess.run(
        [chromium, *flags, "--virtual-time-budget=5000", "--enable-logging=stderr", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_every_chart_is_drawn_and_hostile_text_runs_nothing(
    hostile: Callable[[str], ResultDocument], store: Callable[[Path, ResultDocument], StoredResult], tmp_path: Path
) -> None:
    text = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    result = store(tmp_path, hostile(text))
    write_html([result, result], tmp_path / "report.html")
    dom, console = opened(tmp_path / "report.html")
    assert console == ""
    assert "<title>run" not in dom
    charts = re.findall(r'<div class="chart[^"]*" id="([^"]+)"[^>]*><div class="plot-container', dom)
    assert sorted(charts) == sorted(
        ["comparison-chart"]
        + [f"engine-{number}-{chart}" for number in (1, 2) for chart in ("accuracy", "latency-1", "latency-64")]
    )
    assert len(re.findall(r'class="download"[^>]*href="blob:', dom)) == 2
