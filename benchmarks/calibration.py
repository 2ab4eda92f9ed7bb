"""Hold the calibrators against those of ONNX Runtime and, where it is installed, of NVIDIA's modelopt.

`python benchmarks/calibration.py [--model cnn8] [--workspace DIR]`: one trained network, the same 512 calibration
images, the same machine, every time taken three times in turn with the others'. It trains the network where DIR has
none, and uses the CPU alone.

What is held against what: our ranges against those of ONNX Runtime's calibrators at the same resolution, for the same
tensors and in the same graph; our time and our graph against `quantize_static` as it comes; our default against its
default; our graph with the same layers in float against modelopt's. Flips are images that the INT8 graph decides
differently from the float graph. Of flips we may have more than a peer by as many as chance gives one time in twenty
(a sign test on the images that only one of the two flips).
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
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

# A script finds modules in its own folder first, and this one has the name of the package that it measures.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from benchmarks import calibrator_peers as peers
from benchmarks.calibrator_claims import judged
from benchmarks.calibrator_contestants import Row, Subject, contestants
from calibration.graphs.float_graph import FloatGraph

if TYPE_CHECKING:
    import onnx

    from harness.workflow.context import Context

IMAGES = 512
ROUNDS = 3
TEST_BATCH = 500

COARSE = """Of the 128 bins over [-peak, peak] that quantize_static chooses, ONNX Runtime's entropy search has one
candidate, the peak: its graph is MinMax's. modelopt's, whose bins grow in number from batch to batch, is close to max.
So flips of entropy are held against those at equal resolution alone."""


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
    print_table(rows, reference, subject.export_s)
    print(f"\n{COARSE}")
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
    export(model, (channels, height, width), {})  # imports
    started = time.perf_counter()
    graph = export(model, (channels, height, width), {})
    export_s = time.perf_counter() - started
    path = scratch / "float.onnx"
    onnx.save(graph, str(path))
    ids = tuple(shown.tolist())
    return Subject(model, (channels, height, width), train.images[shown], ids, FloatGraph.of(graph), path, export_s)


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
        row.flipped = found != decided
    return float(np.mean(decided == test.labels))


def decisions(graph: onnx.ModelProto, images: Any) -> Any:
    """Return the class that a graph decides for, of every image."""
    from engines.onnxruntime.session import session

    running = session(graph, optimise=False)
    name = running.get_inputs()[0].name
    batches = (images[start : start + TEST_BATCH] for start in range(0, len(images), TEST_BATCH))
    return np.concatenate([running.run(None, {name: batch})[0].argmax(axis=1) for batch in batches])


def print_table(rows: Sequence[Row], reference: float, export_s: float) -> None:
    """Print what was found, seconds as least / median."""
    times = ("ranges_s", "graph_s", "export_s")
    heads = "  ".join(f"{name.replace('_', ' '):>13}" for name in times)
    print(f"{'method':<10}  {'by':<26}  {heads}  {'clean':>6}  flips")
    print(f"{'':<10}  {'float':<26}  {'':>13}  {'':>13}  {export_s:>13.2f}  {reference:.4f}")
    for row in rows:
        seconds = "  ".join(f"{_least_and_median(row.times(which)):>13}" for which in times)
        print(f"{row.method:<10}  {row.who:<26}  {seconds}  {row.clean:.4f}  {row.flips:>5}")
    if not peers.modelopt_installed():
        print(f"{'':<10}  {'modelopt':<26}  not installed")


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
