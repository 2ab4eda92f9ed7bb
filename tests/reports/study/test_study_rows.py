from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from reports.robustness_parts import Rate
from reports.study.document import Cell, Evaluation
from reports.study.paper import compared, paper_values
from reports.study.rows import csv_text, flat, rows, write_csv
from reports.wording import plain
from tests.reports.study.planted import planted

pytestmark = pytest.mark.core


def cell(seed: int, clean: float, on: str = "engine", **changes: object) -> Cell:
    answer = Evaluation(
        "paper", "pgd", "linf", 0.05, on, "openvino-int8",  # type: ignore[arg-type]
        Rate(value=clean, n=100, ci95=(clean - 0.1, clean + 0.1)), Rate(value=0.5, n=100, ci95=(0.4, 0.6)),
    )  # fmt: skip
    made = Cell(
        f"cell-seed{seed}", "robust", "prune", 0.5, 32, None, "adversarial", seed, 1000, 2000, 63.0, (answer,),
        None, {"latency[batch=1].p50_ms": 0.1 * (seed + 1), "accuracy.clean": clean},
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_seeds_become_mean_and_deviation_of_the_sample() -> None:
    (row,) = rows([cell(0, 0.7), cell(1, 0.8), cell(2, 0.9)])
    assert row.clean.mean == pytest.approx(0.8)
    assert row.clean.sd == pytest.approx(0.1)  # ddof 1; over n it would be 0.0816
    assert (row.seeds, row.planned, row.images, row.clean.ci95) == ((0, 1, 2), 3, 100, None)
    assert row.numbers["latency[batch=1].p50_ms"].mean == pytest.approx(0.2)
    assert "accuracy.clean" not in row.numbers


def test_one_seed_has_no_deviation_but_its_interval() -> None:
    (row,) = rows([cell(0, 0.7)])
    assert row.clean.sd is None
    assert row.clean.ci95 == pytest.approx((0.6, 0.8))


def test_a_failed_seed_is_counted_as_planned_and_not_as_zero() -> None:
    (row,) = rows([cell(0, 0.7), cell(1, 0.5, state="failed", evaluations=(), quantities={})])
    assert (row.seeds, row.planned, row.clean.mean) == ((0,), 2, 0.7)


def test_engine_and_twin_are_rows_of_their_own_and_latency_is_the_engines() -> None:
    both = cell(0, 0.7).evaluations + cell(0, 0.75, on="twin").evaluations
    engine, twin = rows([cell(0, 0.7, evaluations=both)])
    assert (engine.on, twin.on) == ("engine", "twin")
    assert set(engine.numbers) - set(twin.numbers) == {"latency[batch=1].p50_ms"}
    assert set(twin.numbers) == {"parameters", "macs", "finetune_passes"}


def test_the_csv_holds_the_table_and_null_is_empty(tmp_path: Path) -> None:
    table = rows(planted(seeds=1).cells)
    write_csv(table, tmp_path / "study.csv")
    records = flat(table)
    with (tmp_path / "study.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert len(read) == len(records) == len(table)
    assert list(read[0]) == list(records[0])
    for line, record in zip(read, records, strict=True):
        assert line == {name: "" if value is None else str(value) for name, value in record.items()}
    assert {"clean_mean", "clean_sd", "seeds", "latency[batch=1].p50_ms mean"} <= set(records[0])


@pytest.mark.parametrize("words", ['=HYPERLINK("http://a")', "+1", "-1+1", "@a", "\t=1", "\r=1"])
def test_no_word_can_be_run_as_a_formula(words: str) -> None:
    (asked,) = cell(0, 0.7).evaluations
    (row,) = rows([cell(0, 0.7, evaluations=(replace(asked, target=words),))])
    (line,) = csv.DictReader(io.StringIO(csv_text([row]), newline=""))
    assert line["target"] == f"'{plain(words)}"
    assert flat([row])[0]["target"] == words


def test_nothing_is_an_empty_table() -> None:
    assert csv_text([]) == ""


def test_the_papers_values_stand_beside_ours_with_their_difference() -> None:
    study = planted(seeds=2)
    lines = compared(study)
    found = [line for line in lines if (line.name, line.setting.base) == ("pruned 80 %", "robust")]
    assert [line.row.on for line in found if line.row] == ["engine", "twin"]
    engine = found[0]
    assert engine.paper is not None and engine.row is not None
    assert (engine.paper.clean, engine.paper.robust) == (0.845, 0.788)
    assert engine.clean_points == pytest.approx(100 * (engine.row.clean.mean - 0.845))
    (missing,) = [line for line in lines if line.row is None]
    assert (missing.name, missing.setting.base, missing.state) == ("int2", "standard", "missing")
    assert missing.clean_points is None


def test_what_is_pruned_and_quantized_stands_beside_the_papers_float_value() -> None:
    both = replace(cell(0, 0.7), compression="prune+quantize", sparsity=0.8, bits=8, quantization="quantization-aware")
    lines = [line for line in compared(planted(seeds=1, cells=[both])) if line.row]
    (line,) = lines
    assert line.name == "pruned 80 %, int8 (QAT)"
    assert line.paper is not None
    assert (line.paper.compression, line.paper.bits) == ("prune", 32)
    assert not line.paper.is_of(line.setting)


def test_levels_of_the_paper_that_were_not_studied_are_there_without_a_state() -> None:
    lines = compared(planted(seeds=1, cells=[]))
    assert len(lines) == len(paper_values("fashion-mnist")) == 28
    assert {(line.row, line.state) for line in lines} == {(None, None)}
    assert paper_values("digits") == ()
