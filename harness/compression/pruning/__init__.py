"""Structured pruning on Torch-Pruning: whole channels go, and every layer that they touch shrinks with them."""

from __future__ import annotations

from harness.compression.pruning.cutting import prune
from harness.compression.pruning.gradients import gradients_of
from harness.compression.pruning.history import History, replay
from harness.compression.pruning.settings import METHODS, SCOPES, WITH_GRADIENTS, Pruning
from harness.compression.pruning.target import Found, ratio_for

__all__ = [
    "METHODS",
    "SCOPES",
    "WITH_GRADIENTS",
    "Found",
    "History",
    "Pruning",
    "gradients_of",
    "prune",
    "ratio_for",
    "replay",
]
