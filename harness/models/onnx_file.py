"""A user's own ONNX classifier, made the graph that the rest of the harness knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import InputError
from harness.models.free_batch import check_free_batch, free_batch
from harness.models.onnx_graph import INPUT, OUTPUT, reason, simplified
from harness.models.onnx_refusals import check_float_images, check_numbers, check_operators, the_input, the_output

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET, NEWEST_OPSET = 11, 23

_PER_CHANNEL_OPSET = 13  # the first whose QuantizeLinear has a scale per channel
_IR_VERSION = 8  # ONNX 1.10's, as every runtime reads


def read_given(path: Path, image_shape: tuple[int, int, int] | None = None) -> onnx.ModelProto:
    """Read a classifier: `images` (batch, channels, height, width) to `scores` (batch, classes), the batch size free.

    Nothing that the file names is executed. Constants are folded, batch norms are in their convolutions, and what was
    exported for one batch size takes any; ONNX Runtime has shown that the scores are still the file's.

    Args:
        path: ONNX of opset 11 to 23, float32; weights in files beside it are read into the graph.
        image_shape: channels, height, width of the images it will see; needed where the graph leaves them free.

    Returns:
        A checked graph of the file's opset, of 13 where that is older.

    Raises:
        InputError: it is no such classifier; the sentence says what to export instead.
    """
    import onnx

    original, opset = _loaded(path)
    check_numbers(path, original.graph)
    shown, scores = the_input(path, original.graph), the_output(path, original.graph)
    check_float_images(path, shown, image_shape)
    size = _fix_shape(path, shown, image_shape)
    made = onnx.ModelProto()
    made.CopyFrom(original)
    _drop_initializers_from_inputs(made.graph)
    made = _raised(path, made, opset)
    free_batch(made, size)
    with _refusing(f"{path} cannot be simplified"):
        made = simplified(made)
    free_batch(made, size)
    _rename(made.graph, {shown.name: INPUT, scores.name: OUTPUT})
    check_free_batch(path, original, made, size)
    return _checked(path, made)


def _loaded(path: Path) -> tuple[onnx.ModelProto, int]:
    """Return a checked graph of ONNX's own operators, and its opset."""
    import onnx
    from onnx.inliner import inline_local_functions

    if not path.is_file():
        raise InputError(f"{path} is no file: name an ONNX graph")
    with _refusing(f"{path} cannot be read as an ONNX graph"):
        model = onnx.load(str(path))
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise InputError(
            f"{path} has opset {opset}, and {OLDEST_OPSET} to {NEWEST_OPSET} are read: export it with opset 18"
        )
    with _refusing(f"{path} is no valid ONNX graph"):
        if model.functions:
            model = inline_local_functions(model)
    check_operators(path, model.graph)
    with _refusing(f"{path} is no valid ONNX graph"):
        model = onnx.shape_inference.infer_shapes(model)  # some exporters leave the output's shape out
        onnx.checker.check_model(model)
    return model, opset


def _fix_shape(path: Path, shown: onnx.ValueInfoProto, image_shape: tuple[int, int, int] | None) -> int:
    """Write the images' shape into the graph's input, in place; return the batch size, 0 where it is free."""
    batch, *dims = shown.type.tensor_type.shape.dim
    found = tuple(dim.dim_value for dim in dims)
    if image_shape is None and 0 in found:
        raise InputError(
            f"{path} leaves channels, height or width free {_shape(found)}: give images of the size it is for"
        )
    if image_shape is not None:
        if any(given != own for given, own in zip(image_shape, found, strict=True) if own):
            raise InputError(
                f"{path} takes images of {_shape(found)} but the images are {_shape(image_shape)} (channels, height, "
                "width): give images of the graph's shape"
            )
        for dim, given in zip(dims, image_shape, strict=True):
            dim.dim_value = given
    size: int = batch.dim_value
    return size


def _shape(dims: tuple[int, ...]) -> str:
    return f"({', '.join(str(dim or '?') for dim in dims)})"


def _drop_initializers_from_inputs(graph: onnx.GraphProto) -> None:
    """Remove what old exporters list as inputs although it is constant; simplification would have to keep it."""
    constant = {tensor.name for tensor in graph.initializer}
    for value in [value for value in graph.input if value.name in constant]:
        graph.input.remove(value)


def _raised(path: Path, model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    from onnx import version_converter

    model.ir_version = max(model.ir_version, _IR_VERSION)  # the oldest ones want constants among the inputs
    if opset < _PER_CHANNEL_OPSET:
        with _refusing(f"{path} cannot be raised from opset {opset} to {_PER_CHANNEL_OPSET}"):
            model = version_converter.convert_version(model, _PER_CHANNEL_OPSET)
    return model


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Rename tensors in place, and out of the way those that have the new names by chance."""
    taken = _tensors(graph)
    for name in [name for name in names.values() if name in taken and name not in names]:
        free = f"{name}_"
        while free in taken:
            free += "_"
        names = {**names, name: free}
    _renamed(graph, names)


def _renamed(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _renamed(inner, names)


def _tensors(graph: onnx.GraphProto) -> set[str]:
    found = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        found.update(node.input, node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                found |= _tensors(inner)
    return found


def _checked(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with its shapes inferred, of which the batch size alone is free."""
    import onnx

    with _refusing(f"{path} has shapes that do not fit together"):
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
    dims = the_output(path, model.graph).type.tensor_type.shape.dim
    if len(dims) != 2 or not dims[1].dim_value:
        raise InputError(f"{path} leaves the number of classes free: export it with scores (batch, classes)")
    return model


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # those of protobuf, the system, the checker, the converter, onnxsim
        raise InputError(f"{what} ({reason(error)}): export it again, with opset 18") from error
