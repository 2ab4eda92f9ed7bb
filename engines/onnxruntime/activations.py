"""What the inner tensors of a float graph hold while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import InputError
from engines.engine import Array
from engines.onnxruntime.session import session

if TYPE_CHECKING:
    import onnx

ACTIVATION_BYTES = 256 * 2**20
"""How much `activations` holds at a time: an eighth of the smallest boards' memory (2 GiB)."""


def activations(
    graph: onnx.ModelProto | Path,
    tensors: Sequence[str],
    *,
    threads: int = 0,
    limit_bytes: int | None = ACTIVATION_BYTES,
    optimise: bool = False,
) -> Callable[[Array], Iterator[tuple[str, Array]]]:
    """Return a function that shows images to a float graph and yields what its inner tensors hold.

    Args:
        graph: ONNX with one input that is no initializer.
        tensors: names of activations; the graph's input and output may be among them.
        threads: CPU threads; 0 leaves that to the runtime.
        limit_bytes: what the tensors of one run may take together; None for whole batches. It does not hold for a
            graph of one batch size, nor for a single image whose tensors take more.
        optimise: let the runtime fuse nodes between these tensors, for their values up to roundings in less time;
            otherwise the graph runs node by node as it is written.

    Returns:
        A function of one batch of images. A batch whose tensors would take more than the limit is shown in several
        runs, and each yields every name once, with the values of its images alone. How many images a run may take is
        told from the first image of all.

    Raises:
        InputError: a name is none of the graph's, or ONNX Runtime refuses the graph.
    """
    import onnx

    exposed = (
        onnx.load(str(graph)) if isinstance(graph, Path) else onnx.ModelProto.FromString(graph.SerializeToString())
    )
    body = exposed.graph
    constant = {tensor.name for tensor in body.initializer}
    (shown,) = (value.name for value in body.input if value.name not in constant)
    inner = [name for name in dict.fromkeys(tensors) if name != shown]
    made = {name for node in body.node for name in node.output}
    if missing := [name for name in inner if name not in made]:
        raise InputError(f"the graph computes no tensor {missing[0]!r}: name tensors of this very graph")
    types = {value.name: value for value in onnx.shape_inference.infer_shapes(exposed).graph.value_info}
    given = {value.name for value in body.output}
    body.output.extend(types.get(name, onnx.ValueInfoProto(name=name)) for name in inner if name not in given)
    running = session(exposed, threads=threads, optimise=optimise)
    (shape,) = (value.shape for value in running.get_inputs() if value.name == shown)
    fixed = isinstance(shape[0], int)
    images_per_run = 0

    def values(images: Array) -> Iterator[tuple[str, Array]]:
        nonlocal images_per_run
        if shown in tensors:
            yield shown, images
        if not inner:
            return
        if limit_bytes is None or fixed:
            images_per_run = max(len(images), 1)
        elif not images_per_run:
            image_bytes = sum(found.nbytes for found in running.run(inner, {shown: images[:1]}))
            images_per_run = max(limit_bytes // max(image_bytes, 1), 1)
        for start in range(0, len(images), images_per_run):
            part = images[start : start + images_per_run]
            yield from zip(inner, running.run(inner, {shown: part}), strict=True)

    return values
