"""Cells that differ in their seed alone as one: mean, standard deviation, and the flat table of a study."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from contracts.files import write_text
from reports.address import Address
from reports.robustness_parts import Rate
from reports.study.document import COUNTS, Base, Cell, Compression, Evaluation, Finetune, On, Setting
from reports.wording import plain

Value = str | int | float | None

_BASES, _COMPRESSIONS, _FINETUNES = (get_args(names) for names in (Base, Compression, Finetune))


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        mean: over the seeds that have it.
        sd: standard deviation of the sample (n - 1); None for one seed.
        seeds: how many have it.
        ci95: the 95 % interval of a rate of one seed; None of several, and of what is no rate.
    """

    mean: float
    sd: float | None
    seeds: int
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """One setting under one question, over its seeds.

    Attributes:
        setting: the cells, but for their seed.
        protocol: how hard was attacked.
        attack: name of the attack.
        norm: what epsilon is measured in.
        epsilon: its size, images being in [0, 1].
        on: whether an engine answered or the twin.
        target: which.
        seeds: the seeds in the means, rising.
        planned: how many seeds the study has of this setting; those that are not among `seeds` have no answer.
        images: how many were asked, the least of any seed.
        clean: accuracy on clean images, a fraction.
        robust: accuracy under attack, a fraction.
        numbers: other numbers by address; those measured on an engine only where `on` is `engine`.
    """

    setting: Setting
    protocol: str
    attack: str
    norm: str
    epsilon: float
    on: On
    target: str
    seeds: tuple[int, ...]
    planned: int
    images: int
    clean: Spread
    robust: Spread
    numbers: Mapping[str, Spread]


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation of at least one value."""
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def by_setting(cells: Iterable[Cell]) -> dict[Setting, tuple[Cell, ...]]:
    """Return the cells of every setting, settings in the order of tables."""
    found: dict[Setting, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.setting, []).append(cell)
    return {setting: tuple(found[setting]) for setting in sorted(found, key=in_order)}


def in_order(setting: Setting) -> tuple[int, float, int, str, int, int]:
    """Return what tables are sorted by: compression, how strong, how quantized, fine-tuning, base."""
    return (
        _COMPRESSIONS.index(setting.compression),
        setting.sparsity,
        -setting.bits,
        setting.quantization or "",
        _FINETUNES.index(setting.finetune),
        _BASES.index(setting.base),
    )


def over_seeds(cells: Iterable[Cell], address: Address) -> Spread | None:
    """Return the number at an address over the seeds that have it; None where none has."""
    values = [value for cell in cells if (value := cell.numbers.get(str(address))) is not None]
    return spread(values) if values else None


def rows(cells: Iterable[Cell]) -> tuple[Row, ...]:
    """Return a row for every setting, protocol, attack and target that has an answer, in the order of tables."""
    made: list[Row] = []
    for setting, alike in by_setting(cells).items():
        answers: dict[tuple[Any, ...], dict[int, tuple[Cell, Evaluation]]] = {}
        for cell in alike:
            for asked in cell.evaluations:
                key = (asked.protocol, asked.attack, asked.norm, asked.epsilon, asked.on, asked.target)
                answers.setdefault(key, {})[cell.seed] = (cell, asked)
        made.extend(_row(setting, key, answers[key], len(alike)) for key in sorted(answers))
    return tuple(made)


def flat(table: Iterable[Row]) -> list[dict[str, Value]]:
    """Return rows as records of one set of columns.

    Accuracies are fractions (`clean_mean`, `clean_sd`, `robust_mean`, `robust_sd`); every other number has two columns
    named by its address, which ends in its unit: `latency[batch=1].p50_ms mean` and `latency[batch=1].p50_ms sd`.
    """
    kept = tuple(table)
    addresses = sorted({address for row in kept for address in row.numbers})
    records = []
    for row in kept:
        record: dict[str, Value] = {**asdict(row.setting)}
        record |= {name: getattr(row, name) for name in ("protocol", "attack", "norm", "epsilon", "on", "target")}
        record |= {"seeds": len(row.seeds), "seeds_planned": row.planned, "images": row.images}
        for name, number in (("clean", row.clean), ("robust", row.robust)):
            record |= {f"{name}_mean": number.mean, f"{name}_sd": number.sd}
        for address in addresses:
            known = row.numbers.get(address)
            record[f"{address} mean"] = None if known is None else known.mean
            record[f"{address} sd"] = None if known is None else known.sd
        records.append(record)
    return records


def csv_text(table: Iterable[Row]) -> str:
    """Return the flat table as CSV with a header; what is null is empty; no word can be taken for a formula."""
    records = flat(table)
    stream = io.StringIO()
    if records:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(map(_cell, records[0]))
        writer.writerows([_cell(value) for value in record.values()] for record in records)
    return stream.getvalue()


def write_csv(table: Iterable[Row], path: Path) -> None:
    """Write the flat table as CSV, see `csv_text`."""
    write_text(path, csv_text(table))


def _row(setting: Setting, key: tuple[Any, ...], answers: Mapping[int, tuple[Cell, Evaluation]], planned: int) -> Row:
    protocol, attack, norm, epsilon, on, target = key
    seeds = tuple(sorted(answers))
    asked = [answers[seed][1] for seed in seeds]
    by_address: dict[str, list[float]] = {}
    for seed in seeds:
        cell = answers[seed][0]
        for address, value in cell.numbers.items():
            # A twin has weights, but no latency of its own; accuracies are the row's own columns.
            belongs = address in COUNTS or (on == "engine" and not address.startswith(("accuracy", "robustness")))
            if value is not None and belongs:
                by_address.setdefault(address, []).append(value)
    return Row(
        setting, protocol, attack, norm, epsilon, on, target,
        seeds=seeds,
        planned=planned,
        images=min(entry.clean.n for entry in asked),
        clean=_rate([entry.clean for entry in asked]),
        robust=_rate([entry.robust for entry in asked]),
        numbers={address: spread(values) for address, values in by_address.items()},
    )  # fmt: skip


def _rate(rates: Sequence[Rate]) -> Spread:
    over = spread([rate.value for rate in rates])
    return over if len(rates) > 1 else Spread(over.mean, None, 1, rates[0].ci95)


def _cell(value: Value) -> Value:
    """Return words on one line, quoted where a spreadsheet would run them as a formula."""
    if not isinstance(value, str):
        return value
    words = plain(value)
    return f"'{words}" if words.lstrip().startswith(("=", "+", "-", "@")) else words
