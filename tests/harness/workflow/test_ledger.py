from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InputError
from harness.workflow.artifact import MANIFEST, Artifact, Made, Task, read_artifact
from harness.workflow.ledger import Ledger
from tests.harness.workflow.chain_of_tasks import FILE, Chain, text

pytestmark = pytest.mark.core

ALL = ["texts/copy", "texts/loud", "texts/length", "joined"]


class Said(list[str]):
    def __call__(self, stage: str, sentence: str) -> None:
        assert stage == "write"
        self.append(sentence)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    source = tmp_path / "source.txt"
    source.write_text("abc")
    return Chain(source)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run folder"


def ensure(folder: Path, task: Task, *, again: bool = False) -> tuple[Artifact, Said]:
    """Ensure a task as a new process would, and return what was said."""
    said = Said()
    return Ledger(folder, said).ensure(task, again=again), said


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


def test_everything_is_made_once(chain: Chain, folder: Path) -> None:
    joined, said = ensure(folder, chain.joined)
    assert text(joined) == "ABCABC 6"
    assert chain.made == ALL
    assert [line.split(" made in ")[0] for line in said] == ALL
    assert leftovers(folder) == []

    again, said = ensure(folder, chain.joined)
    assert chain.made == ALL
    assert said == [f"{path} is up to date" for path in ALL]
    assert again.sha256 == joined.sha256
    assert again.manifest == joined.manifest


def test_a_manifest_names_files_parents_settings_and_inputs(chain: Chain, folder: Path) -> None:
    joined, _ = ensure(folder, chain.joined)
    loud, length = joined.manifest["parents"]
    assert (loud["path"], length["path"]) == ("texts/loud", "texts/length")
    (copy,) = loud["parents"]
    assert copy["settings"] == {"times": 2}
    assert copy["parents"][0]["kind"] == "source"
    assert joined.manifest["files"].keys() == {FILE}
    assert joined.manifest["bytes"] == len("ABCABC 6")
    assert joined.info("letters") == 8


def test_again_remakes_only_what_is_named(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    ensure(folder, chain.loud, again=True)
    assert chain.made == [*ALL, "texts/loud"]


def test_a_changed_setting_remakes_it_and_what_follows(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    chain.settings["times"] = 3
    chain.made.clear()
    joined, said = ensure(folder, chain.joined)
    assert text(joined) == "ABCABCABC 9"
    assert chain.made == ALL
    assert "texts/copy again: times was 2 and is 3" in said
    assert "texts/loud again: texts/copy changed" in said


def test_a_nested_setting_is_named_by_its_address(chain: Chain, folder: Path) -> None:
    chain.settings = {"times": 2, "train": {"epochs": 1, "flip": False}}
    ensure(folder, chain.copy)
    chain.settings = {"times": 2, "train": {"epochs": 5, "flip": False}}
    _, said = ensure(folder, chain.copy)
    assert said[0] == "texts/copy again: train.epochs was 1 and is 5"


def test_a_changed_input_remakes_it_and_what_follows(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    chain.source.write_text("xy")
    joined, said = ensure(folder, chain.joined)
    assert text(joined) == "XYXY 4"
    assert "texts/copy again: the source changed" in said


def test_an_input_that_is_not_to_be_had_counts_as_unchanged(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    chain.source.unlink()
    _, said = ensure(folder, chain.joined)
    assert said == [f"{path} is up to date" for path in ALL]


def test_an_input_that_changes_meanwhile_leaves_the_artifact_out_of_date(chain: Chain, folder: Path) -> None:
    task = chain.copy

    def make(place: Path, parents: tuple[Artifact, ...]) -> Made:
        made = task.make(place, parents)
        chain.source.write_text("changed while it was read")
        return made

    ensure(folder, replace(task, make=make))
    copy, said = ensure(folder, chain.copy)
    assert said[0] == "texts/copy again: the source changed"
    assert text(copy).startswith("changed")


def test_the_same_content_again_stops_the_remaking(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    chain.source.write_text("ABC")  # the loud copy and the length stay what they were
    chain.made.clear()
    _, said = ensure(folder, chain.joined)
    assert chain.made == ["texts/copy", "texts/loud", "texts/length"]
    assert said[-1] == "joined is up to date"


def truncate(folder: Path) -> None:
    (folder / FILE).write_text("AB")


def alter(folder: Path) -> None:
    content = bytearray((folder / FILE).read_bytes())
    content[1] ^= 1
    (folder / FILE).write_bytes(content)


def remove(folder: Path) -> None:
    (folder / FILE).unlink()


def replace_by_folder(folder: Path) -> None:
    (folder / FILE).unlink()
    (folder / FILE).mkdir()


def cut_manifest(folder: Path) -> None:
    whole = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(whole[: len(whole) // 2])


def edit(*keys: str, value: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        place = manifest
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return damage


def no_object(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, f"{FILE} is not the file that was written"),
        (alter, f"{FILE} is not the file that was written"),
        (remove, f"{FILE} is missing"),
        (replace_by_folder, f"{FILE} is missing"),
        (cut_manifest, "is not whole JSON"),
        (no_object, "is not whole"),
        (edit("info", "letters", value=7), "was altered"),
        (edit("sha256", value="0" * 64), "was altered"),
        (edit("settings", value={"times": 5}), "was altered"),
        (edit("files", value={}), "was altered"),
        (edit("files", value=3), "is not whole"),
        (edit("parents", value=[]), "was altered"),
    ],
)
def test_damage_is_noticed_said_and_mended(
    chain: Chain, folder: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    before, _ = ensure(folder, chain.joined)
    chain.made.clear()
    damage(folder / "texts/loud")
    with pytest.raises(InputError, match=sentence):
        read_artifact(folder / "texts/loud")
    after, said = ensure(folder, chain.joined)
    assert chain.made == ["texts/loud"]
    (line,) = [line for line in said if sentence in line]
    assert "made again" in line
    assert str(folder / "texts/loud") in line
    assert after.manifest == before.manifest  # its parent came out the same
    assert leftovers(folder) == []


def test_an_artifact_that_was_carried_alone_is_taken_as_it_is(chain: Chain, folder: Path, tmp_path: Path) -> None:
    ensure(folder, chain.joined)
    board = tmp_path / "board"
    shutil.copytree(folder / "joined", board / "joined")
    chain.made.clear()
    _, said = ensure(board, chain.joined)
    assert said == ["joined is up to date"]
    assert chain.made == []
    assert [path.name for path in board.iterdir()] == ["joined"]


def test_an_artifact_that_was_carried_alone_is_not_taken_for_one_of_other_settings(
    chain: Chain, folder: Path, tmp_path: Path
) -> None:
    ensure(folder, chain.joined)
    board = tmp_path / "board"
    shutil.copytree(folder / "joined", board / "joined")
    chain.settings["times"] = 3
    assert Ledger(board, Said()).peek(chain.joined) is None
    joined, said = ensure(board, chain.joined)
    assert said[0] == "joined again: times was 2 and is 3"
    assert text(joined) == "ABCABCABC 9"


def test_deleting_what_is_out_of_date_does_not_hide_that_it_is(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    shutil.rmtree(folder / "texts")
    chain.settings["times"] = 3
    joined, _ = ensure(folder, chain.joined)
    assert text(joined) == "ABCABCABC 9"


def test_a_kill_between_the_two_renames_does_not_hide_that_a_parent_is_out_of_date(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    (folder / "texts/copy").rename(folder / "texts/.copy.old")
    chain.source.write_text("xy")
    joined, _ = ensure(folder, chain.joined)
    assert text(joined) == "XYXY 4"
    assert leftovers(folder) == []


@pytest.mark.parametrize("kind", ["old", "staging"])
def test_what_a_killed_process_left_beside_a_whole_artifact_goes(chain: Chain, folder: Path, kind: str) -> None:
    ensure(folder, chain.joined)
    shutil.copytree(folder / "texts/copy", folder / f"texts/.copy.{kind}")
    _, said = ensure(folder, chain.joined)
    assert said == [f"{path} is up to date" for path in ALL]
    assert leftovers(folder) == []


def test_another_parent_is_a_reason(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    other = replace(chain.loud, parents=(chain.length,))
    assert Ledger(folder, Said()).peek(other) is None
    _, said = ensure(folder, other)
    assert "texts/loud again: it was made from texts/copy and is made from texts/length now" in said


def test_an_input_more_is_a_reason(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.copy)
    more = replace(chain.copy, inputs=chain.copy.inputs * 2)
    _, said = ensure(folder, more)
    assert said[0] == "texts/copy again: it is made from something else now"


@pytest.mark.parametrize("failure", [InputError("the loss became nan"), RuntimeError("a bug"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_artifact_and_nothing_half_made(
    chain: Chain, folder: Path, failure: BaseException
) -> None:
    before, _ = ensure(folder, chain.copy)

    def make(place: Path, _parents: tuple[Artifact, ...]) -> Made:
        (place / FILE).write_text("half")
        raise failure

    with pytest.raises(type(failure)):
        ensure(folder, replace(chain.copy, make=make), again=True)
    found = read_artifact(folder / "texts/copy")
    assert found is not None
    assert found.manifest == before.manifest
    assert leftovers(folder) == []


def test_a_result_that_is_no_json_value_is_a_failure(chain: Chain, folder: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        ensure(folder, replace(chain.copy, make=lambda _place, _parents: {"loss": float("nan")}))
    assert not (folder / "texts/copy").exists()


def test_peek_never_makes(chain: Chain, folder: Path) -> None:
    ledger = Ledger(folder, Said())
    assert ledger.peek(chain.joined) is None
    assert not folder.exists()
    ensure(folder, chain.joined)
    chain.made.clear()
    found = Ledger(folder, Said()).peek(chain.joined)
    assert found is not None
    assert text(found) == "ABCABC 6"
    chain.settings["times"] = 3
    assert Ledger(folder, Said()).peek(chain.joined) is None
    assert Ledger(folder, Said()).peek(chain.loud) is None
    assert chain.made == []


def test_peek_sees_damage(chain: Chain, folder: Path) -> None:
    ensure(folder, chain.joined)
    alter(folder / "texts/loud")
    assert Ledger(folder, Said()).peek(chain.loud) is None
    assert Ledger(folder, Said()).peek(chain.joined) is None
    assert Ledger(folder, Said()).peek(chain.length) is not None


def test_ancestry_is_oldest_first_and_only_what_is_here(chain: Chain, folder: Path) -> None:
    ledger = Ledger(folder, Said())
    ledger.ensure(chain.joined)
    assert [found.folder.name for found in ledger.ancestry(chain.joined)] == ["copy", "loud", "length", "joined"]
    shutil.rmtree(folder / "texts/copy")
    names = [found.folder.name for found in Ledger(folder, Said()).ancestry(chain.joined)]
    assert names == ["loud", "length", "joined"]
