"""The report as one page that works offline: everything it shows lies inside it, and it asks no host for anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.files import write_text
from reports.charts import Figure, accuracy_figure, comparison_figure, curve_figure, latency_figure, left_out
from reports.curves import Curve, curves
from reports.document import ResultDocument
from reports.page import embeddable_json, page_environment, plotly_script
from reports.pictures import Picture, pictures
from reports.store import StoredResult
from reports.wording import attack_name, engine_names

_PAGE_BYTES = 6_000_000
# What an engine's section takes without its pictures, generously: what is fixed, and what grows with its document.
_SECTION_BYTES = 60_000
_TOLD_TIMES = 3
_PICTURE_BYTES = 1_000_000


@dataclass(frozen=True)
class Histogram:
    """One chart of latencies: the id of its place, the batch size, and how much of n it shows."""

    id: str
    batch: int
    n: int
    left_out: int
    slowest_ms: float


@dataclass(frozen=True)
class CurvePlace:
    """One chart of robust accuracy over epsilon: the id of its place, and what it shows."""

    id: str
    curve: Curve


@dataclass(frozen=True)
class Section:
    """What the page shows of one engine."""

    id: str
    name: str
    document: ResultDocument
    embedded: str
    accuracy_chart: str | None
    curves: tuple[CurvePlace, ...]
    histograms: tuple[Histogram, ...]
    pictures: tuple[Picture, ...]
    stored_pictures: int
    picture_rule: str | None


def write_html(results: Sequence[StoredResult], path: Path) -> None:
    """Write the report of `results` as one self-contained HTML file of less than 6 MB.

    Args:
        results: the results, each a section, in this order; several of them are compared first.
        path: the file, replaced as a whole.

    Raises:
        InputError: the arrays beside a result are damaged.
        ValueError: there is no result to write about.
    """
    if not results:
        raise ValueError("a report needs at least one result")
    plotly = plotly_script()
    told = sum(_SECTION_BYTES + _TOLD_TIMES * len(stored.document.to_json()) for stored in results)
    budget = max(0, min(_PICTURE_BYTES, _PAGE_BYTES - len(plotly.encode()) - told))
    charts: dict[str, Figure] = {}
    names = engine_names([stored.document for stored in results])
    sections = [
        _section(f"engine-{number}", name, stored, charts, budget // len(results))
        for number, (name, stored) in enumerate(zip(names, results, strict=True), start=1)
    ]
    documents = [stored.document for stored in results]
    if len(documents) > 1:
        charts["comparison-chart"] = comparison_figure(documents)
    page = (
        page_environment()
        .get_template("report.html.j2")
        .render(
            sections=sections,
            attacks=list(dict.fromkeys(attack_name(entry) for document in documents for entry in document.robustness)),
            batches=sorted({entry.batch for document in documents for entry in document.latency}),
            charts=embeddable_json(charts),
            plotly=plotly,
        )
    )
    write_text(path, page)


def _section(id: str, name: str, stored: StoredResult, charts: dict[str, Figure], picture_bytes: int) -> Section:
    document = stored.document
    accuracy_chart = None
    if document.accuracy.clean or document.accuracy.reference or document.robustness:
        accuracy_chart = f"{id}-accuracy"
        charts[accuracy_chart] = accuracy_figure(document)
    places = tuple(CurvePlace(f"{id}-curve-{number}", curve) for number, curve in enumerate(curves(document), start=1))
    charts.update({place.id: curve_figure(place.curve) for place in places})
    percentiles = {entry.batch: {"p50": entry.p50_ms, "p99": entry.p99_ms} for entry in document.latency}
    histograms = []
    for batch, times_ms in stored.latencies().items():
        if times_ms.size:
            chart = f"{id}-latency-{batch}"
            charts[chart] = latency_figure(times_ms, percentiles.get(batch, {}))
            histograms.append(Histogram(chart, batch, times_ms.size, left_out(times_ms), float(times_ms.max())))
    images = stored.images()
    return Section(
        id=id,
        name=name,
        document=document,
        embedded=embeddable_json(document.model_dump(mode="json")),
        accuracy_chart=accuracy_chart,
        curves=places,
        histograms=tuple(histograms),
        pictures=() if images is None else pictures(images, picture_bytes),
        stored_pictures=0 if images is None else len(images.labels),
        picture_rule=None if images is None or not images.rule else images.rule.strip().rstrip("."),
    )
