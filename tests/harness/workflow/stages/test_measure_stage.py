from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InputError
from harness.progress import Silent
from harness.workflow.artifact import Task
from harness.workflow.context import Context
from harness.workflow.settings import check
from harness.workflow.stages import measure

pytestmark = pytest.mark.core


def named(**settings: Any) -> str:
    """Return what a measurement with these settings is called."""
    asked = Context(
        "digits", check({"measure": settings}, "values"), Path("anywhere"), None, Silent(), "harness measure"
    )
    engine = Task("build", "engines/openvino-int8", "engine", {}, lambda folder, parents: {})
    return Path(measure.task(asked, engine, "device").path).name


def test_a_measurement_is_named_by_what_is_not_default() -> None:
    names = {named(), named(batch=[1]), named(threads=1), named(profile="ci"), named(cuda_graph=True)}
    assert len(names) == 5
    assert named(batch=[1, 64], threads=0) == named()


@pytest.mark.parametrize("cores", [[99_999], [0, 0]])
def test_cores_that_are_not_there_are_refused(cores: list[int]) -> None:
    experiment = check({"measure": {"cores": cores}}, "values")
    asked = Context("digits", experiment, Path("anywhere"), None, Silent(), "harness measure")
    with pytest.raises(InputError, match="are not distinct cores that this process may use"):
        measure.request(asked, Path("engine"), (1,))


def test_a_later_setting_leaves_the_names_of_yesterday() -> None:
    """Pinned: where this fails, everybody's stored measurements would be made again."""
    assert named() == "measurement-openvino-int8-9957dccb"
    assert named(batch=[1]) == "measurement-openvino-int8-a727e9a9"
