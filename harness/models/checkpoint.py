"""Weights on disk: safetensors, or torch's own format read with `weights_only=True`. Loading never executes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import InputError
from contracts.files import whole_file

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIXES = (".safetensors", ".pt", ".pth")


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors by name as safetensors."""
    import torch
    from safetensors.torch import save_file

    with whole_file(path) as temporary:
        # Copies, because safetensors refuses tensors that share their memory, as the weights of tied layers do.
        save_file(
            {
                name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, tensor in state.items()
            },
            temporary,
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; of a dictionary that holds a `state_dict`, that one is taken.

    Raises:
        InputError: the file is missing, of another format, not whole, or wants to execute code.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"checkpoint {path} must end in one of {', '.join(SUFFIXES)}")
    if not path.exists():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        state = _read(path)
    except Exception as error:  # both readers raise many kinds
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"checkpoint {path} cannot be read as plain tensors ({why}): save the model's state_dict() with "
            "safetensors or torch.save"
        ) from error
    return state


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise TypeError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"its {name!r} is a {type(tensor).__name__}, not a tensor")
    return state


def load_into(model: nn.Module, state: Mapping[str, Tensor], where: Path) -> None:
    """Copy weights into a model that has exactly these names and shapes.

    Raises:
        InputError: the first key, in the model's order, that differs, with both shapes.
    """
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        found = state.get(name)
        if found is None or found.shape != tensor.shape:
            there = "has no such key" if found is None else f"has shape {tuple(found.shape)}"
            raise InputError(
                f"checkpoint {where} does not fit the model: {name} has shape {tuple(tensor.shape)} in the model, "
                f"the checkpoint {there}"
            )
    if extra := [name for name in state if name not in wanted]:
        raise InputError(f"checkpoint {where} does not fit the model: the model has no {extra[0]}")
    model.load_state_dict(dict(state))
