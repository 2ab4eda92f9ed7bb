from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.document import ResultDocument
from reports.store import StoredResult
from tests.reports.robust_results import robust

CHECKPOINT, ONNX, TABLE, ENGINE = "1a" * 32, "2b" * 32, "3c" * 32, "4d" * 32

Build = Callable[..., ResultDocument]
Store = Callable[[Path, ResultDocument], StoredResult]


def rate(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "n": 360, "ci95": [low, high]}


def values(precision: str = "int8") -> dict[str, Any]:
    """Return a whole document as plain values: a CPU without an energy sensor, few queries of batch 64."""
    quick = precision == "int8"
    return {
        "schema_version": 1,
        "id": f"9f2c41d07a3e-{precision}",
        "device_id": "cpu-6f1d2ab0",
        "created": datetime(2026, 3, 14, 9, 26, 53 if quick else 11, tzinfo=timezone.utc),
        "harness_version": "0.1.0",
        "command": "harness run digits --set measure.batch=[1,64]",
        "subject": {
            "experiment": "digits",
            "model": "small-cnn",
            "dataset": "digits",
            "backend": "openvino",
            "precision": precision,
            "sparsity": 0.5,
            "seed": 0,
            "parameters": 34122,
            "macs": 512768,
            "classes": 10,
            "input_shape": [1, 8, 8],
        },
        "lineage": [
            {"kind": "checkpoint", "sha256": CHECKPOINT, "bytes": 141210, "parents": []},
            {"kind": "onnx", "sha256": ONNX, "bytes": 152004, "parents": [CHECKPOINT]},
            {"kind": "calibration", "sha256": TABLE, "bytes": 2210, "parents": [ONNX]},
            {"kind": "engine", "sha256": ENGINE, "bytes": 61204 if quick else 139870, "parents": [ONNX, TABLE]},
        ],
        "quantization": {"calibrator": "entropy", "bits": 8, "images": "clean", "samples": 512, "keep_float": ["head"]}
        if quick
        else None,
        "environment": {
            "python": "3.11.9",
            "platform": "Linux-6.8-x86_64-glibc2.36",
            "packages": {"openvino": "2026.1.0", "numpy": "2.4.6", "onnx": "1.19.0"},
            "cpu": "Intel(R) Xeon(R) Platinum 8375C, 2 cores",
            "gpu": None,
            "driver": None,
            "jetpack": None,
        },
        "precision": {
            "int8_mac_share": 0.875 if quick else 0.0,
            "layers": [
                layer("conv1", "fp32", 64096),
                layer("conv2", precision, 448000),
                layer("linear", precision, 672),
            ],
            "source": "OpenVINO's runtime model",
            "reason": None,
        },
        "accuracy": {
            "clean": rate(0.9722, 0.9497, 0.9848) if quick else rate(0.9778, 0.9568, 0.9887),
            "reference": rate(0.9778, 0.9568, 0.9887),
            "flips": {"against": "float", "to_wrong": 3, "to_right": 1, "changed": 5},
        },
        "robustness": [
            {
                "attack": "pgd",
                "norm": "linf",
                "epsilon": 0.05,
                "settings": {"steps": 20, "step_size": 0.0125, "random_start": True, "restarts": 1},
                "worst_case": rate(0.6056, 0.5543, 0.6546) if quick else rate(0.5722, 0.5206, 0.6223),
                "arms": {
                    "transfer": {**rate(0.6389, 0.5881, 0.6868), "unique_wins": 12, "queries": 360, "seconds": 1.24},
                    "loop": {**rate(0.6167, 0.5655, 0.6655), "unique_wins": 20, "queries": 7200, "seconds": 18.7},
                },
                "warnings": ["the loop arm stopped after 20 of 40 iterations without reaching a plateau"],
            }
        ],
        "latency": [
            latency(1, 1024, 0.212 if quick else 0.431, 0.324 if quick else 0.655),
            latency(64, 80, 4.87 if quick else 13.1, None),
        ],
        "memory": {
            "engine_bytes": 61204 if quick else 139870,
            "weights_bytes": 34890 if quick else 136488,
            "device_peak_bytes": None,
            "process_peak_bytes": 213909504,
            "baseline_bytes": 181403648,
            "reasons": ["device memory: the engine runs on the CPU, whose memory is the process's"],
        },
        "energy": {
            "joules_per_inference": None,
            "source": None,
            "rails": None,
            "reason": "no energy sensor answers: RAPL is readable by root only",
        },
        "device": {
            "before": {"cpu_mhz": 3504.2, "governor": "schedutil", "temperature_c": None},
            "after": {"cpu_mhz": 3391.0, "governor": "schedutil", "temperature_c": None},
            "valid": False,
            "reasons": ["the CPU governor is schedutil, not performance"],
        },
        "warnings": ["no temperature sensor answers, so throttling cannot be excluded"],
    }


def whole() -> dict[str, Any]:
    """Return a document with all that the robustness protocol tells."""
    made = values()
    return {**made, **robust(made)}


def layer(name: str, precision: str, macs: int) -> dict[str, Any]:
    operator = "Gemm" if name == "linear" else "Conv"
    return {"name": name, "operator": operator, "precision": precision, "macs": macs, "quantized": precision == "int8"}


def latency(batch: int, n: int, p50_ms: float, p99_ms: float | None) -> dict[str, Any]:
    return {
        "batch": batch,
        "n": n,
        "threads": 2,
        "p50_ms": p50_ms,
        "p90_ms": round(p50_ms * 1.2, 3),
        "p95_ms": round(p50_ms * 1.4, 3) if p99_ms else None,
        "p99_ms": p99_ms,
        "p99_bound_ms": round(p99_ms * 1.1, 3) if p99_ms else None,
        "mean_ms": round(p50_ms * 1.05, 3),
        "throughput_per_s": round(1000 * batch / (p50_ms * 1.05), 1),
        "valid": p99_ms is not None,
        "reasons": [] if p99_ms else ["the medians of the first and the last half differ by 14 %"],
    }


@pytest.fixture
def sample() -> Build:
    """Build a realistic document; keywords replace its top-level values."""

    def build(precision: str = "int8", /, **changes: object) -> ResultDocument:
        return ResultDocument.model_validate({**values(precision), **changes})

    return build


@pytest.fixture
def hostile() -> Callable[[str], ResultDocument]:
    """Build a document all of whose strings, digests and vocabulary aside, are the given one."""

    def poisoned(value: object, text: str) -> object:
        if isinstance(value, dict):
            return {
                key if key in _KEYS else f"{text} {key}": item if key == "sha256" else poisoned(item, text)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [poisoned(item, text) for item in value]
        return text if isinstance(value, str) else value

    return lambda text: ResultDocument.model_validate(poisoned(whole(), text))


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_keys(item) for item in value.values()))
    return set().union(*(_keys(item) for item in value)) if isinstance(value, list) else set()


_ARMS = {"transfer", "loop", "query", "noise", "boundary"}
_SETTINGS = {"step_size", "random_start", "restarts", "seed", "rho", "p"}
_READINGS = {"cpu_mhz", "governor", "temperature_c"}
_KEYS = _keys(whole()) - _ARMS - (_SETTINGS - {"seed"}) - _READINGS - {"openvino", "numpy", "onnx"}


@pytest.fixture
def store() -> Store:
    """Write a document and its arrays as a result folder of a workspace."""
    return store_result


def store_result(workspace: Path, document: ResultDocument) -> StoredResult:
    folder = workspace / "results" / "cpu-6f1d2ab0" / document.id.replace("/", "_")[:20]
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    times: dict[str, Any] = {f"batch_{entry.batch}": 0.8 + rng.gamma(3.0, 0.07, entry.n) for entry in document.latency}
    for entry in document.latency:
        times[f"batch_{entry.batch}"] *= (entry.p50_ms or entry.mean_ms) / np.median(times[f"batch_{entry.batch}"])
    np.savez_compressed(folder / "latencies.npz", **times)
    labels = rng.integers(0, 10, 360)
    decisions = np.where(rng.random(360) < 0.97, labels, (labels + 1) % 10)
    np.savez_compressed(folder / "outcomes.npz", labels=labels, float_decisions=decisions, clean_decisions=decisions)
    clean = np.clip(rng.random((4, 1, 8, 8)) * np.linspace(0, 1, 8), 0, 1).astype(np.float32)
    adversarial = np.clip(clean + rng.choice([-0.05, 0.05], clean.shape), 0, 1).astype(np.float32)
    np.savez_compressed(
        folder / "images.npz",
        clean=clean,
        adversarial=adversarial,
        labels=np.arange(4),
        clean_decisions=np.arange(4),
        adversarial_decisions=np.array([8, 7, 2, 5]),
        class_names=np.array([f"digit {number}" for number in range(10)]),
    )
    (folder / "result.json").write_text(document.to_json(), encoding="utf-8")
    return StoredResult(folder, document)
