"""Whether an engine's scores are those of the graph that it should compute.

What is lost in the graph's own roundings stays unseen: one deep INT8 layer whose range is half of what it should be may
move the scores by less than that. Ranges that are halved throughout, or one layer that computes something else, show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from contracts.errors import InputError
from engines.backend import Precision
from engines.checks.error import relative_error, spread
from engines.checks.reference import Reference
from engines.engine import Array

# How far an engine may be from its reference before its graph's own roundings are counted. Measured were the six
# networks of the zoo, trained, and five of them untrained, on OpenVINO, ONNX Runtime and torch on an x86-64 CPU; FP16
# as ONNX Runtime runs a typed graph (`python benchmarks/agreement.py` prints the untrained part but FP16). The largest
# errors are named below. Of the faults that were planted in one
# layer of these networks (a scale doubled, a weight transposed, a residual dropped), the smallest error was 0.105.
_LIMITS: Mapping[Precision, float] = {
    "fp32": 0.005,  # 2.4e-6; the rest is for TF32, whose significand is as long as FP16's, and Winograd convolutions
    "fp16": 0.02,  # 0.0022, and 0.0014 of those that were trained; sums that are kept in FP16 too lose more
    "bf16": 0.08,  # 0.032, and 0.016 of those that were trained; three bits less than FP16
    "int8": 0.02,  # what is computed in float between the pairs, and biases that a runtime counts in integers
}

# An INT8 engine whose roundings are independent of the reference's is √2 of the graph's own rounding away from it. The
# largest found was 1.15 of it, in all engines that compute their graph; 38 and more in one that does not.
_ROUNDINGS = 2.0

_CHANGED_SHARE = 1 / 16
_COARSE = 0.5

REFERENCE = "ONNX Runtime, node by node"


@dataclass(frozen=True)
class Agreement:
    """An engine's scores against its reference's.

    Attributes:
        images: compared; 0 where nothing could be.
        changed_decisions: images for which another class was decided, though the reference holds the two further apart
            than `limit` times the spread of its scores; None where nothing was compared.
        error: root mean squared distance of the scores, over how far the reference's scores lie from their mean; see
            `relative_error`.
        limit: the largest `error` that roundings explain.
        changed_limit: the most changed decisions that they explain.
        reference: what ran which graph.
        reason: why nothing was compared.
    """

    images: int
    changed_decisions: int | None
    error: float | None
    limit: float | None
    changed_limit: int | None
    reference: str
    reason: str | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the engine computes what the graph says; None where it is not known."""
        if self.error is None or self.limit is None or self.changed_decisions is None or self.changed_limit is None:
            return None
        return self.error <= self.limit and self.changed_decisions <= self.changed_limit

    def sentence(self) -> str:
        """Return what was found, in one clause."""
        if self.error is None:
            return f"whether its scores are those of {self.reference} is not known: {self.reason}"
        return (
            f"its scores are {self.error:.2g} of their spread away from those of {self.reference} (limit "
            f"{self.limit:.2g}), and {self.changed_decisions} of {self.images} decisions change (limit "
            f"{self.changed_limit})"
        )

    def warning(self) -> str | None:
        """Return a sentence where little was shown."""
        if self.error is None:
            return self.sentence()
        if self.limit is not None and self.limit > _COARSE:
            return (
                f"the graph's own roundings move its scores so far that an engine may differ from {self.reference} by "
                f"{self.limit:.2g} of their spread: only gross faults show; calibrate it anew or keep layers in float"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Agreement:
        """Read what `to_json` gave.

        Raises:
            InputError: a key is missing or unknown.
        """
        try:
            return Agreement(**value)
        except TypeError as error:
            raise InputError(f"the engine's agreement is not whole ({error}): build the engine again") from error


def unknown(reference: str, reason: str) -> Agreement:
    """Return the agreement of an engine of which nothing was compared, and why."""
    return Agreement(0, None, None, None, None, reference, reason)


def error_limit(precision: Precision, rounding: float) -> float:
    """Return the largest `relative_error` that roundings explain.

    Args:
        precision: the engine's.
        rounding: of its reference.
    """
    # What is further from its unrounded self than the spread has lost all that tells images apart.
    return _LIMITS[precision] + _ROUNDINGS * min(rounding, 1.0)


def agreement(scores: Array, reference: Reference, precision: Precision, name: str = REFERENCE) -> Agreement:
    """Compare an engine's scores with the reference's.

    Args:
        scores: the engine's, shape (images, classes).
        reference: the graph's for the same images: an INT8 engine's own Q/DQ graph, otherwise the float graph.
        precision: the engine's.
        name: what ran which graph.
    """
    expected = reference.values
    if finite := len(expected) - int(np.isfinite(expected).all(axis=1).sum()):
        return unknown(name, f"the graph's own scores are not finite for {finite} of {len(expected)} images")
    limit = error_limit(precision, reference.rounding)
    top, decided = expected.argmax(axis=1), np.nan_to_num(scores, nan=-np.inf).argmax(axis=1)
    rows = np.arange(len(expected))
    apart = expected[rows, top] - expected[rows, decided]
    return Agreement(
        images=len(expected),
        changed_decisions=int(np.sum(apart > limit * spread(expected))),
        error=relative_error(scores, expected),
        limit=limit,
        changed_limit=int(len(expected) * _CHANGED_SHARE),
        reference=name,
    )
