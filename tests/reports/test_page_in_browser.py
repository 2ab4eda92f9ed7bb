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
from tests.reports.robust_results import robust

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
    drawn = ("accuracy", "curve-1", "latency-1", "latency-64")
    assert sorted(charts) == sorted(["comparison-chart"] + [f"engine-{n}-{chart}" for n in (1, 2) for chart in drawn])
    assert len(re.findall(r'class="download"[^>]*href="blob:', dom)) == 2


def test_the_whole_protocol_is_shown_without_a_word_from_the_console(
    sample: Callable[..., ResultDocument], store: Callable[[Path, ResultDocument], StoredResult], tmp_path: Path
) -> None:
    document = sample(**robust(sample().model_dump(mode="json")))
    write_html([store(tmp_path, document)], tmp_path / "report.html")
    dom, console = opened(tmp_path / "report.html")
    assert console == ""
    sections = (
        "Attacks one by one: 6",
        "What was lost where",
        "4 of 6 sanity rules held",
        "Smallest change",
        "Values of the",
    )
    for words in (*sections, "Repeatability: 200 images", "boundary did not run"):
        assert words in dom
    curve = dom[dom.index('id="engine-1-curve-1"') :]
    curve = curve[: curve.index("<figcaption")]
    assert len(re.findall(r'class="point\b', curve)) == 4  # three epsilons and clean
    assert len(re.findall(r'class="yerror\b', curve)) == 4
