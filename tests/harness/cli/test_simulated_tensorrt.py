"""The commands with the backend `tensorrt`, on a SIMULATED TensorRT and driver: what a user with a GPU types."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from contracts.files import read_json
from tests.engines.cuda.simulated_driver import environment
from tests.harness.cli.given_graphs import write_given
from tests.harness.cli.processes import Ended, run, tree

pytestmark = pytest.mark.core

ROOT = Path(__file__).parents[3]
DOUBLES = ROOT / "tests" / "engines" / "tensorrt" / "importable"
ENGINE = Path("runs/model/engines/tensorrt-int8")
INT8 = ("--onnx", "model.onnx", "--backend", "tensorrt", "--precision", "int8")


class Machine:
    """A simulated GPU machine and a folder on it."""

    def __init__(self, cwd: Path, library: Path) -> None:
        self.cwd = cwd
        self._library = library

    def harness(self, *arguments: str, **settings: str) -> Ended:
        """Run a command with a double of TensorRT 10.3, unless a setting says otherwise."""
        path = os.pathsep.join([str(DOUBLES), str(ROOT)])
        env = environment(self._library, **{"SIMULATED_TENSORRT": "10.3.0", "PYTHONPATH": path, **settings})
        cache = {"XDG_CACHE_HOME": str(self.cwd / "cache")}
        return run(*arguments, cwd=self.cwd, env={**env, **cache})


@pytest.fixture(scope="module")
def built(simulated_libcuda: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    cwd = tmp_path_factory.mktemp("a simulated machine")
    write_given(cwd)
    machine = Machine(cwd, simulated_libcuda)
    build = ("--precision", "fp32,fp16,int8", "--calibration", "images.npz")
    ended = machine.harness("build", "--onnx", "model.onnx", *build)
    assert ended.code == 0, ended.err
    assert "backend auto takes tensorrt: there are an NVIDIA GPU and the package" in ended.err
    return machine


@pytest.fixture
def machine(built: Machine, tmp_path: Path) -> Machine:
    """Return a copy of the machine."""
    return Machine(Path(shutil.copytree(built.cwd, tmp_path / "here")), built._library)


def test_every_precision_is_built_and_told_as_simulated(built: Machine) -> None:
    for precision in ("fp32", "fp16", "int8"):
        folder = built.cwd / "runs" / "model" / "engines" / f"tensorrt-{precision}"
        engine = read_json(folder / "manifest.json", "manifest")["engine"]
        assert tree(folder) == ["engine.plan", "manifest.json"]
        assert engine["simulated"] and engine["made_for"]["gpu"].startswith("simulated GPU")
        assert engine["graph_sha256"] and engine["files"]["engine.plan"]
        assert engine["options"]["profiles"] == [[1, 1, 1], [2, 64, 128]]
    assert len(list((built.cwd / "cache").rglob("*.cache"))) == 1


def test_what_a_double_was_measured_to_be_says_simulated_everywhere(machine: Machine) -> None:
    measured = machine.harness("measure", *INT8, "--batch", "4", "--set", "measure.cuda_graph=true", "--json")
    assert measured.code == 0, measured.err
    (document,) = json.loads(measured.out)
    (latency,) = document["latency"]
    assert (latency["batch"], latency["cuda_graph"]) == (4, True), document["latency_reason"]
    assert set(latency["spans"]) == {"h2d_ms", "compute_ms", "d2h_ms", "enqueue_ms"}
    evaluated = machine.harness("eval", *INT8, "--attack", "noise", "--set", "data.path=test.npz", "--json")
    assert evaluated.code == 0, evaluated.err
    (document,) = json.loads(evaluated.out)
    assert document["accuracy"]["clean"]["value"] > 0.9
    assert document["environment"]["simulated"] is True
    assert document["warnings"][0].startswith("simulated: a double stood in for tensorrt 10.3.0")
    agreement = document["checks"]["agreement"]
    assert agreement["images"] == 64 and agreement["error"] <= agreement["limit"]
    assert document["checks"]["rows"]["unequal"] == 0
    assert document["layers"]["layers"] and document["precision"]["int8_mac_share"] == 1.0
    shown = machine.harness("report", "--workspace", "runs/model")
    assert shown.code == 0 and "tensorrt int8 (simulated)" in shown.out
    assert "batch 4: copy in" in shown.out and "the window ran CUDA graphs" in " ".join(shown.out.split())
    assert "tensorrt int8 (simulated)" in (machine.cwd / "runs/model/report.html").read_text()


def refused(ended: Ended, code: int, sentence: str) -> None:
    """Hold an ending to its exit code and to one sentence."""
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert ended.code == code, ended.err
    assert len(errors) == 1 and sentence in errors[0], ended.err
    assert "Traceback" not in ended.err


def test_a_batch_beyond_the_profiles_names_the_option_that_builds_it(machine: Machine) -> None:
    ended = machine.harness("measure", *INT8, "--batch", "500")
    refused(ended, 2, "takes batches of 1 and 2 to 128, not 500")
    assert "--set build.tensorrt.profiles='[[1, 1, 1], [2, 64, 128], [500, 500, 500]]'" in ended.err
    again = ("--set", "build.tensorrt.profiles=[[1, 1, 1], [2, 64, 128], [500, 500, 500]]")
    ended = machine.harness("measure", *INT8, "--batch", "500", *again, "--json")
    assert ended.code == 0, ended.err
    (document,) = json.loads(ended.out)
    assert document["latency"][0]["batch"] == 500
    assert "engines/tensorrt-int8 again: options.profiles was" in ended.err


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("SIMULATED_TENSORRT", "10.16.1", "it was built for TensorRT 10.3.0, and here is TensorRT 10.16.1"),
        (
            "SIMULATED_COMPUTE_CAPABILITY",
            "8.7",
            "it was built for the GPU simulated GPU 8.9 with 4 multiprocessors, and here is",
        ),
    ],
)
def test_another_version_or_gpu_builds_anew_and_is_refused_where_the_graph_is_not(
    machine: Machine, setting: str, value: str, why: str
) -> None:
    workspace = machine.cwd / "runs" / "model"
    for carried in ("graphs", "calibration"):
        (workspace / carried).rename(machine.cwd / carried)
    (machine.cwd / "model.onnx").rename(machine.cwd / "elsewhere.onnx")
    on_the_board = ("--workspace", "runs/model", "--backend", "tensorrt", "--precision", "int8", "--batch", "1")
    ended = machine.harness("measure", *on_the_board, **{setting: value})
    refused(ended, 2, why)
    assert "harness build --backend tensorrt --precision int8 --again" in ended.err
    for carried in ("graphs", "calibration"):
        (machine.cwd / carried).rename(workspace / carried)
    ended = machine.harness("build", *on_the_board[:-2], **{setting: value})
    assert ended.code == 0, ended.err
    assert f"engines/tensorrt-int8 again: {why}" in ended.err


def test_a_truncated_plan_is_made_again_where_the_graph_is(machine: Machine) -> None:
    plan = machine.cwd / ENGINE / "engine.plan"
    plan.write_bytes(plan.read_bytes()[:100])
    ended = machine.harness("build", *INT8)
    assert ended.code == 0, ended.err
    assert "engine.plan is not the file that was written (its digest differs): it is made again" in ended.err


def test_too_little_gpu_memory_is_a_sentence(machine: Machine) -> None:
    ended = machine.harness("measure", *INT8, "--batch", "64", SIMULATED_MEMORY_BYTES="10000")
    refused(ended, 2, "of GPU memory were asked for")


def test_without_a_driver_nothing_is_touched(machine: Machine) -> None:
    before = tree(machine.cwd)
    path = os.pathsep.join([str(DOUBLES), str(ROOT)])
    env = {"SIMULATED_TENSORRT": "10.3.0", "PYTHONPATH": path}
    ended = run("build", *INT8, "--again", cwd=machine.cwd, env=env)
    refused(ended, 4, "libcuda.so.1, the NVIDIA driver, is not here; install the NVIDIA driver")
    assert tree(machine.cwd) == before


@pytest.mark.parametrize(
    ("death", "why"),
    [
        ("import os; os.kill(os.getpid(), 11)", "crashed with SIGSEGV"),
        ("import os; os._exit(3)", "ended with exit code 3"),
    ],
)
def test_a_builder_that_dies_leaves_no_half_engine(machine: Machine, tmp_path: Path, death: str, why: str) -> None:
    """A `tensorrt` whose builder takes the process down, as the real one does without a GPU."""
    folder = tmp_path / "deadly"
    folder.mkdir()
    (folder / "tensorrt.py").write_text(
        "import sys\n"
        "from tests.engines.tensorrt.simulated import module\n"
        "double = sys.modules[__name__] = module('10.3.0')\n"
        f"def die(*_, **__):\n    {death}\n"
        "double.Builder = die\n"
    )
    before = read_json(machine.cwd / ENGINE / "manifest.json", "manifest")
    path = os.pathsep.join([str(folder), str(ROOT)])
    ended = machine.harness("build", *INT8, "--again", PYTHONPATH=path)
    refused(ended, 2, f"the builder of tensorrt int8 {why}")
    assert read_json(machine.cwd / ENGINE / "manifest.json", "manifest") == before
    assert not [name for name in tree(machine.cwd / "runs") if "staging" in name]


def test_an_engine_that_computes_something_else_fails_its_build_with_the_layer(
    machine: Machine, tmp_path: Path
) -> None:
    """A `tensorrt` that reads one layer's weights wrongly, and tells nobody."""
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "tensorrt.py").write_text(
        "import sys\n"
        "import onnx\n"
        "from onnx import numpy_helper\n"
        "from tests.engines.tensorrt.simulated import module\n"
        "double = sys.modules[__name__] = module('10.3.0')\n"
        "right = double.OnnxParser.parse\n"
        "def wrong(self, data, *rest):\n"
        "    model = onnx.ModelProto.FromString(data)\n"
        "    for tensor in model.graph.initializer:\n"
        "        if tensor.name == 'conv.weight':\n"
        "            doubled = 2 * numpy_helper.to_array(tensor)\n"
        "            tensor.CopyFrom(numpy_helper.from_array(doubled, tensor.name))\n"
        "    return right(self, model.SerializeToString(), *rest)\n"
        "double.OnnxParser.parse = wrong\n"
    )
    path = os.pathsep.join([str(folder), str(ROOT)])
    fp32 = ("--onnx", "model.onnx", "--backend", "tensorrt", "--precision", "fp32", "--again")
    ended = machine.harness("build", *fp32, PYTHONPATH=path)
    refused(ended, 2, "the tensorrt fp32 engine does not compute what")
    assert "the first layer that diverges is Conv 'conv'" in ended.err


def test_a_graph_that_the_parser_lacks_is_refused_with_its_node(machine: Machine) -> None:
    import onnx
    from onnx import helper

    model = onnx.load(str(machine.cwd / "model.onnx"))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Softplus"
    relu.name = "soft"
    relu.domain = "my.own"
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    onnx.save(model, str(machine.cwd / "odd.onnx"))
    ended = machine.harness("build", "--onnx", "odd.onnx", "--backend", "tensorrt", "--precision", "fp32")
    assert ended.code == 2, ended.err
    assert "soft" in ended.err and "Traceback" not in ended.err
