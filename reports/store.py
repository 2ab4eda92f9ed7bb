"""Reading a results folder: `<workspace>/results/<device>/<id>/` with a result document and its arrays.

`result.json` is written last, so a folder without one is a measurement that did not finish and no result. The arrays
beside it are optional, and read only when they are asked for.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InputError
from reports.document import ResultDocument, read_document
from reports.wording import in_utc

Arrays = dict[str, NDArray[Any]]

_PRECISIONS = ("fp32", "fp16", "bf16", "int8")
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class AdversarialImages:
    """A few images before and after an attack, with the engine's decisions.

    Attributes:
        clean: float32 (k, C, H, W) in [0, 1].
        adversarial: float32 (k, C, H, W) in [0, 1].
        labels: int64 (k,).
        clean_decisions: int64 (k,).
        adversarial_decisions: int64 (k,).
        class_names: one name a class; empty where the classes have none.
        rule: how these images were chosen, as a sentence, where that is known.
        turned_by: the arm and the attack that turned each image, `""` where none did; empty where that is not known.
    """

    clean: NDArray[np.float32]
    adversarial: NDArray[np.float32]
    labels: NDArray[np.int64]
    clean_decisions: NDArray[np.int64]
    adversarial_decisions: NDArray[np.int64]
    class_names: tuple[str, ...]
    rule: str | None = None
    turned_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoredResult:
    """A result document and the folder it lies in, with the arrays beside it."""

    folder: Path
    document: ResultDocument

    def latencies(self) -> dict[int, NDArray[np.float64]]:
        """Return the times of every query in ms, by batch size in rising order; empty where none are stored.

        Raises:
            InputError: `latencies.npz` is damaged.
        """
        path = self.folder / "latencies.npz"
        times: dict[int, NDArray[np.float64]] = {}
        for name, array in _read_arrays(path).items():
            batch = name.removeprefix("batch_")
            if not batch.isdecimal() or array.ndim != 1 or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise _damaged(path, f"array {name!r} is not the finite times of a batch size")
            times[int(batch)] = array.astype(np.float64)
        return dict(sorted(times.items()))

    def outcomes(self) -> Arrays:
        """Return the outcomes of each image, every array (n,); empty where none are stored.

        `labels`, `float_decisions` and `clean_decisions` are int64; further arrays belong to robustness entries.

        Raises:
            InputError: `outcomes.npz` is damaged.
        """
        path = self.folder / "outcomes.npz"
        arrays = _read_arrays(path)
        if arrays:
            missing = {"labels", "float_decisions", "clean_decisions"} - arrays.keys()
            if missing:
                raise _damaged(path, f"it has no {', '.join(sorted(missing))}")
            if len({array.shape[:1] for array in arrays.values()}) > 1:
                raise _damaged(path, "its arrays differ in length")
        return arrays

    def images(self) -> AdversarialImages | None:
        """Return the stored adversarial images, or None where there are none.

        Raises:
            InputError: `images.npz` is damaged.
        """
        path = self.folder / "images.npz"
        arrays = _read_arrays(path)
        return _checked_images(path, arrays) if arrays else None


def read_results(workspace: Path) -> tuple[StoredResult, ...]:
    """Read every result of a workspace, oldest first.

    Raises:
        InputError: the workspace has no results, or one of them is damaged, foreign or of a newer schema.
    """
    paths = sorted(workspace.glob("results/*/*/result.json"))
    if not paths:
        raise InputError(f"no results in {workspace}: `harness run`, `harness eval` and `harness measure` make them")
    return tuple(sorted((read_result(path.parent) for path in paths), key=_age))


def read_result(folder: Path) -> StoredResult:
    """Read the result in one folder.

    Raises:
        InputError: it is missing, damaged, foreign or of a newer schema.
    """
    return StoredResult(folder, read_document(folder / "result.json"))


def latest(results: Iterable[StoredResult]) -> tuple[StoredResult, ...]:
    """Return the newest result of each device, backend and precision, in that order, wide precisions first."""
    newest: dict[tuple[str, str, int, str], StoredResult] = {}
    for result in sorted(results, key=_age):
        subject = result.document.subject
        rank = _PRECISIONS.index(subject.precision) if subject.precision in _PRECISIONS else len(_PRECISIONS)
        newest[(result.document.device_id, subject.backend, rank, subject.precision)] = result
    return tuple(newest[key] for key in sorted(newest))


def _age(result: StoredResult) -> tuple[Any, str]:
    return in_utc(result.document.created), result.document.id


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged ({why}): remove it or measure again")


def _read_arrays(path: Path) -> Arrays:
    """Read an `.npz` without executing anything; an absent file has no arrays."""
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (*_UNREADABLE, AttributeError, TypeError) as error:
        # For an .npy file np.load hands back a bare array, which is no context manager: an AttributeError or TypeError.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _damaged(path, reason) from error


def _checked_images(path: Path, arrays: Arrays) -> AdversarialImages:
    names = ("clean", "adversarial", "labels", "clean_decisions", "adversarial_decisions")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise _damaged(path, f"it has no {', '.join(missing)}")
    clean, adversarial = arrays["clean"], arrays["adversarial"]
    if clean.ndim != 4 or clean.shape != adversarial.shape:
        raise _damaged(path, "clean and adversarial are not images (k, C, H, W) of one shape")
    if not (clean.dtype.kind == adversarial.dtype.kind == "f"):
        raise _damaged(path, "clean and adversarial are not floating-point images in [0, 1]")
    if not (np.isfinite(clean).all() and np.isfinite(adversarial).all()):
        raise _damaged(path, "clean or adversarial holds NaN or infinity")
    for name in names[2:]:
        if arrays[name].shape != clean.shape[:1] or arrays[name].dtype.kind not in "iu":
            raise _damaged(path, f"{name} is not one integer an image")
    rule, turned_by = arrays.get("rule"), arrays.get("turned_by")
    if rule is not None and (rule.shape != () or rule.dtype.kind != "U"):
        raise _damaged(path, "rule is not one sentence")
    if turned_by is not None and (
        turned_by.shape != clean.shape[:1] or (turned_by.size and turned_by.dtype.kind != "U")
    ):
        raise _damaged(path, "turned_by is not one name an image")
    return AdversarialImages(
        clean.astype(np.float32),
        adversarial.astype(np.float32),
        arrays["labels"].astype(np.int64),
        arrays["clean_decisions"].astype(np.int64),
        arrays["adversarial_decisions"].astype(np.int64),
        tuple(str(name) for name in arrays.get("class_names", np.array([], dtype=str)).reshape(-1)),
        None if rule is None else str(rule),
        () if turned_by is None else tuple(str(name) for name in turned_by),
    )
