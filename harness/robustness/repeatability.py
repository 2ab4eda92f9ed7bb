"""Whether an engine answers alike when it is asked again, before anything is concluded from its answers.

Engines need not be deterministic: threads add in another order, kernels are chosen by batch size, buffers are used
again. What an attack found counts by a pass of its own, so that an engine which wavers makes robust accuracy a matter
of luck; an engine that returns the scores of an earlier question makes it a matter of nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.data.dataset import Images
from harness.robustness.decisions import BATCH, Scores, decide

Infer = Callable[[Images], Scores]
Fault = Literal["stale", "overwritten"]

VOTES = 5
"""How often a wavering engine is asked."""

_ALONE = 25  # images asked one by one
_ODD_BATCH = 7
_REPEATS = 3  # of one question: an engine that is up to two answers late has caught up in the last


@dataclass(frozen=True)
class Repeatability:
    """How alike an engine answers.

    Attributes:
        images: number of images that it was asked about.
        runs: how often in the same order and in the same batches.
        changed_by_run: images whose decision changed between these runs.
        changed_by_position: images whose decision changed at other places, beside other images.
        changed_by_batch: images whose decision changed in batches of another size.
        largest_difference: between two scores of the same image and class, in units of the mean difference between an
            image's largest and smallest score.
        votes: answers that each decision should be taken from: 1 where the engine is steady.
        fault: "stale", it answered with the scores of an earlier question, or alike whatever it was shown;
            "overwritten", scores that it had returned changed later; None for neither.
    """

    images: int
    runs: int
    changed_by_run: int
    changed_by_position: int
    changed_by_batch: int
    largest_difference: float
    votes: int
    fault: Fault | None = None

    @property
    def wavers(self) -> bool:
        """Whether the same question, asked again, got other decisions."""
        return self.changed_by_run > 0

    def warning(self) -> str | None:
        """Return what is wrong, what it means and what to try, in one sentence; None where nothing is."""
        if self.fault is not None:
            return _FAULTS[self.fault]
        if self.wavers:
            return (
                f"the engine wavers: {self.changed_by_run} of {self.images} images got another decision when they were "
                f"asked about again, so its accuracy is known only up to such images, and every decision is the "
                f"majority of {self.votes}; try deterministic kernels or a single thread"
            )
        if self.changed_by_position or self.changed_by_batch:
            return (
                f"the engine's decisions depend on the batch: {self.changed_by_position} of {self.images} images got "
                f"another one beside other images and {self.changed_by_batch} in batches of another size, every time "
                "alike, so that a majority cannot help and its accuracy holds for these batches alone; look for batch "
                "statistics in the graph (batch normalisation in training mode), and evaluate at the batch size of use"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Repeatability:
        """Return what `to_json` gave."""
        return Repeatability(**value)


_FAULTS: Mapping[Fault, str] = {
    "stale": (
        "the engine answers with the scores of an earlier question, or alike whatever it is shown, so that no number "
        "about it can be believed; wait for the device before the output is read, and read the buffer that was written"
    ),
    "overwritten": (
        "the engine writes over scores that it has returned before, so that answers change after they were given and "
        "no number about it can be believed; return a copy of the output buffer"
    ),
}


def measure(infer: Infer, images: Images, *, runs: int = 3, batch: int = BATCH) -> Repeatability:
    """Ask an engine about the same images again: in the same order, in other orders, and in other batches.

    Other images are shown in between, so that an old answer does not pass for a new one.

    Args:
        infer: from images, any number of them, to scores (n, classes).
        images: float32, shape (n, channels, height, width), in [0, 1], at least one; 200 tell enough.
        runs: number of questions in the same order and the same batches, at least 2.
        batch: images asked about at a time.
    """
    assert runs >= 2, "one answer cannot be compared with another"
    fault = _fault(infer, images[:batch])
    answers = []
    for _ in range(runs):
        answers.append(_asked(infer, images, batch))
        infer(_others(images[:batch]))
    first = answers[0]
    by_run = [(first, again) for again in answers[1:]]
    by_position = [(first, again) for again in _in_other_places(infer, images, batch)]
    alone = images[:_ALONE]
    by_batch = [(first, _asked(infer, images, _ODD_BATCH)), (first[: len(alone)], _asked(infer, alone, 1))]
    changed_by_run = _changed(by_run, len(images))
    return Repeatability(
        images=len(images),
        runs=runs,
        changed_by_run=changed_by_run,
        changed_by_position=_changed(by_position, len(images)),
        changed_by_batch=_changed(by_batch, len(images)),
        largest_difference=_largest_difference(by_run + by_position + by_batch),
        votes=VOTES if changed_by_run and fault is None else 1,
        fault=fault,
    )


def voted(infer: Infer, votes: int) -> Infer:
    """Return an engine that decides by majority.

    Args:
        infer: from images to scores (n, classes).
        votes: how often it is asked, an odd number; 1 gives `infer` itself.

    Returns:
        From images to scores float32 (n, classes): for each image those of the first answer that decided for the class
        with the most votes; of several such classes, for the one that came first.
    """
    assert votes % 2 == 1, f"an even number of votes, {votes}, has no majority"
    if votes == 1:
        return infer

    def scores(images: Images) -> Scores:
        answers = np.stack([np.array(infer(images), np.float32) for _ in range(votes)])
        decisions = np.stack([decide(answer) for answer in answers])
        agreeing = (decisions[:, None] == decisions[None]).sum(axis=1)
        found: Scores = answers[agreeing.argmax(axis=0), np.arange(len(images))]
        return found

    return scores


def _others(images: Images) -> Images:
    """Return as many other images: the negatives."""
    negatives: Images = np.float32(1) - images
    return negatives


def _asked(infer: Infer, images: Images, batch: int) -> Scores:
    answers = [np.array(infer(images[at : at + batch])) for at in range(0, len(images), batch)]
    found: Scores = np.concatenate(answers)
    return found


def _in_other_places(infer: Infer, images: Images, batch: int) -> Iterator[Scores]:
    """Yield the images' scores, in their own order, after they were asked about backwards and rolled."""
    forward = np.arange(len(images))
    for order in (forward[::-1], np.roll(forward, len(images) // 3 + 1)):
        answer = _asked(infer, np.ascontiguousarray(images[order]), batch)
        scores = np.empty_like(answer)
        scores[order] = answer
        yield scores


def _fault(infer: Infer, images: Images) -> Fault | None:
    """Ask about images and their negatives in turn, and see whether an answer belongs to an earlier question."""
    questions = [question for question in (_others(images), images, _others(images)) for _ in range(_REPEATS)]
    given: list[Scores] = []
    kept: list[Scores] = []
    for question in questions:
        given.append(infer(question))
        kept.append(given[-1].copy())
    if any(not np.array_equal(array, copy, equal_nan=True) for array, copy in zip(given, kept, strict=True)):
        return "overwritten"
    of_images, of_others = kept[2 * _REPEATS - 1], kept[-1]
    telling = (of_images != of_others).any(axis=1)
    if not telling.any() and np.isfinite(of_images).all():
        return "stale"
    late = [_alike(answer, of_others) & telling for answer in kept[_REPEATS : 2 * _REPEATS - 1]]
    late += [_alike(answer, of_images) & telling for answer in kept[2 * _REPEATS : -1]]
    # Most images of a batch, since a wavering engine with coarse scores may hit a few by chance.
    return "stale" if any(rows.sum() * 2 > telling.sum() for rows in late) else None


def _alike(scores: Scores, others: Scores) -> npt.NDArray[np.bool_]:
    alike: npt.NDArray[np.bool_] = (scores == others).all(axis=1)
    return alike


def _changed(pairs: list[tuple[Scores, Scores]], n: int) -> int:
    """Return of how many images a decision differs in one of the pairs, each of the first images."""
    changed = np.zeros(n, np.bool_)
    for one, other in pairs:
        changed[: len(one)] |= decide(one) != decide(other)
    return int(changed.sum())


def _largest_difference(pairs: list[tuple[Scores, Scores]]) -> float:
    """Return the largest difference of finite scores, in units of the first answer's mean spread."""
    first = pairs[0][0]
    finite = first[np.isfinite(first).all(axis=1)]
    spread = float((finite.max(axis=1) - finite.min(axis=1)).mean()) if len(finite) else 0.0
    largest = 0.0
    for one, other in pairs:
        both = np.isfinite(one) & np.isfinite(other)
        largest = max(largest, float(np.abs(one[both].astype(np.float64) - other[both]).max(initial=0.0)))
    return largest / spread if spread > 0 else largest
