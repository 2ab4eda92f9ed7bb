"""The grid: which cells there are, in which order, and how it is cut."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import InputError
from harness.study.cell import POST_TRAINING, QUANTIZATION_AWARE, Cell, cut, grid

pytestmark = pytest.mark.core

GROUPS: list[dict[str, tuple[Any, ...]]] = [
    {"base": ("standard", "robust"), "bits": (8,), "quantization": (QUANTIZATION_AWARE,), "finetune": ("adversarial",)},
    {"base": ("standard",), "sparsity": (0.5, 0.8), "finetune": ("adversarial", "none"), "seed": (0, 1)},
    {"base": ("standard",), "sparsity": (0.5,), "finetune": ("adversarial",), "seed": (0,), "strong_seeds": (0,)},
]


@pytest.mark.parametrize(
    ("cell", "name", "number_format", "compression", "levels"),
    [
        (Cell(base="robust"), "robust-fp32-adversarial-seed0", "fp32", "none", ("fp32",)),
        (Cell(base="robust", sparsity=0.8), "robust-pruned-0.8-fp32-adversarial-seed0", "fp32", "prune", ("0.8",)),
        (
            Cell(base="standard", sparsity=0.8, bits=8, quantization=QUANTIZATION_AWARE, seed=2),
            "standard-pruned-0.8-int8-adversarial-seed2",
            "int8",
            "prune+quantize",
            ("0.8", "int8"),
        ),
        (
            Cell(base="robust", bits=4, quantization=POST_TRAINING),
            "robust-int4-post-training-adversarial-seed0",
            "int4",
            "quantize",
            ("int4",),
        ),
        (
            Cell(base="robust", bits=4, quantization=POST_TRAINING, finetune="none"),
            "robust-int4-none-seed0",
            "int4",
            "quantize",
            ("int4",),
        ),
    ],
)
def test_a_cell_says_what_it_is(
    cell: Cell, name: str, number_format: str, compression: str, levels: tuple[str, ...]
) -> None:
    assert (cell.name, cell.number_format, cell.compression, cell.levels) == (name, number_format, compression, levels)


def test_engines_exist_of_int8_and_floating_point_alone() -> None:
    formats = [(32, None), (16, None), (8, POST_TRAINING), (16, POST_TRAINING), (4, POST_TRAINING), (1, POST_TRAINING)]
    cells = [Cell(base="robust", bits=bits, quantization=how) for bits, how in formats]
    assert [cell.on_engine for cell in cells] == [True, True, True, False, False, False]


def test_groups_follow_each_other_and_the_first_seed_of_each_comes_first() -> None:
    cells = grid(GROUPS)
    assert [cell.name for cell in cells] == [
        "standard-int8-adversarial-seed0",
        "robust-int8-adversarial-seed0",
        "standard-pruned-0.5-fp32-adversarial-seed0",
        "standard-pruned-0.5-fp32-none-seed0",
        "standard-pruned-0.8-fp32-adversarial-seed0",
        "standard-pruned-0.8-fp32-none-seed0",
        "standard-pruned-0.5-fp32-adversarial-seed1",
        "standard-pruned-0.5-fp32-none-seed1",
        "standard-pruned-0.8-fp32-adversarial-seed1",
        "standard-pruned-0.8-fp32-none-seed1",
    ]


def test_a_cell_of_two_groups_is_judged_strongly_where_one_of_them_says_so() -> None:
    (cell,) = (cell for cell in grid(GROUPS) if cell.name == "standard-pruned-0.5-fp32-adversarial-seed0")
    assert cell.strong
    assert sum(each.strong for each in grid(GROUPS)) == 1


def test_what_is_not_fine_tuned_is_aware_of_no_quantizer() -> None:
    both: dict[str, tuple[Any, ...]] = {
        "base": ("robust",),
        "bits": (4,),
        "quantization": (QUANTIZATION_AWARE, POST_TRAINING),
    }
    names = [cell.name for cell in grid([{**both, "finetune": ("adversarial", "none")}])]
    assert names == [
        "robust-int4-adversarial-seed0",
        "robust-int4-post-training-adversarial-seed0",
        "robust-int4-none-seed0",
    ]


def test_a_study_is_cut_by_seeds_and_levels() -> None:
    cells = grid(GROUPS)
    assert cut(cells, None, ()) == cells
    assert {cell.seed for cell in cut(cells, 1, ())} == {0}
    assert [cell.name for cell in cut(cells, 1, ("0.8",))] == [
        "standard-pruned-0.8-fp32-adversarial-seed0",
        "standard-pruned-0.8-fp32-none-seed0",
    ]
    assert len(cut(cells, 1, ("0.8", "int8"))) == 4
    with pytest.raises(InputError, match=r"no level 0\.7: its levels are 0\.5, 0\.8, int8"):
        cut(cells, None, ("0.7",))
