"""How quantities and foreign texts are worded, the same in the terminal and on the page."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone

from reports.document import ResultDocument
from reports.engine_parts import Checks, Layers, Precision, Quantization, TensorForm
from reports.measured_parts import Against, Latency
from reports.robustness_parts import Rate, Robustness

NULL = "-"


def plain(text: str) -> str:
    """Return `text` on one line, with every character that could steer a terminal or reorder a line made visible."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category in {"Zl", "Zp"}:
        return " "
    return "\N{REPLACEMENT CHARACTER}" if category in {"Cc", "Cf", "Cs"} else character


def percent(fraction: float, n: int) -> str:
    """Return a fraction in [0, 1] as per cent, with no more digits than `n` images carry."""
    return f"{100 * fraction:.{1 if n < 2000 else 2}f} %"


def mac_shares(precision: Precision) -> str:
    """Return what the layers run in, the most of the multiply-accumulates first, as `90.3 % INT8, 9.7 % FP32`."""
    macs: Counter[str] = Counter()
    for layer in precision.layers:
        macs[layer.precision] += layer.macs
    return ", ".join(f"{share(count, macs.total())} {plain(name.upper())}" for name, count in macs.most_common())


def layers_told(layers: Layers) -> str:
    """Return what an engine is made of, as `12 layers, 2 of them reformatting (8.1 % of the time)`."""
    spent = layers.reformat_time_share
    time = "" if spent is None else f" ({100 * spent:.1f} % of the time)"
    batch = "" if layers.batch is None else f" at batch {layers.batch}"
    return f"{len(layers.layers)} layers{batch}, {layers.reformat_count} of them reformatting{time}"


def checks_told(checks: Checks) -> tuple[str, ...]:
    """Return how an engine stood against its graph, a sentence for each check that was made."""
    agreement, rows, batches, rebuilds = checks.agreement, checks.rows, checks.batches, checks.rebuilds
    if agreement.error is None:
        told = [
            f"agreement with {plain(agreement.reference)} is not known: {plain(agreement.reason or 'no reason given')}"
        ]
    else:
        told = [
            f"against {plain(agreement.reference)}: error {significant(agreement.error)} of the scores' spread (limit "
            f"{significant(agreement.limit)}), {agreement.changed_decisions} of {agreement.images} decisions changed "
            f"(limit {agreement.changed_limit})"
        ]
    if rows is not None:
        told.append(f"one image in every row of a batch of {rows.rows}: {_apart(rows.largest, rows.limit)}")
    if batches is not None:
        told.append(
            f"batches of 1 and of {batches.batch}: {_apart(batches.largest, batches.limit)}, "
            f"{batches.changed_decisions} of {batches.images} decisions changed"
        )
    if rebuilds is not None:
        files = "differ" if rebuilds.files_differ else "are equal"
        told.append(
            f"{rebuilds.builds} builds: {_apart(rebuilds.largest, rebuilds.limit)}, {rebuilds.differing_decisions} of "
            f"{rebuilds.images} decisions differ, "
            f"their files {files}"
        )
    return tuple(told)


def _apart(largest: float, limit: float) -> str:
    return "equal scores" if largest == 0 else f"scores up to {significant(largest)} apart (limit {significant(limit)})"


def forms(tensors: Sequence[TensorForm]) -> str:
    """Return the types and layouts of tensors, as `int8 CHW32, fp32 LINEAR`."""
    return ", ".join(plain(f"{tensor.datatype} {tensor.format}") for tensor in tensors) or NULL


def spans_told(entry: Latency) -> str:
    """Return where a query's time goes on a GPU, as `copy in 0.021, kernels 0.41, copy out 0.012, enqueue 0.09 ms`."""
    spans = entry.spans
    if spans is None:
        return ""
    told = (
        f"copy in {significant(spans.h2d_ms)}, kernels {significant(spans.compute_ms)}, copy out "
        f"{significant(spans.d2h_ms)}, enqueue {significant(spans.enqueue_ms)} ms (medians of single queries)"
    )
    return f"{told}; the window ran CUDA graphs" if entry.cuda_graph else told


def against_told(entry: Against) -> str:
    """Return what a comparison says, as `batch 1: 1.9 times as fast as openvino fp32 (1.85 to 1.95), 40 pairs`."""
    other = f"{entry.backend} {entry.precision}"
    left = f", {entry.left_out} left out for busy neighbours" if entry.left_out else ""
    pairs = f"{entry.pairs} pairs of windows{left}"
    if entry.verdict == "inconclusive" or entry.ratio is None:
        return f"batch {entry.batch}: neither faster nor slower than {other} for sure: {entry.reason} ({pairs})"
    low, high = entry.ratio.ci99
    return (
        f"batch {entry.batch}: {entry.verdict} than {other}, {significant(entry.ratio.value)} of its time, 99 % "
        f"interval {significant(low)} to {significant(high)} ({pairs})"
    )


def quantized_how(quantization: Quantization) -> str:
    """Return where scales come from, as `entropy on 512 clean images, in float: head`."""
    told = f"{plain(quantization.calibrator)} on {quantization.samples:,} {plain(quantization.images)} images"
    kept = ", ".join(plain(name) for name in quantization.keep_float)
    return f"{told}, in float: {kept}" if kept else told


def share(part: int, total: int) -> str:
    """Return a part of a total in per cent."""
    return f"{100 * part / max(1, total):.1f} %"


def interval(rate: Rate) -> str:
    """Return the 95 % interval of a rate in per cent, as `[95.1, 98.4]`."""
    low, high = (percent(bound, rate.n).removesuffix(" %") for bound in rate.ci95)
    return f"[{low}, {high}]"


def significant(value: float | None) -> str:
    """Return a number with three significant digits and never an exponent below 10^9; `-` for None."""
    if value is None:
        return NULL
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 1e-4 or value == 0 else f"{value:.2e}"


def factor(value: float) -> str:
    """Return a factor of two significant digits without an exponent, as `10`, `120` or `0.55`."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def size(count: int | None) -> str:
    """Return a number of bytes in decimal units (1 kB is 1000 bytes); `-` for None."""
    if count is None:
        return NULL
    scaled = float(count)
    for unit in ("B", "kB", "MB"):
        if scaled < 999.5:
            return f"{count} B" if unit == "B" else f"{significant(scaled)} {unit}"
        scaled /= 1000
    return f"{significant(scaled)} GB"


def quantity(count: int | None) -> str:
    """Return a large count with three digits, as `34.1 k`, to be followed by what is counted."""
    if count is None:
        return "an unknown number of"
    for factor, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= factor:
            return f"{significant(count / factor)}{unit}"
    return str(count)


def moment(when: datetime) -> str:
    """Return a time to the minute in UTC; a time without a zone is taken as UTC."""
    return in_utc(when).strftime("%Y-%m-%d %H:%M UTC")


def in_utc(when: datetime) -> datetime:
    """Return the time in UTC; one without a zone is taken as UTC, so that any two can be ordered."""
    return when.replace(tzinfo=timezone.utc) if when.tzinfo is None else when.astimezone(timezone.utc)


def attack_name(entry: Robustness) -> str:
    """Return what an attack was, as `autoattack linf 0.05`, or `pgd+square linf 0.05` of several combined."""
    return plain(f"{entry.attack} {entry.norm} {entry.epsilon:g}")


def engine_names(documents: Sequence[ResultDocument]) -> tuple[str, ...]:
    """Return a short name for each document, told apart by device, then date, then id only where needed."""
    names = [
        plain(f"{document.subject.backend} {document.subject.precision}")
        + (" (simulated)" if document.environment.simulated else "")
        for document in documents
    ]
    for more in (
        [f" on {plain(document.device_id)}" for document in documents],
        [f", {moment(document.created)}" for document in documents],
        [f", {plain(document.id)}" for document in documents],
    ):
        seen = Counter(names)
        names = [name + suffix if seen[name] > 1 else name for name, suffix in zip(names, more, strict=True)]
    return tuple(names)
