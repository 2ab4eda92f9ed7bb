"""`harness eval`: every arm, several radii, norms, and a process that is killed while it attacks."""

from __future__ import annotations

import io
import json
import math
import shutil
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import reports
from harness.robustness import protocol
from harness.robustness.arms import ARMS
from harness.robustness.batch_size import CANDIDATES
from harness.robustness.journal import BatchRecord
from harness.robustness.sanity.check import RULES
from reports.store import read_results

from .conftest import Finished, Invoke
from .processes import Document, lasting, start

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SCHEMA = Path(reports.__file__).parent / "schema" / "result-v1.schema.json"
EPSILONS = (0.05, 0.2)
ASKED = (
    *("--attack", "pgd,apgd-ce", "--arms", ",".join(ARMS), "--epsilon", ",".join(map(str, EPSILONS))),
    *("--set", "attack.pgd.steps=10", "--set", "attack.apgd-ce.steps=10"),
    *("--set", "attack.square.queries=40", "--set", "attack.rays.queries=60"),
)


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation in every arm found."""

    workspace: Path
    document: Document


@pytest.fixture(scope="module")
def evaluated(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    import torch

    from harness.__main__ import main

    workspace = Path(shutil.copytree(finished.workspace, tmp_path_factory.mktemp("every arm") / "digits"))
    out, err, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["harness", "eval", "--workspace", str(workspace), "--json", *ASKED])
        with pytest.raises(SystemExit) as ended:
            main()
    torch.set_num_threads(threads)
    assert ended.value.code == 0, err.getvalue()
    (document,) = json.loads(out.getvalue())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    return Evaluated(workspace, document)


def test_every_radius_is_an_entry_and_a_larger_one_leaves_no_more(evaluated: Evaluated) -> None:
    entries = evaluated.document["robustness"]
    assert [(entry["attack"], entry["norm"], entry["epsilon"]) for entry in entries] == [
        ("pgd+apgd-ce", "linf", epsilon) for epsilon in EPSILONS
    ]
    values = [entry["worst_case"]["value"] for entry in entries]
    assert values[1] < values[0] <= evaluated.document["accuracy"]["clean"]["value"]
    assert evaluated.document["robustness_reason"] is None
    assert not (evaluated.workspace / "unfinished").exists()


@pytest.mark.parametrize("place", range(len(EPSILONS)))
def test_the_steps_are_those_asked_for_and_their_numbers_add_up(evaluated: Evaluated, place: int) -> None:
    entry, n = evaluated.document["robustness"][place], 60
    clean = round(n * evaluated.document["accuracy"]["clean"]["value"])
    assert [(step["arm"], step["attack"], step["source"]) for step in entry["steps"]] == [
        ("transfer", "pgd", "float"),
        ("transfer", "apgd-ce", "float"),
        ("transfer", "pgd", "twin"),
        ("transfer", "apgd-ce", "twin"),
        ("loop", "pgd", "twin"),
        ("loop", "apgd-ce", "twin"),
        ("query", "square", None),
        ("query", "rays", None),
        ("noise", "noise", None),
    ]
    assert tuple(entry["arms"]) == ARMS
    for name, arm in entry["arms"].items():
        steps = [step for step in entry["steps"] if step["arm"] == name]
        left = clean
        for step in steps:
            assert step["attacked"] == left
            left -= step["turned"]
        assert arm["value"] == pytest.approx(left / n)
        assert arm["queries"] == sum(step["queries"] for step in steps)
        assert arm["seconds"] == pytest.approx(sum(step["seconds"] for step in steps), abs=0.01)
    assert entry["steps"][0]["settings"]["steps"] == 10
    assert entry["settings"]["pgd.steps"] == entry["settings"]["apgd-ce.steps"] == 10
    assert (entry["skipped"], entry["minimal_norm"]) == ({}, None)
    assert entry["gradients"] in {"bfloat16", "float32"}


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_numbers_follow_from_the_outcomes(evaluated: Evaluated, epsilon: float) -> None:
    outcomes = read_results(evaluated.workspace)[-1].outcomes()
    (entry,) = [entry for entry in evaluated.document["robustness"] if entry["epsilon"] == epsilon]
    labels, after = outcomes["labels"], outcomes["clean_decisions"]
    right = after == labels
    prefix = f"pgd+apgd-ce_linf_{epsilon}_"
    turned = {arm: right & (outcomes[f"{prefix}{arm}_decisions"] != labels) for arm in ARMS}
    any_arm = np.any(list(turned.values()), axis=0)
    assert entry["worst_case"]["value"] == pytest.approx((right & ~any_arm).mean())
    winner = outcomes[f"{prefix}winner"]
    assert ((winner == -1) == ~any_arm).all()
    for arm in ARMS:
        others = np.any([mask for name, mask in turned.items() if name != arm], axis=0)
        assert entry["arms"][arm]["unique_wins"] == (turned[arm] & ~others).sum()
        distances = outcomes[f"{prefix}{arm}_distances"]
        assert (distances[turned[arm]] <= epsilon + 1e-6).all()
        assert (distances[~right] == 0).all()
        assert (distances[right] > 0).all()


def test_the_document_carries_what_its_numbers_are_believed_by(evaluated: Evaluated) -> None:
    for entry in evaluated.document["robustness"]:
        assert len(entry["sanity"]) == len(RULES)
        assert entry["warnings"] == [rule["told"] for rule in entry["sanity"] if rule["held"] is False] == []
        assert sum(rule["held"] is True for rule in entry["sanity"]) >= 13
        assert entry["attribution"]["attack"] == "pgd"
        stages = {stage["stage"]: stage for stage in entry["attribution"]["stages"]}
        assert list(stages) == ["base", "float", "twin", "engine"]
        assert stages["engine"]["clean"] == evaluated.document["accuracy"]["clean"]
        assert stages["engine"]["robust"]["value"] >= entry["worst_case"]["value"]
        for stage in stages.values():
            assert stage["robust"]["value"] <= stage["clean"]["value"]
    repeatability = evaluated.document["accuracy"]["repeatability"]
    assert (repeatability["images"], repeatability["votes"], repeatability["fault"]) == (60, 1, None)


def test_the_images_shown_are_of_the_smallest_radius(evaluated: Evaluated) -> None:
    images = read_results(evaluated.workspace)[-1].images()
    assert images is not None
    assert 1 <= len(images.labels) <= 8
    assert np.abs(images.adversarial - images.clean).max() <= EPSILONS[0] + 1e-6
    assert (images.adversarial_decisions != images.labels).all()


def test_an_undefended_model_falls_to_zero_on_its_engine(workspace: Path, invoke: Invoke) -> None:
    undefended = ("--set", "finetune.method=none", "--epsilon", "0.3", "--set", "attack.pgd.steps=40")
    ended = invoke("eval", "--workspace", str(workspace), *undefended, "--arms", "loop", "--json")
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    assert document["subject"]["precision"] == "int8"
    assert document["accuracy"]["clean"]["value"] > 0.7
    (entry,) = document["robustness"]
    assert entry["worst_case"]["value"] == 0.0
    (rule,) = [rule for rule in entry["sanity"] if rule["rule"] == "an undefended model falls"]
    assert rule["held"] is True


def test_killed_while_it_attacks_it_goes_on_and_says_the_same(
    finished: Finished, workspace: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fragment,) = workspace.glob("fragments/*/pgd-linf-0.1-*")
    shutil.rmtree(fragment)
    process = start("eval", "--workspace", str(workspace), cwd=workspace)
    deadline = time.monotonic() + 120
    while len(finished_batches(workspace)) < 3:
        assert process.poll() is None, "the process ended before"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not fragment.exists()
    kept, attacked = finished_batches(workspace), 0

    def counted(*arguments: Any) -> BatchRecord:
        nonlocal attacked
        attacked += 1
        return attack(*arguments)

    attack = protocol._attacked
    monkeypatch.setattr(protocol, "_attacked", counted)
    ended = invoke("eval", "--workspace", str(workspace), "--json")
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    (wanted,) = finished.documents
    assert lasting(document) == lasting(wanted)
    batches = sum(math.ceil(step["attacked"] / CANDIDATES[0]) for step in document["robustness"][0]["steps"])
    assert attacked == batches - len(kept) > 0, "what was finished is not attacked again"
    assert not (workspace / "unfinished").exists()


def finished_batches(workspace: Path) -> list[Path]:
    """Return the records of batches in the journals."""
    return list(workspace.glob("unfinished/*/[0-9]*.npz"))
