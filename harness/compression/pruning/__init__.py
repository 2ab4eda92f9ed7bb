"""Structured pruning on Torch-Pruning: whole channels go, and every layer that they touch shrinks with them."""

from __future__ import annotations

from harness.compression.pruning.cutting import prune
from harness.compression.pruning.gradients import gradients_of
from harness.compression.pruning.history import History, channel_ratio, replay
from harness.compression.pruning.settings import METHODS, NEEDS, WITH_GRADIENTS, Pruning, Scope
from harness.compression.pruning.target import Found, Target, once_a_structure, ratio_for

__all__ = [
    "METHODS",
    "NEEDS",
    "WITH_GRADIENTS",
    "Found",
    "History",
    "Pruning",
    "Scope",
    "Target",
    "channel_ratio",
    "gradients_of",
    "once_a_structure",
    "prune",
    "ratio_for",
    "replay",
]
