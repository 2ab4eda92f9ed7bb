"""What was measured, on one screen an engine: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reports.curves import curves
from reports.document import Accuracy, ResultDocument
from reports.measured_parts import DeviceState, Energy, Latency, Memory
from reports.robustness_wording import is_doubtful, repeatability_told
from reports.store import StoredResult
from reports.terminal_lines import rated, table, text, warnings
from reports.terminal_robustness import curve, robustness
from reports.wording import (
    NULL,
    against_told,
    attack_name,
    checks_told,
    engine_names,
    layers_told,
    mac_shares,
    moment,
    percent,
    quantity,
    quantized_how,
    significant,
    size,
    spans_told,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

# How many attacks and batches fit into the comparing table at 80 columns; the engines' own tables have all.
_COMPARED = 4
_COMPARED_ATTACKS = 2


def print_report(console: Console, stored_results: Sequence[StoredResult]) -> None:
    """Print every engine, and before them one table that compares them where there are several."""
    documents = [stored.document for stored in stored_results]
    if len(documents) > 1:
        console.print(_comparison(documents))
    for name, document in zip(engine_names(documents), documents, strict=True):
        console.print(render(document, name))


def render(document: ResultDocument, name: str | None = None) -> RenderableType:
    """Return the story of one engine: what it is, how accurate, robust, fast and large, and what to be wary of.

    Args:
        document: what was measured.
        name: what the engine is called among others; its backend and precision where there are none.
    """
    from rich.box import ROUNDED
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table

    story = Table.grid(padding=(0, 2, 0, 0))
    story.add_column(min_width=8)
    story.add_column(ratio=1)
    for label, parts in _parts(document):
        story.add_row(text(label, "bold"), Group(*parts, ""))
    return Panel(
        story,
        title=text(name or engine_names([document])[0], "bold"),
        title_align="left",
        subtitle=text(moment(document.created)),
        subtitle_align="right",
        box=ROUNDED,
        padding=(1, 1, 0, 1),
    )


def _parts(document: ResultDocument) -> Iterator[tuple[str, list[RenderableType]]]:
    yield "Engine", list(_engine(document))
    if document.checks is not None:
        yield "Checks", [text(sentence) for sentence in checks_told(document.checks)]
    yield "Accuracy", list(_accuracy(document.accuracy))
    yield "Robust", list(_robust(document)) or [_absent(document.robustness_reason)]
    beside = [text(against_told(entry)) for entry in document.against]
    yield "Latency", [*(list(_latency(document.latency)) or [_absent(document.latency_reason)]), *beside]
    yield "Memory", list(_memory(document.memory))
    yield "Energy", list(_energy(document.energy))
    yield "Device", list(_device(document.device_id, document.device))
    if document.warnings:
        yield "Warnings", [text(sentence, "yellow") for sentence in document.warnings]


def _absent(reason: str | None) -> Text:
    return text(f"not measured: {reason or 'no reason given'}", "dim")


def _engine(document: ResultDocument) -> Iterator[RenderableType]:
    subject = document.subject
    yield text(
        f"{subject.experiment}: {subject.model} on {subject.dataset}, {subject.backend} {subject.precision}, "
        f"{size(document.memory.engine_bytes)}"
    )
    yield text(
        f"{quantity(subject.parameters)} parameters, {quantity(subject.macs)} MACs, sparsity {subject.sparsity:g}, "
        f"seed {subject.seed}, result {document.id}",
        "dim",
    )
    if document.quantization is not None:
        yield text(f"quantized by {quantized_how(document.quantization)}")
    precision = document.precision
    if precision is not None and precision.layers:
        yield text(f"multiply-accumulates: {mac_shares(precision)}, by {precision.source}")
    elif precision is not None:
        yield text(f"not known what its layers run in: {precision.reason or 'no reason given'}", "dim")
    if document.layers is not None:
        yield text(layers_told(document.layers))


def _accuracy(accuracy: Accuracy) -> Iterator[RenderableType]:
    if accuracy.clean is None:
        yield _absent(accuracy.reason)
    else:
        yield text(f"clean  {rated(accuracy.clean)}", "bold")
    if accuracy.reference is not None:
        yield text(f"float  {rated(accuracy.reference)}")
    if accuracy.repeatability is not None:
        style = "yellow" if is_doubtful(accuracy.repeatability) else ""
        yield text(repeatability_told(accuracy.repeatability), style)
    flips = accuracy.flips
    if flips is not None:
        yield text(
            f"{flips.changed:,} decisions changed against {flips.against}: {flips.to_wrong:,} to wrong, "
            f"{flips.to_right:,} to right"
        )
    if accuracy.clean is not None and accuracy.reason:
        yield text(accuracy.reason, "dim")


def _robust(document: ResultDocument) -> Iterator[RenderableType]:
    for number, entry in enumerate(document.robustness):
        if number:
            yield ""
        yield from robustness(entry)
    for found in curves(document):
        yield ""
        yield from curve(found)


def _latency(entries: Sequence[Latency]) -> Iterator[RenderableType]:
    if not entries:
        return
    rows = table("batch", "p50 ms", "p90 ms", "p99 ms", "at most", "images/s", "queries", "valid")
    for entry in entries:
        times = (significant(value) for value in (entry.p50_ms, entry.p90_ms, entry.p99_ms, entry.p99_bound_ms))
        rows.add_row(
            str(entry.batch),
            *times,
            significant(entry.throughput_per_s),
            f"{entry.n:,}",
            "yes" if entry.valid else "no",
        )
    yield rows
    for entry in entries:
        if entry.spans is not None:
            yield text(f"batch {entry.batch}: {spans_told(entry)}")
        label = f"batch {entry.batch}" if entry.valid else f"batch {entry.batch} is not valid"
        yield from warnings(entry.reasons, label)
        if entry.percentiles_reason:
            yield text(entry.percentiles_reason, "dim")


def _memory(memory: Memory) -> Iterator[RenderableType]:
    yield text(
        f"engine {size(memory.engine_bytes)}, weights {size(memory.weights_bytes)}, device peak "
        f"{size(memory.device_peak_bytes)}, process peak {size(memory.process_peak_bytes)} over a baseline of "
        f"{size(memory.baseline_bytes)}"
    )
    for reason in memory.reasons:
        yield text(reason, "dim")


def _energy(energy: Energy) -> Iterator[RenderableType]:
    if energy.joules_per_inference is None:
        yield _absent(energy.reason)
    else:
        source = f" by {energy.source}" if energy.source else ""
        watts = [f"{significant(energy.mean_watts)} W"] if energy.mean_watts is not None else []
        watts += [f"idle {significant(energy.idle_watts)} W"] if energy.idle_watts is not None else []
        told = f" ({', '.join(watts)})" if watts else ""
        yield text(f"{significant(energy.joules_per_inference)} J an inference{source}{told}")
        if energy.reason:
            yield text(energy.reason, "dim")
    if energy.rails:
        rails = ", ".join(f"{name} {significant(value)} J" for name, value in energy.rails.items())
        yield text(f"{rails}{f': {energy.rail_set}' if energy.rail_set else ''}", "dim")


def _device(device_id: str, state: DeviceState) -> Iterator[RenderableType]:
    if state.valid is None:
        yield text(f"{device_id}: {'; '.join(state.reasons) or 'not measured'}", "dim")
        return
    yield text(f"{device_id}: {'state was steady' if state.valid else 'the state makes the measurement not valid'}")
    yield from warnings(state.reasons, "state" if state.valid else "not valid")


def _comparison(documents: Sequence[ResultDocument]) -> RenderableType:
    """Return one row an engine, with the first attacks and batches that any of them has."""
    from rich.console import Group

    attacks = list(dict.fromkeys(attack_name(entry) for document in documents for entry in document.robustness))
    batches = sorted({entry.batch for document in documents for entry in document.latency})
    attacks = attacks[:_COMPARED_ATTACKS]
    batches = batches[: _COMPARED - len(attacks)]
    rows = table("engine", "clean", *attacks, *(f"p50 ms b{batch}" for batch in batches), "size")
    for name, document in zip(engine_names(documents), documents, strict=True):
        clean = document.accuracy.clean
        robust = {attack_name(entry): entry.worst_case for entry in document.robustness}
        times = {entry.batch: significant(entry.p50_ms) + ("" if entry.valid else "*") for entry in document.latency}
        rows.add_row(
            text(name, "bold"),
            NULL if clean is None else percent(clean.value, clean.n),
            *(percent(robust[key].value, robust[key].n) if key in robust else NULL for key in attacks),
            *(times.get(batch, NULL) for batch in batches),
            size(document.memory.engine_bytes),
        )
    doubtful = any(not entry.valid for document in documents for entry in document.latency if entry.batch in batches)
    return Group(rows, *([text("* not a valid measurement, for the reasons below", "yellow")] if doubtful else []), "")
