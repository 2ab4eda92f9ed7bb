"""What pruning half of the channels is worth on an engine: the median latency of batches of 64 before and after.

`python benchmarks/pruned_latency.py [--rounds 3]`: ResNet-18 and MobileNetV2 for 32x32 images lose half of every
layer's channels by their L1 norm, and the engines of both, FP32 and INT8 of the backend that runs here, are measured in
turn, each in a window of 5 s, so that a machine that slows down slows both; medians are over all queries. Weights are
untrained, which latency does not see. Exits with 1 where a median falls by less than 1.7 times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

# A script finds modules in its own folder first, and this one has the name of a module there.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

if TYPE_CHECKING:
    from torch import nn

    from engines.backend import Precision
    from harness.compression.size import Size

NETWORKS = ("resnet18", "mobilenet-v2")
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
BATCH, SPARSITY, ROUND_TO = 64, 0.5, 8
AT_LEAST = 1.7
_SHAPE, _CLASSES = (3, 32, 32), 10
_CALIBRATION_IMAGES = 64


def main() -> int:
    """Build the engines of each network, measure them in turn, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="windows of each engine")
    asked = parser.parse_args()

    from harness.devices.environment import environment

    place = environment()
    print(f"{place.cpu}, {place.cores} cores; {ROUND_TO} channels or a multiple of that; batches of {BATCH}")
    print(f"{'':<22} {'before ms':>10} {'after ms':>10} {'ratio':>6}")
    holds = True
    for name in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            holds = _network(name, asked.rounds, Path(folder)) and holds
    print(f"every ratio at least {AT_LEAST}: {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if holds else 1


def _network(name: str, rounds: int, folder: Path) -> bool:
    """Measure a network before and after; say whether it gets faster by as much as is claimed."""
    import torch

    from harness.compression.pruning import Pruning, prune
    from harness.compression.size import size_of
    from harness.models.build import build_model

    torch.manual_seed(0)
    whole = build_model(name, None, _SHAPE, _CLASSES).eval()
    pruned = deepcopy(whole)
    prune(pruned, torch.zeros(1, *_SHAPE), Pruning(method="l1", sparsity=SPARSITY, round_to=ROUND_TO))
    print(f"{name}: {_told(size_of(whole, _SHAPE))} before; {_told(size_of(pruned, _SHAPE))} after")
    both, holds = {"whole": whole, "pruned": pruned}, True
    for precision in PRECISIONS:
        engines = [_engine(model, precision, folder / f"{precision}-{part}") for part, model in both.items()]
        rounds_ms = [[_times_ms(engine) for engine in engines] for _ in range(rounds)]
        before, after = (float(np.median(np.concatenate(each))) for each in zip(*rounds_ms, strict=True))
        holds = holds and before >= AT_LEAST * after
        print(f"{name + ' ' + precision:<22} {before:>10.2f} {after:>10.2f} {before / after:>6.2f}")
    return holds


def _told(size: Size) -> str:
    return f"{size.parameters:,} parameters, {size.macs:,} multiply-accumulates"


def _engine(model: nn.Module, precision: Precision, folder: Path) -> Path:
    """Calibrate and build; return the engine's folder."""
    import torch

    from engines.registry import choose
    from harness.compression.traced import traced
    from harness.compression.twin import Twin
    from harness.workflow.engine_latency import build

    twin = Twin(traced(deepcopy(model), _SHAPE))
    seeded = torch.Generator().manual_seed(0)
    twin.calibrate("minmax", [torch.rand(_CALIBRATION_IMAGES, *_SHAPE, generator=seeded)])
    backend, _ = choose("auto")
    build(twin, _SHAPE, backend, precision, folder)
    return folder


def _times_ms(engine: Path) -> npt.NDArray[np.float64]:
    """Measure one window; return every query's time."""
    from harness.devices.cpu import usable_cores
    from harness.measurement.client import Request, measure_engine
    from harness.progress import Silent

    with tempfile.TemporaryDirectory() as scratch:
        measured = measure_engine(Request(engine, (BATCH,), "quick", len(usable_cores())), Path(scratch), Silent())
    if measured.failures:
        raise SystemExit(f"{engine.name} could not be measured: {measured.failures[0].reason}")
    return measured.times_ms[BATCH]


if __name__ == "__main__":
    sys.exit(main())
