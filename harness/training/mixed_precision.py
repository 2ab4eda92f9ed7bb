"""bfloat16 where the machine has it: twice as fast, with float32 weights and losses."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which convolutions and products run in bfloat16, or a neutral one."""
    if has_bfloat16(device):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def has_bfloat16(device: torch.device) -> bool:
    """Say whether bfloat16 is computed in hardware: emulated, it would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        from harness.devices.cpu import supports_bf16

        return supports_bf16()
    return False
