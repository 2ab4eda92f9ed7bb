"""A study as one page that works offline: everything it shows lies inside it, and it asks no host for anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from contracts.files import write_text
from reports.address import Address, unit_suffix
from reports.charts import Figure
from reports.page import embeddable_json, page_environment, plotly_script
from reports.study.document import Compression, Finetune, StudyDocument, known_addresses
from reports.study.features import read_features
from reports.study.figures import Panel, feature_panel, level_panels, one_question, pareto_figure
from reports.study.paper import compared, paper_values
from reports.study.pareto import Pareto, pareto
from reports.study.rows import Row, by_setting, csv_text, rows
from reports.study.wording import (
    axis_name,
    doubts_told,
    facts,
    interval_told,
    points_told,
    quantity_told,
    rate_told,
    state_told,
)

_ALL: tuple[Finetune, ...] = get_args(Finetune)


@dataclass(frozen=True)
class PlacedPanel:
    """A chart and the id of its place."""

    id: str
    title: str


@dataclass(frozen=True)
class Block:
    """One figure of several charts, with what its key has to explain."""

    id: str
    title: str
    caption: str
    panels: tuple[PlacedPanel, ...]
    key: bool
    paper: bool


@dataclass(frozen=True)
class Front:
    """One choice of the Pareto figure."""

    id: str
    name: str
    found: Pareto


def write_study_page(study: StudyDocument, folder: Path, path: Path) -> None:
    """Write a study as one self-contained HTML file.

    Args:
        study: the document.
        folder: the study's folder, which the document's paths start from.
        path: the file, replaced as a whole.

    Raises:
        InputError: the t-SNE points that the document names are missing or damaged.
    """
    charts: dict[str, Figure] = {}
    table = rows(study.cells)
    blocks = [*_level_blocks(study, table, charts), *_feature_blocks(study, folder, charts)]
    environment = page_environment()
    environment.filters.update(
        axis_name=axis_name, interval_told=interval_told, points_told=points_told, quantity_told=quantity_told
    )
    environment.filters.update(rate_told=rate_told, state_told=state_told)
    page = environment.get_template("study.html.j2").render(
        study=study,
        counts=Counter(cell.state for cell in study.cells),
        facts=facts(dict(study.environment)),
        comparisons=compared(study),
        blocks=blocks,
        fronts=_fronts(study, charts),
        table=table,
        quantities=_quantities(study),
        absent=[cell for cell in study.cells if cell.state != "finished"],
        warned=[cell for cell in study.cells if cell.doubts or cell.warnings],
        doubted=doubts_told(study.cells),
        charts=embeddable_json(charts),
        downloads=embeddable_json({"study.json": study.to_json(), "study.csv": csv_text(table)}),
        plotly=plotly_script(),
    )
    write_text(path, page)


def _level_blocks(study: StudyDocument, table: Sequence[Row], charts: dict[str, Figure]) -> list[Block]:
    asked = one_question(table)
    planned = tuple(by_setting(study.cells))
    papers = paper_values(study.dataset)
    adversarial: tuple[Finetune, ...] = ("adversarial",)

    def panels(compression: Compression, finetunes: Sequence[Finetune]) -> tuple[Panel, ...]:
        return level_panels(asked, planned, compression, finetunes, papers)

    drawn = [
        (
            "figure-1",
            "Accuracy and robustness after adversarial fine-tuning",
            panels("prune", adversarial) + panels("quantize", adversarial),
        ),
        ("figure-3", "Pruning, by what it was fine-tuned on", panels("prune", _ALL)),
        ("figure-4", "Quantization, by what it was fine-tuned on", panels("quantize", _ALL)),
        ("figure-both", "Pruning and quantization together", panels("prune+quantize", _ALL)),
    ]
    caption = _question_told(asked)
    return [
        Block(id, title, caption, _placed(id, found, charts), key=True, paper=bool(papers) and id != "figure-both")
        for id, title, found in drawn
        if found
    ]


def _feature_blocks(study: StudyDocument, folder: Path, charts: dict[str, Figure]) -> list[Block]:
    if study.features is None:
        return []
    panels = tuple(map(feature_panel, read_features(folder / study.features)))
    caption = "Features of test images as t-SNE lays them out: near is alike, but distances between groups mean little."
    return [Block("figure-2", "Features", caption, _placed("figure-2", panels, charts), key=False, paper=False)]


def _fronts(study: StudyDocument, charts: dict[str, Figure]) -> list[Front]:
    known = known_addresses(study.cells)
    costs = [address for address in known if unit_suffix(address) not in ("", "_per_s")]
    fronts: list[Front] = []
    for robustness in (address for address in known if address.parts[0].key == "robustness"):
        for cost in costs:
            found = pareto(study.cells, robustness, cost)
            if found.front:
                id = f"pareto-{len(fronts) + 1}"
                charts[id] = pareto_figure(found)
                fronts.append(Front(id, f"{axis_name(cost)} ({axis_name(robustness)})", found))
    return fronts


def _quantities(study: StudyDocument) -> list[Address]:
    known = known_addresses(study.cells)
    return [address for address in known if address.parts[0].key not in ("accuracy", "robustness")]


def _placed(id: str, panels: Sequence[Panel], charts: dict[str, Figure]) -> tuple[PlacedPanel, ...]:
    placed = tuple(PlacedPanel(f"{id}-{number}", panel.title) for number, panel in enumerate(panels, start=1))
    charts.update({place.id: panel.figure for place, panel in zip(placed, panels, strict=True)})
    return placed


def _question_told(asked: Sequence[Row]) -> str:
    if not asked:
        return "No cell has an answer yet."
    row = asked[0]
    images = sorted({row.images for row in asked})
    most = max(len(row.seeds) for row in asked)
    counted = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    seeds = f"means over up to {most} seeds, bars are one standard deviation" if most > 1 else "one seed"
    return (
        f"{row.attack} {row.norm} {row.epsilon:g}, protocol {row.protocol}, {counted} images; {seeds}. A level "
        "without an answer is a gap."
    )
