from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from torch import Tensor

from harness.models.build import build_model
from harness.progress import Progress, Silent
from harness.workflow import training
from harness.workflow.context import Context
from harness.workflow.settings import check
from tests.harness.training.dying import Dying, KilledError, killed

STEPS = 13  # of an epoch


def learnt(folder: Path, first_weights: int, ranges: str, progress: Progress) -> Tensor:
    """Train digits for two epochs; return the weights."""
    experiment = check({"finetune": {"epochs": 2, "validation_samples": 0, "ranges": ranges}}, "values")
    context = Context("digits", experiment, folder, None, progress, "harness finetune")
    torch.manual_seed(first_weights)
    model = build_model("digits-cnn", None, context.data.input_shape, context.data.classes)
    training.learn(
        context,
        model,
        training.recipe(experiment.finetune, "standard"),
        title="training",
        seed=0,
        unfinished=folder,
        settings=experiment.finetune.model_dump(mode="json"),
    )
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


@pytest.mark.parametrize(("ranges", "goes_on"), [("frozen", True), ("moving-average", False)])
def test_only_a_state_of_the_same_settings_is_gone_on_from(ranges: str, goes_on: bool, tmp_path: Path) -> None:
    """Other first weights show which it was: a state that is gone on from replaces them."""
    with pytest.raises(KilledError):
        learnt(tmp_path / "killed", 1, "frozen", Dying(STEPS + 2, killed))
    found = learnt(tmp_path / "killed", 2, ranges, Silent())
    expected = learnt(tmp_path / "whole", 1 if goes_on else 2, ranges, Silent())
    assert torch.equal(found, expected)
