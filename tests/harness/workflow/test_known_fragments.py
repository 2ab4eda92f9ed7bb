"""Which fragments of a run folder join a result document, and which are of before or of something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.workflow.artifact import Artifact, ExternalInput, Made, Task, write_artifact
from harness.workflow.fragments import ATTACK, CLEAN, KnownFragments

pytestmark = pytest.mark.core

DATA = ExternalInput("data set", lambda: "data")
ENGINE = Task("build", "engines/any-int8", "engine", {}, lambda folder, _: written(folder, "an engine"))


def written(folder: Path, content: str) -> Made:
    (folder / "content.txt").write_text(content)
    return {}


class Folder:
    """A run folder with an engine and what is said of it, each later than the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = 0
        self.engine = write_artifact(ENGINE, path / ENGINE.path, (), {})

    def add(
        self, kind: str, settings: dict[str, Any], *parents: Artifact, name: str = "", data: str = "data"
    ) -> Artifact:
        self._made += 1
        path = f"fragments/cpu/{name or self._made}"
        tasks = tuple(Task("any", f"any/{each.sha256}", each.kind, {}, lambda *_: {}) for each in parents)
        task = Task(
            "eval",
            path,
            kind,
            settings,
            lambda folder, _: written(folder, f"{kind} {self._made}"),
            tasks,
            (ExternalInput("data set", lambda: data),),
        )
        stamp = {"created": f"2026-03-14T00:00:{self._made:02d}+00:00"}
        return write_artifact(task, self.path / path, parents, stamp)

    def attack(self, clean: Artifact, epsilon: float, norm: str = "linf", attack: str = "pgd", **more: Any) -> Artifact:
        settings = {"attack": attack, "norm": norm, "epsilon": epsilon, **more}
        return self.add(ATTACK, settings, self.engine, clean)

    def known(self) -> tuple[Artifact | None, tuple[Artifact, ...]]:
        return KnownFragments(self.path, "cpu", self.engine, DATA).newest_evaluation()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_newest_of_each_attack_norm_and_epsilon_joins_in_order(folder: Folder) -> None:
    clean = folder.add(CLEAN, {}, folder.engine)
    folder.attack(clean, 0.2, steps=20)
    wanted = [
        folder.attack(clean, 0.5, norm="l2"),
        folder.attack(clean, 0.2, steps=40),
        folder.attack(clean, 0.1),
        folder.attack(clean, 0.3, attack="autoattack"),
    ]
    found, attacks = folder.known()
    assert found == clean
    assert attacks == (wanted[3], wanted[0], wanted[2], wanted[1])


def test_attacks_on_other_images_do_not_join(folder: Folder) -> None:
    fewer = folder.add(CLEAN, {"samples": 10}, folder.engine)
    folder.attack(fewer, 0.1)
    clean = folder.add(CLEAN, {"samples": 20}, folder.engine)
    assert folder.known() == (clean, ())


def test_what_was_found_of_another_data_set_does_not_join(folder: Folder) -> None:
    folder.add(CLEAN, {}, folder.engine, data="another")
    assert folder.known() == (None, ())


def test_what_was_written_before_there_was_a_protocol_does_not_join(folder: Folder) -> None:
    before = folder.add("clean decisions", {"samples": 10}, folder.engine)
    folder.add("attack outcome", {"attack": "pgd", "epsilon": 0.1, "arms": ["transfer"]}, folder.engine, before)
    assert folder.known() == (None, ())


def test_a_damaged_one_is_none(folder: Folder) -> None:
    clean = folder.add(CLEAN, {}, folder.engine)
    attack = folder.attack(clean, 0.1)
    (attack.folder / "content.txt").write_text("altered")
    assert folder.known() == (clean, ())
    (clean.folder / "manifest.json").write_text("{")
    assert folder.known() == (None, ())
