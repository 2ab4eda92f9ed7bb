from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engines.cuda.driver import Gpu, find_gpu
from engines.registry import backend
from tests.engines.cuda.simulated_driver import build, compiler, environment
from tests.harness.devices.recorded_orin import record
from tests.harness.workflow.diagnosis.schema import SCHEMA

from .processes import Ended, run

pytestmark = pytest.mark.core

ROOT = Path(__file__).parents[3]
WIDTH = {"COLUMNS": "80"}

without_gpu = pytest.mark.skipif(isinstance(find_gpu(), Gpu), reason="this machine has an NVIDIA GPU")
without_tensorrt = pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed")
with_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed")


def diagnosed(ended: Ended) -> Any:
    """Return what `--json` printed, which has the schema that scripts lean on."""
    value = json.loads(ended.out)
    jsonschema.validate(value, SCHEMA)
    return value


def by_name(value: Any) -> dict[str, Any]:
    return {state["name"]: state for state in value["backends"]}


def fake_package(folder: Path, name: str, text: str) -> dict[str, str]:
    """Put a module into a folder and return the environment of a process that finds it."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


def test_this_machine_is_told_as_json(tmp_path: Path) -> None:
    ended = run("doctor", "--json", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    value = diagnosed(ended)
    states = by_name(value)
    assert value["simulated"] == []
    assert states["openvino"]["builds"]["usable"] and states["openvino"]["runs"]["usable"]
    assert states["openvino"]["version"] == backend("openvino").version()
    for name, state in states.items():
        assert state["builds"]["usable"] == backend(name).availability().usable, name
        assert state["runs"]["usable"] == backend(name).runnable().usable, name
    assert list(tmp_path.iterdir()) == []


@without_gpu
@without_tensorrt
@with_rtx
def test_without_a_driver_tensorrt_is_missing_and_tensorrt_rtx_builds_and_does_not_run(tmp_path: Path) -> None:
    ended = run("doctor", "--backend", "tensorrt-rtx", "--precision", "int8", "--json", cwd=tmp_path)
    states = by_name(diagnosed(ended))
    assert not states["tensorrt"]["builds"]["usable"]
    assert "edge-robustness-harness[tensorrt]" in states["tensorrt"]["builds"]["remedy"]
    assert states["tensorrt-rtx"]["builds"]["usable"]
    assert "driver" in states["tensorrt-rtx"]["runs"]["reason"]
    assert ended.code == 4
    assert ended.err.startswith("error: backend tensorrt-rtx (int8) does not run here: ")


@without_tensorrt
def test_a_backend_that_is_missing_ends_with_4_its_sentence_and_the_page(tmp_path: Path) -> None:
    ended = run("doctor", "--backend", "tensorrt", cwd=tmp_path, env=WIDTH)
    assert ended.code == 4
    assert re.fullmatch(
        r"error: backend tensorrt does not build here: [^\n]+; install it with: pip install [^\n]+\n", ended.err
    )
    for title in ("Machine", "GPU", "State", "Backends", "What to do"):
        assert re.search(rf"^{title}$", ended.out, re.MULTILINE)
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "\x1b" not in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backend", "tensorrtx"], "did you mean 'tensorrt'"),
        (["--backend", "openvino", "--precision", "fp16"], "it has fp32, bf16, int8"),
        (["--precision", "int8"], "--backend"),
        (["--root", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_usage_is_2_before_anything_is_asked(arguments: list[str], words: str, tmp_path: Path) -> None:
    ended = run("doctor", *arguments, cwd=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


@without_tensorrt
def test_a_package_that_crashes_is_told_and_the_rest_too(tmp_path: Path) -> None:
    crash = fake_package(tmp_path / "broken", "tensorrt", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    ended = run("doctor", "--json", cwd=tmp_path, env=crash)
    assert ended.code == 0
    value = diagnosed(ended)
    assert by_name(value)["tensorrt"]["builds"]["reason"] == "its package crashes when it is imported (SIGSEGV)"
    assert by_name(value)["openvino"]["runs"]["usable"]
    assert value["auto"]["backend"] is None
    refused = run("doctor", "--backend", "auto", "--json", cwd=tmp_path, env=crash)
    assert refused.code == 4
    assert "name a backend" in refused.err


@without_tensorrt
def test_a_recorded_board_is_told_and_stamped(tmp_path: Path) -> None:
    root = record(tmp_path / "orin")
    (root / "usr/lib/python3.9/dist-packages/tensorrt").mkdir(parents=True)
    ended = run("doctor", "--root", str(root), cwd=tmp_path, env=WIDTH)
    assert ended.code == 0
    assert ended.out.startswith("simulated: the machine is a recorded tree")
    told = " ".join(ended.out.split())
    assert "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super" in told
    assert "6 (L4T 36.4.0)" in told
    assert "power mode 15W" in told
    assert "cpu-thermal 51, gpu-thermal 49.5" in told
    assert "the GPU may run at 612 MHz of 1020" in told
    assert "sudo nvpmodel -m 2" in told
    assert "JetPack's TensorRT is hidden from this Python" in told
    assert "for Python 3.9, and this is Python 3." in told
    assert max(map(len, ended.out.splitlines())) <= 80


@without_gpu
@without_tensorrt
@pytest.mark.skipif(compiler() is None, reason="no C compiler")
@pytest.mark.skipif(find_spec("cuda") is None, reason="cuda-python is not installed")
def test_on_doubles_of_driver_and_tensorrt_auto_takes_tensorrt(tmp_path: Path) -> None:
    double = (
        "import sys\nfrom tests.engines.tensorrt.simulated import module\nsys.modules[__name__] = module('10.3.0')\n"
    )
    simulated = {**fake_package(tmp_path / "double", "tensorrt", double), "SIMULATED_COMPUTE_CAPABILITY": "8.7"}
    (tmp_path / "driver").mkdir()
    driver = environment(build(tmp_path / "driver"), **simulated)
    ended = run("doctor", "--backend", "auto", "--precision", "int8", "--json", cwd=tmp_path, env=driver)
    assert (ended.code, ended.err) == (0, "")
    value = diagnosed(ended)
    assert value["simulated"] == [
        "a double stands in for the NVIDIA driver",
        "a double stands in for the runtime of tensorrt",
    ]
    assert value["gpu"]["compute_capability"] == "8.7"
    assert value["auto"]["backend"] == "tensorrt"
    assert by_name(value)["tensorrt"]["version"] == "10.3.0"
    assert by_name(value)["tensorrt"]["runs"]["usable"]


def test_a_reader_who_leaves_changes_no_exit_code(tmp_path: Path) -> None:
    line = f"{shlex.quote(sys.executable)} -m harness doctor --backend NAME | true; echo ${{PIPESTATUS[0]}}"
    for name, code in (("openvino", "0"), ("tensorrt-rtx", "0" if backend("tensorrt-rtx").runnable().usable else "4")):
        done = subprocess.run(
            ["bash", "-c", line.replace("NAME", name)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd=tmp_path,
        )
        assert done.stdout.strip() == code, done.stderr
        assert "Traceback" not in done.stderr
