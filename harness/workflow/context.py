"""What every stage is given: the settings, the data, a place to report progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import HarnessError, InputError
from contracts.files import sha256_file, sha256_json
from harness.callables import find_callable
from harness.devices.machine import THIS_MACHINE, Machine
from harness.workflow.artifact import ExternalInput

if TYPE_CHECKING:
    from harness.data.dataset import DataSet, Source
    from harness.progress import Progress
    from harness.robustness.recorded_images.replay import Recorded
    from harness.workflow.experiment import Experiment


@dataclass(frozen=True)
class Context:
    """One command's view of one experiment.

    Attributes:
        name: of the experiment.
        experiment: its settings.
        folder: the run folder.
        data_dir: where `--data-dir` says data sets lie.
        progress: where long work reports.
        command: the command line that reproduces this.
        recorded: the settings as the run folder records them, without those of this command alone; None if equal.
        machine: that is read where something is measured.
    """

    name: str
    experiment: Experiment
    folder: Path
    data_dir: Path | None
    progress: Progress
    command: str
    recorded: Experiment | None = None
    machine: Machine = THIS_MACHINE

    @property
    def lasting(self) -> Experiment:
        """The settings that decide what models are made of: an option of one command must not train another one."""
        return self.recorded or self.experiment

    @cached_property
    def source(self) -> Source:
        """Where the data set lies; finds or downloads it on first use."""
        from harness.data.registry import find

        data = self.experiment.data
        return find(data.name, path=Path(data.path) if data.path else None, data_dir=self.data_dir, size=data.size)

    @cached_property
    def data(self) -> DataSet:
        """The images; read on first use."""
        return self.source.read()

    @cached_property
    def _fingerprint(self) -> str | None:
        from harness.data.registry import fingerprint

        data = self.experiment.data
        try:
            # The same files give other images under another name or at another size.
            return sha256_json([data.name, data.size, fingerprint(self.source)])
        except HarnessError:
            return None  # the data is not here; whoever needs the images says so

    @property
    def data_input(self) -> ExternalInput:
        """The data set as an input of artifacts."""
        return ExternalInput("data set", lambda: self._fingerprint)

    @cached_property
    def attack_images(self) -> Recorded | None:
        """The attack that shows the adversarial images of the file in `eval.attack_images`; read on first use."""
        if self.experiment.eval.attack_images is None:
            return None
        from harness.robustness.recorded_images.file import replay

        return replay(Path(self.experiment.eval.attack_images))

    @property
    def attack_inputs(self) -> tuple[ExternalInput, ...]:
        """That file as an input of artifacts, where there is one."""
        images = self.attack_images
        return () if images is None else (ExternalInput("attack images", lambda: images.sha256),)

    @property
    def model_inputs(self) -> tuple[ExternalInput, ...]:
        """A user's own factory and checkpoint as inputs of artifacts."""
        model = self.experiment.model
        found = []
        if model.factory:
            found.append(ExternalInput("model factory", _digest_of_factory(model.factory)))
        if model.checkpoint:
            found.append(ExternalInput("given checkpoint", _digest_of(Path(model.checkpoint))))
        return tuple(found)


def _digest_of(path: Path) -> Callable[[], str | None]:
    return lambda: sha256_file(path) if path.is_file() else None


def _digest_of_factory(name: str) -> Callable[[], str | None]:
    def digest() -> str | None:
        try:
            return sha256_file(find_callable(name, "model.factory").file)
        except InputError:
            return None  # a board that measures has no need of it; building the model says what is wrong

    return digest
