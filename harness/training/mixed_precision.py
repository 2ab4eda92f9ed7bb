"""bfloat16 where the machine has it: twice as fast, with float32 weights and losses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from harness.devices.half_precision import has_bfloat16

if TYPE_CHECKING:
    from harness.training.recipe import Precision


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """Return a context in which convolutions and products run in bfloat16, or a neutral one; see `half`."""
    kind = half(device, precision)
    return nullcontext() if kind is None else torch.autocast(device.type, kind)


def half(device: torch.device, precision: Precision = "auto") -> torch.dtype | None:
    """Return bfloat16 where that is wanted ("auto") and the machine computes it, None otherwise."""
    return torch.bfloat16 if precision == "auto" and has_bfloat16(device) else None
