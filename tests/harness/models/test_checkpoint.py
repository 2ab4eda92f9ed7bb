from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import torch
from torch import nn

from contracts.errors import InputError
from harness.models.checkpoint import load_into, read_weights, save_weights

WHERE = Path("weights.pt")


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def written(state: Any, path: Path, suffix: str) -> Path:
    path = path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_weights(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_survive_the_disk(tmp_path: Path, suffix: str) -> None:
    state = model(1).state_dict()
    path = written(state, tmp_path, suffix)
    other = model(2)
    load_into(other, read_weights(path), path)
    for name, tensor in other.state_dict().items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name]), name


def test_a_state_dict_inside_a_dictionary_is_found(tmp_path: Path) -> None:
    state = model().state_dict()
    path = written({"epoch": 3, "state_dict": state}, tmp_path, ".pt")
    assert set(read_weights(path)) == set(state)


def test_weights_in_another_memory_format_and_tied_ones_are_saved(tmp_path: Path) -> None:
    tied = nn.ModuleDict({"first": nn.Conv2d(2, 2, 3)})
    tied["again"] = tied["first"]
    tied.to(memory_format=torch.channels_last)
    save_weights(tied.state_dict(), tmp_path / "weights.safetensors")
    found = read_weights(tmp_path / "weights.safetensors")
    assert set(found) == set(tied.state_dict())
    assert torch.equal(found["again.weight"], tied.state_dict()["first.weight"])


class Planted:
    """A pickle that, where pickles are executed, leaves a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("as_plain_pickle", [False, True])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, inside: bool, as_plain_pickle: bool) -> None:
    left = tmp_path / "executed"
    value: Any = {"state_dict": {"weight": Planted(str(left))}} if inside else Planted(str(left))
    path = tmp_path / "weights.pt"
    if as_plain_pickle:
        path.write_bytes(pickle.dumps(value))
    else:
        torch.save(value, path)
    with pytest.raises(InputError, match=r"cannot be read as plain tensors .*: save the model's state_dict\(\)"):
        read_weights(path)
    assert not left.exists()
    pickle.loads(pickle.dumps(Planted(str(left))))
    assert left.exists(), "the planted code must be one that works"


def whole_zip() -> bytes:
    buffer = io.BytesIO()
    torch.save(model().state_dict(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"not weights", bytes(range(256)) * 9, whole_zip()[:-40]])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_corrupt_file_is_refused_in_one_sentence(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as plain tensors") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1, 2], "it holds a list"),
        ({"epoch": 3}, "its 'epoch' is a int, not a tensor"),
        (torch.zeros(2), "it holds a Tensor"),
    ],
)
def test_other_contents_are_named(tmp_path: Path, value: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_weights(written(value, tmp_path, ".pt"))


def test_absent_files_and_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_weights(tmp_path / "absent.pt")
    with pytest.raises(InputError, match=r"must end in one of \.safetensors, \.pt, \.pth"):
        read_weights(tmp_path / "weights.onnx")


def test_the_first_key_that_differs_is_named_with_both_shapes() -> None:
    state = dict(model().state_dict())
    state["1.running_mean"] = torch.zeros(5)
    state["3.weight"] = torch.zeros(3, 9)
    with pytest.raises(InputError, match=r"1\.running_mean has shape \(2,\) in the model.* has shape \(5,\)"):
        load_into(model(), state, WHERE)


def test_a_missing_and_an_extra_key_are_named() -> None:
    state = dict(model().state_dict())
    bias = state.pop("3.bias")
    with pytest.raises(InputError, match=r"3\.bias has shape \(3,\) in the model, the checkpoint has no such key"):
        load_into(model(), state, WHERE)
    with pytest.raises(InputError, match="the model has no head"):
        load_into(model(), {**state, "3.bias": bias, "head": bias}, WHERE)


def test_a_checkpoint_that_does_not_fit_changes_nothing() -> None:
    own = model(1)
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    state = {**model(2).state_dict(), "extra": torch.zeros(1)}
    with pytest.raises(InputError):
        load_into(own, state, WHERE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())
