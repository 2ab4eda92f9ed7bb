"""The report as one page that works offline: everything it shows lies inside it, and it asks no host for anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.files import write_text
from reports.charts import Figure, accuracy_figure, comparison_figure, curve_figure, latency_figure, left_out
from reports.curves import Curve, curves
from reports.document import ResultDocument
from reports.pictures import Picture, pictures
from reports.robustness_wording import (
    cautions,
    is_doubtful,
    minimal_norm_told,
    ran_told,
    repeatability_told,
    sanity_told,
    source_told,
    stage_rows,
)
from reports.store import StoredResult
from reports.wording import (
    attack_name,
    checks_told,
    engine_names,
    factor,
    forms,
    interval,
    layers_told,
    mac_shares,
    moment,
    percent,
    plain,
    quantity,
    quantized_how,
    share,
    significant,
    size,
    spans_told,
)

if TYPE_CHECKING:
    from jinja2 import Environment

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
    from plotly.offline import get_plotlyjs

    if not results:
        raise ValueError("a report needs at least one result")
    plotly = get_plotlyjs()
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
            # A closing tag inside the library would end its element early; in JavaScript the backslash means nothing.
            plotly=plotly.replace("</script", "<\\/script"),
        )
    )
    write_text(path, page)


def embeddable_json(value: object) -> str:
    """Return JSON that cannot end the script element it lies in, whatever its strings hold."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


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


def page_environment() -> Environment:
    """Return what renders the templates: autoescaping, strict, with the filters that turn numbers into words."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        interval=interval, moment=moment, percent=percent, quantity=quantity, significant=significant, size=size
    )
    environment.filters.update(attack_name=attack_name, mac_shares=mac_shares, quantized_how=quantized_how, share=share)
    environment.filters.update(forms=forms, layers_told=layers_told, checks_told=checks_told, spans_told=spans_told)
    environment.filters.update(cautions=cautions, minimal_norm_told=minimal_norm_told, ran_told=ran_told, factor=factor)
    environment.filters.update(repeatability_told=repeatability_told, sanity_told=sanity_told, source_told=source_told)
    environment.filters.update(stage_rows=stage_rows, is_doubtful=is_doubtful)
    return environment


def _shown(value: object) -> object:
    """Make foreign text harmless to read as well as to parse; what is marked as safe stays as it is."""
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
