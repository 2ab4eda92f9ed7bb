"""Rules about gradients themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.robustness.sanity.evidence import ALONG_GRADIENTS, Evidence
from harness.robustness.sanity.findings import Rule, judged, unjudged

if TYPE_CHECKING:
    from torch import Tensor


Mask = npt.NDArray[np.bool_]

_SURE = 0.02  # of the probe


def gradients_are_alive(evidence: Evidence) -> Rule:
    """No gradient is NaN, and hardly one vanishes of an image that attacks along gradients left standing.

    A model may be sure of an image or two: the cross-entropy is 0 in float32 where a logit is ahead by 17.
    """
    rule = "gradients neither vanish nor are NaN"
    if evidence.no_gradients:
        return unjudged(rule, evidence.no_gradients)
    from harness.attacks.losses import cross_entropy, dlr

    vanished, spoilt = _dead(evidence, cross_entropy)
    n = len(evidence.probe)
    if spoilt.any():
        advice = (
            "attacks stand still there; look for a division, a root or a logarithm of zero in the model, or for an "
            "overflow in half precision"
        )
        return judged(rule, False, f"gradients of {int(spoilt.sum())} of {n} images are not finite", advice)
    allowed = max(1.0, _SURE * n)
    standing = vanished & ~evidence.turned(*ALONG_GRADIENTS)[evidence.probe]
    seen = f"the cross-entropy or its gradient is exactly zero for {int(vanished.sum())} of {n} images"
    if standing.any():
        seen += f", and no attack along gradients turned {int(standing.sum())} of these"
    scale_free = [attack.name for attack in evidence.attacks if attack.scale_free]
    if standing.sum() > allowed and scale_free and (_dead(evidence, dlr)[0] & standing).sum() <= allowed:
        return judged(
            rule, True, f"{seen}, but {' and '.join(scale_free)} climbs a loss that does not vanish there", ""
        )
    return judged(
        rule,
        bool(standing.sum() <= allowed),
        seen,
        "large logits or an operation without a gradient mask it, so that robust accuracy may be too high; try "
        "apgd-dlr or apgd-t, whose losses do not depend on the scale of logits, or scale logits down",
    )


def _dead(evidence: Evidence, loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[Mask, Mask]:
    """Return of which probe images a loss or its gradient is exactly zero, and of which it is not finite."""
    import torch

    source, split = evidence.own_source, evidence.engagement.split
    vanished, spoilt = [], []
    for at in range(0, len(evidence.probe), evidence.engagement.batch):
        rows = evidence.probe[at : at + evidence.engagement.batch]
        images = torch.from_numpy(np.ascontiguousarray(split.images[rows])).to(source.device)
        labels = torch.from_numpy(split.labels[rows]).to(source.device)
        logits, gradient = source.gradient(images, partial(_on, loss, labels))
        flat = gradient.flatten(1)
        vanished.append((flat == 0).all(1) | (loss(logits, labels) == 0))
        spoilt.append(~flat.isfinite().all(1))
    return torch.cat(vanished).cpu().numpy(), torch.cat(spoilt).cpu().numpy()


def _on(loss: Callable[[Tensor, Tensor], Tensor], labels: Tensor, logits: Tensor) -> Tensor:
    return loss(logits, labels)
