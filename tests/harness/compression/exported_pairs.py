"""Small networks of every shape, quantized on both paths: as a torch twin that is exported, and as an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration.graphs.float_graph import FloatGraph
from calibration.graphs.qdq import store_integer_weights, translations
from engines.onnxruntime.activations import activations
from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.models.onnx_graph import export, exported, simplified
from harness.models.zoo import InceptionBlock, VisionTransformer
from tests.harness.compression.small_networks import Residual, pixels, plain, settled

CALIBRATOR = "percentile"
CLASSES = 5

Shape = tuple[int, int, int]


class Functional(nn.Module):
    """Operators without a module, and those that are several in ONNX; (batch, 4, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 4, 3, 3) / 6)
        self.mixer = nn.Parameter(torch.randn(8, 8) / 3)
        self.bias = nn.Parameter(torch.randn(8))
        self.head = nn.Parameter(torch.randn(CLASSES, 8))

    def forward(self, images: Tensor) -> Tensor:
        out = F.conv2d(images, self.kernel, padding=1)
        out = torch.add(out, F.mish(F.conv2d(out, self.mixer[:, :, None, None])), alpha=0.5)
        tokens = F.avg_pool1d(F.relu_(out).flatten(2), 2).transpose(1, 2)
        tokens = torch.baddbmm(tokens, tokens, self.mixer.expand(images.shape[0], 8, 8))
        mixed = torch.addmm(self.bias, tokens.mean(1), self.mixer)
        return F.linear(F.gelu(mixed, approximate="tanh"), self.head)


def _mobilenet() -> nn.Module:
    from torchvision.models import mobilenet_v2

    network: nn.Module = mobilenet_v2(
        num_classes=CLASSES, width_mult=0.25, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]
    )
    return network


def _inception() -> nn.Module:
    block = InceptionBlock(3, 8)
    return nn.Sequential(block, nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES))


def _transposed() -> nn.Module:
    up = nn.Sequential(nn.ConvTranspose2d(3, 8, 2, stride=2), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(up, nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))


def _grouped() -> nn.Module:
    layers = [nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.Hardswish()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(8, 8, 3, groups=2), nn.Flatten(), nn.Linear(288, CLASSES))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "plain": (plain, (1, 8, 8)),
    "residual": (Residual, (1, 8, 8)),
    "mobilenet-v2": (_mobilenet, (3, 12, 12)),
    "inception": (_inception, (3, 8, 8)),
    "vit": (lambda: VisionTransformer((1, 8, 8), CLASSES, patch=4, width=16, depth=2, heads=2), (1, 8, 8)),
    "transposed": (_transposed, (3, 5, 5)),
    "grouped": (_grouped, (4, 8, 8)),
    "functional": (Functional, (4, 8, 8)),
}


@dataclass(frozen=True)
class Pair:
    """One network.

    Attributes:
        twin: calibrated, quantizers on.
        program: what the exporter wrote the twin's graph from.
        of_twin: the INT8 graph that was exported from the twin.
        floating: the graph that was exported with the quantizers off.
        of_graph: the INT8 graph that was made of `floating`, without torch.
        shape: of an image.
    """

    twin: Twin
    program: Any
    of_twin: onnx.ModelProto
    floating: onnx.ModelProto
    of_graph: onnx.ModelProto
    shape: Shape


@cache
def exported_pair(name: str) -> Pair:
    """Return a network on both paths, calibrated on the same images."""
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    twin = Twin(traced(settled(make()), shape))
    shown = [pixels(16, *shape, seed=seed) for seed in (0, 1)]
    twin.calibrate(CALIBRATOR, shown)
    written = exported(twin, shape, translations())
    of_twin = store_integer_weights(simplified(written.model_proto))
    floating = export(twin.quantize(False), shape, translations())
    twin.quantize(True)
    graph = FloatGraph.of(floating)
    run = activations(floating, graph.activations)
    table = graph.calibrate(run, [each.numpy() for each in shown], CALIBRATOR, "clean", tuple(range(32)))
    return Pair(twin, written.exported_program, of_twin, floating, graph.quantized(table), shape)
