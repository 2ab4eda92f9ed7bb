"""What a TensorRT backend promises, whatever stands below it: the real thing on a GPU, or a double."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import helper

from calibration.graphs.typed import typed
from contracts.errors import InputError
from contracts.files import read_json, write_json
from engines.backend import EngineManifest, Precision
from engines.cuda.array import DeviceArray
from engines.engine import LoadOptions
from engines.loading import MANIFEST, build_engine, load_engine
from engines.tensorrt.running.engine import TensorRTEngine
from tests.engines.tiny_graphs import CLASSES, SHAPE, Array, classifier, graph, pixels, reference

TOLERANCE = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2, "int8": 2e-2}
"""Of the largest score: kernels sum in other orders, and a quantized value at a step's edge may fall to either side."""

PROFILES = {"profiles": [[1, 1, 1], [2, 4, 8]]}


def written(folder: Path, precision: Precision) -> Path:
    """Write the tiny classifier as the graph of a precision."""
    model = classifier(quantized=precision == "int8")
    if precision in ("fp16", "bf16"):
        model = typed(model, precision, {}).model
    path = folder / f"{precision}.onnx"
    onnx.save(model, str(path))
    return path


def built(backend: str, precision: Precision, folder: Path, options: dict[str, Any] | None = None) -> EngineManifest:
    """Build the tiny classifier's engine into `folder`."""
    path = written(folder.parent, precision)
    folder.mkdir()
    manifest, _ = build_engine(backend, precision, path, folder, PROFILES if options is None else options)
    write_json(folder / MANIFEST, {"engine": manifest.to_json()})
    return manifest


def close(scores: Array, wanted: Array, precision: str) -> None:
    """Hold scores to the reference's."""
    np.testing.assert_allclose(scores, wanted, atol=TOLERANCE[precision] * np.abs(wanted).max(), rtol=0)


class BackendCases:
    """The fixture `engines` is a folder of engines, `<precision>` each; `backend` is the flavour."""

    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "bf16", "int8")

    def loaded(self, folder: Path, **options: Any) -> TensorRTEngine:
        """Return an engine that is not yet active."""
        engine = load_engine(folder, LoadOptions(**options))
        assert isinstance(engine, TensorRTEngine)
        return engine

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
    @pytest.mark.parametrize("batch_size", [1, 3, 8, 20])
    def test_scores_are_the_graphs_for_any_batch(self, engines: Path, precision: str, batch_size: int) -> None:
        if not (engines / precision).exists():
            pytest.skip(f"no {precision} here")
        images = pixels(21)  # neither a multiple of the batch nor of the profile's largest
        with self.loaded(engines / precision, batch_size=batch_size) as engine:
            close(engine.infer(images), reference(classifier(quantized=precision == "int8"), images), precision)

    def test_scores_are_fresh(self, engines: Path) -> None:
        with self.loaded(engines / "fp32", batch_size=4) as engine:
            first = engine.infer(pixels(4, seed=1))
            kept = first.copy()
            engine.infer(pixels(4, seed=2))
        np.testing.assert_array_equal(first, kept)

    @pytest.mark.parametrize("cuda_graph", [False, True])
    def test_a_bound_batch_runs_again_and_again_and_leaves_infer_alone(self, engines: Path, cuda_graph: bool) -> None:
        bound, others = pixels(4, seed=1), pixels(4, seed=2)
        with self.loaded(engines / "fp32", batch_size=4, cuda_graph=cuda_graph) as engine:
            run = engine.bind(bound)
            for _ in range(3):
                run()
                close(np.asarray(engine._host_output), reference(classifier(), bound), "fp32")
                close(engine.infer(others), reference(classifier(), others), "fp32")

    def test_a_batch_beyond_the_profiles_is_refused_with_the_option_that_builds_it(self, engines: Path) -> None:
        with (
            self.loaded(engines / "fp32", batch_size=9) as engine,
            pytest.raises(InputError, match=r"batches of 1 and 2 to 8, not 9: .*--set build\.tensorrt.*\[9, 9, 9\]"),
        ):
            engine.bind(pixels(9))

    def test_spans_tell_where_the_time_went(self, engines: Path) -> None:
        with self.loaded(engines / "fp32", batch_size=4) as engine:
            spans = engine.bind_spans(pixels(4))()
        assert min(spans.h2d_ms, spans.compute_ms, spans.d2h_ms, spans.enqueue_ms) >= 0
        assert spans.latency_ms == pytest.approx(spans.h2d_ms + spans.compute_ms + spans.d2h_ms)

    @pytest.mark.parametrize("offset", [0, 1])
    def test_images_on_the_gpu_are_read_where_they_lie(
        self, engines: Path, offset: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enqueue, addresses = TensorRTEngine._enqueue, []

        def seen(engine: TensorRTEngine, images: int, scores: int) -> None:
            addresses.extend([images, scores])
            enqueue(engine, images, scores)

        monkeypatch.setattr(TensorRTEngine, "_enqueue", seen)
        images = pixels(11)
        with self.loaded(engines / "fp32", batch_size=4) as engine:
            device = engine._device
            everything = DeviceArray.empty(device, images.shape, np.float32)
            stream = device.stream()
            stream.copy_to_device(everything.address, images)
            stream.synchronize()
            part, start = Shifted(everything, offset), everything.address
            scores = engine.infer_on_device(part)
            assert scores.address not in {engine._output.address, start}
            found = np.empty(scores.shape, np.float32)
            stream.copy_to_host(found, scores.address)
            stream.synchronize()
        close(found, reference(classifier(), images[offset:]), "fp32")
        assert len(addresses) == 6 and not any(address % 256 for address in addresses)
        assert (start in addresses) == (not offset)  # where it can be, it is read without a copy

    def test_foreign_images_are_refused(self, engines: Path) -> None:
        with self.loaded(engines / "fp32", batch_size=4) as engine:
            wrong = DeviceArray.empty(engine._device, (2, 2, 6, 6), np.float32)
            with pytest.raises(InputError, match=r"takes float32 images of shape \(n, 2, 6, 7\)"):
                engine.infer_on_device(wrong)
        with pytest.raises(InputError, match="with-statement"):
            engine.infer(pixels(1))

    @pytest.mark.parametrize("precision", ["fp32", "int8"])
    def test_layers_are_told_and_timed(self, engines: Path, precision: str) -> None:
        manifest = EngineManifest.from_json(read_json(engines / precision / MANIFEST, "manifest")["engine"])
        assert manifest.audit is not None and [layer.name for layer in manifest.audit.layers] == ["conv", "scores"]
        with self.loaded(engines / precision, batch_size=4) as engine:
            assert engine.layers()
            times_ms = engine.layer_times_ms(3)
        assert times_ms and min(times_ms.values()) >= 0

    def test_an_operator_that_the_parser_lacks_is_named_with_its_node(self, backend: str, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("NotAnOperator", ["flat"], ["strange"], name="the_strange_one"),
            helper.make_node("Slice", ["strange", "zero", "five", "one"], ["scores"]),
        ]
        constants = {"zero": np.array([0]), "five": np.array([CLASSES]), "one": np.array([1])}
        onnx.save(graph(nodes, constants), str(tmp_path / "graph.onnx"))
        (tmp_path / "engine").mkdir()
        with pytest.raises(InputError, match=r"cannot build .*graph\.onnx: node .*(the_strange_one|1)"):
            build_engine(backend, "fp32", tmp_path / "graph.onnx", tmp_path / "engine", PROFILES)
        assert not list((tmp_path / "engine").iterdir())

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"version": "7.0.0"}, r"it was built for TensorRT\S* 7\.0\.0, and here is"),
            ({"gpu": "another GPU"}, "it was built for the GPU another GPU, and here is"),
            ({"compute_capability": "1.0"}, "compute capability 1.0"),
            ({"system": "linux riscv"}, "linux riscv"),
        ],
    )
    def test_an_engine_made_for_something_else_is_refused(
        self, engines: Path, tmp_path: Path, change: dict[str, str], why: str
    ) -> None:
        manifest = read_json(engines / "fp32" / MANIFEST, "manifest")
        manifest["engine"]["made_for"].update(change)
        for name in manifest["engine"]["files"]:
            (tmp_path / name).write_bytes((engines / "fp32" / name).read_bytes())
        write_json(tmp_path / MANIFEST, manifest)
        with pytest.raises(InputError, match=rf"cannot be loaded here: .*{why}.*harness build --backend"):
            load_engine(tmp_path, LoadOptions())

    def test_a_truncated_plan_is_refused_before_the_runtime_sees_it(self, engines: Path, tmp_path: Path) -> None:
        (tmp_path / MANIFEST).write_bytes((engines / "fp32" / MANIFEST).read_bytes())
        plan = (engines / "fp32" / "engine.plan").read_bytes()
        (tmp_path / "engine.plan").write_bytes(plan[: len(plan) // 2])
        with pytest.raises(InputError, match=r"engine\.plan is not the file that was built; build it again"):
            load_engine(tmp_path, LoadOptions())


class Shifted:
    """An array on the GPU without its first images, as a slice of a torch tensor is."""

    def __init__(self, array: DeviceArray, images: int) -> None:
        offset = images * 4 * int(np.prod(SHAPE))
        self.__cuda_array_interface__ = {
            **array.__cuda_array_interface__,
            "shape": (array.shape[0] - images, *SHAPE),
            "data": (array.address + offset, False),
        }
