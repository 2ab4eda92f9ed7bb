"""The first layer that diverges is the one that was corrupted, in as few builds as a bisection needs."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from engines.backend import Precision
from engines.checks.agreement import error_limit
from engines.checks.divergence import Divergence, Diverging, first_divergence
from engines.checks.prefix import cuts, prefix
from engines.checks.probe_images import probe_images
from engines.onnxruntime.session import session
from tests.engines.checks.chains import CorruptBuild, branches, chain
from tests.engines.tiny_graphs import SHAPE, pixels, reference

pytestmark = pytest.mark.core

IMAGES = probe_images(8, SHAPE)


def search(model: onnx.ModelProto, build: CorruptBuild, precision: Precision = "fp32") -> Divergence | None:
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "graph.onnx"
        onnx.save(model, str(path))
        return first_divergence(Diverging("onnxruntime", precision, path, path, {}), IMAGES, error_limit, build)


@settings(max_examples=25, deadline=None)
@given(layers=st.integers(1, 16), relu=st.booleans(), data=st.data())
def test_any_corrupted_layer_of_a_chain_is_found(layers: int, relu: bool, data: st.DataObject) -> None:
    wrong = data.draw(st.sampled_from([*(f"conv{index}" for index in range(layers)), "scores"]))
    build = CorruptBuild(wrong)
    found = search(chain(layers, relu=relu), build)
    assert found is not None
    assert found.node == wrong
    assert found.operator == ("Gemm" if wrong == "scores" else "Conv")
    assert found.error > found.limit
    assert found.checked == build.builds <= math.ceil(math.log2(layers + 1)) + 1


@pytest.mark.parametrize("wrong", ["conv0", "conv2", "conv5", "scores"])
def test_any_corrupted_layer_of_a_quantized_chain_is_found(wrong: str) -> None:
    found = search(chain(6, quantized=True), CorruptBuild(wrong), "int8")
    assert found is not None
    assert found.node == wrong


@pytest.mark.parametrize(
    "wrong", ["before", "a.one", "a.two0", "a.two1", "b.one", "b.two0", "b.two1", "after", "scores"]
)
def test_the_corrupted_layer_is_found_among_branches(wrong: str) -> None:
    build = CorruptBuild(wrong)
    found = search(branches(), build)
    assert found is not None
    assert found.node == wrong
    assert build.builds <= 7


def test_an_engine_that_computes_its_graph_diverges_nowhere() -> None:
    assert search(chain(5), CorruptBuild("no such layer")) is None


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    onnx.save(chain(9), str(tmp_path / "graph.onnx"))
    told: list[float] = []
    engine = Diverging("onnxruntime", "fp32", tmp_path / "graph.onnx", tmp_path / "graph.onnx", {})
    first_divergence(engine, IMAGES, error_limit, CorruptBuild("conv3"), told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert 0 < told[0] < 1


def test_a_beginning_that_the_backend_refuses_is_said(tmp_path: Path) -> None:
    onnx.save(chain(3), str(tmp_path / "graph.onnx"))

    def refuse(*_: object) -> object:
        raise InputError("no kernel for conv1")

    engine = Diverging("onnxruntime", "fp32", tmp_path / "graph.onnx", tmp_path / "graph.onnx", {})
    with pytest.raises(InputError, match="no kernel for conv1"):
        first_divergence(engine, IMAGES, error_limit, refuse)  # type: ignore[arg-type]


def test_a_prefix_gives_the_tensor_that_it_ends_at() -> None:
    model, images = branches(), pixels(3)
    exposed = onnx.ModelProto.FromString(model.SerializeToString())
    exposed.graph.output.append(onnx.ValueInfoProto(name="b.two0"))
    expected = session(exposed, optimise=False).run(["b.two0"], {"images": images})[0].reshape(3, -1)
    cut = prefix(model, "b.two0", expected.shape[1])
    onnx.checker.check_model(cut, full_check=True)
    np.testing.assert_array_equal(reference(cut, images), expected)
    assert "after.weight" not in {tensor.name for tensor in cut.graph.initializer}
    assert model.graph.output[0].name == "scores", "the graph itself stays as it is"


def test_what_a_runtime_fuses_with_a_layer_is_not_cut_off_it() -> None:
    model = chain(3, quantized=True, relu=True)
    found = cuts(model, frozenset(name for node in model.graph.node for name in node.output))
    assert list(found) == ["relu1", "relu2", "flat", "scores"]
    assert found["relu2"].node.name == "conv1"
    assert found["flat"].before == {"relu1", "relu2"}
