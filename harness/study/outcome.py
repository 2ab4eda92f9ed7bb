"""What came of a cell, as the study's document tells it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.files import read_json
from harness.study.cell import Cell
from harness.study.folder import StudyFolder
from harness.workflow.artifact import Artifact, ancestors, read_artifact
from harness.workflow.stages.assemble import training_signs
from reports.address import parse_address, resolve

RESULT = "result.json"
PAPER, STRONG = "paper", "strong"

_QUANTITIES = ("accuracy.clean", "memory.engine_bytes", "memory.weights_bytes", "memory.process_peak_bytes")
_PERCENTILES = ("p50_ms", "p99_ms")


def of_model(base: Artifact, final: Artifact, folder: Path) -> dict[str, Any]:
    """Return what is known of a cell's model itself, and what its trainings warned of.

    Args:
        base: the base model as it was trained.
        final: the cell's final checkpoint.
        folder: the cell's run folder.
    """
    info = final.manifest["info"]
    return {
        "parameters": info["parameters"],
        "macs": info["macs"],
        "finetune_passes": info.get("gradient_passes"),
        "warnings": training_signs([base, *_before(final, folder), final]),
    }


def of_twin(cell: Cell, judged: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return the outcome of a cell whose number format no engine has: what the twin decides, by protocol."""
    evaluations = []
    for protocol, artifact in judged.items():
        (stage,) = artifact.info("stages")
        settings = artifact.manifest["settings"]
        evaluations.append(
            {
                "protocol": protocol,
                **{name: settings[name] for name in ("attack", "norm", "epsilon")},
                "on": "twin",
                "target": f"twin-{cell.number_format}",
                "clean": stage["clean"],
                "robust": stage["robust"],
                "result": None,
            }
        )
    quantities = {"accuracy.clean": evaluations[0]["clean"]["value"]}
    for evaluation in evaluations:
        quantities.setdefault(_robust(evaluation), evaluation["robust"]["value"])
    return {"evaluations": evaluations, "result": None, "quantities": quantities}


def of_engine(results: Mapping[str, Path], folder: StudyFolder) -> dict[str, Any]:
    """Return the outcome of a cell from the result folders of its engine, by protocol.

    A latency whose window or device state is not valid is None, and `doubts` says why.
    """
    documents: dict[str, Any] = {
        protocol: read_json(place / RESULT, "result document") for protocol, place in results.items()
    }
    evaluations = [
        {
            "protocol": protocol,
            **{name: entry[name] for name in ("attack", "norm", "epsilon")},
            "on": "engine",
            "target": f"{document['subject']['backend']}-{document['subject']['precision']}",
            "clean": document["accuracy"]["clean"],
            "robust": entry["worst_case"],
            "result": folder.relative(results[protocol] / RESULT),
        }
        for protocol, document in documents.items()
        for entry in document["robustness"]
    ]
    quantities: dict[str, float | None] = {}
    for evaluation in evaluations:
        quantities.setdefault(_robust(evaluation), evaluation["robust"]["value"])
    measured = documents[PAPER]
    quantities |= {address: resolve(measured, parse_address(address)).value for address in _QUANTITIES}
    return {
        "evaluations": evaluations,
        "result": folder.relative(results[PAPER] / RESULT),
        "quantities": quantities | _latencies(measured),
        "doubts": _doubts(measured),
        "warnings": [warning for document in documents.values() for warning in _warnings(document)],
    }


def joined(model: Mapping[str, Any], judged: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell's outcome: what is known of its model, and how that was judged."""
    warnings = dict.fromkeys([*model["warnings"], *judged.get("warnings", ())])
    return {**model, **judged, "warnings": list(warnings)}


def _warnings(result: Mapping[str, Any]) -> list[str]:
    attacks = (warning for entry in result["robustness"] for warning in entry["warnings"])
    return [*result["warnings"], *attacks]


def _latencies(result: Mapping[str, Any]) -> dict[str, float | None]:
    sound = result["device"]["valid"]
    return {
        f"latency[batch={each['batch']}].{name}": each[name] if sound and each["valid"] else None
        for each in result["latency"]
        for name in _PERCENTILES
    }


def _doubts(result: Mapping[str, Any]) -> list[str]:
    """Return why latencies are not valid, a sentence each; nothing where all are."""
    reasons = [result["latency_reason"]] if result["latency_reason"] else []
    judged = [(f"the window of batch {each['batch']}", each) for each in result["latency"]]
    for name, found in [*judged, ("the state of the device", result["device"])]:
        if not found["valid"]:
            reasons += found["reasons"] or [f"{name} is not valid"]
    return list(dict.fromkeys(reasons))


def _before(final: Artifact, folder: Path) -> list[Artifact]:
    """Return the checkpoints that the final one was made from, as far as they lie in the run folder, oldest first."""
    places = {path for path, _ in ancestors(final) if path is not None}
    found = [made for path in places if (made := read_artifact(folder / path)) is not None]
    return sorted(found, key=lambda made: str(made.manifest["created"]))


def _robust(evaluation: Mapping[str, Any]) -> str:
    return f"robustness[attack={evaluation['attack']},epsilon={evaluation['epsilon']:g}].worst_case"
