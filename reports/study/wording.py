"""How a study's numbers are worded, the same in the terminal, in charts and on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable

from reports.address import Address, unit_suffix
from reports.study.document import Cell
from reports.study.rows import Spread
from reports.wording import NULL, plain, significant, size

NOT_STUDIED = "not studied"
_UNIT_WORDS = {"_per_s": "per second", "_per_inference": "J"}
_UNITS = {"_ms": " ms", "_s": " s", "_per_s": " /s", "_per_inference": " J"}


def axis_name(address: Address) -> str:
    """Return an address in words, as `latency p50, batch 1, ms`."""
    *before, last = address.parts
    suffix = unit_suffix(address)
    words = [" ".join([*(part.key for part in before), last.key.removesuffix(suffix)])]
    words += [
        f"{name} {value if isinstance(value, str) else f'{value:g}'}" for part in before for name, value in part.filters
    ]
    words += [_UNIT_WORDS.get(suffix, suffix[1:])] if suffix else []
    return ", ".join(words).replace("_", " ")


def quantity_told(address: Address, number: Spread | None) -> str:
    """Return a mean in its unit, with its standard deviation where seeds differ; `-` for None."""
    if number is None:
        return NULL
    suffix = unit_suffix(address)
    if suffix == "_bytes":
        mean, sd = size(round(number.mean)), size(round(number.sd or 0.0))
    elif number.sd is None:
        mean, sd = significant(number.mean), ""
    else:
        decimals = max(0, 2 - math.floor(math.log10(abs(number.mean) or 1.0)))
        mean, sd = f"{number.mean:,.{decimals}f}", f"{number.sd:,.{decimals}f}"
    return (f"{mean} ± {sd}" if number.sd else mean) + _UNITS.get(suffix, "")


def rate_told(number: Spread) -> str:
    """Return a rate in per cent without its sign: `85.1 ± 0.4` over seeds, `85.1` of one."""
    mean = f"{100 * number.mean:.1f}"
    return mean if number.sd is None else f"{mean} ± {100 * number.sd:.1f}"


def interval_told(number: Spread) -> str:
    """Return the 95 % interval of a rate of one seed in per cent; empty where there are several."""
    if number.ci95 is None:
        return ""
    return f"[{100 * number.ci95[0]:.1f}, {100 * number.ci95[1]:.1f}]"


def points_told(points: float | None) -> str:
    """Return a difference in points of per cent with its sign; `-` for None."""
    if points is None:
        return NULL
    shown = round(points, 1)
    return f"{shown:+.1f}".replace("-", "\N{MINUS SIGN}") if shown else "0.0"


def state_told(state: str | None) -> str:
    """Return why a line has no value of ours."""
    return {None: NOT_STUDIED, "finished": "not evaluated"}.get(state, str(state))


def doubts_told(cells: Iterable[Cell]) -> str:
    """Return in one line how many cells have latencies that are not valid, and why the first; empty where none has."""
    doubted = [cell for cell in cells if cell.doubts]
    if not doubted:
        return ""
    counted = "1 cell" if len(doubted) == 1 else f"{len(doubted)} cells"
    return (
        f"latencies left out of {counted}, they were not valid ({plain(doubted[0].doubts[0])}); the next run of the "
        "study measures them again"
    )


def facts(environment: dict[str, object]) -> list[tuple[str, str]]:
    """Return what is known of the machine as names and words, nested values in one line."""
    return [(plain(name), _fact(value)) for name, value in environment.items()]


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{plain(str(name))} {_fact(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_fact, value))
    return NULL if value is None else plain(str(value))
