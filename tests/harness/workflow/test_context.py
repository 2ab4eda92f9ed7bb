from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.progress import Silent
from harness.workflow.artifact import ExternalInput
from harness.workflow.context import Context
from harness.workflow.settings import check

pytestmark = pytest.mark.core


def context(tmp_path: Path, values: dict[str, Any]) -> Context:
    return Context("any", check(values, "values"), tmp_path, None, Silent(), "harness run")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "1.png").write_bytes(name.encode())
    return tmp_path / "pictures"


def digest(tmp_path: Path, **data: Any) -> str | None:
    return context(tmp_path, {"data": data}).data_input.digest()


def test_the_same_files_at_another_size_are_another_data_set(tmp_path: Path, pictures: Path) -> None:
    small = digest(tmp_path, name="image-folder", path=str(pictures), size=16)
    assert small is not None
    assert digest(tmp_path, name="image-folder", path=str(pictures), size=16) == small
    assert digest(tmp_path, name="image-folder", path=str(pictures), size=32) not in {None, small}
    (pictures / "test/a/1.png").write_bytes(b"another picture")
    assert digest(tmp_path, name="image-folder", path=str(pictures), size=16) not in {None, small}


def test_two_functions_of_one_module_are_two_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_data_for_tests.py").write_text("raise RuntimeError('only found, never imported')")
    first = digest(tmp_path, name="my_data_for_tests:small")
    assert first is not None
    assert digest(tmp_path, name="my_data_for_tests:large") not in {None, first}


def test_a_data_set_that_is_not_here_has_no_digest(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", images=np.zeros((4, 1, 8, 8), np.float32), labels=np.arange(4))
    assert digest(tmp_path, name="npz", path=str(tmp_path / "mine.npz")) is not None
    assert digest(tmp_path, name="npz", path=str(tmp_path / "nowhere.npz")) is None
    assert digest(tmp_path, name="no_such_module_for_tests:load") is None


def test_a_factory_and_a_checkpoint_are_inputs_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = {"factory": "my_model_for_tests:make", "checkpoint": "mine.safetensors"}

    def digests() -> list[tuple[str, str | None]]:
        inputs: tuple[ExternalInput, ...] = context(tmp_path, {"model": model}).model_inputs
        return [(each.kind, each.digest()) for each in inputs]

    assert digests() == [("model factory", None), ("given checkpoint", None)]  # as on a board that only measures
    (tmp_path / "my_model_for_tests.py").write_text("one = 1")
    (tmp_path / "mine.safetensors").write_bytes(b"weights")
    before = digests()
    assert None not in [value for _, value in before]
    (tmp_path / "my_model_for_tests.py").write_text("two = 2")
    assert [old == new for old, new in zip(before, digests(), strict=True)] == [False, True]
