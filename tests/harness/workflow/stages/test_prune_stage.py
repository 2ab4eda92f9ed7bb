from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
pytest.importorskip("sklearn")

from contracts.errors import InputError
from harness.progress import Silent
from harness.workflow.artifact import Artifact
from harness.workflow.context import Context
from harness.workflow.journey import Journey
from harness.workflow.pruning_target import Goal
from harness.workflow.setting_types import ORDERS
from harness.workflow.settings import check
from tests.harness.training.dying import Dying, KilledError, killed

LEARNING: dict[str, Any] = {"epochs": 1, "validation_samples": 0}
ROBUSTLY: dict[str, Any] = {**LEARNING, "method": "n-fgsm"}


def context(folder: Path, **sections: Any) -> Context:
    experiment = check({"train": LEARNING, "finetune": ROBUSTLY, **sections}, "values")
    return Context("digits", experiment, folder, None, Silent(), "harness prune")


def pruned(
    folder: Path, said: list[str] | None = None, finetune: Any = ROBUSTLY, batch: int = 1, **prune: Any
) -> Artifact:
    """Return the digits model without a part of it."""
    kept = said if said is not None else []
    cut = {"method": "l1", "round_to": 1, **prune}
    asked = context(folder, prune=cut, finetune=finetune, measure={"batch": batch})
    return Journey(asked, lambda stage, sentence: kept.append(sentence)).made_of("prune")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with a trained base model, which pruning leaves as it is."""
    folder = tmp_path_factory.mktemp("runs")
    pruned(folder)
    return folder


def share_left(made: Artifact, quantity: str) -> float:
    before, after = made.info("size_before"), made.info("size")
    return float(after[quantity] / before[quantity])


@pytest.mark.parametrize("target", ["parameters", "macs"])
def test_the_asked_share_of_the_target_goes(base: Path, target: str) -> None:
    made = pruned(base, target=target, sparsity=0.6)
    # By whole channels: at most what is asked is left, and one channel less would have left more.
    assert 0.25 < share_left(made, target) <= 0.4
    assert 0 < made.info("channel_ratio") < 0.6  # a layer's parameters go with its channels and its input's


def test_what_was_aimed_at_is_kept_and_said(base: Path) -> None:
    said: list[str] = []
    made = pruned(base, said, target="macs", sparsity=0.55)
    target = made.info("target")
    before, after = made.info("size_before")["macs"], made.info("size")["macs"]
    assert (target["target"], target["before"], target["reached"]) == ("macs", before, after)
    assert after <= target["wanted"] == pytest.approx(0.45 * before)
    assert target["channel_ratio"] == made.info("channel_ratio")
    assert target["doubts"] == []
    assert f"macs: {before:,} before, at most {0.45 * before:,.0f} wanted, {after:,} reached" in said
    assert any(sentence.startswith(f"{made.info('channel_ratio'):.1%} of the channels went; ") for sentence in said)


@pytest.mark.parametrize("scope", ["local", "global"])
def test_several_cuts_reach_the_target_that_one_reaches(base: Path, scope: str) -> None:
    once, often = (pruned(base, target="macs", sparsity=0.5, steps=steps, round_to=8, scope=scope) for steps in (1, 4))
    assert share_left(once, "macs") <= 0.5
    if scope == "local":
        assert often.info("size") == once.info("size")
    else:  # as many channels, maybe of other layers
        assert often.info("channel_ratio") == pytest.approx(once.info("channel_ratio"), abs=0.1)
        assert often.info("target")["reached"] == often.info("size")["macs"]


@pytest.mark.slow
def test_the_engine_gets_as_fast_as_asked(base: Path) -> None:
    pytest.importorskip("openvino")
    # One image of 8x8 pixels takes as long to hand over as to compute: no channel less would be seen.
    made = pruned(base, target="latency", sparsity=0.2, batch=256)
    assert made.info("size")["parameters"] < made.info("size_before")["parameters"]
    target = made.info("target")
    assert 0 < target["reached"] <= target["wanted"] == pytest.approx(0.8 * target["before"])


def test_the_latency_of_an_engine_that_no_backend_builds_here_is_refused(base: Path) -> None:
    asked = context(
        base,
        prune={"method": "l1", "target": "latency"},
        build={"precision": "fp16"},
    )
    with pytest.raises(InputError, match=r"measures int8 or fp32 engines, and the first of build.precision is fp16"):
        Journey(asked, lambda *_: None).made_of("prune")


def test_several_cuts_fine_tune_between(base: Path) -> None:
    once = pruned(base, sparsity=0.5)
    assert once.info("steps") == []
    twice = pruned(base, sparsity=0.5, steps=2)
    (between,) = twice.info("steps")
    assert len(between["epochs"]) == 1
    assert twice.info("size") == once.info("size")
    assert twice.sha256 != once.sha256
    assert twice.info("gradient_passes") == between["gradient_passes"] == 2
    assert "gradient_passes" not in once.manifest["info"]


def test_what_fine_tuning_between_cuts_warns_of_is_said(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the first epoch after a cut is called a collapse."""
    from harness.training import collapse

    told = iter([True])
    monkeypatch.setattr(collapse, "has_collapsed", lambda *_: next(told, False))
    said: list[str] = []
    made = pruned(base, said, {**ROBUSTLY, "validation_samples": 64}, sparsity=0.5, steps=2)
    (warning,) = made.info("warnings")
    assert warning.startswith("fine-tuning after cut 1: n-fgsm collapsed in epoch 1")
    assert f"warning: {warning}" in said


def test_a_state_of_other_channels_is_not_gone_on_from(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: started again, the search finds another ratio, as where a latency is measured."""
    ratios = iter([0.3, 0.6])
    monkeypatch.setattr(Goal, "ratio", lambda *_: next(ratios))
    asked = context(
        base,
        prune={"method": "l1", "round_to": 1, "target": "macs", "steps": 3, "step_epochs": 2},
        finetune={**ROBUSTLY, "epochs": 2},
    )
    with pytest.raises(KilledError):
        Journey(replace(asked, progress=Dying(3 * 13, killed)), lambda *_: None).made_of("prune")
    assert list(base.glob("unfinished/pruned/*/training.pt"))
    made = Journey(asked, lambda *_: None).made_of("prune")
    assert made.info("channel_ratio") == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("order", ORDERS)
def test_no_pass_of_fine_tuning_is_lost_whatever_the_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    """Two passes an image for an epoch of N-FGSM: one between the cuts, one before or after them."""
    asked = context(
        tmp_path,
        train={**LEARNING, "learning_rate": 0.01},
        prune={"method": "l1", "steps": 2},
        data={"calibration_samples": 64},
        order=order,
    )
    assert Journey(asked, lambda *_: None).made_of("finetune").info("gradient_passes") == 2 + 2


def test_the_sizes_are_said(base: Path) -> None:
    said: list[str] = []
    made = pruned(base, said, sparsity=0.7)
    before, after = made.info("size_before"), made.info("size")
    told = next(sentence for sentence in said if "multiply-accumulates" in sentence)
    assert f"{before['parameters']:,} parameters" in told
    assert f"{after['weight_bytes']:,} bytes after" in told


def test_a_robust_importance_is_another_one(base: Path) -> None:
    """Both take gradients on the same images, one of them perturbed."""
    taylor, robust = (
        pruned(base, method=method, sparsity=0.5, gradient_samples=64) for method in ("taylor", "robust-taylor")
    )
    assert taylor.info("size") == robust.info("size")
    assert taylor.sha256 != robust.sha256


def test_the_order_decides_what_is_made_from_what(base: Path) -> None:
    def parents(order: list[str]) -> list[str]:
        asked = context(base, prune={"method": "l1"}, order=order)
        origin = Journey(asked, lambda *_: None).origin
        found, task = [], origin.final
        while task.parents:
            found.append(task.stage)
            task = task.parents[0]
        return [*found, task.stage]

    assert parents(["prune", "quantize", "finetune"]) == ["finetune", "prune", "train"]
    assert parents(["prune", "finetune", "quantize"]) == ["finetune", "finetune", "prune", "train"]
    assert parents(["finetune", "prune", "quantize"]) == ["finetune", "prune", "finetune", "train"]
