from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.workflow.settings import check
from harness.workflow.settings_difference import difference

pytestmark = pytest.mark.core

VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(["train", "epochs", "other"]), inner, max_size=3),
    max_leaves=6,
)
SETTINGS = st.dictionaries(st.sampled_from(["train", "finetune", "seed"]), VALUES, max_size=3)


def settings(**sections: Any) -> dict[str, Any]:
    return check(sections, "here").model_dump(mode="json")


def test_a_setting_that_came_later_was_at_its_default() -> None:
    old = settings()
    del old["finetune"]["ema_decay"]
    assert difference(old, settings()) is None
    found = difference(old, settings(finetune={"ema_decay": 0.9}))
    assert found == "finetune.ema_decay was 0.0 and is 0.9"


def test_a_setting_that_is_gone_is_a_difference() -> None:
    old = settings()
    old["finetune"]["forgotten"] = 0
    assert difference(old, settings()) == "finetune.forgotten was 0 and is null"


def test_a_whole_section_that_is_missing_is_a_difference() -> None:
    """A task names a section where it decides something: without it the task was another one."""
    old = settings()
    del old["train"]
    found = difference(old, settings())
    assert found is not None
    assert found.startswith("train was null")


def test_a_later_difference_is_found_behind_sections_that_are_equal() -> None:
    old = settings(finetune={"epochs": 2}, train={"epochs": 3})
    del old["finetune"]["keep"]
    assert difference(old, settings(finetune={"epochs": 2}, train={"epochs": 4})) == "train.epochs was 3 and is 4"


@given(SETTINGS)
def test_nothing_differs_from_itself(values: dict[str, Any]) -> None:
    assert difference(values, values) is None
