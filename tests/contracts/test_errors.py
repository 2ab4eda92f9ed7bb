from __future__ import annotations

import pytest

from contracts import errors

pytestmark = pytest.mark.core


def test_every_kind_of_error_has_the_exit_code_that_scripts_rely_on() -> None:
    kinds = [kind for kind in errors.HarnessError.__subclasses__() if kind.__module__ == errors.__name__]
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    assert codes == {
        "GateFailedError": 1,
        "InputError": 2,
        "InvalidMeasurementError": 3,
        "MissingDependencyError": 4,
    }
    assert (errors.DONE, errors.INTERNAL_ERROR, errors.INTERRUPTED) == (0, 70, 130)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("opnvino", "; did you mean 'openvino'?"), ("onnxruntim", "; did you mean 'onnxruntime'?"), ("x", ""), ("", "")],
)
def test_the_nearest_name_is_offered_where_one_is_near(name: str, hint: str) -> None:
    assert errors.nearest(name, iter(["torch", "openvino", "onnxruntime"])) == hint


def test_an_unknown_name_comes_with_the_known_ones() -> None:
    near = str(errors.unknown_name("backend", "toch", ("torch", "openvino")))
    far = str(errors.unknown_name("backend", "qq", ("torch", "openvino")))
    assert near == "unknown backend 'toch'; did you mean 'torch'? known: openvino, torch"
    assert far == "unknown backend 'qq'; known: openvino, torch"
