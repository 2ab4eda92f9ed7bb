"""A graph that was exported for one batch size, made to take any; and the proof that it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

BATCH = "batch"

_WHOLE = "export a model that is whole"
_TOLERANCE = 1e-3
"""Of the largest score: simplification and other batch sizes round differently, a mixed-up row is off by far more."""


def free_batch(model: onnx.ModelProto, size: int) -> None:
    """Give a graph's input and output, in place, a free first dimension.

    A constant shape of Reshape that begins with the old batch size is rewritten: with -1 where everything else is
    known, otherwise with 0, which copies the first dimension. Whatever else has the batch size built in is left as it
    is; `check_free_batch` finds it.

    Args:
        model: with one input and one output.
        size: the batch size that it was exported for; 0 where it was free.
    """
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del model.graph.value_info[:]  # their batch sizes are the old one
    if size:
        _free_reshapes(model.graph, size)


def check_free_batch(path: Path, original: onnx.ModelProto, made: onnx.ModelProto, size: int) -> None:
    """Hold that a rewritten graph computes what the original does, and each row from its own image alone.

    Args:
        path: of the file, for the sentences.
        original: takes images of a fixed shape.
        made: what became of it, with a free batch size.
        size: the original's batch size; 0 where it is free.

    Raises:
        InputError: they differ, or one of them does not run.
    """
    (shown,) = made.graph.input
    shape = [dim.dim_value for dim in shown.type.tensor_type.shape.dim][1:]
    images = np.random.default_rng(0).random((max(size, 3), *shape), np.float32)
    run, run_original = _runner(path, made), _runner(path, original)
    try:
        expected, again, three = run_original(images[: size or 3]), run(images[: size or 3]), run(images[:3])
        rows = np.concatenate([run(images[i : i + 1]) for i in range(3)])
    except InputError as error:
        raise _built_in(path, size) from error
    if not np.isfinite(expected).all():
        where = _first_not_finite(original, images[: size or 3])
        raise InputError(f"{path} computes scores that are not finite for random images, first in {where}: {_WHOLE}")
    if not _agree(three, rows):
        raise _built_in(path, size)
    if not _agree(again, expected):
        raise InputError(f"{path} computes other scores once its constants are folded: export it again, with opset 18")


def _first_not_finite(model: onnx.ModelProto, images: Array) -> str:
    """Return the node whose values are not finite first; -inf, with which attention masks, counts last."""
    from engines.onnxruntime.activations import activations

    names: dict[str, str] = {node.output[0]: node.name or node.output[0] for node in model.graph.node if node.output}
    found = dict(activations(model, list(names), limit_bytes=None)(images))
    floating = {tensor: values for tensor, values in found.items() if values.dtype.kind == "f"}
    wrong = (tensor for tensor in names if tensor in floating and not (floating[tensor] < np.inf).all())
    lowest = (tensor for tensor in names if tensor in floating and not np.isfinite(floating[tensor]).all())
    return names[next(wrong, None) or next(lowest)]


def _built_in(path: Path, size: int) -> InputError:
    reason = f"has its batch size of {size} built in" if size else "does not compute each image of a batch by itself"
    return InputError(f"{path} {reason}: export it with a free batch size (torch.onnx.export's dynamic_shapes)")


def _agree(one: Array, other: Array) -> bool:
    return one.shape == other.shape and bool(np.abs(one - other).max() <= _TOLERANCE * max(1e-6, np.abs(other).max()))


def _runner(path: Path, model: onnx.ModelProto) -> Callable[[Array], Array]:
    from engines.onnxruntime.session import session

    def run(images: Array) -> Array:
        with _refusing(path):
            return np.asarray(running.run(None, {name: images})[0])

    with _refusing(path):
        running = session(model)
    name = running.get_inputs()[0].name
    return run


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot run {path}: {str(error).splitlines()[0]}") from error


def _free_reshapes(graph: onnx.GraphProto, size: int) -> None:
    from onnx import numpy_helper

    initial = {tensor.name: tensor for tensor in graph.initializer}
    constants = {node.output[0]: node.attribute[0] for node in graph.node if node.op_type == "Constant"}
    for node in [node for node in graph.node if node.op_type == "Reshape" and node.input[0] not in initial]:
        stored = initial.get(node.input[1])
        if stored is None and node.input[1] in constants and constants[node.input[1]].name == "value":
            stored = constants[node.input[1]].t
        if stored is None:
            continue
        shape = numpy_helper.to_array(stored).tolist()
        literal = any(entry.name == "allowzero" and entry.i for entry in node.attribute)
        if not shape or shape[0] != size or (literal and -1 in shape):
            continue
        shape[0] = 0 if -1 in shape or 0 in shape else -1
        # The constant may serve others too: this node gets its own.
        node.input[1] = f"{node.output[0]}_shape_of_any_batch"
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), node.input[1]))
