"""The help's lists are written out, as it may not load what they list: here they are held to it."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

from engines import registry as engines
from harness.__main__ import harness
from harness.attacks import registry as attacks
from harness.robustness.arms import ARMS
from harness.study.plan import built_in

LISTS = [
    ("build", (engines.AUTO, *engines.NAMES)),
    ("eval", (*attacks.NAMES, *attacks.SETS)),
    ("eval", tuple(ARMS)),
    ("study", built_in()),
]


@pytest.mark.parametrize(("command", "names"), LISTS)
def test_every_name_is_in_the_help(command: str, names: tuple[str, ...]) -> None:
    told = CliRunner().invoke(harness, [command, "--help"]).output
    words = set(re.findall(r"[a-z0-9]+(?:-\s*[a-z0-9]+)*", told))
    assert {re.sub(r"\s", "", word) for word in words} >= set(names)
