from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.document import ResultDocument
from reports.wording import engine_names, percent, plain, quantity, significant, size

pytestmark = pytest.mark.core


@given(st.text())
def test_plain_text_cannot_steer_a_terminal_and_loses_no_visible_character(text: str) -> None:
    shown = plain(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in shown)
    assert plain(shown) == shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        (0.0, "0.00"),
        (0.2124, "0.212"),
        (4.866, "4.87"),
        (13.06, "13.1"),
        (99.99, "100"),
        (1234.4, "1,234"),
        (0.0000213, "2.13e-05"),
    ],
)
def test_three_significant_digits(value: float | None, words: str) -> None:
    assert significant(value) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_600, "1.00 MB"), (2_500_000_000, "2.50 GB")],
)
def test_sizes_are_decimal(count: int | None, words: str) -> None:
    assert size(count) == words


def test_counts_and_percentages() -> None:
    assert [quantity(count) for count in (999, 34122, 512_768, 1_300_000)] == ["999", "34.1 k", "513 k", "1.30 M"]
    assert quantity(None) == "an unknown number of"
    assert percent(0.97222, 360) == "97.2 %"
    assert percent(0.97222, 10_000) == "97.22 %"


def test_engines_get_names_of_their_own_and_no_longer_ones_than_needed(sample: Callable[..., ResultDocument]) -> None:
    first, board = sample(), sample(device_id="jetson")
    later, twin = sample(created="2026-05-01T00:00:00Z"), sample(id="other")
    assert engine_names([first, sample("fp32")]) == ("openvino int8", "openvino fp32")
    assert engine_names([first, board]) == ("openvino int8 on cpu-6f1d2ab0", "openvino int8 on jetson")
    for documents in ([first, board, later], [first, twin, board]):
        assert len(set(engine_names(documents))) == 3
