"""Hold the calibrators against those of ONNX Runtime and, where it is installed, of NVIDIA's modelopt.

`python benchmarks/calibrators.py [--model cnn8] [--workspace DIR]`: one trained network, the same 512 calibration
images, the same machine, every time taken three times in turn with the others'. It trains the network where DIR has
none, and uses the CPU alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import calibrator_peers as peers
import numpy as np

from calibration.graphs.float_graph import FloatGraph
from calibration.graphs.insert import insert

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from harness.workflow.context import Context

IMAGES = 512
ROUNDS = 3
BATCH = 64
TEST_BATCH = 500
ENTROPY_FASTER = 5.0
CLEAN_LOST_AT_MOST = 0.001
FLOAT, TWIN, ONNX, SEARCH = "float", "ours, torch twin", "ours, ONNX", "ORT calibrator"

STATIC = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
MODELOPT = {"minmax": "max", "entropy": "entropy"}


@dataclass(frozen=True)
class Made:
    """An INT8 graph and what it took.

    Attributes:
        graph: explicit Q/DQ.
        ranges_s: from the images to the ranges, the network's own time included; None where it is not told apart.
        graph_s: from the float graph and the images to the INT8 graph; None where others wrote the graph.
    """

    graph: onnx.ModelProto
    ranges_s: float | None
    graph_s: float | None


@dataclass
class Row:
    """One contestant of one method."""

    method: str
    who: str
    make: Callable[[], Made]
    made: list[Made] = field(default_factory=list)
    clean: float = 0.0
    flips: int = 0

    def times(self, which: str) -> list[float]:
        """Return the times under that name, [] where there are none."""
        return [seconds for made in self.made if (seconds := getattr(made, which)) is not None]


@dataclass(frozen=True)
class Subject:
    """What all contestants are given.

    Attributes:
        model: in evaluation mode.
        shape: channels, height, width.
        images: float32 (512, channels, height, width) in [0, 1].
        ids: which images of the training split.
        given: the float graph.
        path: where it lies.
    """

    model: nn.Module
    shape: tuple[int, int, int]
    images: Any
    ids: tuple[int, ...]
    given: FloatGraph
    path: Path

    def batches(self) -> Iterator[Any]:
        """Yield the calibration images."""
        for start in range(0, len(self.images), BATCH):
            yield self.images[start : start + BATCH]


def main() -> int:
    """Train, calibrate in turn, evaluate, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cnn8")
    parser.add_argument("--workspace", type=Path, help="runs/benchmark-calibration/MODEL if left out")
    asked = parser.parse_args()
    context = trained(asked.model, asked.workspace or Path("runs/benchmark-calibration") / asked.model)
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        subject = prepared(context, Path(scratch))
        rows = contestants(subject, Path(scratch))
        for method in dict.fromkeys(row.method for row in rows):
            in_turn([row for row in rows if row.method == method])
    load_after = os.getloadavg()[0]
    reference = evaluated(rows, subject.given.model, context)
    packages = ("onnxruntime", "torch", "numpy", "nvidia-modelopt")
    print(f"{asked.model}, {len(subject.images)} images, {len(subject.given.activations)} activations, {machine()}")
    print(", ".join(f"{name} {version(name)}" for name in packages), end="; ")
    print(f"load {load_before:.1f} before and {load_after:.1f} after the timings\n")
    print_table(rows, reference)
    claims = list(judged(rows))
    width = max(len(what) for what, *_ in claims)
    print()
    for what, value, limit, holds in claims:
        print(f"{what:<{width}}  {value:>9}  {limit:>10}  {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if all(holds for *_, holds in claims) else 1


def trained(model: str, workspace: Path) -> Context:
    """Return the experiment in a run folder, with its base checkpoint in it."""
    from harness.progress import Silent
    from harness.workflow.context import Context
    from harness.workflow.settings import resolve

    if not (workspace / "checkpoints" / "base").exists():
        command = [sys.executable, "-m", "harness", "train", "fashion-mnist", "--workspace", str(workspace)]
        subprocess.run([*command, "--set", f"model.name={model}"], check=True)
    resolved = resolve("fashion-mnist", workspace, [])
    if (held := resolved.experiment.model.name) != model:
        sys.exit(f"{workspace} holds {held}, not {model}: choose another --workspace")
    return Context(resolved.name, resolved.experiment, workspace, None, Silent(), "")


def prepared(context: Context, scratch: Path) -> Subject:
    """Return the network, its float graph and the images."""
    import onnx

    from harness.data.calibration_part import calibration_indices
    from harness.models.onnx_graph import export
    from harness.workflow import saved_models
    from harness.workflow.artifact import read_artifact

    base = read_artifact(context.folder / "checkpoints" / "base")
    assert base is not None
    model = saved_models.load(context, base).requires_grad_(False)
    channels, height, width = base.info("input_shape")
    train = context.data.train
    shown = calibration_indices(train.labels, IMAGES, context.experiment.seed)
    graph = export(model, (channels, height, width), {})
    path = scratch / "float.onnx"
    onnx.save(graph, str(path))
    ids = tuple(shown.tolist())
    return Subject(model, (channels, height, width), train.images[shown], ids, FloatGraph.of(graph), path)


def contestants(subject: Subject, scratch: Path) -> list[Row]:
    """Return who takes part, method by method."""
    rows: list[Row] = []
    modelopt = peers.Modelopt() if peers.modelopt_installed() else None
    for method in ("minmax", "percentile", "entropy", "mse"):
        rows.append(Row(method, TWIN, partial(by_twin, subject, method)))
        rows.append(Row(method, ONNX, partial(by_graph, subject, method)))
        if method in STATIC:
            rows.append(Row(method, SEARCH, partial(by_their_ranges, subject, STATIC[method], scratch)))
        # mse has no peer of its own and is held against their entropy, a search over a histogram too.
        static = STATIC.get(method, STATIC["entropy"])
        rows.append(Row(method, f"quantize_static {static}", partial(by_quantize_static, subject, static, scratch)))
        if method == "percentile":  # our default against theirs
            rows.append(Row(method, "quantize_static()", partial(by_quantize_static, subject, None, scratch)))
        if method in MODELOPT and modelopt is not None:
            theirs = MODELOPT[method]
            rows.append(Row(method, f"modelopt {theirs}", partial(by_modelopt, subject, theirs, modelopt, scratch)))
    return rows


def by_twin(subject: Subject, method: str) -> Made:
    """Calibrate a torch model and export it."""
    import torch

    from calibration.graphs.qdq import store_integer_weights, translations
    from harness.compression.traced import traced
    from harness.compression.twin import Twin
    from harness.models.onnx_graph import export

    twin = Twin(traced(subject.model, subject.shape))
    started = time.perf_counter()
    twin.calibrate(method, (torch.from_numpy(batch) for batch in subject.batches()))
    twin.table(method, "clean", subject.ids)
    ranges_s = time.perf_counter() - started
    # Export is no part of quantization: their graphs are exported before it.
    return Made(store_integer_weights(export(twin, subject.shape, translations())), ranges_s, None)


def by_graph(subject: Subject, method: str) -> Made:
    """Calibrate a float graph and insert Q/DQ."""
    from engines.onnxruntime import activations

    started = time.perf_counter()
    given = FloatGraph.of(subject.given.model)
    run = activations(given.model, given.activations)
    calibrating = time.perf_counter()
    table = given.calibrate(run, subject.batches(), method, "clean", subject.ids)
    ranges_s = time.perf_counter() - calibrating
    return Made(given.quantized(table), ranges_s, time.perf_counter() - started)


def by_their_ranges(subject: Subject, method: str, scratch: Path) -> Made:
    """Put the ranges of ONNX Runtime's calibrators where ours go: what differs is the range alone."""
    given = subject.given
    ranges, seconds = peers.ranges(method, subject.path, given.activations, subject.batches(), scratch)
    scales = {name: max(reach, 1e-8) / 127 for name, reach in ranges.items()}
    return Made(insert(given.model, given.places, scales), seconds, None)


def by_quantize_static(subject: Subject, method: str | None, scratch: Path) -> Made:
    """Let ONNX Runtime calibrate and write its own graph."""
    started = time.perf_counter()
    graph = peers.quantize_static(method, subject.path, subject.batches(), scratch)
    return Made(graph, None, time.perf_counter() - started)


def by_modelopt(subject: Subject, method: str, modelopt: peers.Modelopt, scratch: Path) -> Made:
    """Let modelopt calibrate and write its own graph."""
    graph, seconds = modelopt.quantize(method, subject.path, subject.images, scratch)
    return Made(graph, None, seconds)


def in_turn(rows: Sequence[Row]) -> None:
    """Run the contestants one after another, again and again, so that what else the machine does meets them all."""
    for row in rows:
        row.make()  # imports and caches
    for _ in range(ROUNDS):
        for row in rows:
            row.made.append(row.make())


def evaluated(rows: Sequence[Row], reference: onnx.ModelProto, context: Context) -> float:
    """Fill in accuracy and flips of every row, and return the float graph's accuracy.

    ONNX Runtime runs all graphs node by node as they are written: no optimizer decides what is really quantized.
    """
    test = context.data.test
    decided = decisions(reference, test.images)
    for row in rows:
        found = decisions(row.made[-1].graph, test.images)
        row.clean = float(np.mean(found == test.labels))
        row.flips = int(np.sum(found != decided))
    return float(np.mean(decided == test.labels))


def decisions(graph: onnx.ModelProto, images: Any) -> Any:
    """Return the class that a graph decides for, of every image."""
    from engines.onnxruntime import session

    running = session(graph, optimise=False)
    name = running.get_inputs()[0].name
    batches = (images[start : start + TEST_BATCH] for start in range(0, len(images), TEST_BATCH))
    return np.concatenate([running.run(None, {name: batch})[0].argmax(axis=1) for batch in batches])


def judged(rows: Sequence[Row]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield what is claimed, found, allowed, and whether it holds: our rows against the peers' of the same method."""
    for method in dict.fromkeys(row.method for row in rows):
        group = [row for row in rows if row.method == method]
        ours = [row for row in group if row.who in {TWIN, ONNX}]
        theirs = [row for row in group if row.who not in {TWIN, ONNX}]
        for mine in ours:
            for peer in theirs:
                yield from compared(mine, peer)


def compared(mine: Row, peer: Row) -> Iterator[tuple[str, str, str, bool]]:
    """Hold one of ours against one peer."""
    against = f"{mine.method}: {mine.who} against {peer.who}"
    needed = ENTROPY_FASTER if (peer.method, peer.who) == ("entropy", SEARCH) else 1.0
    which = "graph_s" if mine.who == ONNX and peer.times("graph_s") else "ranges_s"
    theirs = peer.times("ranges_s") if peer.who == SEARCH else peer.times("graph_s")
    if peer.who != SEARCH or needed > 1.0:
        ratio = min(theirs) / min(mine.times(which))
        yield f"{against}: times faster", f"{ratio:.2f}", f">= {needed:.2f}", ratio >= needed
    if mine.method != "mse":
        lost = peer.clean - mine.clean
        yield f"{against}: clean lost", f"{lost:+.4f}", f"<= {CLEAN_LOST_AT_MOST:.4f}", lost <= CLEAN_LOST_AT_MOST
        yield f"{against}: flips", str(mine.flips), f"<= {peer.flips}", mine.flips <= peer.flips


def print_table(rows: Sequence[Row], reference: float) -> None:
    """Print what was found, seconds as least / median."""
    print(f"{'method':<10}  {'by':<26}  {'ranges s':>13}  {'graph s':>13}  {'clean':>6}  flips")
    print(f"{'':<10}  {FLOAT:<26}  {'':>13}  {'':>13}  {reference:.4f}  {0:>5}")
    for row in rows:
        times = (f"{_least_and_median(row.times(which)):>13}" for which in ("ranges_s", "graph_s"))
        print(f"{row.method:<10}  {row.who:<26}  {'  '.join(times)}  {row.clean:.4f}  {row.flips:>5}")


def _least_and_median(times: Sequence[float]) -> str:
    return f"{min(times):.2f} / {statistics.median(times):.2f}" if times else "-"


def machine() -> str:
    """Return the processor's name and its cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def version(package: str) -> str:
    """Return a package's version, or that it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    sys.exit(main())
