"""What is up to date and what must be redone, and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from contracts.errors import InputError
from harness import __version__
from harness.robustness.journal import discard
from harness.workflow.artifact import Artifact, Task, discard_leftovers, is_known, read_artifact, write_artifact
from harness.workflow.settings_difference import difference

Say = Callable[[str, str], None]
"""Told a stage's name and a sentence about it."""


class Ledger:
    """The artifacts of one run folder.

    Args:
        folder: the run folder.
        say: told one line for everything that is made, kept or found damaged.

    Attributes:
        made: how many artifacts it made.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder = folder
        self._say = say
        self._known: dict[str, Artifact] = {}
        self.made = 0

    def ensure(self, task: Task, *, again: bool = False) -> Artifact:
        """Return a task's artifact, made now unless it is up to date; its parents come first.

        An artifact that was carried here without its parents is taken as it is: a board measures engines whose
        training it never saw. It is made again only if the record of its parents names other settings than today's.

        Args:
            task: what is wanted.
            again: make it even if it is up to date.
        """
        if not again and task.path in self._known:
            return self._known[task.path]
        found = None if again else self._whole(task)
        if found is not None and (reason := self._stale(task, found)):
            self._say(task.stage, f"{task.path} again: {reason}")
            found = None
        if found is None:
            found = self._make(task)
        else:
            self._tidy(task, found)
            self._say(task.stage, f"{task.path} is up to date")
        self._known[task.path] = found
        return found

    def peek(self, task: Task) -> Artifact | None:
        """Return a task's artifact if it is up to date; nothing is made."""
        if task.path in self._known:
            return self._known[task.path]
        try:
            found = read_artifact(self._folder / task.path)
        except InputError:
            return None
        if found is None or difference(found.manifest["settings"], task.settings):
            return None
        pairs = zip(task.parents, found.manifest["parents"])  # noqa: B905  inputs follow the parents
        return found if all(self._unchanged(parent, entry) for parent, entry in pairs) else None

    def ancestry(self, task: Task) -> list[Artifact]:
        """Return a task's artifact and all that it was made from, oldest first, as far as they are here."""
        order: dict[str, Artifact] = {}

        def visit(each: Task) -> None:
            for parent in each.parents:
                visit(parent)
            found = self._known.get(each.path) or self.peek(each)
            if found is not None:
                order.setdefault(each.path, found)

        visit(task)
        return list(order.values())

    def _make(self, task: Task) -> Artifact:
        parents = tuple(self.ensure(parent) for parent in task.parents)
        started = time.monotonic()
        stamp: dict[str, Any] = {"created": datetime.now(timezone.utc).isoformat(), "harness_version": __version__}
        made = write_artifact(task, self._folder / task.path, parents, stamp)
        self._tidy(task, made)
        self.made += 1
        self._say(task.stage, f"{task.path} made in {time.monotonic() - started:.1f} s")
        for told in made.manifest["info"].get("told", ()):
            self._say(task.stage, told)
        for warning in made.manifest["info"].get("warnings", ()):
            self._say(task.stage, f"warning: {warning}")
        return made

    def _tidy(self, task: Task, made: Artifact) -> None:
        """Remove what work that was killed left; until the artifact is whole, that would cost everything."""
        discard_leftovers(made.folder)
        if task.unfinished:
            discard(self._folder / task.unfinished)

    def _whole(self, task: Task) -> Artifact | None:
        try:
            return read_artifact(self._folder / task.path)
        except InputError as error:
            self._say(task.stage, f"{error}: it is made again")
            return None

    def _exists(self, task: Task) -> bool:
        return is_known(self._folder / task.path)

    def _unchanged(self, parent: Task, entry: Mapping[str, Any]) -> bool:
        if entry["path"] != parent.path:
            return False
        if not self._exists(parent):
            return _inherited(entry, parent) is None
        here = self.peek(parent)
        return here is not None and here.sha256 == entry["sha256"]

    def _stale(self, task: Task, found: Artifact) -> str | None:
        """Return why an artifact is out of date, None where it is not."""
        if differs := difference(found.manifest["settings"], task.settings):
            return differs
        recorded = found.manifest["parents"]
        if len(recorded) != len(task.parents) + len(task.inputs):
            return "it is made from something else now"
        pairs = zip(task.parents, recorded)  # noqa: B905  inputs follow the parents
        for reason in (self._changed(*pair) for pair in pairs):
            if reason:
                return reason
        for given, entry in zip(task.inputs, recorded[len(task.parents) :], strict=True):
            if given.kind != entry["kind"]:
                return f"it was made from a {entry['kind']} and is made from a {given.kind} now"
            digest = given.digest()
            if digest is not None and digest != entry["sha256"]:
                return f"the {given.kind} changed"
        return task.unfit(found) if all(map(self._exists, task.parents)) else None

    def _changed(self, parent: Task, entry: Mapping[str, Any]) -> str | None:
        """Return how a parent differs from what is on record, None where it does not; a parent that is here is made."""
        if entry["path"] != parent.path:
            return f"it was made from {entry['path']} and is made from {parent.path} now"
        if not self._exists(parent):
            return _inherited(entry, parent)
        return f"{parent.path} changed" if self.ensure(parent).sha256 != entry["sha256"] else None


def _inherited(entry: Mapping[str, Any], parent: Task) -> str | None:
    """Return what differs between the settings that an absent parent was made with, by the record, and today's."""
    if differs := difference(entry.get("settings", parent.settings), parent.settings):
        return differs
    pairs = zip(entry.get("parents", ()), parent.parents)  # noqa: B905  inputs follow the parents
    return next((found for each, task in pairs if (found := _inherited(each, task))), None)
