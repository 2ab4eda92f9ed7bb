"""What our calibrators are held against: those of ONNX Runtime and of NVIDIA's modelopt, on the same float graph."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

_QUANTIZED = "quantized.onnx"

_EQUAL_RESOLUTION: dict[str, tuple[str, dict[str, Any]]] = {
    "MinMax": ("MinMaxCalibrater", {}),
    # Bins over [0, peak], as ours.
    "Percentile": ("PercentileCalibrater", {"symmetric": True, "num_bins": 2048, "percentile": 99.99}),
    # Bins over [-peak, peak], where ours are as many over [0, peak]: what work differs favours the peer.
    "Entropy": ("EntropyCalibrater", {"symmetric": True, "num_bins": 2048, "num_quantized_bins": 128}),
}


class Reader:
    """Batches as ONNX Runtime wants them."""

    def __init__(self, batches: Iterable[Any], name: str = "images") -> None:
        self._batches = iter(batches)
        self._name = name

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch by the input's name, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def ranges(
    method: str, graph: Path, tensors: Sequence[str], batches: Iterable[Any], scratch: Path
) -> tuple[dict[str, float], float]:
    """Return what ONNX Runtime's calibrator says of the tensors' magnitudes, and its seconds.

    It is shown these tensors alone; left to itself it takes the outputs of the layers too.

    Args:
        method: MinMax, Percentile or Entropy.
        graph: float.
        tensors: activations.
        batches: images.
        scratch: a folder.
    """
    from onnxruntime.quantization import calibrate

    kind, options = _EQUAL_RESOLUTION[method]
    calibrator = getattr(calibrate, kind)(graph, augmented_model_path=str(scratch / "augmented.onnx"), **options)
    by_default = calibrator.select_tensors_to_calibrate
    calibrator.select_tensors_to_calibrate = lambda model: (set(tensors), by_default(model)[1])
    with _quiet():
        calibrator.augment_graph()
        calibrator.create_inference_session()
        started = time.perf_counter()
        calibrator.collect_data(Reader(batches))
        found = calibrator.compute_data()
        seconds = time.perf_counter() - started
    reach = {name: float(np.abs(np.asarray(data.range_value)).max()) for name, data in found.items()}
    return {name: reach[name] for name in tensors}, seconds


def quantize_static(method: str | None, graph: Path, batches: Iterable[Any], scratch: Path) -> onnx.ModelProto:
    """Return the INT8 graph of ONNX Runtime's one call, with the bins that it chooses.

    Args:
        method: MinMax, Percentile or Entropy, with int8 and symmetric ranges, weights per channel; None leaves every
            option out.
        graph: float.
        batches: images.
        scratch: a folder.
    """
    import onnx
    from onnxruntime import quantization

    options: dict[str, Any] = {}
    if method is not None:
        options["per_channel"] = True
        options["calibrate_method"] = quantization.CalibrationMethod[method]
        options["extra_options"] = {"ActivationSymmetric": True, "WeightSymmetric": True}
    with _quiet():
        quantization.quantize_static(graph, scratch / _QUANTIZED, Reader(batches), **options)
    return onnx.load(str(scratch / _QUANTIZED))


def modelopt_installed() -> bool:
    """Say whether there is a modelopt that quantizes ONNX graphs."""
    return all(importlib.util.find_spec(name) is not None for name in ("modelopt", "onnx_graphsurgeon"))


class Modelopt:
    """modelopt in a process of its own, for it replaces parts of ONNX Runtime's calibrators in the one it runs in."""

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def quantize(self, method: str, graph: Path, images: Any, scratch: Path) -> tuple[onnx.ModelProto, float]:
        """Return the INT8 graph, calibrated on the CPU, and the seconds; what it does not quantize stays float32.

        Args:
            method: max or entropy.
            graph: float.
            images: all of them.
            scratch: a folder.
        """
        import onnx

        seconds = self._process.submit(_modelopt, method, graph, images, scratch / _QUANTIZED).result()
        return onnx.load(str(scratch / _QUANTIZED)), seconds


def _modelopt(method: str, graph: Path, images: Any, made: Path) -> float:
    with _quiet():
        quantization = importlib.import_module("modelopt.onnx.quantization")
        started = time.perf_counter()
        quantization.quantize(
            str(graph),
            quantize_mode="int8",
            calibration_data={"images": images},
            calibration_method=method,
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            output_path=str(made),
            log_level="ERROR",
        )
        return time.perf_counter() - started


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the peers print out of our table."""
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
