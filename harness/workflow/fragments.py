"""Fragments: what the stages found out about one engine on one device, before it is one document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import InputError
from harness.workflow.artifact import Artifact, ExternalInput, read_artifact

FOLDER = "fragments"

REFERENCE = "float decisions"
CLEAN = "repeated clean decisions"
ATTACK = "protocol outcome"
MEASUREMENT = "measurement"
COMPARISON = "comparison"
# Folders of before the protocol hold "clean decisions" and "attack outcome", too little for a document: they join none.


@dataclass(frozen=True)
class Fragments:
    """What one result document is made of.

    Attributes:
        engine: the engine.
        lineage: the engine and all it was made from, oldest first.
        final: the final checkpoint, where it is here.
        clean: clean decisions, where they are known.
        attacks: one for each attack, norm and epsilon.
        measurement: latency, memory and energy, where they are known.
        comparisons: with other engines, one for each of those.
    """

    engine: Artifact
    lineage: tuple[Artifact, ...]
    final: Artifact | None
    clean: Artifact | None
    attacks: tuple[Artifact, ...]
    measurement: Artifact | None
    comparisons: tuple[Artifact, ...] = ()

    @property
    def measured(self) -> tuple[Artifact, ...]:
        """The fragments that hold numbers."""
        given = (self.clean, *self.attacks, self.measurement, *self.comparisons)
        return tuple(fragment for fragment in given if fragment is not None)


class KnownFragments:
    """The whole fragments that lie in a run folder and belong to one engine as it is now.

    Args:
        folder: the run folder.
        device: name of this device.
        engine: the engine.
        data: the data set as it is now; fragments of another one do not count.
    """

    def __init__(self, folder: Path, device: str, engine: Artifact, data: ExternalInput) -> None:
        self._folder = folder / FOLDER / device
        self._engine = engine
        self._data = data

    def newest_measurement(self) -> Artifact | None:
        """Return the newest measurement, whatever its settings."""
        return next(self._newest(MEASUREMENT), None)

    def newest_comparisons(self) -> tuple[Artifact, ...]:
        """Return the newest comparison with each other engine."""
        found: dict[str, Artifact] = {}
        for comparison in self._newest(COMPARISON):
            found.setdefault(str(comparison.manifest["settings"]["other"]), comparison)
        return tuple(found[other] for other in sorted(found))

    def newest_evaluation(self) -> tuple[Artifact | None, tuple[Artifact, ...]]:
        """Return the newest clean decisions, and the newest outcome on them of each attack, norm and epsilon."""
        clean = next(self._newest(CLEAN), None)
        if clean is None:
            return None, ()
        attacks: dict[tuple[str, str, float], Artifact] = {}
        for attack in self._newest(ATTACK):
            settings = attack.manifest["settings"]
            if clean.sha256 in _parents(attack):
                attacks.setdefault((settings["attack"], settings["norm"], settings["epsilon"]), attack)
        return clean, tuple(attacks[key] for key in sorted(attacks))

    def _newest(self, kind: str) -> Iterator[Artifact]:
        """Yield the engine's fragments of that kind, newest first; damaged ones are none."""
        found = []
        for place in self._folder.iterdir() if self._folder.is_dir() else ():
            try:
                artifact = None if place.name.startswith(".") else read_artifact(place)
            except InputError:
                continue
            if artifact is not None and artifact.kind == kind and self._belongs(artifact):
                found.append(artifact)
        yield from sorted(found, key=lambda artifact: str(artifact.manifest["created"]), reverse=True)

    def _belongs(self, artifact: Artifact) -> bool:
        seen = [entry["sha256"] for entry in artifact.manifest["parents"] if entry["kind"] == self._data.kind]
        today = self._data.digest() if seen else None
        return self._engine.sha256 in _parents(artifact) and (today is None or seen == [today])


def doubts(measurement: Artifact) -> list[str]:
    """Return why a measurement is not valid; nothing where it is."""
    info = measurement.manifest["info"]
    failed = [str(info["latency_reason"])] if info["latency_reason"] else []
    windows = [str(reason) for latency in info["latency"] if not latency["valid"] for reason in latency["reasons"]]
    return failed + windows + ([] if info["device"]["valid"] else [str(reason) for reason in info["device"]["reasons"]])


def _parents(artifact: Artifact) -> list[str]:
    return [entry["sha256"] for entry in artifact.manifest["parents"]]
