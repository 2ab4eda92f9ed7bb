"""Assemble: one result document out of the fragments that the stages left."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from calibration.table import CalibrationTable
from contracts.files import sha256_json, write_text
from engines.backend import EngineManifest
from harness import __version__
from harness.attacks.registry import expanded
from harness.robustness.arms import ARMS
from harness.workflow import saved_models
from harness.workflow.artifact import Artifact
from harness.workflow.context import Context
from harness.workflow.fragments import Fragments
from harness.workflow.gradient_sources import why_no_gradients
from harness.workflow.stages import attack, clean, measure

RESULT = "result.json"

_NOT_ASKED = "'harness eval' has not been run"
_NOT_MEASURED = "'harness measure' has not been run"


def assemble(context: Context, fragments: Fragments, device: str) -> Path:
    """Write the result's folder, unless this very result is there already, and return it."""
    newest = max(fragments.measured, key=lambda fragment: str(fragment.manifest["created"]))
    created = str(newest.manifest["created"])
    identity = sha256_json([fragments.engine.sha256, [f.manifest["settings"] for f in fragments.measured], created])[
        :12
    ]
    folder = context.folder / "results" / device / identity
    if (folder / RESULT).exists():
        return folder
    # Beside the results, not among them: whoever lists those must not see half of one after a kill.
    staging = context.folder / f".{identity}.staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        _copy_arrays(fragments, staging)
        write_text(staging / RESULT, _document(context, fragments, device, identity, newest))
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # a folder without a document is the rest of something killed
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _document(context: Context, fragments: Fragments, device: str, identity: str, newest: Artifact) -> str:
    from reports.document import ResultDocument

    attacks = [_robustness(outcome) for outcome in fragments.attacks]
    engine = EngineManifest.from_json(fragments.engine.info("engine"))
    document = ResultDocument.model_validate(
        {
            "id": identity,
            "device_id": device,
            "created": newest.manifest["created"],
            "harness_version": __version__,
            "command": context.command,
            "subject": _subject(context, fragments),
            "lineage": [_link(artifact) for artifact in fragments.lineage],
            "environment": {**newest.info("environment"), "simulated": _is_simulated(engine, newest)},
            "precision": engine.audit and engine.audit.to_json(),
            "quantization": _quantization(fragments) if engine.precision == "int8" else None,
            "accuracy": _accuracy(fragments.clean),
            "robustness": attacks,
            "robustness_reason": None if attacks else _why_no_attack(context, fragments),
            "layers": fragments.engine.manifest["info"].get("layers"),
            "checks": fragments.engine.manifest["info"].get("checks"),
            **_measurement(fragments),
            "against": [entry for comparison in fragments.comparisons for entry in comparison.info("against")],
            "warnings": [
                *_doubles(engine),
                *training_signs(fragments.lineage),
                *fragments.engine.manifest["info"].get("warnings", ()),
                *_clean_signs(fragments.clean),
                *_curve_signs(fragments.attacks),
            ],
        }
    )
    return document.to_json()


def _is_simulated(engine: EngineManifest, newest: Artifact) -> bool:
    """Say whether something stood in for the device or the runtime."""
    return engine.simulated or bool(newest.info("environment").get("simulated"))


def _doubles(engine: EngineManifest) -> list[str]:
    if not engine.simulated:
        return []
    return [
        f"simulated: a double stood in for {engine.backend} {engine.backend_version}, so that no number here is a "
        "measurement of it"
    ]


def training_signs(lineage: Sequence[Artifact]) -> list[str]:
    """Return what trainings warned of, of all checkpoints that an engine was made from; oldest first."""
    checkpoints = (artifact.manifest["info"] for artifact in lineage if artifact.kind == "checkpoint")
    return list(dict.fromkeys(warning for info in checkpoints for warning in info.get("warnings", ())))


def _why_no_attack(context: Context, fragments: Fragments) -> str:
    why = why_no_gradients(context.experiment)
    if why is None or fragments.clean is None:
        return _NOT_ASKED
    return f"{why}; 'harness eval --arms query,noise' asks the engine alone"


def _subject(context: Context, fragments: Fragments) -> Mapping[str, Any]:
    experiment = context.experiment
    engine = fragments.engine.info("engine")
    return {
        "experiment": context.name,
        "model": experiment.model.name or experiment.model.factory or Path(experiment.model.onnx or "").name,
        "dataset": experiment.data.name,
        "backend": engine["backend"],
        "backend_version": engine["backend_version"],
        "precision": engine["precision"],
        "sparsity": channel_ratio(fragments.lineage),
        "seed": experiment.seed,
        "parameters": fragments.final.info("parameters") if fragments.final else None,
        "macs": fragments.final.info("macs") if fragments.final else None,
        "classes": engine["classes"],
        "input_shape": engine["input_shape"],
    }


def channel_ratio(lineage: Sequence[Artifact]) -> float:
    """Return the share of channels that went, whatever quantity the sparsity that was asked for is a share of."""
    pruned = (artifact for artifact in lineage if "channel_ratio" in artifact.manifest["info"])
    return next((float(artifact.info("channel_ratio")) for artifact in pruned), 0.0)


def _clean_signs(decided: Artifact | None) -> list[str]:
    return [] if decided is None else list(decided.info("warnings"))


def _curve_signs(attacks: Sequence[Artifact]) -> list[str]:
    """Return a sentence where robust accuracy rises with epsilon, as it cannot; one image may be chance."""
    by_radius = sorted(attacks, key=lambda each: each.manifest["settings"]["epsilon"])
    signs = []
    for smaller, larger in combinations(by_radius, 2):
        names = [(each.manifest["settings"]["attack"], each.manifest["settings"]["norm"]) for each in (smaller, larger)]
        before, after = (each.info("worst_case")["value"] for each in (smaller, larger))
        if names[0] == names[1] and round((after - before) * larger.info("worst_case")["n"]) > 1:
            radii = [each.manifest["settings"]["epsilon"] for each in (smaller, larger)]
            signs.append(
                f"{names[0][0]} leaves more images robust at epsilon {radii[1]:g} than at {radii[0]:g} ({after:.4f} "
                f"and {before:.4f}): a larger ball holds the smaller one, so the attack fails at the larger; try more "
                "steps or restarts"
            )
    return signs


def _quantization(fragments: Fragments) -> Mapping[str, Any] | None:
    """Return what the newest calibration table of the engine's lineage says; None where none is here."""
    folders = [artifact.folder for artifact in fragments.lineage if (artifact.folder / saved_models.TABLE).exists()]
    if not folders:
        return None
    table = CalibrationTable.read(folders[-1] / saved_models.TABLE)
    return {
        "calibrator": table.method,
        "bits": table.bits,
        "images": table.images,
        "samples": len(table.sample_ids),
        "keep_float": table.keep_float,
    }


def _link(artifact: Artifact) -> Mapping[str, Any]:
    manifest = artifact.manifest
    parents = [entry["sha256"] for entry in manifest["parents"] if entry["sha256"] is not None]
    return {"kind": artifact.kind, "sha256": artifact.sha256, "bytes": manifest["bytes"], "parents": parents}


def _accuracy(decided: Artifact | None) -> Mapping[str, Any]:
    if decided is None:
        return {"clean": None, "reference": None, "flips": None, "reason": _NOT_ASKED}
    return {key: decided.info(key) for key in ("clean", "reference", "flips", "repeatability")}


_PROTOCOL = (
    "worst_case",
    "steps",
    "skipped",
    "minimal_norm",
    "attribution",
    "sanity",
    "gradients",
    "warnings",
)


def _robustness(outcome: Artifact) -> Mapping[str, Any]:
    settings = outcome.manifest["settings"]
    return {
        **{key: settings[key] for key in ("attack", "norm", "epsilon")},
        "settings": _attack_settings(settings),
        **{key: outcome.info(key) for key in _PROTOCOL},
        "arms": {arm: found for arm in ARMS if (found := outcome.info("arms").get(arm))},
    }


def _attack_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyper-parameters of the attacks that were asked for; of several, each with its attack's name."""
    asked = [name for name in expanded(settings["attack"].split("+")) if name in settings["hyper_parameters"]]
    return {
        key if len(asked) == 1 else f"{name}.{key}": value
        for name in asked
        for key, value in settings["hyper_parameters"][name].items()
        if value is not None
    }


def _measurement(fragments: Fragments) -> Mapping[str, Any]:
    if fragments.measurement is not None:
        keys = ("latency", "latency_reason", "memory", "energy", "device")
        return {key: fragments.measurement.info(key) for key in keys}
    engine = fragments.engine.info("engine")
    sizes = {key: engine[key] for key in ("engine_bytes", "weights_bytes")}
    unknown = dict.fromkeys(("device_peak_bytes", "process_peak_bytes", "baseline_bytes"))
    return {
        "latency": [],
        "latency_reason": _NOT_MEASURED,
        "memory": {**sizes, **unknown, "reasons": [_NOT_MEASURED]},
        "energy": {"joules_per_inference": None, "source": None, "rails": None, "reason": _NOT_MEASURED},
        "device": {"before": {}, "after": {}, "valid": None, "reasons": [_NOT_MEASURED]},
    }


def _copy_arrays(fragments: Fragments, folder: Path) -> None:
    """Put the per-image outcomes into one file, and the other arrays beside the document."""
    if fragments.clean is not None:
        arrays = dict(np.load(fragments.clean.folder / clean.OUTCOMES, allow_pickle=False))
        for outcome in fragments.attacks:
            settings = outcome.manifest["settings"]
            for name, array in np.load(outcome.folder / clean.OUTCOMES, allow_pickle=False).items():
                arrays[f"{settings['attack']}_{settings['norm']}_{settings['epsilon']:g}_{name}"] = array
        np.savez_compressed(folder / clean.OUTCOMES, **arrays)
    if fragments.attacks:
        shutil.copyfile(_most_telling(fragments.attacks).folder / attack.IMAGES, folder / attack.IMAGES)
    if fragments.measurement is not None:
        for name in (measure.LATENCIES, measure.DEVICE):
            if (fragments.measurement.folder / name).exists():  # an older harness kept no samples of the device
                shutil.copyfile(fragments.measurement.folder / name, folder / name)


def _most_telling(attacks: Sequence[Artifact]) -> Artifact:
    """Return the outcome whose images the report shows: the smallest epsilon's, which are the hardest to see."""
    return min(attacks, key=lambda outcome: outcome.manifest["settings"]["epsilon"])
