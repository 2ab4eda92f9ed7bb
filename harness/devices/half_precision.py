"""Which 16-bit type this machine computes in hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def has_bfloat16(device: torch.device) -> bool:
    """Say whether bfloat16 is computed in hardware: emulated, it would be slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        from harness.devices.cpu import supports_bf16

        return supports_bf16()
    return False


def half_type(name: str, device: torch.device) -> torch.dtype | None:
    """Return the 16-bit type that gradients are computed in; None for float32.

    Args:
        name: float32, bfloat16, float16, or auto: the one that this machine has in hardware.
        device: where they are computed.
    """
    import torch

    if name != "auto":
        return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if has_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else None
