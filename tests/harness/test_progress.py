from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from harness import progress
from harness.progress import Progress, Silent, TerminalBars

pytestmark = pytest.mark.core


def work(bars: Progress, *, fail: bool = False, lasting_s: float = 0.0) -> None:
    with bars.bar("counting sheep", 3) as advance:
        time.sleep(lasting_s)
        for _ in range(3):
            advance(1)
            if fail:
                raise RuntimeError("the wolf came")


def terminal() -> tuple[io.StringIO, TerminalBars]:
    written = io.StringIO()
    return written, TerminalBars(Console(file=written, force_terminal=True, width=100))


def test_long_work_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "APPEARS_AFTER_S", 0.0)
    written, bars = terminal()
    work(bars, lasting_s=0.3)
    assert "counting sheep" in written.getvalue()
    assert "100%" in written.getvalue()


def test_short_work_shows_nothing() -> None:
    written, bars = terminal()
    work(bars)
    assert written.getvalue() == ""


def test_a_failure_passes_and_ends_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "APPEARS_AFTER_S", 0.0)
    written, bars = terminal()
    with pytest.raises(RuntimeError, match="the wolf came"):
        work(bars, fail=True, lasting_s=0.3)
    ended = written.getvalue()
    assert ended.endswith(("\x1b[?25h", "\x1b[2K")), "the cursor is back and the bar is gone"


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    work(Silent())
    with pytest.raises(RuntimeError):
        work(Silent(), fail=True)
    assert capsys.readouterr() == ("", "")
