"""What a result of an engine on a GPU has besides: its layers, its checks, where a query's time goes."""

from __future__ import annotations

from typing import Any

HOSTILE = "conv\x1b[31m<script>alert(1)</script>"


def layer(name: str, kind: str, precision: str, time_ms: float | None) -> dict[str, Any]:
    form = {"name": "t", "datatype": precision, "format": "CHW32"}
    return {
        "name": name,
        "kind": kind,
        "precision": precision,
        "inputs": [form],
        "outputs": [{**form, "datatype": "fp32", "format": "LINEAR"}],
        "onnx_nodes": [name],
        "tactic": None,
        "time_ms": time_ms,
    }


ON_A_GPU: dict[str, Any] = {
    "layers": {
        "layers": [layer(HOSTILE, "correlation", "int8", 0.041), layer("copy", "Reformat", "fp32", None)],
        "layer_share": {"int8": 0.5, "fp32": 0.5},
        "reformat_count": 1,
        "reformat_time_share": 0.125,
        "batch": 64,
    },
    "checks": {
        "agreement": {
            "images": 64,
            "changed_decisions": 1,
            "error": 0.00167,
            "limit": 0.0769,
            "changed_limit": 4,
            "reference": "ONNX Runtime, node by node, on the graph it was built from",
        },
        "rows": {"rows": 16, "images": 4, "unequal": 0, "largest": 0.0, "limit": 0.23},
        "batches": {"batch": 16, "images": 16, "changed_decisions": 2, "largest": 0.011, "limit": 0.23},
        "rebuilds": {
            "builds": 3,
            "images": 64,
            "differing_decisions": 5,
            "largest": 0.2,
            "limit": 0.23,
            "files_differ": True,
        },
    },
}
SPANS = {"h2d_ms": 0.021, "compute_ms": 0.412, "d2h_ms": 0.0123, "enqueue_ms": 0.0911}
TOLD = (
    "2 layers at batch 64, 1 of them reformatting (12.5 % of the time)",
    "against ONNX Runtime, node by node, on the graph it was built from: error 0.00167 of the scores' spread (limit "
    "0.0769), 1 of 64 decisions changed (limit 4)",
    "one image in every row of a batch of 16: equal scores",
    "batches of 1 and of 16: scores up to 0.0110 apart (limit 0.230), 2 of 16 decisions changed",
    "3 builds: scores up to 0.200 apart (limit 0.230), 5 of 64 decisions differ, their files differ",
    "copy in 0.0210, kernels 0.412, copy out 0.0123, enqueue 0.0911 ms (medians of single queries); the window ran "
    "CUDA graphs",
)
"""The sentences of it that every report has."""


def on_a_gpu(values: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that make a result one of an engine on a GPU."""
    first, *others = values["latency"]
    return {**ON_A_GPU, "latency": [{**first, "spans": SPANS, "cuda_graph": True}, *others]}
