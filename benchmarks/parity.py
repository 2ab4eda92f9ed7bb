"""Hold five trained networks' INT8 graphs against the torch models that they were exported from.

`python benchmarks/parity.py [--models cnn8,…] [--workspace DIR] [--again]`. A network without a checkpoint in
DIR/<model> is trained first, on Fashion-MNIST. What was found is kept in DIR/<model>/parity.json and taken from there
while the checkpoint is the same.

What is shown:
- node by node, on the same inputs: `harness.compression.parity`;
- end to end, on the test images. A sum on the edge of a quantizer's step goes to either side by the order in which a
  runtime adds, so that scores of a few images differ between any two runtimes; torch's own do not change with the batch
  size on all machines, and are no measure of it. The measure is the twin in float64, whose sums have no error that
  matters: the graph may be no further from that than the float32 twin is;
- TensorRT-RTX's parser and builder take the graph. Without a GPU the engine is never run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

# A script finds modules in its own folder first, where `calibration` is another benchmark and not the package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.parity_of_a_network import DATA, Found, measure
from contracts.files import read_json, sha256_file, write_json

TRAINING = {
    "cnn8": ("train.epochs=4", "train.learning_rate=0.1"),
    "resnet18": ("train.epochs=1", "train.learning_rate=0.1"),
    "mobilenet-v2": ("train.epochs=3", "train.learning_rate=0.1"),
    "inception": ("train.epochs=3", "train.learning_rate=0.1"),
    "vit-tiny": ("train.epochs=6", "train.learning_rate=0.02"),
}
CHECKPOINT = Path("checkpoints/base/weights.safetensors")

LARGEST_AT_MOST = 1e-5
ONE_STEP_AT_MOST = 1e-4
EQUAL_AT_LEAST = {"cnn8": 0.9995}
EQUAL_AT_LEAST_ELSE = 0.998
FURTHER_FROM_EXACT_AT_MOST = 1.5
POST_TRAINING = ("cnn8", "resnet18")
DROP_AT_MOST, FLIPS_AT_MOST = 0.0015, 0.006


def main() -> int:
    """Measure model by model, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(TRAINING), help=f"default {','.join(TRAINING)}")
    parser.add_argument("--workspace", type=Path, default=Path("runs/benchmark-parity"))
    parser.add_argument("--again", action="store_true", help="measure also what is up to date")
    asked = parser.parse_args()
    found = {}
    for model in asked.models.split(","):
        found[model] = measured(model, asked.workspace / model, again=asked.again)
        print(f"{model} compared", file=sys.stderr, flush=True)
    show(found)
    rows = [row for model, each in found.items() for row in judge(model, each)]
    width = max(len(what) for what, _, _, _ in rows)
    for what, value, limit, holds in rows:
        print(f"{what:<{width}}  {value:>12}  {limit:>12}  {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if all(holds for *_, holds in rows) else 1


def judge(model: str, found: Found) -> list[tuple[str, str, str, bool]]:
    """Return what is claimed, found, allowed, and whether it holds."""
    equal = EQUAL_AT_LEAST.get(model, EQUAL_AT_LEAST_ELSE) * found.images
    ratio = found.graph_exact / max(found.twin_exact, 1e-4)
    one_step = found.one_step / found.values
    alone, of_all = found.quantizers + found.alone, found.of_quantizers + found.layers
    rows = [
        ("quantizers and layers compared", f"{alone}", f"{of_all}", alone == of_all),
        (
            "largest difference of a step",
            f"{found.largest:.1e}",
            f"<= {LARGEST_AT_MOST:.0e}",
            found.largest <= LARGEST_AT_MOST,
        ),
        (
            "quantized values one step apart",
            f"{one_step:.4%}",
            f"<= {ONE_STEP_AT_MOST:.2%}",
            one_step <= ONE_STEP_AT_MOST,
        ),
        ("quantized values further apart", f"{found.further}", "0", found.further == 0),
        (
            "images decided alike",
            f"{found.equal * found.images:.0f}",
            f">= {equal:.0f}",
            found.equal * found.images >= equal,
        ),
        (
            "graph / twin from exact sums",
            f"{ratio:.2f}",
            f"<= {FURTHER_FROM_EXACT_AT_MOST}",
            ratio <= FURTHER_FROM_EXACT_AT_MOST,
        ),
    ]
    if model in POST_TRAINING:
        drop, flips = found.clean_float - found.clean_int8, found.flips / found.images
        rows += [
            ("clean drop, points", f"{100 * drop:.2f}", f"<= {100 * DROP_AT_MOST:.2f}", drop <= DROP_AT_MOST),
            ("flips", f"{flips:.2%}", f"<= {FLIPS_AT_MOST:.2%}", flips <= FLIPS_AT_MOST),
        ]
    if found.engine_s is not None:
        rows.append(("TensorRT-RTX builder, no GPU, never run", found.refusal or "builds", "builds", not found.refusal))
    return [(f"{model}: {what}", value, limit, holds) for what, value, limit, holds in rows]


def show(found: dict[str, Found]) -> None:
    """Print everything that was found, a column a network."""
    lines: dict[str, Callable[[Found], str]] = {
        "steps compared, of so many operators": lambda each: f"{each.steps} of {each.operators}",
        "quantizers compared": lambda each: f"{each.quantizers} of {each.of_quantizers}",
        "layers compared": lambda each: f"{each.alone} of {each.layers}",
        "largest difference of a step": lambda each: f"{each.largest:.1e}",
        "quantized values compared": lambda each: f"{each.values:,}",
        "one step apart / further": lambda each: f"{each.one_step} / {each.further}",
        "test images decided alike": lambda each: f"{each.equal * each.images:.0f} of {each.images}",
        "scores moved, twin batch 125 to 1000": lambda each: f"{each.batch_moved:.2%}",
        "scores moved, twin to graph": lambda each: f"{each.graph_moved:.2%}",
        "scores moved, exact sums to twin": lambda each: f"{each.twin_exact:.2%}",
        "scores moved, exact sums to graph": lambda each: f"{each.graph_exact:.2%}",
        "clean accuracy, float": lambda each: f"{each.clean_float:.2%}",
        "clean accuracy, INT8": lambda each: f"{each.clean_int8:.2%}",
        "drop in points": lambda each: f"{100 * (each.clean_float - each.clean_int8):.2f}",
        "flips": lambda each: f"{each.flips}",
        "TensorRT-RTX engine, bytes (no GPU, never run)": lambda each: (
            "-" if each.engine_bytes is None else f"{each.engine_bytes:,}"
        ),
        "TensorRT-RTX build, s": lambda each: "-" if each.engine_s is None else f"{each.engine_s:.1f}",
    }
    width, column = max(map(len, lines)), max(14, *map(len, found))
    print(" " * width, *(f"{model:>{column}}" for model in found))
    for what, value in lines.items():
        print(f"{what:<{width}}", *(f"{value(each):>{column}}" for each in found.values()))
    print()


def measured(model: str, folder: Path, *, again: bool) -> Found:
    """Return what a network shows, from its folder if it was measured before."""
    checkpoint, kept = folder / CHECKPOINT, folder / "parity.json"
    if not checkpoint.exists():
        settings = [part for each in (f"model.name={model}", *TRAINING[model]) for part in ("--set", each)]
        command = [sys.executable, "-m", "harness", "train", DATA, "--workspace", str(folder), *settings]
        subprocess.run(command, check=True)
    digest = sha256_file(checkpoint)
    if kept.exists() and not again:
        stored = read_json(kept, "parity")
        if stored.pop("checkpoint") == digest and stored.keys() == Found.__dataclass_fields__.keys():
            return Found(**stored)
    found = measure(model, checkpoint)
    write_json(kept, {"checkpoint": digest, **asdict(found)})
    return found


if __name__ == "__main__":
    sys.exit(main())
