"""A chain of artifacts without torch: a source file, an upper-cased copy, a count, and what joins both."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.files import sha256_file
from harness.workflow.artifact import Artifact, ExternalInput, Made, Task
from harness.workflow.ledger import Ledger

FILE = "content.txt"


@dataclass
class Chain:
    """Tasks over one source file; `made` lists what was made, `delay_s` slows the writing down."""

    source: Path
    settings: dict[str, Any] = field(default_factory=lambda: {"times": 2})
    delay_s: float = 0.0
    made: list[str] = field(default_factory=list)

    @property
    def copy(self) -> Task:
        """The source's text, so often."""
        given = ExternalInput("source", lambda: sha256_file(self.source) if self.source.is_file() else None)
        return self._task("texts/copy", self.settings, lambda _: self._repeated(), inputs=(given,))

    @property
    def loud(self) -> Task:
        """Its upper case, which forgets the case of the letters."""
        return self._task("texts/loud", {}, lambda parents: text(parents[0]).upper(), (self.copy,))

    @property
    def length(self) -> Task:
        """How many letters."""
        return self._task("texts/length", {}, lambda parents: str(len(text(parents[0]))), (self.copy,))

    @property
    def joined(self) -> Task:
        """Both."""
        return self._task("joined", {}, lambda parents: " ".join(map(text, parents)), (self.loud, self.length))

    def _repeated(self) -> str:
        return self.source.read_text() * int(self.settings["times"])

    def _task(
        self,
        path: str,
        settings: Mapping[str, Any],
        content: Callable[[tuple[Artifact, ...]], str],
        parents: tuple[Task, ...] = (),
        inputs: tuple[ExternalInput, ...] = (),
    ) -> Task:
        def make(folder: Path, given: tuple[Artifact, ...]) -> Made:
            found = content(given)
            with (folder / FILE).open("w") as stream:
                for letter in found:
                    stream.write(letter)
                    stream.flush()
                    time.sleep(self.delay_s)
            self.made.append(path)
            return {"letters": len(found), "share": 1 / 3}

        return Task("write", path, "text", settings, make, parents, inputs)


def text(artifact: Artifact) -> str:
    """Return what an artifact holds."""
    return (artifact.folder / FILE).read_text()


def main(folder: str, source: str, delay_s: str) -> None:
    """Make the chain and print every artifact's digest."""
    chain = Chain(Path(source), delay_s=float(delay_s))
    ledger = Ledger(Path(folder), lambda _stage, _sentence: None)
    print("ready", flush=True)  # noqa: T201
    ledger.ensure(chain.joined)
    found = {artifact.folder.name: artifact.sha256 for artifact in ledger.ancestry(chain.joined)}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
