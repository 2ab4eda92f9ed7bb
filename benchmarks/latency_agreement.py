"""Our latencies beside those of clients that others wrote, and what our loop costs.

`python benchmarks/latency_agreement.py [--rounds 20]`: the INT8 OpenVINO engine of the 8-layer CNN (the shape of
Fashion-MNIST, untrained), batch 1 and 64, on all usable cores. Every round measures it once by each client, one second
each, in turn:

- ours: the measuring process of `harness measure`, SingleStream: the timed span is the runtime's synchronous call with
  inputs in place;
- OpenVINO's `benchmark_app -api sync`, one stream, as many threads: the timed span is the same call inside OpenVINO;
- MLPerf's LoadGen, SingleStream, where `mlcommons-loadgen` is installed: the timed span is from its issue of a query to
  our report of its completion, around the same call.

A client's ratio is the median over rounds of (ours / its) p50. Then, in one process, the loop's cost: 200 queries by it
and 200 by a bare loop around the runtime's call, in turn, the difference of a query's time from start to start. Exits
with 1 where a ratio is further from 1 than 5 % at batch 64 or 15 % at batch 1, or the loop costs more than 10
microseconds a query.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np

# A script finds modules in its own folder first, and some have names of modules there.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

WINDOW_S = 1.0
LIMITS = {1: 0.15, 64: 0.05}
LOOP_LIMIT_US = 10.0

Client = Callable[[Path, int, int], float]
"""From an engine's folder, a batch size and a number of threads to a p50 in ms."""


def main() -> int:
    """Measure by every client in turn, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="how often each client measures")
    parser.add_argument("--child", nargs=3, metavar=("KIND", "ENGINE", "BATCH"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child is not None:
        return _child(*asked.child)

    from harness.devices.cpu import usable_cores
    from harness.devices.environment import environment

    threads = len(usable_cores())
    clients: dict[str, Client] = {"ours": _ours, "benchmark_app": _benchmark_app}
    if find_spec("mlperf_loadgen") is not None:
        clients["LoadGen"] = _loadgen
    place = environment()
    runtime = f"OpenVINO {place.packages['openvino']}"
    print(f"{place.cpu}, {threads} threads; {runtime}; {asked.rounds} rounds of {WINDOW_S:g} s")
    if "LoadGen" not in clients:
        print("LoadGen is not installed: pip install mlcommons-loadgen")
    holds = True
    with tempfile.TemporaryDirectory() as scratch:
        engine = _engine(Path(scratch))
        for batch, limit in LIMITS.items():
            found: dict[str, list[float]] = {name: [] for name in clients}
            for _ in range(asked.rounds):
                for name, measure in clients.items():
                    found[name].append(measure(engine, batch, threads))
            holds &= _told(batch, limit, found)
            cost = _run_child("loop", engine, batch)
            fits = cost["loop_us"] <= LOOP_LIMIT_US
            holds &= fits
            print(
                f"batch {batch:>2}: a query in our loop takes {cost['loop_us']:+.1f} us longer than in a bare one, at "
                f"most {LOOP_LIMIT_US:g}: {'holds' if fits else 'DOES NOT HOLD'}"
            )
    return 0 if holds else 1


def _told(batch: int, limit: float, found: Mapping[str, list[float]]) -> bool:
    holds = True
    for name, medians in found.items():
        line = f"batch {batch:>2}: {name:<14} p50 {np.median(medians):.4f} ms"
        if name != "ours":
            ratio = float(np.median(np.array(found["ours"]) / np.array(medians)))
            fits = abs(ratio - 1) <= limit
            holds &= fits
            line += f", ours / its {ratio:.3f}, at most {limit:.0%} from 1: {'holds' if fits else 'DOES NOT HOLD'}"
        print(line)
    return holds


def _engine(folder: Path) -> Path:
    import torch

    from harness.compression.traced import traced
    from harness.compression.twin import Twin
    from harness.models.build import build_model
    from harness.workflow.engine_latency import build

    torch.manual_seed(0)
    shape = (1, 28, 28)
    twin = Twin(traced(build_model("cnn8", None, shape, 10).eval(), shape))
    twin.calibrate("minmax", [torch.rand(64, *shape)])
    build(twin, shape, "openvino", "int8", folder / "engine")
    return folder / "engine"


def _ours(engine: Path, batch: int, threads: int) -> float:
    from harness.measurement.job import DEFAULT_LOADER, Job
    from harness.measurement.process import MeasuringProcess

    with tempfile.TemporaryDirectory() as scratch:
        job = Job(engine, batch, threads, (), 0, cuda_graph=False, loader=DEFAULT_LOADER)
        with MeasuringProcess(job, Path(scratch)) as process:
            process.import_runtime()
            process.load()
            process.warm_up()
            return float(np.median(process.window(WINDOW_S).times_ms))


def _benchmark_app(engine: Path, batch: int, threads: int) -> float:
    (model,) = engine.glob("*.xml")
    command = [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), "-d", "CPU", "-api", "sync"]
    command += ["-hint", "none", "-nstreams", "1", "-nthreads", str(threads), "-infer_precision", "f32"]
    command += ["-t", str(int(WINDOW_S)), "-shape", f"[{batch},1,28,28]", "-inference_only"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=_environment())
    found = re.search(r"Median:\s+([\d.]+) (ms|us)", shown.stdout)
    if found is None:
        raise SystemExit(f"benchmark_app told no median:\n{shown.stdout}")
    return float(found[1]) * (1.0 if found[2] == "ms" else 1e-3)


def _loadgen(engine: Path, batch: int, threads: int) -> float:
    del threads  # all usable ones, as every client here
    return float(_run_child("loadgen", engine, batch)["p50_ms"])


def _run_child(kind: str, engine: Path, batch: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", kind, str(engine), str(batch)]
    with tempfile.TemporaryDirectory() as folder:
        shown = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=True, cwd=folder, env=_environment()
        )
    found: dict[str, float] = json.loads(shown.stdout.splitlines()[-1])
    return found


def _environment() -> dict[str, str]:
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([sys.path[0], *([given] if given else [])])}


def _child(kind: str, folder: str, size: str) -> int:
    """Measure in a process of its own, without torch; print one JSON line."""
    from engines.engine import LoadOptions
    from engines.loading import load_engine
    from harness.devices.cpu import usable_cores
    from harness.measurement.window import warm_up

    batch = int(size)
    with load_engine(Path(folder), LoadOptions(batch, len(usable_cores()))) as engine:
        run = engine.bind(np.random.default_rng(0).random((batch, *engine.input_shape), dtype=np.float32))
        warm_up(run)
        print(json.dumps(_by_loadgen(run) if kind == "loadgen" else _loop_cost(run)))
    return 0


def _by_loadgen(run: Callable[[], object]) -> dict[str, float]:
    import mlperf_loadgen as loadgen

    def issue(samples: list[loadgen.QuerySample]) -> None:
        run()
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples])

    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.SingleStream
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms, settings.min_query_count = int(WINDOW_S * 1000), 1
    system, library = (
        loadgen.ConstructSUT(issue, lambda: None),
        loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None),
    )
    loadgen.StartTest(system, library, settings)
    summary = Path("mlperf_log_summary.txt").read_text(encoding="utf-8")
    found = re.search(r"50\.00 percentile latency \(ns\)\s*:\s*(\d+)", summary)
    if found is None:
        raise SystemExit(f"LoadGen told no median:\n{summary}")
    return {"p50_ms": int(found[1]) / 1e6}


def _loop_cost(run: Callable[[], object]) -> dict[str, float]:
    """Time queries by a bare loop and by ours, in turn: what one of ours takes longer, from query to query."""
    import time

    from harness.measurement.window import timed_window

    queries, rounds, costs = 200, 40, []
    for _ in range(rounds):
        start = time.monotonic_ns()
        for _ in range(queries):
            run()
        bare_ns = time.monotonic_ns() - start
        span = timed_window(run, 0.0, lambda _: None, queries=queries)
        costs.append((span.closed_ns - span.opened_ns - bare_ns) / queries)
    return {"loop_us": float(np.median(costs)) / 1e3}


if __name__ == "__main__":
    sys.exit(main())
