"""The training loop: one for standard and adversarial training, for models and their fake-quantized twins."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from contracts.errors import InputError
from contracts.files import sha256_json
from harness.compression.twin import Twin
from harness.data.dataset import Split
from harness.training import collapse
from harness.training.course import Course
from harness.training.epoch import NotFiniteError, run_epoch, steps_of
from harness.training.learner import Learner
from harness.training.trained import Epoch, Trained
from harness.training.unfinished import Unfinished
from harness.training.validation import Validation, Verdict

if TYPE_CHECKING:
    from harness.progress import Advance, Progress
    from harness.training.recipe import Recipe


def train(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    seed: int,
    progress: Progress,
    title: str,
    unfinished: Path | None = None,
    made_from: str = "",
    settle: Callable[[], None] = lambda: None,
    validation_seed: int | None = None,
) -> Trained:
    """Train a model in place, on a GPU where there is one; it ends on the CPU, in evaluation mode.

    Args:
        model: images (batch, channels, height, width) in [0, 1] to logits.
        split: the training split, or part of it.
        recipe: hyper-parameters.
        seed: at least 0; of validation images, the order of images and every random draw: the same seed gives the same
            weights on a CPU, whether or not the run was killed and started again.
        progress: shows the time left.
        title: names the work on the bar, and in errors and warnings.
        unfinished: folder that the state after every epoch is kept in, and gone on from; it is the caller's to remove
            when the outcome is written. None keeps none.
        made_from: digest of what else decides the outcome, the model's weights and the images: a state that was made
            from anything else is not gone on from.
        settle: called, in evaluation mode, whenever weights were put in place from outside, as `Twin.fit_weights`.
        validation_seed: of the choice of validation images, where they are to be those of an earlier training; else
            `seed`.

    Raises:
        InputError: the loss became NaN or infinite; the sentence says where the weights of the last good epoch lie.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).to(memory_format=torch.channels_last)
    chosen = seed if validation_seed is None else validation_seed
    validation = Validation.draw(split.labels, recipe.validation_samples, chosen % 2**32)
    store = Unfinished(unfinished, sha256_json([made_from, seed, chosen, len(split), asdict(recipe)]))
    learner = Learner(model, recipe, recipe.epochs * steps_of(len(validation.rest), recipe), settle)
    outcome = _Run(learner, split, recipe, seed, title, validation, store).to_the_end(progress)
    model.to("cpu").to(memory_format=torch.contiguous_format).eval()
    return outcome


@dataclass
class _Run:
    """A training run: epochs, each judged and kept, and what is done when one goes wrong."""

    learner: Learner
    split: Split
    recipe: Recipe
    seed: int
    title: str
    validation: Validation
    store: Unfinished

    def __post_init__(self) -> None:
        self._images, self._labels = torch.from_numpy(self.split.images), torch.from_numpy(self.split.labels)
        self._rows = torch.from_numpy(self.validation.rest)
        self._chance = 1 / len(np.unique(self.split.labels))
        unguarded = collapse.can_collapse(self.recipe) and not len(self.validation)
        self._course = Course(warnings=[collapse.unguarded(self.title, self.recipe)] if unguarded else [])
        self._good: dict[str, Any] = {}  # the learner's state after the last good epoch

    def to_the_end(self, progress: Progress) -> Trained:
        """Run every epoch that is not finished, and put the weights in place that are to be returned."""
        if (state := self.store.recall()) is not None:
            self._course = Course.of(state["course"])
            self.learner.restore(state["learner"])
        self._good = self.learner.capture()
        units = steps_of(len(self._rows), self.recipe) + len(self.validation.batches(self.learner.device))
        with progress.bar(self.title, self.recipe.epochs * units) as advance:
            advance(len(self._course.epochs) * units)
            while len(self._course.epochs) < self.recipe.epochs:
                if not self._epoch(advance):
                    advance(-units)
        with self.learner.as_returned():
            last = self.learner.weights()
        self.learner.put(last if self._course.best is None else self._course.best)
        return Trained(
            loss=self._course.epochs[-1].loss,
            kept_epoch=self._course.kept_epoch,
            epochs=tuple(self._course.epochs),
            validation_ids=tuple(self.validation.ids.tolist()),
            gradient_passes=self._course.gradients / len(self._rows),
            warnings=tuple(self._course.warnings),
        )

    def _epoch(self, advance: Advance) -> bool:
        """Run and judge one epoch; return False where it collapsed and was undone."""
        course, started = self._course, time.perf_counter()
        number = len(course.epochs) + 1
        perturbation = collapse.perturbation(self.recipe, course.collapsed)
        torch.manual_seed(_seed(self.seed, number, course.collapsed))
        try:
            loss, right = run_epoch(
                self.learner,
                self._images,
                self._labels,
                self._rows,
                recipe=self.recipe,
                perturbation=perturbation,
                advance=advance,
            )
        except NotFiniteError as error:
            raise self._diverged(error, number) from error
        course.gradients += len(self._rows) * perturbation.passes
        single_step = right if collapse.can_collapse(self.recipe) and not course.collapsed else None
        with self.learner.as_returned():
            verdict = self._judge(advance)
            epoch = Epoch(number, loss, verdict.clean, verdict.robust, single_step, time.perf_counter() - started)
            collapsed = self._collapsed(epoch)
            if not collapsed:
                self._add(epoch)
        if collapsed:
            self.learner.restore(self._good)
        self._good = self.learner.capture()
        self.store.keep({"course": course.state_dict(), "learner": self._good})
        return not collapsed

    def _judge(self, advance: Advance) -> Verdict:
        learner = self.learner
        verdict = self.validation.judge(learner.model, self.split, self.recipe, self.seed, learner.device, advance)
        self._course.gradients += verdict.gradients
        return verdict

    def _collapsed(self, epoch: Epoch) -> bool:
        """Return whether a single-step method collapsed in an epoch, and note it."""
        if epoch.robust is None or epoch.single_step is None:
            return False
        best = max(self._course.best_robust, self._chance)
        if not collapse.has_collapsed(epoch.robust, best, epoch.single_step, len(self.validation)):
            return False
        self._course.collapsed = True
        self._course.warnings.append(collapse.sentence(self.title, self.recipe, epoch, best))
        return True

    def _add(self, epoch: Epoch) -> None:
        """Note a finished epoch, and its weights where they are to be returned and may be overtaken."""
        if self.recipe.keep == "last" or epoch.score is None:
            self._course.kept_epoch = epoch.number
        elif self._course.is_best(epoch):
            self._course.kept_epoch = epoch.number
            self._course.best = self.learner.weights()
        self._course.epochs.append(epoch)

    def _diverged(self, error: NotFiniteError, number: int) -> InputError:
        """Write the weights of the last good epoch; return what to tell the user."""
        told = (
            f"{self.title}: the {error.what} in epoch {number}, batch {error.batch}: "
            f"lower learning_rate (now {self.recipe.learning_rate})"
        )
        if not self._course.epochs:
            return InputError(f"{told}; no epoch was finished")
        self.learner.restore(self._good)
        with self.learner.as_returned():
            model = self.learner.model
            weights = model.weights() if isinstance(model, Twin) else model.state_dict()
            path = self.store.keep_last_good(weights)
        where = "were not kept, as no folder was given" if path is None else f"are in {path}"
        return InputError(f"{told}; the weights after epoch {number - 1} {where}")


def _seed(seed: int, epoch: int, again: bool) -> int:
    """Return what torch is seeded with before an epoch: no generator's state has to be kept."""
    digest = hashlib.sha256(f"{seed} {epoch} {int(again)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
