"""A float ONNX graph as a torch program: the reader behind the `torch` backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError, unknown_name
from engines.torch.graph import FloatGraph, Node, read_graph

if TYPE_CHECKING:
    import onnx
    import torch

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class _Step:
    node: Node
    attributes: Mapping[str, Any]
    finished: tuple[str, ...]
    """What no later step reads: freed as soon as this one is done."""


class TorchProgram:
    """One ONNX graph, ready to run on one device in one floating type.

    The whole floating graph has that type: weights are cast once, images on the way in, scores back to float32 on the
    way out, and a `Cast` between floating types does nothing. Integers, and with them all shape arithmetic, stay
    int64 on the CPU, and so do floating scalars, which torch takes there without a copy. What depends on
    constants alone is computed once, here.

    float32 means what torch means by it: whether a GPU may use TF32 is torch's own switch, which this leaves alone.
    """

    def __init__(self, model: onnx.ModelProto | Path | str, dtype: str = "float32", device: str = "cpu") -> None:
        """Read and check a model.

        Args:
            model: the model or its path; weights in files beside it are read when a path is given.
            dtype: "float32", "float16" or "bfloat16".
            device: as torch names it: "cpu", "cuda", "cuda:1".

        Raises:
            InputError: the dtype is unknown, the file is no ONNX model, the graph is quantized, has an operator or an
                attribute that this cannot run, or has not one floating input and one floating output.
        """
        if dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES)
        import torch

        self.dtype: torch.dtype = getattr(torch, dtype)
        self.device = torch.device(device)
        graph = read_graph(model)
        self._image, self._scores = graph.image, graph.scores
        with torch.inference_mode():
            self._constants, pending = self._fold(graph)
            self._steps = _with_lifetimes(pending, keep={graph.scores, *self._constants})
        read = {graph.scores}.union(*(step.node.inputs for step in self._steps))
        self._constants = {name: value for name, value in self._constants.items() if name in read}

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores of a batch.

        Args:
            images: floating, in the shape of the graph's input, on any device.

        Returns:
            float32 on the program's device, in the shape of the graph's output; it carries no gradient.
        """
        import torch

        with torch.inference_mode():
            values = {**self._constants, self._image: images.to(self.device, self.dtype)}
            for step in self._steps:
                values.update(self._outputs(step.node, step.attributes, values))
                for name in step.finished:
                    values.pop(name, None)
            return values[self._scores].float()

    def _fold(self, graph: FloatGraph) -> tuple[dict[str, torch.Tensor], list[tuple[Node, dict[str, Any]]]]:
        """Run the nodes that do not depend on the image; return all constants, and the other nodes."""
        from onnx import TensorProto

        from engines.torch.tensors import to_torch

        constants = {tensor.name: self._placed(to_torch(tensor)) for tensor in graph.initializers}
        pending = []
        for node in graph.nodes:
            attributes = {
                name: to_torch(value) if isinstance(value, TensorProto) else value
                for name, value in node.attributes.items()
            }
            if all(name in constants for name in node.inputs if name):
                constants.update(self._outputs(node, attributes, constants))
            else:
                pending.append((node, attributes))
        return constants, pending

    def _outputs(
        self, node: Node, attributes: Mapping[str, Any], values: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Run one node; a frame of its own, so that nothing here outlives its last use."""
        arguments = [values[name] if name else None for name in node.inputs]
        try:
            result = node.function(*arguments, **attributes)
        except (RuntimeError, IndexError, ValueError) as error:
            if "out of memory" in str(error):
                raise
            shapes = ", ".join(str(list(argument.shape)) for argument in arguments if argument is not None)
            raise InputError(
                f"node {node.name!r} of the ONNX graph cannot take tensors of shapes {shapes} ({error}): "
                "check the shape of the images and export the graph again"
            ) from error
        results = result if isinstance(result, tuple) else (result,)
        return {name: self._placed(tensor) for name, tensor in zip(node.outputs, results, strict=False) if name}

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Put a floating tensor where the program keeps it, in the program's type."""
        if not tensor.is_floating_point():
            return tensor
        return tensor.to(self.device, self.dtype) if tensor.ndim else tensor.to(self.dtype)


def _with_lifetimes(pending: list[tuple[Node, dict[str, Any]]], keep: set[str]) -> list[_Step]:
    """Find, walking back from the end, where each tensor is used for the last time."""
    alive = {*keep, ""}
    steps = []
    for node, attributes in reversed(pending):
        finished = {*node.inputs, *node.outputs} - alive
        alive |= finished
        steps.append(_Step(node, attributes, tuple(sorted(finished))))
    return steps[::-1]
