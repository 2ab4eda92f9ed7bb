"""What came of a cell, as the study's document tells it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.files import read_json
from harness.study.cell import Cell
from harness.study.folder import StudyFolder
from harness.workflow.artifact import Artifact
from reports.address import parse_address, resolve

RESULT = "result.json"

_QUANTITIES = ("accuracy.clean", "memory.engine_bytes", "memory.weights_bytes", "memory.process_peak_bytes")
_PERCENTILES = ("p50_ms", "p99_ms")


def of_twin(cell: Cell, final: Artifact, judged: Artifact) -> Mapping[str, Any]:
    """Return the outcome of a cell whose number format no engine has: what the twin decides."""
    (stage,) = judged.info("stages")
    settings = judged.manifest["settings"]
    evaluation = {
        "protocol": "paper",
        **{name: settings[name] for name in ("attack", "norm", "epsilon")},
        "on": "twin",
        "target": f"twin-{cell.number_format}",
        "clean": stage["clean"],
        "robust": stage["robust"],
        "result": None,
    }
    quantities = {
        "accuracy.clean": stage["clean"]["value"],
        _robust(evaluation): stage["robust"]["value"],
    }
    return {**_model(final), "evaluations": [evaluation], "result": None, "quantities": quantities}


def of_engine(cell: Cell, final: Artifact, results: Mapping[str, Path], folder: StudyFolder) -> Mapping[str, Any]:
    """Return the outcome of a cell from the result documents of its engine, by protocol."""
    del cell
    evaluations, quantities = [], dict[str, float | None]()
    for protocol, place in results.items():
        document: dict[str, Any] = read_json(place / RESULT, "result document")
        for entry in document["robustness"]:
            evaluation = {
                "protocol": protocol,
                **{name: entry[name] for name in ("attack", "norm", "epsilon")},
                "on": "engine",
                "target": f"{document['subject']['backend']}-{document['subject']['precision']}",
                "clean": document["accuracy"]["clean"],
                "robust": entry["worst_case"],
                "result": folder.relative(place / RESULT),
            }
            evaluations.append(evaluation)
            quantities.setdefault(_robust(evaluation), entry["worst_case"]["value"])
    first = read_json(results["paper"] / RESULT, "result document")
    latencies = [f"latency[batch={each['batch']}].{name}" for each in first["latency"] for name in _PERCENTILES]
    for address in (*_QUANTITIES, *latencies):
        quantities[address] = resolve(first, parse_address(address)).value
    return {
        **_model(final),
        "evaluations": evaluations,
        "result": folder.relative(results["paper"] / RESULT),
        "quantities": quantities,
    }


def _model(final: Artifact) -> dict[str, Any]:
    info = final.manifest["info"]
    return {
        "parameters": info["parameters"],
        "macs": info["macs"],
        "finetune_passes": info.get("gradient_passes"),
    }


def _robust(evaluation: Mapping[str, Any]) -> str:
    return f"robustness[attack={evaluation['attack']},epsilon={evaluation['epsilon']:g}].worst_case"
