"""Whether something was made with the settings of today: a setting that came later was at its default before."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from contracts.files import canonical_json


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Return the first setting that differs as "it was … and is …", None where none does.

    A setting that a section of the experiment has now and did not have then counts as its default: a newer harness
    must not make yesterday's models anew. So a new setting's default has to be what was done without it.

    Args:
        old: JSON values as they were recorded, by section.
        new: JSON values of today.
    """
    return _difference(old, new, {}, _defaults(), "")


def _difference(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    missing: Mapping[str, Any],
    sections: Mapping[str, Any],
    within: str,
) -> str | None:
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key, missing.get(key) if key in new else None), new.get(key)
        if canonical_json(was) == canonical_json(now):
            continue
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            known = sections.get(key)
            inner = _difference(was, now, known if isinstance(known, Mapping) else {}, {}, f"{within}{key}.")
            if inner is None:
                continue
            return inner
        return f"{within}{key} was {canonical_json(was)} and is {canonical_json(now)}"
    return None


@cache
def _defaults() -> Mapping[str, Any]:
    """Return the experiment's sections at their defaults."""
    from harness.workflow.experiment import Experiment

    return Experiment().model_dump(mode="json")
