from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch
from torch import Tensor, nn

from calibration.graphs.qdq import translations
from contracts.errors import InputError
from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.models.build import build_model
from harness.models.onnx_graph import INPUT, OUTPUT, export

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return build_model("digits-cnn", None, SHAPE, 10)


@pytest.fixture(scope="module")
def graph(model: nn.Module) -> onnx.ModelProto:
    return export(model, SHAPE, {})


def scores(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {INPUT: images})[0])


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_graph_is_the_model_at_any_batch_size(model: nn.Module, graph: onnx.ModelProto, batch: int) -> None:
    images = torch.rand(batch, *SHAPE, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected = model(images).numpy()
    np.testing.assert_allclose(scores(graph, images.numpy()), expected, rtol=1e-4, atol=1e-5)


def test_input_and_output_have_their_names_and_a_free_batch(graph: onnx.ModelProto) -> None:
    onnx.checker.check_model(graph, full_check=True)
    (given,), (made,) = graph.graph.input, graph.graph.output
    assert (given.name, made.name) == (INPUT, OUTPUT) == ("images", "scores")
    shapes = [value.type.tensor_type.shape.dim for value in (given, made)]
    assert [dim.dim_value for dim in shapes[0]] == [0, 1, 8, 8]
    assert [dim.dim_value for dim in shapes[1]] == [0, 10]
    assert shapes[0][0].dim_param == shapes[1][0].dim_param != ""


def traces(graph: onnx.ModelProto) -> list[bytes]:
    here = Path(__file__).resolve()
    places = [
        here.parents[3],
        here.parent,
        Path(torch.__file__).parent,
        Path(tempfile.gettempdir()),
        Path.home() / ".",
        Path.cwd(),
    ]
    words = [b"site-packages", b"/work", b".py", b"Traceback", *(str(place).encode() for place in places)]
    return [word for word in words if word in graph.SerializeToString() and word not in (b"/", b"/root")]


def test_nothing_of_the_exporting_machine_is_in_the_graph(model: nn.Module, graph: onnx.ModelProto) -> None:
    assert traces(graph) == []
    assert traces(export(Twin(traced(model, SHAPE)), SHAPE, translations())) == []


def test_a_bit_width_that_cannot_be_deployed_is_said_so(model: nn.Module) -> None:
    with pytest.raises(InputError, match="only 8 bits can be deployed, the model has quantizers of 4 bits") as caught:
        export(Twin(traced(model, SHAPE), bits=4), SHAPE, translations())
    assert "\n" not in str(caught.value)


def test_a_model_that_cannot_be_exported_is_an_input_error() -> None:
    class Branching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            flat = images.flatten(1)
            return flat[:, :3] if flat.sum() > 0 else flat[:, 3:6]

    with pytest.raises(InputError, match="cannot be exported to ONNX") as caught:
        export(Branching().eval(), SHAPE, {})
    assert "\n" not in str(caught.value)


def test_the_exporter_is_quiet_and_leaves_loggers_as_they_were(
    model: nn.Module, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    export(model, SHAPE, {})
    assert capfd.readouterr() == ("", "")
    assert logger.level == level
