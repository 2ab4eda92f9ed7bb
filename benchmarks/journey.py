"""Run the built-in Fashion-MNIST experiments and hold their results against the project's claims.

`python benchmarks/journey.py [--workspaces DIR] [EXPERIMENT …]`; an experiment that is up to date in DIR is not run
again, and its time is then no claim.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN_AT_MOST_S = 20 * 60
BATCH = 64


@dataclass(frozen=True)
class Claim:
    """What an experiment's INT8 engine must reach."""

    clean: float
    robust: float
    int8_faster: float


CLAIMS = {
    "fashion-mnist": Claim(clean=0.865, robust=0.792, int8_faster=2.2),
    # Convolutions of 16 channels gain less from INT8.
    "fashion-mnist-pruned": Claim(clean=0.850, robust=0.775, int8_faster=1.7),
}


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", default=list(CLAIMS), metavar="EXPERIMENT", help=", ".join(CLAIMS))
    parser.add_argument("--workspaces", type=Path, default=Path("runs"), help="where the run folders lie")
    asked = parser.parse_args()
    rows = [row for name in asked.experiments for row in judge(name, asked.workspaces / name)]
    width = max(len(what) for what, _, _, _ in rows)
    for what, value, limit, holds in rows:
        print(f"{what:<{width}}  {value:>9}  {limit:>10}  {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if all(holds for *_, holds in rows) else 1


def judge(name: str, workspace: Path) -> list[tuple[str, str, str, bool]]:
    """Run one experiment and return what was claimed, found, allowed, and whether it holds."""
    claim = CLAIMS[name]
    started = time.monotonic()
    command = [sys.executable, "-m", "harness", "run", name, "--workspace", str(workspace), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.monotonic() - started
    documents = {found["subject"]["precision"]: found for found in json.loads(done.stdout)}
    int8 = documents["int8"]
    clean, robust = int8["accuracy"]["clean"], int8["robustness"][0]["worst_case"]
    ratio = p50_ms(documents["fp32"]) / p50_ms(int8)
    return [
        (f"{name}: the run", f"{seconds:.0f} s", f"<= {RUN_AT_MOST_S} s", seconds <= RUN_AT_MOST_S),
        (f"{name}: clean, n={clean['n']}", *_at_least(clean["value"], claim.clean)),
        (f"{name}: robust, n={robust['n']}", *_at_least(robust["value"], claim.robust)),
        (
            f"{name}: FP32 / INT8 p50, batch {BATCH}",
            f"{ratio:.2f}",
            f">= {claim.int8_faster:.2f}",
            ratio >= claim.int8_faster,
        ),
    ]


def _at_least(value: float, limit: float) -> tuple[str, str, bool]:
    return f"{value:.4f}", f">= {limit:.3f}", value >= limit


def p50_ms(document: dict[str, Any]) -> float:
    """Return the median of one query at the claim's batch size."""
    return next(float(entry["p50_ms"]) for entry in document["latency"] if entry["batch"] == BATCH)


if __name__ == "__main__":
    sys.exit(main())
