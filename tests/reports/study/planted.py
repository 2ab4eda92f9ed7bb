"""A study document with planted numbers: plausible, and measured by nobody."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

import numpy as np

from reports.study.document import StudyDocument

ROBUSTNESS = "robustness[attack=pgd,epsilon=0.05].worst_case"
_IMAGES = 10_000


def planted(seeds: int = 3, **changes: Any) -> StudyDocument:
    """Return the paper's grid on Fashion-MNIST: int4 and below on the twin alone, one cell failed, some missing."""
    return StudyDocument.from_json({**planted_values(seeds), **changes})


def planted_values(seeds: int = 3) -> dict[str, Any]:
    draws = np.random.default_rng(0)
    cells = [cell(*kind, seed, draws) for kind in _kinds() for seed in range(seeds)]
    failed = next(entry for entry in cells if entry["id"].startswith("robust-prune-0.6-"))
    _empty(failed, "failed", "training diverged: the loss of epoch 2 is not finite")
    for entry in cells:
        if entry["id"].startswith("standard-quantize-int2-adversarial"):
            _empty(entry, "missing", "not run yet")
    return {
        "schema_version": 1,
        "created": datetime(2026, 3, 14, 9, 26, tzinfo=timezone.utc).isoformat(),
        "harness_version": "0.1.0",
        "command": "harness study run --set study.seeds=[0,1,2]",
        "environment": {
            "simulated": True,
            "note": "planted numbers: nothing was measured",
            "cpu": "Planted CPU, 2 cores",
            "gpu": None,
            "packages": {"openvino": "2026.1.0", "numpy": "2.4.6"},
        },
        "dataset": "fashion-mnist",
        "cells": cells,
        "features": None,
    }


def planted_features(panels: int = 2, points: int = 400) -> dict[str, Any]:
    draws = np.random.default_rng(1)
    names = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    labels = draws.integers(0, 10, points)
    turn = labels * 0.628
    centres = np.stack([np.cos(turn), np.sin(turn)], 1) * 30
    made = [
        {
            "title": f"planted panel {number}",
            "classes": names,
            "points": [
                [float(x), float(y), int(label)]
                for (x, y), label in zip(centres + draws.normal(0, 5, centres.shape), labels, strict=True)
            ],
        }
        for number in range(panels)
    ]
    return {"panels": made}


def rate(value: float) -> dict[str, Any]:
    half = 1.96 * math.sqrt(value * (1 - value) / _IMAGES)
    return {"value": value, "n": _IMAGES, "ci95": [max(0.0, value - half), min(1.0, value + half)]}


def cell(base: str, sparsity: float, bits: int, finetune: str, seed: int, draws: np.random.Generator) -> dict[str, Any]:
    """Return one finished cell; accuracy falls with sparsity and collapses at four bits and fewer."""
    collapsed = bits <= 4
    clean = 0.1 if bits <= 2 else 0.45 if collapsed else 0.90 - 0.06 * sparsity**3
    attacked = {"none": 0.05 if base == "standard" else 0.7, "standard": 0.25, "adversarial": 0.82}[finetune]
    robust = min(clean, attacked - 0.08 * sparsity**3 - (0.0 if base == "robust" else 0.03))
    clean, robust = (float(np.clip(value + draws.normal(0, 0.006), 0.001, 0.999)) for value in (clean, robust))
    compression = "+".join(["prune"] * (sparsity > 0) + ["quantize"] * (bits < 32)) or "none"
    levels = [f"{sparsity:g}"] * (sparsity > 0) + [f"int{bits}"] * (bits < 32)
    deployed = bits >= 8 and bits != 16
    question = {"protocol": "paper", "attack": "pgd", "norm": "linf", "epsilon": 0.05}
    precision = "fp32" if bits == 32 else f"int{bits}"
    asked = [{**question, "on": "twin", "target": f"twin-{precision}", "clean": rate(clean), "robust": rate(robust)}]
    latency = (2.1 if bits == 32 else 0.8) * (1 - 0.8 * sparsity) * float(draws.uniform(0.95, 1.05))
    quantities: dict[str, float | None] = {
        "accuracy.clean": clean,
        ROBUSTNESS: robust,
        "latency[batch=1].p50_ms": latency,
        "latency[batch=1].p99_ms": latency * 1.4,
        "latency[batch=64].p50_ms": latency * 30,
        "memory.engine_bytes": int(2_200_000 * (1 - sparsity) ** 1.7 * bits / 32) + 20_000,
        "memory.process_peak_bytes": int(181e6 + 4e7 * (1 - sparsity)),
    }
    if deployed:
        on_engine = {"on": "engine", "target": f"openvino-{precision}"}
        asked.append({**question, **on_engine, "clean": rate(clean - 0.001), "robust": rate(robust - 0.001)})
    else:
        quantities = dict.fromkeys(quantities)
    return {
        "id": "-".join([base, compression, *levels, finetune, f"seed{seed}"]),
        "base": base,
        "compression": compression,
        "sparsity": sparsity,
        "bits": bits,
        "quantization": "post-training" if bits < 32 else None,
        "finetune": finetune,
        "seed": seed,
        "parameters": int(550_000 * (1 - sparsity) ** 1.7),
        "macs": int(14_000_000 * (1 - sparsity) ** 1.7),
        "finetune_passes": None if finetune == "none" else 3 * (21 if finetune == "adversarial" else 1),
        "evaluations": [{**entry, "result": None} for entry in asked],
        "result": f"results/{base}/result.json" if deployed else None,
        "quantities": quantities,
        "state": "finished",
        "reason": None,
    }


def _kinds() -> list[tuple[str, float, int, str]]:
    levels = [(0.0, 32), *((tenth / 10, 32) for tenth in range(1, 10)), (0.8, 8)]
    levels += [(0.0, bits) for bits in (16, 8, 4, 2, 1)]
    return [
        (base, sparsity, bits, finetune)
        for base in ("standard", "robust")
        for sparsity, bits in levels
        for finetune in ("none", "standard", "adversarial")
        if (sparsity, bits) != (0.0, 32) or finetune == "none"
    ]


def _empty(entry: dict[str, Any], state: str, reason: str) -> None:
    entry |= {"evaluations": [], "quantities": {}, "result": None, "state": state, "reason": reason}
