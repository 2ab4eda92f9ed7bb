"""Asking an engine and its sources about images, a batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.data.dataset import Images
from harness.robustness.decisions import Scores
from harness.robustness.engagement import Engagement

if TYPE_CHECKING:
    from harness.attacks.differentiable import Differentiable


def engine_scores(engagement: Engagement, images: Images) -> Scores:
    """Return the engine's scores, float32 (m, classes), of at least one image."""
    batches = range(0, len(images), engagement.batch)
    answers = [np.array(engagement.infer(images[at : at + engagement.batch]), np.float32) for at in batches]
    scores: Scores = np.concatenate(answers)
    return scores


def source_logits(source: Differentiable, images: Images, batch: int) -> Scores:
    """Return a source's logits in its own precision, float32 (m, classes), of at least one image."""
    import torch

    answers = [
        source.logits(torch.from_numpy(np.ascontiguousarray(images[at : at + batch])).to(source.device)).cpu().numpy()
        for at in range(0, len(images), batch)
    ]
    logits: Scores = np.concatenate(answers)
    return logits
