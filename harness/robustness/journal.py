"""A journal of finished batches: a protocol that was killed goes on where it was, with the same numbers."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError
from contracts.files import read_json, whole_file, write_json
from harness.data.dataset import Images, Labels

_FACTS = "protocol.json"


@dataclass(frozen=True)
class BatchRecord:
    """What is kept of one batch of m images.

    Attributes:
        rows: int64 (m,), in the split.
        decisions: int64 (m,), the engine's of the adversarial images.
        distances: float32 (m,), of the smallest changes seen to fool the engine; infinite for none.
        shown: int64, rows of the first images that were turned, for the report.
        adversarial: float32, those images' adversarial versions.
        queries: images shown to the engine.
        wavering: images that fooled the engine during the attack and not in the final pass.
        seconds: wall time.
    """

    rows: Labels
    decisions: Labels
    distances: npt.NDArray[np.float32]
    shown: Labels
    adversarial: Images
    queries: int
    wavering: int
    seconds: float


class Journal:
    """Finished batches by name.

    Args:
        folder: where they lie; made when the first is kept. None remembers nothing.
        made_from: digest of all that decides the outcome; batches that were made from anything else are forgotten.
    """

    def __init__(self, folder: Path | None, made_from: str = "") -> None:
        self._folder = folder
        if self._facts().get("made_from") != made_from:
            self.close()
            self.fact("made_from", lambda: made_from)

    def fact(self, name: str, found: Callable[[], Any]) -> Any:
        """Return what was kept under a name, or keep and return what a function finds: a JSON value.

        For what must not change when the protocol goes on: the batch size.
        """
        if self._folder is None:
            return found()
        facts = self._facts()
        if name not in facts:
            facts[name] = found()
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(self._folder / _FACTS, facts)
        return facts[name]

    def _facts(self) -> dict[str, Any]:
        """Return what is known; nothing where the file is missing or damaged."""
        try:
            facts = {} if self._folder is None else read_json(self._folder / _FACTS, "journal")
        except InputError:
            return {}
        return facts if isinstance(facts, dict) else {}

    def recall(self, name: str) -> BatchRecord | None:
        """Return a batch that is finished; None where it is not, or its file is damaged."""
        if self._folder is None:
            return None
        path = self._folder / f"{name}.npz"
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # np.load checks no sum of an array that it was told is shorter
                    return None
            with np.load(path, allow_pickle=False) as arrays:
                values: dict[str, Any] = dict(arrays)
                for key, kind in (("queries", int), ("wavering", int), ("seconds", float)):
                    values[key] = kind(values[key])
                return BatchRecord(**values)
        except (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile):
            return None

    def keep(self, name: str, record: BatchRecord) -> None:
        """Keep a finished batch, whole or not at all."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self._folder / f"{name}.npz") as path, path.open("wb") as file:
            np.savez(file, **vars(record))

    def close(self) -> None:
        """Forget everything."""
        if self._folder is not None:
            discard(self._folder)


def discard(folder: Path) -> None:
    """Remove a journal, if there is one: the outcome is written."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # others are unfinished there, or the folder was never made
        folder.parent.rmdir()
