"""The study file: what it may say, and the experiment that each cell becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from contracts.errors import InputError
from harness.study.cell import POST_TRAINING, QUANTIZATION_AWARE, Cell
from harness.study.plan import base_values, built_in, cell_values, read_plan, strong_values
from harness.workflow.settings import check

pytestmark = pytest.mark.core

WEIGHTS = Path("bases/robust-seed3/weights.safetensors")
MINIMAL: dict[str, Any] = {
    "experiment": "digits",
    "bases": {"robust": {"method": "n-fgsm", "epochs": 3}},
    "finetunes": {"adversarial": {"method": "pgd", "epochs": 2}},
    "strong": {"eval": {"attack": ["autoattack"], "arms": ["query"]}, "attack": {"square": {"queries": 7}}},
    "cells": [{"base": ["robust"]}],
}


def written(folder: Path, **changes: Any) -> str:
    path = folder / "mine.toml"
    path.write_text(tomli_w.dumps({**MINIMAL, **changes}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", built_in())
def test_every_cell_of_a_study_that_ships_is_an_experiment(name: str) -> None:
    plan = read_plan(name)
    cells = plan.grid()
    assert len({cell.name for cell in cells}) == len(cells) > 5
    for cell in cells:
        values = cell_values(plan, cell, WEIGHTS)
        assert check(values, cell.name).seed == cell.seed
        check(strong_values(plan, values), cell.name)
        check(base_values(plan, cell.base, cell.seed), cell.base)


def test_the_claimed_rows_of_the_paper_s_study_come_first() -> None:
    cells = read_plan("fashion-mnist").grid()[:15]
    assert {(cell.base, cell.sparsity, cell.bits, cell.quantization) for cell in cells} == {
        ("standard", 0.0, 8, QUANTIZATION_AWARE),
        ("robust", 0.0, 8, QUANTIZATION_AWARE),
        ("standard", 0.8, 8, QUANTIZATION_AWARE),
        ("robust", 0.8, 8, QUANTIZATION_AWARE),
        ("robust", 0.0, 4, QUANTIZATION_AWARE),
    }
    assert {cell.seed for cell in cells} == {0, 1, 2}
    assert {cell.finetune for cell in cells} == {"adversarial"}


def test_a_cell_s_experiment_is_the_base_s_with_its_compression_and_fine_tuning(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, pruning={"method": "l2", "round_to": 1}))
    cell = Cell(base="robust", sparsity=0.8, bits=4, quantization=QUANTIZATION_AWARE, seed=3)
    experiment = check(cell_values(plan, cell, WEIGHTS), "cell")
    assert experiment.seed == 3
    assert experiment.model.checkpoint == str(WEIGHTS)
    assert (experiment.prune.method, experiment.prune.sparsity, experiment.prune.round_to) == ("l2", 0.8, 1)
    assert experiment.quantize.bits == 4
    assert experiment.order == ("prune", "quantize", "finetune")
    assert (experiment.finetune.method, experiment.finetune.epochs) == ("pgd", 2)
    trained = check(base_values(plan, "robust", 3), "base")
    assert (trained.seed, trained.train.method, trained.train.epochs) == (3, "n-fgsm", 3)


@pytest.mark.parametrize(
    ("cell", "order", "precision"),
    [
        (Cell(base="robust"), ("prune", "finetune", "quantize"), "fp32"),
        (Cell(base="robust", bits=8, quantization=POST_TRAINING), ("prune", "finetune", "quantize"), "int8"),
        (Cell(base="robust", bits=8, quantization=QUANTIZATION_AWARE), ("prune", "quantize", "finetune"), "int8"),
    ],
)
def test_only_what_is_aware_of_quantizers_is_fine_tuned_through_them(
    tmp_path: Path, cell: Cell, order: tuple[str, ...], precision: str
) -> None:
    experiment = check(cell_values(read_plan(written(tmp_path)), cell, WEIGHTS), "cell")
    assert experiment.order == order
    assert experiment.build.precision == (precision,)


def test_some_cells_have_settings_of_their_own(tmp_path: Path) -> None:
    specials = [
        {"bits": 4, "settings": {"finetune": {"learning_rate": 0.01}}},
        {"sparsity_from": 0.7, "settings": {"finetune": {"epochs": 9}, "prune": {"scope": "global"}}},
    ]
    plan = read_plan(written(tmp_path, specials=specials))

    def learning(**of: Any) -> tuple[float, int]:
        experiment = check(cell_values(plan, Cell(base="robust", **of), WEIGHTS), "cell")
        return experiment.finetune.learning_rate, experiment.finetune.epochs

    assert learning() == (0.05, 2)
    assert learning(bits=4, quantization=QUANTIZATION_AWARE) == (0.01, 2)
    assert learning(sparsity=0.8) == (0.05, 9)
    assert learning(sparsity=0.6, bits=4, quantization=POST_TRAINING) == (0.01, 2)


def test_what_the_experiment_prunes_reaches_pruned_cells_alone(tmp_path: Path) -> None:
    experiment = tmp_path / "pruning.toml"
    experiment.write_text(tomli_w.dumps({"model": {"name": "digits-cnn"}, "prune": {"method": "l2", "sparsity": 0.3}}))
    cells = [{"base": ["robust"], "sparsity": [0.0, 0.5]}]
    plan = read_plan(written(tmp_path, experiment=str(experiment), cells=cells))
    whole, pruned = (check(cell_values(plan, cell, WEIGHTS), "cell") for cell in plan.grid())
    assert (whole.prune.method, whole.sparsity) == ("none", 0.0)
    assert (pruned.prune.method, pruned.sparsity) == ("l1", 0.5)


def test_a_base_model_is_of_the_study_s_data_and_model(tmp_path: Path) -> None:
    settings = {"data": {"name": "fashion-mnist"}, "model": {"name": "cnn8"}}
    plan = read_plan(written(tmp_path, settings=settings))
    base, cell = (
        check(values, "one")
        for values in (base_values(plan, "robust", 0), cell_values(plan, Cell(base="robust"), WEIGHTS))
    )
    assert (base.data.name, base.model.name) == (cell.data.name, cell.model.name) == ("fashion-mnist", "cnn8")


def test_the_strong_protocol_is_an_evaluation_of_its_own(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, strong_samples=12))
    values = cell_values(plan, Cell(base="robust"), WEIGHTS)
    paper, strong = check(values, "paper"), check(strong_values(plan, values), "strong")
    assert (strong.eval.attack, strong.eval.arms, strong.eval.samples) == (("autoattack",), ("query",), 12)
    assert strong.attack["square"] == {"queries": 7}
    assert (paper.eval.attack, paper.eval.samples) == (("pgd",), None)
    assert strong.finetune == paper.finetune


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cells": [{"base": ["standard"]}]}, "unknown base model of a cell 'standard'"),
        ({"cells": [{"base": ["robust"], "finetune": ["standard"]}]}, "unknown fine-tuning of a cell 'standard'"),
        ({"cells": [{"base": ["robust"], "bits": [8]}]}, "cells of 8 bits need a quantization: post-training"),
        (
            {"cells": [{"base": ["robust"], "sparsities": [0.5]}]},
            "unknown key cells.0.sparsities; did you mean 'sparsity'?",
        ),
        ({"cells": [{"base": ["robust"], "sparsity": [1.0]}]}, "cells.0.sparsity.0: Input should be less than 1"),
        ({"sells": []}, "unknown key sells; did you mean 'cells'?"),
        (
            {"bases": {"robust": {"epochs": 0}}},
            "bases.robust: train.epochs: Input should be greater than or equal to 1",
        ),
        (
            {"finetunes": {"adversarial": {"epoch": 2}, "standard": {}}},
            "finetunes.adversarial: unknown key finetune.epoch; did you mean 'epochs'?",
        ),
        ({"strong": {"eval": {"arm": ["loop"]}}}, "strong: unknown key eval.arm; did you mean 'arms'?"),
        (
            {"strong": {"attack": {"square": {"query": 1}}}},
            "strong: attack.square has no setting 'query'; did you mean 'queries'?",
        ),
        ({"pruning": {"method": "l3"}}, "pruning: unknown pruning method 'l3'"),
        ({"settings": {"measure": {"batches": [1]}}}, "settings: unknown key measure.batches; did you mean 'batch'?"),
        (
            {"cells": [{"base": ["robust"], "bits": [20], "quantization": ["post-training"]}]},
            "cell robust-int20-post-training-adversarial-seed0: quantize.bits: Input should be less than or equal",
        ),
        (
            {"specials": [{"bits": 32, "settings": {"finetune": {"epochs": 0}}}]},
            "specials.0: finetune.epochs: Input should be greater",
        ),
        (
            {"specials": [{"bits": 4, "settings": {"finetune": {"epoch": 1}}}]},
            "specials.0: unknown key finetune.epoch",
        ),
        (
            {"settings": {"build": {"backend": ["openvino", "onnxruntime"]}}},
            "cell robust-fp32-adversarial-seed0: a study has one backend",
        ),
        (
            {"cells": [{"base": ["robust"], "sparsity": [0.5]}], "pruning": {"method": "l1", "target": "macs"}},
            "a study's sparsities are shares of channels, and prune.target is macs: leave it out",
        ),
        (
            {"cells": [{"base": ["robust"], "sparsity": [0.5]}], "pruning": {"round_to": 1}},
            "its settings prune 0 of the channels and not 0.5: name a method in [pruning]",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused_in_one_sentence(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        read_plan(written(tmp_path, **changes))
    assert sentence in str(refused.value)


def test_an_unknown_study_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown study 'digit'; did you mean 'digits'\?"):
        read_plan("digit")
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(str(tmp_path / "none.toml"))
