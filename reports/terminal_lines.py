"""Lines and tables of the terminal's report: foreign words are text alone, numbers stand under each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from reports.robustness_parts import Rate
from reports.wording import interval, percent, plain

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def text(words: str, style: str = "") -> Text:
    """Return foreign or own words as text alone: no markup, no control characters."""
    from rich.text import Text

    return Text(plain(words), style)


def table(*columns: str) -> Table:
    """Return a table whose first column is words and whose others are right-aligned numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="")
    for index, column in enumerate(columns):
        made.add_column(text(column), justify="right" if index else "left", overflow="fold")
    return made


def warnings(sentences: Iterable[str], label: str = "warning") -> Iterator[Text]:
    """Return every sentence as a line that stands out."""
    for sentence in sentences:
        yield text(f"{label}: {sentence}", "yellow")


def rated(rate: Rate) -> str:
    """Return a rate as `60.6 % [55.4, 65.5] of 360 images`."""
    return f"{percent(rate.value, rate.n)} {interval(rate)} of {rate.n:,} images"
