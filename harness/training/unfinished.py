"""A run that is not finished, on disk: killed and started again it goes on, and ends with the same weights."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.files import whole_file
from harness.models.checkpoint import save_weights

if TYPE_CHECKING:
    from torch import Tensor

_STATE = "training.pt"
_LAST_GOOD = "last-good.safetensors"


class Unfinished:
    """The state after the last finished epoch.

    Args:
        folder: where it lies; made when the first state is kept. None remembers nothing.
        made_from: digest of all that decides the outcome; a state that was made from anything else is not taken.
    """

    def __init__(self, folder: Path | None, made_from: str) -> None:
        self._folder = folder
        self._made_from = made_from

    def recall(self) -> dict[str, Any] | None:
        """Return the state that was kept; None where there is none, it is damaged, or it is another run's."""
        import torch

        if self._folder is None:
            return None
        path = self._folder / _STATE
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # torch checks no sums
                    return None
            kept = torch.load(path, map_location="cpu", weights_only=True)
            whole: dict[str, Any] = kept["state"]
            return whole if kept["made_from"] == self._made_from else None
        except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError):
            return None
        except (pickle.UnpicklingError, zipfile.BadZipFile):
            return None

    def keep(self, state: Mapping[str, Any]) -> None:
        """Keep tensors, numbers and texts, whole or not at all."""
        import torch

        if self._folder is not None:
            with whole_file(self._folder / _STATE) as path:
                torch.save({"made_from": self._made_from, "state": dict(state)}, path)

    def keep_last_good(self, weights: Mapping[str, Tensor]) -> Path | None:
        """Write the weights of the last good epoch as safetensors for the user; return where, None without a folder."""
        if self._folder is None:
            return None
        path = self._folder / _LAST_GOOD
        save_weights(weights, path)
        return path
