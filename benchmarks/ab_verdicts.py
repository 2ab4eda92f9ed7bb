"""Whether the verdicts of `harness measure --against` can be believed, on this machine, now.

`python benchmarks/ab_verdicts.py [--same 100] [--slower 20]`: the INT8 OpenVINO engine of the 8-layer CNN (the shape of
Fashion-MNIST, untrained), batch 1, against itself: the windows of one long alternation, cut into comparisons of 20
pairs as they followed each other. At most 3 of 100 may claim a difference. Then against itself with a loader that makes
every query 10 % longer, by waiting: at least 19 of 20 live comparisons must find it. `--record FILE` keeps the medians
of the first part, which the tests replay. Exits with 1 where a claim does not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from engines.engine import Array, Engine, LoadOptions

BATCH, PAIRS, WINDOW_S = 1, 20, 0.1
FALSE_LIMIT, FOUND_LIMIT = 0.03, 0.95
SLOWER = 1.1


def main() -> int:
    """Compare an engine with itself and with a slower one; print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--same", type=int, default=100, help="comparisons of an engine with itself")
    parser.add_argument("--slower", type=int, default=20, help="comparisons with one that is 10 %% slower")
    parser.add_argument("--record", type=Path, help="keep the medians here (.npz)")
    asked = parser.parse_args()

    from benchmarks.latency_agreement import _engine
    from harness.devices.cpu import usable_cores
    from harness.devices.environment import environment
    from harness.measurement.alternation import alternate
    from harness.measurement.client import Request
    from harness.measurement.verdict import verdict
    from harness.progress import Silent

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        request = Request(_engine(scratch), (BATCH,), "quick", len(usable_cores()))
        print(f"{environment().cpu}, {len(usable_cores())} threads, batch {BATCH}, windows of {WINDOW_S:g} s")
        same = alternate(request, request, BATCH, asked.same * PAIRS, scratch, Silent(), WINDOW_S)
        if asked.record is not None:
            np.savez_compressed(asked.record, ours_ms=same.ours_ms, theirs_ms=same.theirs_ms, counted=same.counted)
        words = []
        for start in range(0, asked.same * PAIRS, PAIRS):
            rows = slice(start, start + PAIRS)
            words.append(verdict(same.ours_ms[rows], same.theirs_ms[rows]).word)
        claimed = sum(word != "inconclusive" for word in words)
        believed = claimed <= FALSE_LIMIT * asked.same
        print(f"with itself: {claimed} of {asked.same} claim a difference: {'holds' if believed else 'DOES NOT HOLD'}")
        slower = replace(request, loader="benchmarks.ab_verdicts:slower")
        judged = [
            alternate(slower, request, BATCH, PAIRS, scratch, Silent(), WINDOW_S).verdict for _ in range(asked.slower)
        ]
        found = sum(each.word == "slower" for each in judged)
        holds = found >= FOUND_LIMIT * asked.slower
        ratios = sorted(each.ratio for each in judged if each.ratio is not None)
        span = f"ratios {ratios[0]:.3f} to {ratios[-1]:.3f}" if ratios else "no pair without a busy neighbour"
        print(f"10 % slower: {found} of {asked.slower} find it, {span}: {'holds' if holds else 'DOES NOT HOLD'}")
    return 0 if believed and holds else 1


def slower(folder: Path, options: LoadOptions) -> Engine:
    """Load an engine, every query of which then takes 10 % longer than the runtime's call."""
    from engines.loading import load_engine

    return Slower(load_engine(folder, options))


class Slower(Engine):
    """An engine that waits after every query."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.input_shape, engine.classes, engine.options)
        self._engine = engine

    def _activate(self) -> None:
        self._engine.__enter__()

    def _infer(self, images: Array) -> Array:
        return self._engine.infer(images)

    def _bind(self, images: Array) -> Callable[[], None]:
        run = self._engine.bind(images)

        def wait() -> None:
            start = time.perf_counter()
            run()
            end = start + SLOWER * (time.perf_counter() - start)
            while time.perf_counter() < end:
                pass

        return wait

    def _deactivate(self) -> None:
        self._engine.__exit__(None, None, None)


if __name__ == "__main__":
    sys.exit(main())
