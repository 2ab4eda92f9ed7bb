from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from reports.address import parse_address, parse_condition
from reports.robustness_parts import Rate
from reports.study.best import best
from reports.study.document import Cell, Evaluation, On
from reports.study.pareto import on_front, pareto

pytestmark = pytest.mark.core

ROBUST, SIZE = parse_address("robustness[attack=pgd].worst_case"), parse_address("memory.engine_bytes")
SMALL = st.integers(0, 4).map(float)


def cell(
    bits: int, robust: float | None, size: float | None, seed: int = 0, p50: float | None = None, on: On = "engine"
) -> Cell:
    quantities = {str(ROBUST): robust, str(SIZE): size, "latency[batch=1].p50_ms": p50}
    rate = Rate(value=0.5, n=100, ci95=(0.4, 0.6))
    asked = Evaluation("paper", "pgd", "linf", 0.05, on, "openvino-int8", rate, rate)
    return Cell(
        f"{bits}-{seed}", "robust", "quantize", 0.0, bits, "post-training", "none", seed,
        evaluations=(asked,), quantities=quantities,
    )  # fmt: skip


@given(st.lists(st.tuples(SMALL, SMALL), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    def dominated(robust: float, cost: float) -> bool:
        return any(r >= robust and c <= cost and (r > robust or c < cost) for r, c in points)

    assert on_front(points) == tuple(not dominated(*point) for point in points)


def test_equals_are_both_on_the_front_and_what_is_unmeasured_is_named() -> None:
    cells = [
        cell(8, 0.5, 10),
        cell(7, 0.5, 10),
        cell(6, 0.4, 10),
        cell(5, 0.6, 20),
        cell(4, None, 1),
        cell(3, 0.9, None),
    ]
    found = pareto(cells, ROBUST, SIZE)
    assert [candidate.setting.bits for candidate in found.front] == [8, 7, 5]
    assert [candidate.setting.bits for candidate in found.dominated] == [6]
    assert [setting.bits for setting in found.unmeasured] == [4, 3]


def test_the_front_is_over_means_of_seeds() -> None:
    cells = [cell(8, 0.9, 10, seed=0), cell(8, 0.1, 10, seed=1), cell(7, 0.6, 10)]
    assert [candidate.setting.bits for candidate in pareto(cells, ROBUST, SIZE).front] == [7]


def test_an_address_that_no_cell_has_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown quantity 'memory.engine'; did you mean 'memory.engine_bytes'"):
        pareto([cell(8, 0.5, 10)], ROBUST, parse_address("memory.engine"))
    with pytest.raises(InputError, match="unknown quantity"):
        best([cell(8, 0.5, 10)], [parse_condition("accuracy.cleen > 0.5")])


def test_the_smallest_that_holds_is_chosen_by_the_mean_over_seeds() -> None:
    cells = [
        cell(8, 0.7, 30, p50=1.0), cell(7, 0.7, 20, p50=1.0),
        cell(6, 0.9, 10, seed=0, p50=1.0), cell(6, 0.3, 10, seed=1, p50=1.0),
    ]  # fmt: skip
    bound = parse_condition(f"{ROBUST} >= 65%")
    choice = best(cells, [bound])
    assert choice.setting is not None and choice.setting.bits == 7
    assert choice.cells == (cells[1],)
    assert choice.objective is not None and choice.objective.mean == 20
    assert "of 2 settings that hold every condition" in choice.told
    lucky = best([cell(6, 0.9, 10, seed=0), cell(6, 0.5, 10, seed=1)], [bound])
    assert lucky.setting is not None and "by means over 2 of 2 seeds" in lucky.told


def test_the_objective_can_be_another() -> None:
    cells = [cell(8, 0.7, 30, p50=1.0), cell(7, 0.7, 20, p50=2.0)]
    choice = best(cells, [], parse_address("latency[batch=1].p50_ms"))
    assert choice.setting is not None and choice.setting.bits == 8


def test_what_was_not_measured_is_never_chosen() -> None:
    cells = [cell(8, None, 1), cell(7, 0.7, None), cell(6, 0.7, 9)]
    choice = best(cells, [parse_condition(f"{ROBUST} > 0.5")])
    assert choice.setting is not None and choice.setting.bits == 6
    alone = best([cell(8, 0.1, 1), cell(7, 0.7, None)], [parse_condition(f"{ROBUST} > 0.5")])
    assert alone.setting is None
    assert "memory.engine_bytes was not measured" in alone.told and "int7" in alone.told


def test_what_the_twin_alone_judged_is_no_engine_however_small() -> None:
    cells = [cell(8, 0.7, 30), cell(4, 0.9, 5, on="twin")]
    choice = best(cells, [parse_condition(f"{ROBUST} > 0.5")])
    assert choice.setting is not None and choice.setting.bits == 8
    assert "of 1 settings that hold" in choice.told
    assert best(cells[1:], []).told.startswith("no cell was judged on an engine yet")


def test_where_nothing_holds_the_sentence_says_what_fails_how_often_and_what_is_nearest() -> None:
    cells = [cell(8, 0.7, 30, p50=1.0), cell(7, 0.6, 20, p50=1.2), cell(6, 0.1, 10, p50=0.5), cell(5, 0.1, 10)]
    conditions = [parse_condition(f"{ROBUST} >= 0.75"), parse_condition("latency[batch=1].p50_ms <= 1.1 ms")]
    choice = best(cells, conditions)
    assert choice.setting is None and choice.cells == ()
    assert "none of 4 settings" in choice.told
    assert f"{ROBUST} >= 0.75 fails in 4; " in choice.told
    assert "latency[batch=1].p50_ms <= 1.1 fails in 1 and was not measured in 1" in choice.told
    assert choice.told.endswith(f"nearest comes robust model, int8 (post-training), not fine-tuned with {ROBUST} 0.7")


def test_a_study_without_cells_says_so() -> None:
    assert best([], []).told == "the study has no cells"
