"""What `attacks.py` attacks: the fine-tuned float CNN of `fashion-mnist`, the first test images, and the last word."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.files import sha256_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

EXPERIMENT = "fashion-mnist"
LAYOUTS = ("contiguous", "channels-last")

_WEIGHTS = Path("checkpoints/final/weights.safetensors")
_JUDGED_AT_ONCE = 125  # whatever the attacks' batches are
_ROUNDINGS = 1e-6  # how far float32 may lead out of a ball


@dataclass(frozen=True)
class Setting:
    """What a contestant may choose for its speed.

    Attributes:
        batch: images at once.
        layout: of weights and images in memory, one of `LAYOUTS`.
    """

    batch: int
    layout: str


@dataclass(frozen=True)
class Took:
    """What a call took.

    Attributes:
        wall_s: seconds.
        cpu_s: seconds of all threads together.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Subject:
    """What every contestant is given.

    Attributes:
        models: float32 in evaluation mode without gradients of parameters, by layout.
        images: float32 (n, channels, height, width) in [0, 1], on the device.
        labels: int64 (n,), on the device.
        half: the half precision that this device computes, None where it has none.
    """

    models: dict[str, nn.Module]
    images: Tensor
    labels: Tensor
    half: torch.dtype | None

    @property
    def device(self) -> str:
        """The kind of device: cpu or cuda."""
        return str(self.images.device.type)

    def batches(self, rows: Tensor, setting: Setting) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield images in the setting's layout, labels and rows."""
        import torch

        layout = torch.channels_last if setting.layout == "channels-last" else torch.contiguous_format
        for some in torch.split(rows, setting.batch):
            yield self.images[some].contiguous(memory_format=layout), self.labels[some], some

    def wrong(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return where float32 decides wrongly, shape (m,), the same way for every contestant."""
        import torch

        with torch.no_grad():
            scores = [self.models["contiguous"](some.contiguous()) for some in torch.split(images, _JUDGED_AT_ONCE)]
        return torch.cat(scores).argmax(1) != self.labels[rows]

    def outside(self, images: Tensor, rows: Tensor, epsilon: float) -> Tensor:
        """Return which images left the Linf ball or [0, 1], shape (m,)."""
        moved = (images - self.images[rows]).abs().flatten(1).amax(1)
        low, high = images.flatten(1).amin(1), images.flatten(1).amax(1)
        # Written so that an image that is not finite is outside.
        return ~((moved <= epsilon + _ROUNDINGS) & (low >= -_ROUNDINGS) & (high <= 1 + _ROUNDINGS))

    def timed(self, call: Callable[[], Any]) -> tuple[Any, Took]:
        """Return what a call returns, when the device has finished it, and what that took."""
        self._finish()
        wall, cpu = time.perf_counter(), time.process_time()
        found = call()
        self._finish()
        return found, Took(time.perf_counter() - wall, time.process_time() - cpu)

    def _finish(self) -> None:
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()


def weights_of(workspace: Path, *, make: bool) -> Path:
    """Return the file with the fine-tuned weights of a run folder, made by the project's own command where due."""
    weights = workspace / _WEIGHTS
    if not weights.exists() and make:
        command = [sys.executable, "-m", "harness", "finetune", EXPERIMENT, "--workspace", str(workspace)]
        root = Path(__file__).resolve().parent.parent
        paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    if not weights.exists():
        sys.exit(f"{weights} does not exist: make it with: harness finetune {EXPERIMENT} --workspace {workspace}")
    return weights


def digest(weights: Path) -> str:
    """Return a short name for a model."""
    return sha256_file(weights)[:12]


def subject(weights: Path, images: int, device: str) -> Subject:
    """Return the model and the first test images on a device."""
    import torch

    from harness.data.registry import find
    from harness.devices.half_precision import has_bfloat16

    test = find(EXPERIMENT).read().test.take(slice(images))
    place = torch.device(device)
    return Subject(
        {layout: _model(weights, layout).to(place) for layout in LAYOUTS},
        torch.from_numpy(test.images).to(place),
        torch.from_numpy(test.labels).to(place),
        torch.bfloat16 if has_bfloat16(place) else None,
    )


def _model(weights: Path, layout: str) -> nn.Module:
    import torch

    from harness.models.build import build_model
    from harness.models.checkpoint import load_into, read_weights

    model = build_model("cnn8", None, (1, 28, 28), 10)
    load_into(model, read_weights(weights), weights)
    model = model.eval().requires_grad_(False)
    if layout == "channels-last":
        for part in model.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.to(memory_format=torch.channels_last)
    return model
