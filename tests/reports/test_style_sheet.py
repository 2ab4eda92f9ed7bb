from __future__ import annotations

import re
from pathlib import Path

import pytest

import reports

pytestmark = pytest.mark.core

CSS = (Path(reports.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb` as WCAG 2 defines it."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def palettes() -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", CSS, flags=re.S)
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in blocks]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark", "print"])
def test_words_have_the_contrast_that_aa_asks_for(palette: dict[str, str]) -> None:
    for words in ("ink", "muted", "accent", "caution", "good"):
        assert contrast(palette[words], palette["ground"]) >= 4.5, words
    assert contrast(palette["caution"], palette["caution-ground"]) >= 4.5
    assert contrast(palette["ink"], palette["soft"]) >= 4.5


def test_bars_stand_out_on_both_grounds() -> None:
    from reports import charts

    for palette in palettes():
        for bar in (charts.REFERENCE, charts.CLEAN, charts.WORST, charts.ARM):
            assert contrast(bar, palette["ground"]) >= 3.0
