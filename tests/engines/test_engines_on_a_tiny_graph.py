"""What every backend promises, on a real graph: the reference's scores, any batch, fresh arrays, clear refusals."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from contracts.errors import InputError
from engines.backend import Precision
from engines.engine import Engine, LoadOptions
from engines.loading import MANIFEST, load_engine, read_manifest
from tests.engines.tiny_graphs import CLASSES, SHAPE, built, classifier, pixels, reference

pytestmark = pytest.mark.core

NO_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
FP32 = ["openvino", "onnxruntime", pytest.param("torch", marks=NO_TORCH)]
INT8 = ["openvino", "onnxruntime"]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of built engines, `<backend>-<precision>` each."""
    folder = tmp_path_factory.mktemp("engines")
    for backend in ("openvino", "onnxruntime", *(["torch"] if find_spec("torch") else [])):
        built(backend, "fp32", folder / f"{backend}-fp32")
    for backend in INT8:
        built(backend, "int8", folder / f"{backend}-int8")
    return folder


def loaded(engines: Path, backend: str, precision: Precision = "fp32", batch_size: int = 3) -> Engine:
    return load_engine(engines / f"{backend}-{precision}", LoadOptions(batch_size, threads=1))


@pytest.mark.parametrize("backend", FP32)
def test_scores_are_the_reference_s(engines: Path, backend: str) -> None:
    images = pixels(7)
    with loaded(engines, backend) as engine:
        scores = engine.infer(images)
    assert scores.shape == (7, CLASSES)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, reference(classifier(), images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", INT8)
def test_int8_scores_are_the_reference_s_up_to_a_rounding_step(engines: Path, backend: str) -> None:
    images = pixels(64)
    with loaded(engines, backend, "int8", 16) as engine:
        scores = engine.infer(images)
    expected = reference(classifier(quantized=True), images)
    # One activation that falls to the other side of a step moves a score by a step times the largest weight.
    step = 10 / 127 * 4
    assert np.abs(scores - expected).max() < 2 * step
    assert np.median(np.abs(scores - expected)) < 0.01 * step
    assert np.abs(expected - reference(classifier(), images)).max() > 0.01, "the case must tell INT8 from FP32"


@pytest.mark.parametrize("backend", FP32)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7])
def test_any_number_of_images_scores_as_one_by_one(engines: Path, backend: str, n: int) -> None:
    images = pixels(n)
    with loaded(engines, backend) as engine:
        together = engine.infer(images)
        alone = [engine.infer(image[None])[0] for image in images]
    assert together.shape == (n, CLASSES)
    np.testing.assert_allclose(together, np.reshape(alone, (n, CLASSES)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", FP32)
def test_scores_are_fresh_and_images_are_left_alone(engines: Path, backend: str) -> None:
    images = pixels(3)
    given = images.copy()
    with loaded(engines, backend) as engine:
        first = engine.infer(images)
        kept = first.copy()
        second = engine.infer(pixels(3, seed=2))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(images, given)


@pytest.mark.parametrize("backend", FP32)
def test_images_that_are_not_contiguous_score_alike(engines: Path, backend: str) -> None:
    images = pixels(6)
    with loaded(engines, backend) as engine:
        np.testing.assert_array_equal(engine.infer(images[::2]), engine.infer(images[::2].copy()))


@pytest.mark.parametrize("backend", FP32)
def test_a_bound_batch_runs_and_leaves_inference_alone(engines: Path, backend: str) -> None:
    images = pixels(3)
    with loaded(engines, backend) as engine:
        before = engine.infer(images)
        run = engine.bind(pixels(3, seed=2))
        run()
        np.testing.assert_array_equal(engine.infer(images), before)
        run()
        np.testing.assert_array_equal(engine.infer(images), before)


def test_an_openvino_bound_batch_stays_what_is_run(engines: Path) -> None:
    bound, others = pixels(3), pixels(3, seed=2)
    with loaded(engines, "openvino") as engine:
        made = []
        compiled = engine._compiled  # type: ignore[attr-defined]

        class Recorder:
            def create_infer_request(self) -> object:
                made.append(compiled.create_infer_request())
                return made[-1]

        engine._compiled = Recorder()  # type: ignore[attr-defined]
        run = engine.bind(bound)
        (request,) = made
        expected = engine.infer(bound)
        engine.infer(others)
        run()
        np.testing.assert_array_equal(request.get_output_tensor().data, expected)


@pytest.mark.parametrize("backend", FP32)
@pytest.mark.parametrize("n", [0, 1, 4])
def test_a_bound_batch_has_the_loaded_size(engines: Path, backend: str, n: int) -> None:
    with loaded(engines, backend) as engine, pytest.raises(InputError, match=f"batches of 3, got {n}"):
        engine.bind(pixels(n))


@pytest.mark.parametrize(
    "images",
    [
        pixels(3)[:, :1],
        pixels(3)[0],
        pixels(3).transpose(0, 2, 3, 1),
        pixels(3).astype(np.float64),
        (pixels(3) * 255).astype(np.uint8),
    ],
    ids=["channels", "no batch", "NHWC", "float64", "bytes"],
)
def test_other_images_are_refused(engines: Path, images: np.ndarray) -> None:
    shape = ", ".join(map(str, SHAPE))
    with loaded(engines, "onnxruntime") as engine:
        for call in (engine.infer, engine.bind):
            with pytest.raises(InputError, match=rf"float32 images of shape \(n, {shape}\), got {images.dtype}"):
                call(images)


def test_an_engine_that_is_not_active_is_refused(engines: Path) -> None:
    engine = loaded(engines, "onnxruntime")
    with pytest.raises(InputError, match="not active"):
        engine.infer(pixels(1))
    with engine:
        engine.infer(pixels(1))
    with pytest.raises(InputError, match="not active"):
        engine.bind(pixels(3))


@pytest.mark.parametrize("backend", FP32)
def test_an_engine_can_be_entered_again(engines: Path, backend: str) -> None:
    engine, images = loaded(engines, backend), pixels(2)
    with engine:
        first = engine.infer(images)
    with engine:
        np.testing.assert_array_equal(engine.infer(images), first)


@pytest.mark.parametrize("backend", FP32)
def test_a_truncated_engine_is_refused(engines: Path, backend: str, tmp_path: Path) -> None:
    source = engines / f"{backend}-fp32"
    for broken in [file.name for file in source.iterdir() if file.name != MANIFEST]:
        for kept in (0.0, 0.5, 0.95):
            folder = tmp_path / f"{broken}-{kept}"
            folder.mkdir()
            for file in source.iterdir():
                data = file.read_bytes()
                size = int(len(data) * kept) if file.name == broken else len(data)
                (folder / file.name).write_bytes(data[:size])
            with (
                pytest.raises(InputError, match=r"build it again|engine\.onnx|export it again"),
                load_engine(folder, LoadOptions(1)),
            ):
                pass


@pytest.mark.parametrize("backend", FP32)
def test_an_engine_s_file_that_is_gone_is_named(engines: Path, backend: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes((engines / f"{backend}-fp32" / MANIFEST).read_bytes())
    with pytest.raises(InputError, match=r"engine\.(xml|bin|onnx)"), load_engine(tmp_path, LoadOptions(1)):
        pass


def test_manifests_say_what_was_built(engines: Path) -> None:
    weights = sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in classifier().graph.initializer)
    for backend in ("openvino", "onnxruntime"):
        folder = engines / f"{backend}-fp32"
        manifest = read_manifest(folder)
        assert (manifest.backend, manifest.precision) == (backend, "fp32")
        assert (manifest.input_shape, manifest.classes) == (SHAPE, CLASSES)
        files = sum(file.stat().st_size for file in folder.iterdir() if file.name != MANIFEST)
        assert manifest.engine_bytes == files
        assert manifest.weights_bytes == pytest.approx(weights, rel=0.05)
        assert read_manifest(engines / f"{backend}-int8").weights_bytes < 0.5 * manifest.weights_bytes
