"""Signs that a robust accuracy should not be believed, each with what it means and what to try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.data.dataset import Labels
from harness.robustness.arms import ArmOutcome
from harness.robustness.decisions import UNDECIDED


def warnings(clean_decisions: Labels, arms: Sequence[ArmOutcome], *, along_gradients: bool = True) -> Iterator[str]:
    """Yield one sentence for every sign found.

    Args:
        clean_decisions: the engine's.
        arms: what they found.
        along_gradients: whether the attack follows gradients; one that does not may well change nothing.
    """
    if undecided := int((clean_decisions == UNDECIDED).sum()):
        yield f"the engine's scores of {undecided} clean images are not finite: they count as wrong; check the graph"
    for arm in arms:
        if arm.wavering:
            yield (
                f"{arm.wavering} images fooled the engine in arm {arm.name} and not in the final pass: the engine "
                "wavers, so its robust accuracy is known only up to these"
            )
        if along_gradients and not np.any(arm.decisions != clean_decisions):
            yield (
                f"arm {arm.name} changed no decision at all: the gradients may be masked or epsilon in the wrong unit "
                "(it is a fraction of the pixel range); try a larger epsilon, which must succeed"
            )
