from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reports.address import parse_address
from reports.charts import Figure
from reports.study.document import StudyDocument
from reports.study.features import FeaturePanel
from reports.study.figures import (
    CLASS_COLOURS,
    MOST_POINTS,
    ON_SYMBOLS,
    feature_panel,
    level_panels,
    one_question,
    pareto_figure,
)
from reports.study.page import write_study_page
from reports.study.paper import paper_values
from reports.study.pareto import pareto
from reports.study.rows import by_setting, rows, spread
from reports.study.terminal import print_study
from reports.study.wording import axis_name, points_told, quantity_told
from tests.reports.study.planted import ROBUSTNESS, planted, planted_features
from tests.reports.test_html import Page
from tests.reports.test_page_in_browser import opened
from tests.reports.test_style_sheet import contrast, palettes

pytestmark = pytest.mark.core

HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">\x1b[2J[red]"


def hostile() -> StudyDocument:
    """Return a study in which every free word is an attack."""
    study = planted(seeds=1, command=HOSTILE, dataset="fashion-mnist", environment={HOSTILE: {HOSTILE: HOSTILE}})
    cells = [
        replace(
            cell,
            id=HOSTILE + cell.id,
            reason=HOSTILE,
            doubts=(HOSTILE,),
            warnings=(HOSTILE,),
            evaluations=tuple(replace(asked, target=HOSTILE, attack=HOSTILE) for asked in cell.evaluations),
        )
        for cell in study.cells
    ]
    return replace(study, harness_version=HOSTILE, cells=tuple(cells))


def traces(figure: Figure, *, paper: bool) -> Sequence[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace["name"].startswith("paper") is paper]


def quantized() -> Figure:
    study = planted(seeds=3)
    table = one_question(rows(study.cells))
    values = paper_values(study.dataset)
    (panel,) = level_panels(table, tuple(by_setting(study.cells)), "quantize", ["adversarial"], values)
    return panel.figure


def test_a_missing_cell_is_a_gap_and_never_a_zero() -> None:
    figure = quantized()
    line = next(trace for trace in figure["data"] if trace["name"] == "standard model, clean")
    levels = figure["layout"]["xaxis"]["ticktext"]
    assert levels == ["int16", "int8", "int4", "int2", "int1"]
    assert [value is None for value in line["y"]] == [False, False, False, True, False]
    assert line["connectgaps"] is False
    assert 0 not in line["y"]


def test_engine_and_twin_have_markers_of_their_own_and_bars_are_deviations() -> None:
    figure = quantized()
    line = next(trace for trace in figure["data"] if trace["name"] == "robust model, robust")
    assert line["marker"]["symbol"] == [ON_SYMBOLS[on] for on in ("twin", "engine", "twin", "twin", "twin")]
    (row,) = [
        row for row in rows(planted(seeds=3).cells)
        if row.setting.compressed == "int8" and row.on == "engine" and row.setting.base == "robust"
        and row.setting.finetune == "adversarial"
    ]  # fmt: skip
    assert row.robust.sd is not None
    assert line["error_y"]["array"][1] == pytest.approx(100 * row.robust.sd, abs=1e-3)
    assert line["y"][1] == pytest.approx(100 * row.robust.mean, abs=1e-3)


def test_the_paper_is_faint_and_only_where_it_fine_tuned() -> None:
    study = planted(seeds=1)
    table, planned = one_question(rows(study.cells)), tuple(by_setting(study.cells))
    none, standard, adversarial = level_panels(
        table, planned, "prune", ["none", "standard", "adversarial"], paper_values(study.dataset)
    )
    assert not traces(none.figure, paper=True) and not traces(standard.figure, paper=True)
    theirs = traces(adversarial.figure, paper=True)
    assert len(theirs) == 4 and all(trace["opacity"] < 0.5 for trace in theirs)
    assert none.figure["layout"]["xaxis"]["ticktext"][0] == "0"
    assert len({str(panel.figure["layout"]["yaxis"]["range"]) for panel in (none, standard, adversarial)}) == 1


def test_post_training_and_trained_scales_are_panels_apart() -> None:
    study = planted(seeds=1)
    cells = [
        replace(cell, id=cell.id + "-qat", quantization="quantization-aware")
        for cell in study.cells
        if cell.compression == "quantize"
    ]
    both = (*study.cells, *cells)
    panels = level_panels(rows(both), tuple(by_setting(both)), "quantize", ["adversarial"])
    assert [panel.title.split(", ")[-1] for panel in panels] == ["post-training", "quantization-aware"]
    assert len(panels[0].figure["data"]) == 4


def test_half_precision_has_panels_of_its_own_and_names_its_width() -> None:
    study = planted(seeds=1)
    half = [
        replace(cell, id=cell.id + "-fp16", bits=16, evaluations=cell.evaluations[:1])
        for cell in study.cells
        if cell.compression == "prune" and cell.finetune == "adversarial"
    ]
    both = (*study.cells, *half)
    table, planned = rows(both), tuple(by_setting(both))
    single, other = level_panels(table, planned, "prune", ["adversarial"], paper_values(study.dataset))
    (alone,) = level_panels(rows(study.cells), tuple(by_setting(study.cells)), "prune", ["adversarial"], ())
    assert [trace["y"] for trace in traces(single.figure, paper=False)] == [
        trace["y"] for trace in traces(alone.figure, paper=False)
    ]
    assert other.title == "Pruned, fine-tuned adversarially, fp16"
    assert not traces(other.figure, paper=True)
    (setting,) = {cell.setting for cell in half if cell.sparsity == 0.8 and cell.base == "robust"}
    assert setting.compressed == "pruned 80 %, fp16"
    assert replace(setting, compression="none", sparsity=0.0).compressed == "fp16"
    assert replace(setting, compression="none", sparsity=0.0, bits=32).compressed == "uncompressed"


def test_figures_are_about_the_papers_protocol_where_it_was_asked() -> None:
    table = rows(planted(seeds=1).cells)
    strong = [replace(row, protocol="strong") for row in table]
    assert {row.protocol for row in one_question([*strong, *table[:3]])} == {"paper"}
    assert {row.protocol for row in one_question(strong)} == {"strong"}
    assert one_question([]) == ()


def test_the_front_is_numbered_and_drawn_on_a_line() -> None:
    study = planted(seeds=2)
    found = pareto(study.cells, parse_address(ROBUSTNESS), parse_address("memory.engine_bytes"))
    beaten, front = pareto_figure(found)["data"]
    assert len(front["x"]) == len(found.front) and len(beaten["x"]) == len(found.dominated)
    assert front["text"] == [str(place) for place in range(1, len(found.front) + 1)]
    assert front["x"] == sorted(front["x"]) and front["y"] == sorted(front["y"])
    assert pareto_figure(found)["layout"]["xaxis"]["type"] == "log"


def test_many_points_are_thinned_and_classes_named() -> None:
    points = tuple((float(place), 0.0, place % 2) for place in range(4 * MOST_POINTS))
    figure = feature_panel(FeaturePanel("a", ("one", "<b>"), points)).figure
    assert sum(len(trace["x"]) for trace in figure["data"]) <= MOST_POINTS
    assert all("<b><b></b>" not in note["text"] for note in figure["layout"]["annotations"])


def test_colours_of_classes_stand_out_on_both_grounds() -> None:
    for palette in palettes():
        for colour in CLASS_COLOURS:
            assert contrast(colour, palette["ground"]) >= 3.0, colour


@pytest.mark.parametrize(
    ("address", "told", "number"),
    [
        ("latency[batch=1].p50_ms", "latency p50, batch 1, ms", "0.283 ± 0.006 ms"),
        ("memory.engine_bytes", "memory engine, bytes", "0 B ± 0 B"),
        ("energy.joules_per_inference", "energy joules, J", "0.283 ± 0.006 J"),
        ("macs", "macs", "0.283 ± 0.006"),
    ],
)
def test_quantities_are_told_with_their_units(address: str, told: str, number: str) -> None:
    parsed = parse_address(address)
    assert axis_name(parsed) == told
    assert quantity_told(parsed, spread([0.277, 0.283, 0.289])) == number
    assert quantity_told(parsed, None) == "-"


def test_differences_carry_their_sign_and_nothing_is_nothing() -> None:
    assert [points_told(points) for points in (1.25, -1.25, -0.01, None)] == ["+1.2", "\N{MINUS SIGN}1.2", "0.0", "-"]


def shown(study: StudyDocument) -> str:
    stream = io.StringIO()
    print_study(Console(file=stream, width=80, no_color=True), study)
    return stream.getvalue()


def test_the_terminal_shows_one_screen_of_80_columns() -> None:
    output = shown(planted())
    lines = output.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 45
    assert re.search(r"pruned 80 % +rob +engine +3 +84.5 +8\d\.\d±\d\.\d +\S?\d", output)
    assert re.search(r"int4 +std +twin", output) and re.search(r"int2 +std +missing +- +10.0 +- +-", output)
    assert "warning: standard-quantize-int2-adversarial-seed0: not run yet" in output
    assert "simulated: these numbers were not measured" in output


def test_the_terminal_shows_hostile_words_as_words_and_an_empty_study() -> None:
    output = shown(hostile())
    assert "\x1b" not in output and "[red]" in output
    assert max(map(len, output.splitlines())) <= 80
    assert "0 cells (none)" in shown(planted(cells=[]))


def written(study: StudyDocument, folder: Path) -> str:
    write_study_page(study, folder, folder / "study.html")
    return (folder / "study.html").read_text(encoding="utf-8")


def test_the_page_says_everything_without_asking_a_host(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text(json.dumps(planted_features()))
    text = written(planted(features="features.json"), tmp_path)
    page = Page(text)
    words = " ".join(" ".join(page.words).split())
    for told in ("The paper against ours", "pruned 80 %", "training diverged", "not run yet", "Planted CPU",
                 "Simulated", "ran on the twin", "harness study run", "24 settings lack one of the two"):  # fmt: skip
        assert told in words, told
    places = {attributes["id"] for tag, attributes in page.elements if attributes.get("class") == "chart"}
    embedded = next(text for attributes, text in page.scripts if attributes.get("id") == "charts")
    assert places == set(json.loads(embedded)) and len(places) >= 12
    for tag, attributes in page.elements:
        assert not {"src", "action"} & attributes.keys() or tag == "img"
        assert (attributes.get("href") or "#").startswith(("#", "data:"))
        if attributes.get("class") == "scroll":
            assert attributes["tabindex"] == "0" and attributes["aria-label"]


def test_latencies_that_are_not_valid_and_warnings_of_trainings_are_told(tmp_path: Path) -> None:
    study = planted()
    assert "not valid" not in shown(study) and "Warnings" not in Page(written(study, tmp_path)).words
    first, second, *others = study.cells
    cells = (
        replace(first, doubts=("other programs used 26% of the CPU", "the clock fell")),
        replace(second, warnings=("fine-tuning collapsed in epoch 3: epoch 2 was kept",)),
        *others,
    )
    study = replace(study, cells=cells)
    assert StudyDocument.from_json(study.to_json()) == study
    told = "latencies left out of 1 cell, they were not valid (other programs used 26% of the CPU)"
    assert told in " ".join(shown(study).split())
    words = " ".join(" ".join(Page(written(study, tmp_path)).words).split())
    for sentence in (told[1:], "the clock fell", "fine-tuning collapsed in epoch 3", first.id, second.id):
        assert sentence in words, sentence


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    words = " ".join(Page(written(planted(cells=[], dataset="digits"), tmp_path)).words)
    assert "No cell has an answer yet" in words
    assert "Neither the paper nor this study" in words


@pytest.mark.browser
def test_in_a_browser_charts_are_drawn_hidden_ones_wait_and_hostile_words_run_nothing(tmp_path: Path) -> None:
    points = planted_features(panels=1, points=50)
    points["panels"][0] |= {"title": HOSTILE, "classes": [HOSTILE] * 10}
    (tmp_path / "features.json").write_text(json.dumps(points))
    written(replace(hostile(), features="features.json"), tmp_path)
    dom, console = opened(tmp_path / "study.html")
    assert console == ""
    assert "<title>run" not in dom
    drawn = re.findall(r'<div class="chart[^"]*" id="([^"]+)"[^>]*><div class="plot-container', dom)
    everything = re.findall(r'<div class="chart[^"]*" id="([^"]+)"', dom)
    assert set(everything) - set(drawn) == {id for id in everything if id.startswith("pareto-") and id != "pareto-1"}
    assert {"figure-1-1", "figure-1-2", "figure-3-3", "figure-4-3", "figure-2-1", "pareto-1"} <= set(drawn)
    assert len(re.findall(r'class="download"[^>]*href="blob:', dom)) == 2
