"""The page's charts as plotly figures in plain JSON: `{"data": [...], "layout": {...}}`.

Colours of words and lines come from the page's style sheet, so that a chart follows its light, dark and printed forms;
only the bars carry their own, chosen to stand out on both grounds.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.curves import Curve
from reports.document import ResultDocument
from reports.robustness_parts import Rate
from reports.wording import attack_name, engine_names, interval, percent, plain, significant

Figure = dict[str, Any]

REFERENCE, CLEAN, WORST, ARM = "#6b7785", "#2f6db5", "#b3472f", "#a8743f"
_BARS = 50
_ROW_PX = 34
# With more attacks than these many bars show, as over a row of epsilons, the arms stay in their tables.
_MOST_RATES = 20


def accuracy_figure(document: ResultDocument) -> Figure:
    """Return one bar a rate, with its 95 % interval: float reference, engine clean, each worst case, its arms.

    The arms are left out where there are so many attacks that the picture would only be long.
    """
    accuracy = document.accuracy
    bars: list[tuple[str, Rate, str]] = []
    if accuracy.reference is not None:
        bars.append(("float, clean", accuracy.reference, REFERENCE))
    if accuracy.clean is not None:
        bars.append(("engine, clean", accuracy.clean, CLEAN))
    with_arms = sum(1 + len(entry.arms) for entry in document.robustness) <= _MOST_RATES
    for entry in document.robustness:
        bars.append((f"{attack_name(entry)}, worst case", entry.worst_case, WORST))
        bars.extend((f"{name} alone", arm, ARM) for name, arm in entry.arms.items() if with_arms)
    return _rates(bars)


def comparison_figure(documents: Sequence[ResultDocument]) -> Figure:
    """Return clean and worst-case accuracy of every engine, with their 95 % intervals."""
    bars: list[tuple[str, Rate, str]] = []
    for name, document in zip(engine_names(documents), documents, strict=True):
        if document.accuracy.clean is not None:
            bars.append((f"{name}, clean", document.accuracy.clean, CLEAN))
        bars.extend((f"{name}, {attack_name(entry)}", entry.worst_case, WORST) for entry in document.robustness)
    return _rates(bars)


def curve_figure(curve: Curve) -> Figure:
    """Return robust accuracy over epsilon, every point with its 95 % interval."""
    rates = [rate for _, rate in curve.points]
    figure = empty_figure(280)
    figure["data"] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [epsilon for epsilon, _ in curve.points],
            "y": [round(100 * rate.value, 4) for rate in rates],
            "customdata": [
                f"{'clean' if epsilon == 0 else f'epsilon {epsilon:g}'}: {percent(rate.value, rate.n)}, 95 % interval "
                f"{interval(rate)}"
                for epsilon, rate in curve.points
            ],
            "hovertemplate": "%{customdata}<extra></extra>",
            "line": {"color": WORST, "width": 2},
            "marker": {"color": [WORST if epsilon else CLEAN for epsilon, _ in curve.points], "size": 8},
            "error_y": _intervals(rates),
        }
    ]
    layout = figure["layout"]
    last = curve.points[-1][0]
    layout["xaxis"] |= {"title": {"text": f"epsilon ({label_words(curve.norm)})"}, "range": [-0.02 * last, 1.04 * last]}
    layout["xaxis"] |= {"nticks": 7}
    layout["yaxis"] |= {"range": [0, 102], "tickvals": [0, 25, 50, 75, 100], "title": {"text": "robust accuracy"}}
    layout["yaxis"] |= {"ticktext": ["0", "25", "50", "75", "100 %"]}
    return figure


def latency_figure(times_ms: NDArray[np.float64], percentiles_ms: Mapping[str, float | None]) -> Figure:
    """Return the distribution of the times of one batch size, with those percentiles of it that are carried.

    The slowest thousandth lies outside the picture where it would flatten the rest; the caption says how many.
    """
    shown = times_ms[times_ms <= _right_edge(times_ms)]
    counts, edges = np.histogram(shown, bins=_BARS)
    centres = (edges[:-1] + edges[1:]) / 2
    hover = [
        f"{significant(float(low))} to {significant(float(high))} ms: {count:,}"
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    figure = empty_figure(230)
    figure["data"] = [
        {
            "type": "bar",
            "x": [float(f"{centre:.6g}") for centre in centres],
            "y": [int(count) for count in counts],
            "width": float(f"{edges[1] - edges[0]:.6g}"),
            "customdata": hover,
            "hovertemplate": "%{customdata}<extra></extra>",
            "marker": {"color": CLEAN, "line": {"width": 0}},
        }
    ]
    layout = figure["layout"]
    layout["xaxis"] |= {"title": {"text": "ms a query"}, "showgrid": False, "rangemode": "normal", "nticks": 6}
    layout["yaxis"] |= {"title": {"text": "queries"}, "nticks": 4}
    layout["margin"] |= {"t": 26}
    marks = [(value, name) for name, value in percentiles_ms.items() if value is not None and value <= edges[-1]]
    layout["shapes"] = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": {"width": 1.5, "dash": "dot"}}
        for x, _ in marks
    ]
    layout["annotations"] = [
        {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": "left", "showarrow": False, "text": name}
        for x, name in marks
    ]
    return figure


def left_out(times_ms: NDArray[np.float64]) -> int:
    """Return how many of the slowest queries lie outside the picture of `latency_figure`."""
    return int((times_ms > _right_edge(times_ms)).sum())


def _right_edge(times_ms: NDArray[np.float64]) -> float:
    middle, high, slowest = (float(value) for value in np.percentile(times_ms, [50, 99.9, 100]))
    return slowest if slowest - middle <= 2 * (high - middle) else high


def _rates(bars: Sequence[tuple[str, Rate, str]]) -> Figure:
    figure = empty_figure(_ROW_PX * len(bars) + 62)
    values = [100 * rate.value for _, rate, _ in bars]
    labels = [f"{label_words(name)}<br>{percent(rate.value, rate.n)}" for name, rate, _ in bars]
    places = list(range(len(bars)))
    figure["data"] = [
        {
            "type": "bar",
            "orientation": "h",
            "x": [round(value, 4) for value in values],
            "y": places,
            "width": 0.62,
            "customdata": [f"{percent(rate.value, rate.n)}, 95 % interval {interval(rate)}" for _, rate, _ in bars],
            "hovertemplate": "%{customdata}<extra></extra>",
            "marker": {"color": [colour for _, _, colour in bars]},
            "error_x": _intervals([rate for _, rate, _ in bars]),
        }
    ]
    layout = figure["layout"]
    layout["xaxis"] |= {"range": [0, 101], "tickvals": [0, 25, 50, 75, 100], "tickangle": 0}
    layout["xaxis"] |= {"ticktext": ["0", "25", "50", "75", "100 %"]}
    layout["yaxis"] |= {"tickvals": places, "ticktext": labels, "autorange": "reversed", "showgrid": False}
    layout["yaxis"] |= {"ticks": "outside", "ticklen": 6, "tickcolor": "rgba(0,0,0,0)"}
    return figure


def _intervals(rates: Sequence[Rate]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [round(100 * (rate.ci95[1] - rate.value), 4) for rate in rates],
        "arrayminus": [round(100 * (rate.value - rate.ci95[0]), 4) for rate in rates],
        "thickness": 1.5,
        "width": 4,
    }


def label_words(text: str) -> str:
    """Return foreign words so that plotly, which reads some markup in labels, shows them as they are.

    Long ones lose their middle: names that begin alike are told apart by their ends.
    """
    words = plain(text)
    short = words if len(words) <= 40 else f"{words[:18]}\N{HORIZONTAL ELLIPSIS}{words[-21:]}"
    return html.escape(short, quote=False)


def empty_figure(height_px: int) -> Figure:
    """Return a chart without data in the look of all charts, of that height in pixels."""
    axis = {"fixedrange": True, "zeroline": False, "automargin": True}
    return {
        "data": [],
        "layout": {
            "height": height_px,
            "margin": {"l": 8, "r": 28, "t": 8, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12},
            "hoverlabel": {"bgcolor": "#1c2530", "font": {"color": "#ffffff"}, "bordercolor": "#1c2530"},
            "dragmode": False,
            "showlegend": False,
            "bargap": 0.05,
            "xaxis": dict(axis),
            "yaxis": dict(axis),
        },
    }
