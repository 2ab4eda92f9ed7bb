"""bfloat16 where the machine has it: twice as fast, with float32 weights and losses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from harness.devices.half_precision import has_bfloat16


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which convolutions and products run in bfloat16, or a neutral one."""
    if has_bfloat16(device):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()
