"""A study's charts as plotly figures in plain JSON, a panel a figure, so that a narrow window stacks them.

Colour says which base model, the line whether images were clean or attacked, the marker what answered: an engine or the
twin. Where both answered, the engine's value is drawn. A level without an answer is a gap in its line.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from reports.address import unit_suffix
from reports.charts import CLEAN, REFERENCE, WORST, Figure, empty_figure, label_words
from reports.study.document import FINETUNED, Compression, Finetune, Setting
from reports.study.features import FeaturePanel
from reports.study.paper import PROTOCOL, PaperValue
from reports.study.pareto import Candidate, Pareto
from reports.study.rows import Row, Spread
from reports.study.wording import axis_name, quantity_told, rate_told
from reports.wording import plain

BASE_COLOURS = {"standard": CLEAN, "robust": WORST}
DASHES = {"clean": "solid", "robust": "dash"}
ON_SYMBOLS = {"engine": "circle", "twin": "diamond-open"}
COMPRESSION_SYMBOLS = {"none": "star", "prune": "circle", "quantize": "square", "prune+quantize": "diamond"}
CLASS_COLOURS = (CLEAN, WORST, "#3a8450", "#8a63c4", "#a8743f", "#b8478f", "#23838f", "#7a7a26", REFERENCE, "#c8513e")
MOST_POINTS = 1500

_PANEL_PX = 320
_FAINT = 0.4


@dataclass(frozen=True)
class Panel:
    """A chart with its title in words."""

    title: str
    figure: Figure


def level_panels(
    table: Sequence[Row],
    planned: Sequence[Setting],
    compression: Compression,
    finetunes: Sequence[Finetune],
    paper: Sequence[PaperValue] = (),
) -> tuple[Panel, ...]:
    """Return accuracy and robustness over the level of one compression, a panel for each fine-tuning.

    Post-training quantization and quantization-aware training have panels of their own; pruned models that were then
    quantized have one for each number of bits, pruned models one for each width of floating point. Models without that
    compression, if any, are the first level.

    Args:
        table: rows of one protocol and attack.
        planned: every setting of the study, with or without an answer.
        compression: what grows along the axis.
        finetunes: the fine-tunings, in the order of their panels.
        paper: values drawn faint in the adversarially fine-tuned panels; those of other compressions are left out.
    """
    shown = [row for row in table if row.setting.compression == compression and row.setting.finetune in finetunes]
    papers = [value for value in paper if value.compression == compression and "adversarial" in finetunes]
    lowest = min([row.robust.mean for row in shown] + [value.robust for value in papers], default=0.0)
    panels = []
    for finetune in finetunes:
        mine = [entry for entry in planned if (entry.compression, entry.finetune) == (compression, finetune)]
        keys = {_panel_key(setting): setting for setting in mine}
        for kind, bits in sorted(keys, key=lambda key: (key[0], -key[1])):
            inside = [setting for setting in mine if _panel_key(setting) == (kind, bits)]
            start = {"prune": ("none", bits, ""), "prune+quantize": ("quantize", bits, kind)}.get(
                compression, ("none", 32, "")
            )
            inside += [entry for entry in planned if entry.finetune == finetune and _start_key(entry) == start]
            number_format = keys[kind, bits].number_format if bits not in (0, 32) else ""
            words = [FINETUNED[finetune], kind, number_format]
            theirs = papers if finetune == "adversarial" and bits in (0, 32) else ()
            title = f"{_title(compression)}, {', '.join(word for word in words if word)}"
            panels.append(Panel(title, _levels(table, inside, compression == "quantize", theirs)))
            # One axis for all panels of a figure; where nothing falls low, an empty lower half would hide differences.
            axis = panels[-1].figure["layout"]["yaxis"]
            axis |= {"range": [50, 102], "title": {"text": "accuracy, %, from 50"}} if lowest > 0.55 else {}
    return tuple(panels)


def one_question(table: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows of the question that figures are about: the paper's protocol where asked, else the commonest."""
    asked = Counter(_question(row) for row in table)
    if not asked:
        return ()
    chosen = max(asked, key=lambda question: (question[0] == PROTOCOL, asked[question]))
    return tuple(row for row in table if _question(row) == chosen)


def pareto_figure(found: Pareto) -> Figure:
    """Return robustness over cost: the front as numbered points on a line, what it beats faint."""
    figure = empty_figure(420)
    groups: list[tuple[str, Sequence[Candidate], float]] = [
        ("beaten", found.dominated, _FAINT),
        ("front", found.front, 1.0),
    ]
    for name, candidates, opacity in groups:
        trace = {
            "type": "scatter",
            "name": name,
            "mode": "markers+text+lines" if name == "front" else "markers",
            "x": [candidate.cost.mean for candidate in candidates],
            "y": [_percent(candidate.robustness.mean) for candidate in candidates],
            "customdata": [_candidate_told(candidate, found) for candidate in candidates],
            "hovertemplate": "%{customdata}<extra></extra>",
            "opacity": opacity,
            "marker": {
                "color": [BASE_COLOURS[candidate.setting.base] for candidate in candidates],
                "symbol": [COMPRESSION_SYMBOLS[candidate.setting.compression] for candidate in candidates],
                "size": 11 if name == "front" else 9,
            },
            "line": {"color": REFERENCE, "width": 1.5, "shape": "hv"},
        }
        if name == "front":
            # Above and left of a point on the front is nothing but the rest of the front.
            numbers = [str(place) for place in range(1, len(candidates) + 1)]
            trace |= {"text": numbers, "textposition": "top left"}
        figure["data"].append(trace)
    costs = [candidate.cost.mean for candidate in (*found.front, *found.dominated)]
    layout = figure["layout"]
    layout["xaxis"] |= {"title": {"text": label_words(axis_name(found.cost))}, "nticks": 6}
    if unit_suffix(found.cost) == "_bytes":
        layout["xaxis"] |= {"tickformat": "~s"}
    if costs and min(costs) > 0 and max(costs) > 10 * min(costs):
        layout["xaxis"] |= {"type": "log", "dtick": "D2"}
    layout["yaxis"] |= {"title": {"text": "robust accuracy, %"}, "nticks": 6}
    layout["margin"] |= {"t": 22}
    return figure


def feature_panel(panel: FeaturePanel) -> Panel:
    """Return an embedding's points coloured by class, every class named at its median; at most `MOST_POINTS`."""
    step = max(1, math.ceil(len(panel.points) / MOST_POINTS))
    figure = empty_figure(_PANEL_PX)
    layout = figure["layout"]
    layout["annotations"] = []
    for number, name in enumerate(panel.classes):
        points = [(x, y) for x, y, label in panel.points[::step] if label == number]
        if not points:
            continue
        xs, ys = ([round(value, 3) for value in values] for values in zip(*points, strict=True))
        marker = {"color": CLASS_COLOURS[number % len(CLASS_COLOURS)], "size": 5, "opacity": 0.75}
        trace = {"type": "scatter", "mode": "markers", "name": label_words(name), "x": xs, "y": ys, "marker": marker}
        figure["data"].append(trace | {"hovertemplate": f"{_template_words(name)}<extra></extra>"})
        place = {"x": statistics.median(xs), "y": statistics.median(ys), "showarrow": False}
        layout["annotations"].append({**place, "text": f"<b>{label_words(name)}</b>"})
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"showticklabels": False, "showgrid": False}
    return Panel(panel.title, figure)


def _question(row: Row) -> tuple[str, str, str, float]:
    return row.protocol, row.attack, row.norm, row.epsilon


def _levels(table: Sequence[Row], settings: Sequence[Setting], by_bits: bool, paper: Sequence[PaperValue]) -> Figure:
    levels = sorted({_level(entry, by_bits) for entry in settings} | {_level(value, by_bits) for value in paper})
    # Bits stand side by side; sparsities at their places.
    places = {value: float(place) if by_bits else _percent(value) for place, value in enumerate(levels)}
    answers: dict[tuple[str, float], Row] = {
        (row.setting.base, _level(row.setting, by_bits)): row for row in _engines_last(table) if row.setting in settings
    }
    figure = empty_figure(_PANEL_PX)
    for base in BASE_COLOURS:
        theirs = {_level(value, by_bits): value for value in paper if value.base == base}
        if theirs:
            figure["data"] += [_paper_line(base, measure, theirs, places) for measure in DASHES]
    for base in BASE_COLOURS:
        mine = {value: answers.get((base, value)) for value in levels}
        if any(mine.values()):
            figure["data"] += [_line(base, measure, mine, places) for measure in DASHES]
    layout = figure["layout"]
    names = {value: _level_name(value, by_bits) for value in levels}
    spread = (max(places.values()) - min(places.values())) or 1.0
    edges = [min(places.values()) - 0.06 * spread, max(places.values()) + 0.06 * spread]
    layout["xaxis"] |= {"tickvals": list(places.values()), "ticktext": list(names.values()), "range": edges}
    layout["xaxis"] |= {"title": {"text": "quantized to" if by_bits else "channels pruned, %"}, "tickangle": 0}
    layout["yaxis"] |= {"range": [-2, 102], "title": {"text": "accuracy, %"}}
    layout["yaxis"] |= {"tickvals": [0, 25, 50, 75, 100]}
    return figure


def _level(of: Setting | PaperValue, by_bits: bool) -> float:
    """Return what grows with compression: fewer bits are a higher level."""
    return -float(of.bits) if by_bits else of.sparsity


def _engines_last(table: Sequence[Row]) -> list[Row]:
    """Return rows so that, where both answered, an engine's replaces a twin's."""
    return sorted(table, key=lambda row: row.on == "engine")


def _line(base: str, measure: str, rows: Mapping[float, Row | None], places: Mapping[float, float]) -> dict[str, Any]:
    numbers = [getattr(row, measure) if row else None for row in rows.values()]
    colour = BASE_COLOURS[base]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{base} model, {measure}",
        "x": list(places.values()),
        "y": [_percent(number.mean) if number else None for number in numbers],
        "connectgaps": False,
        "customdata": [_row_told(row, measure) if row else "" for row in rows.values()],
        "hovertemplate": "%{customdata}<extra></extra>",
        "line": {"color": colour, "width": 2, "dash": DASHES[measure]},
        "marker": {
            "color": colour,
            "size": 8,
            "symbol": [ON_SYMBOLS[row.on] if row else ON_SYMBOLS["engine"] for row in rows.values()],
            "line": {"width": 2, "color": colour},
        },
        "error_y": {
            "type": "data",
            "array": [_percent(number.sd) if number and number.sd is not None else None for number in numbers],
            "thickness": 1.5,
            "width": 4,
        },
    }


def _paper_line(
    base: str, measure: str, values: Mapping[float, PaperValue], places: Mapping[float, float]
) -> dict[str, Any]:
    known = [values.get(level) for level in places]
    y = [_percent(getattr(value, measure)) if value else None for value in known]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"paper, {base} model, {measure}",
        "x": list(places.values()),
        "y": y,
        "connectgaps": False,
        "customdata": [f"paper: {base} model, {measure} {value} %" for value in y],
        "hovertemplate": "%{customdata}<extra></extra>",
        "opacity": _FAINT,
        "line": {"color": BASE_COLOURS[base], "width": 5, "dash": DASHES[measure]},
    }


def _row_told(row: Row, measure: str) -> str:
    number: Spread = getattr(row, measure)
    seeds = f"{len(row.seeds)} seed{'s' if len(row.seeds) > 1 else ''}"
    told = f"{row.setting.name}<br>{measure} {rate_told(number)} %, {seeds}, on {row.on} {plain(row.target)}"
    return escape(told, quote=False).replace("&lt;br&gt;", "<br>", 1)


def _candidate_told(candidate: Candidate, found: Pareto) -> str:
    cost = quantity_told(found.cost, candidate.cost)
    told = [candidate.setting.name, f"robust {rate_told(candidate.robustness)} %", f"{axis_name(found.cost)}: {cost}"]
    return "<br>".join(escape(plain(line), quote=False) for line in told)


def _panel_key(setting: Setting) -> tuple[str, int]:
    return setting.quantization or "", 0 if setting.compression == "quantize" else setting.bits


def _start_key(setting: Setting) -> tuple[str, int, str]:
    return setting.compression, setting.bits, setting.quantization or ""


def _title(compression: Compression) -> str:
    return {"prune": "Pruned", "quantize": "Quantized", "prune+quantize": "Pruned and quantized"}.get(compression, "")


def _level_name(level: float, by_bits: bool) -> str:
    if by_bits:
        return "float" if level == -32 else f"int{-level:.0f}"
    return f"{100 * level:.4g}"


def _template_words(text: str) -> str:
    """Return words that a hover template shows as they are."""
    return label_words(text).replace("%{", "% {")


def _percent(fraction: float) -> float:
    return round(100 * fraction, 4)
