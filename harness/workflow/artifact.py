"""Artifacts: folders in the run folder that are made once, recognised by their digest, and made again when that is due.

Every artifact is a folder with its files and a `manifest.json`, which is written last inside a staging folder that then
takes the artifact's place in one rename: an artifact is whole or absent, whenever the process is killed. The manifest
carries a digest of every file, and a seal over itself.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.errors import InputError
from contracts.files import canonical_json, read_json, sha256_file, sha256_json, write_json

MANIFEST = "manifest.json"
UNFINISHED = "unfinished"
"""Folder of the run folder for what long work keeps."""

SEAL = "seal"
"""The manifest's key for the digest over everything else in it."""

Made = Mapping[str, Any]
"""What a stage says of what it made; lies in the manifest beside the digests."""


@dataclass(frozen=True)
class ExternalInput:
    """Something outside the run folder that an artifact is made from: a data set, a user's file.

    Attributes:
        kind: what it is.
        digest: returns its SHA-256, or None where it is not to be had here.
    """

    kind: str
    digest: Callable[[], str | None]


@dataclass(frozen=True)
class Task:
    """How one artifact is made.

    Attributes:
        stage: the stage's name.
        path: the artifact's place in the run folder.
        kind: what it is: checkpoint, calibration, onnx, engine, ….
        settings: everything else that decides the outcome, as JSON values.
        make: writes the files into an empty folder; is given the parents in the order of `parents`.
        parents: the artifacts it is made from.
        inputs: what it is made from outside the run folder.
        unfit: says in a clause why a whole artifact is of no use on this machine, None where it is; it is then made
            again, if what it is made from is here.
        unfinished: folder in the run folder where long work keeps how far it is, removed once the artifact is written;
            None where work begins anew.
    """

    stage: str
    path: str
    kind: str
    settings: Mapping[str, Any]
    make: Callable[[Path, tuple[Artifact, ...]], Made]
    parents: tuple[Task, ...] = ()
    inputs: tuple[ExternalInput, ...] = field(default=())
    unfit: Callable[[Artifact], str | None] = field(default=lambda _: None)
    unfinished: str | None = None


@dataclass(frozen=True)
class Artifact:
    """A whole artifact on disk.

    Attributes:
        folder: where its files lie.
        manifest: its record: kind, sha256, bytes, files, parents, settings, created, and what the stage said of it.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What it is."""
        return str(self.manifest["kind"])

    @property
    def sha256(self) -> str:
        """Digest over its files."""
        return str(self.manifest["sha256"])

    def info(self, key: str) -> Any:
        """Return what the stage said under that key."""
        return self.manifest["info"][key]


def read_artifact(folder: Path) -> Artifact | None:
    """Return the artifact in a folder, None where there is none.

    Raises:
        InputError: it is damaged; the sentence names the file.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    manifest = read_json(path, "manifest")
    try:
        files = manifest["files"]
        for name, expected in files.items():
            file = folder / name
            if not file.is_file():
                raise InputError(f"{file} is missing")
            if file.stat().st_size != expected["bytes"] or sha256_file(file) != expected["sha256"]:
                raise InputError(f"{file} is not the file that was written (its digest differs)")
        whole = {"kind", "parents", "settings", "info"} <= manifest.keys() and manifest["sha256"] == _digest(files)
        if not whole or manifest.get(SEAL, _seal(manifest)) != _seal(manifest):
            raise InputError(f"{path} was altered")
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not whole ({error!r})") from error
    return Artifact(folder, manifest)


def write_artifact(task: Task, folder: Path, parents: tuple[Artifact, ...], stamp: Mapping[str, Any]) -> Artifact:
    """Make an artifact in a staging folder and move it into place.

    Args:
        task: how it is made.
        folder: its place; what lay there is replaced at the very end.
        parents: whole artifacts, in the order of the task's.
        stamp: time and version, for the manifest.
    """
    # What is made from an input that changes meanwhile counts as made from the older one.
    ancestry = [_descent(*pair) for pair in zip(task.parents, parents, strict=True)]
    ancestry += [{"kind": given.kind, "path": None, "sha256": given.digest()} for given in task.inputs]
    staging = _staging(folder)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        info = task.make(staging, parents)
        files: dict[str, dict[str, Any]] = {
            str(file.relative_to(staging)): {"sha256": sha256_file(file), "bytes": file.stat().st_size}
            for file in sorted(staging.rglob("*"))
            if file.is_file()
        }
        manifest: dict[str, Any] = {
            "kind": task.kind,
            "stage": task.stage,
            "sha256": _digest(files),
            "bytes": sum(int(entry["bytes"]) for entry in files.values()),
            "files": files,
            "parents": ancestry,
            "settings": dict(task.settings),
            **stamp,
            "info": dict(info),
        }
        if "engine" in info:
            manifest["engine"] = info["engine"]  # where engines look for their own description
        manifest = json.loads(canonical_json(manifest))  # as it will be read back
        manifest[SEAL] = _seal(manifest)
        write_json(staging / MANIFEST, manifest)
        _replace(folder, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Artifact(folder, manifest)


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    return sha256_json({name: entry["sha256"] for name, entry in files.items()})


def _seal(manifest: Mapping[str, Any]) -> str:
    return sha256_json({key: value for key, value in manifest.items() if key != SEAL})


def _descent(task: Task, parent: Artifact) -> dict[str, Any]:
    """Describe a parent so that its child can be judged where the parent itself is not at hand."""
    return {
        "kind": parent.kind,
        "path": task.path,
        "sha256": parent.sha256,
        "settings": dict(task.settings),
        "parents": parent.manifest["parents"],
    }


def descends_from(artifact: Artifact, ancestor: Artifact) -> bool:
    """Say whether an artifact was made from another, directly or not, by its own record."""
    return ancestor.sha256 in {sha256 for _, sha256 in ancestors(artifact)}


def ancestors(artifact: Artifact) -> set[tuple[str | None, str | None]]:
    """Return path and digest of all that an artifact was made from, directly or not, by its own record.

    What lies outside the run folder has no path; what was not to be had has no digest.
    """
    entries, found = list(artifact.manifest["parents"]), set()
    while entries:
        entry = entries.pop()
        found.add((entry["path"], entry["sha256"]))
        entries += entry.get("parents", ())
    return found


def is_known(folder: Path) -> bool:
    """Say whether an artifact lies in a folder, or lay there until a killed process was about to replace it."""
    return folder.exists() or _old(folder).exists()


def discard_leftovers(folder: Path) -> None:
    """Remove what a killed process left beside a whole artifact."""
    for leftover in (_staging(folder), _old(folder)):
        shutil.rmtree(leftover, ignore_errors=True)


def _staging(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.staging")


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _replace(folder: Path, staging: Path) -> None:
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    staging.replace(folder)
    shutil.rmtree(old, ignore_errors=True)
