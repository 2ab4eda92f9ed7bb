"""Node by node: a graph computes what the model that it was exported from computes, given the same inputs.

Scores alone prove little. Runtimes add in different orders, a sum that falls on the edge of a quantizer's step is
rounded to either side, and everything behind it moves. Here every operator of the exported program is run in torch on
the tensors that the graph's own run gave, so that nothing travels: a quantizer must then agree to the last bit, and all
else to what float32 sums differ by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

from engines.onnxruntime.activations import activations
from harness.models.onnx_graph import OUTPUT

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NodeParity:
    """How the results of one step, from tensors that were compared to the next, differ.

    Attributes:
        node: name of its last operator in the exported program, that of the tensor in the graph too.
        quantizer: whether this is a quantizer.
        operators: how many of its operators read a quantizer: multiply, add or pool. Views and the like read none, and
            what the graph has no tensor of is in the step with what follows.
        values: how many were compared, over all batches.
        one_step: of a quantizer, how many are one step of its grid apart: their inputs fell on an edge.
        further: of a quantizer, how many are further apart.
        largest: difference over the largest magnitude of its tensor, among the values that are no step apart.
    """

    node: str
    quantizer: bool
    operators: int
    values: int
    one_step: int
    further: int
    largest: float


def node_parity(
    program: torch.export.ExportedProgram, graph: onnx.ModelProto, batches: Iterable[Array]
) -> tuple[NodeParity, ...]:
    """Compare a graph with the program that it was written from.

    Args:
        program: the `exported_program` of torch's ONNX program; its nodes have the names of the graph's tensors.
        graph: what was made of it, run node by node as it is written.
        batches: float32 images (n, channels, height, width). All tensors of a batch are in memory at once.

    Returns:
        The steps in the order of execution. Every operator of the program is in one at least.
    """
    module: fx.GraphModule = program.module()
    tensors = _tensors(module.graph, graph)
    run = activations(graph, [tensor for tensor, _ in tensors.values()], limit_bytes=None)
    found: dict[str, NodeParity] = {}
    for images in batches:
        given = {name: torch.from_numpy(np.asarray(values)) for name, values in run(images)}
        wanted = {node: given[tensor].T if turned else given[tensor] for node, (tensor, turned) in tensors.items()}
        with torch.inference_mode():
            _Compared(module, wanted, found).run(torch.from_numpy(images))
    return tuple(found.values())


def _tensors(program: fx.Graph, graph: onnx.ModelProto) -> dict[str, tuple[str, bool]]:
    """Return the graph's tensor for every node that has one, and whether it lies transposed there.

    A linear layer on more than two dimensions is written as a product with the transposed weight, whose integers are
    stored that way under another name; its scale keeps the name.
    """
    made = {name for node in graph.graph.node for name in node.output}
    dequantized = {node.input[1]: node.output[0] for node in graph.graph.node if node.op_type == "DequantizeLinear"}
    found = {}
    for node in program.nodes:
        if node.op == "output":
            (scores,) = node.args[0]
            found[scores.name] = OUTPUT, False
        elif node.op == "call_function" and node.name in made:
            found[node.name] = node.name, False
        elif is_quantizer(node) and (tensor := dequantized.get(str(node.args[1].target))):
            found[node.name] = tensor, True
    return found


class _Compared(fx.Interpreter):
    """Runs a program, each node on what the graph gave for its inputs.

    Args:
        module: the program.
        wanted: the graph's tensors by node.
        found: receives the differences, those of earlier batches in it.
    """

    def __init__(self, module: fx.GraphModule, wanted: Mapping[str, Tensor], found: dict[str, NodeParity]) -> None:
        super().__init__(module)
        self._wanted, self._found = wanted, found
        self._reading: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node, compare, and go on with the graph's own value."""
        made = super().run_node(n)
        if n.op != "call_function":
            return made
        self._reading[n] = sum(self._reading.get(each, 0) for each in n.all_input_nodes) + _reads_a_quantizer(n)
        if n.name not in self._wanted:
            return made
        wanted = self._wanted[n.name]
        before = self._found.get(n.name)
        if before is None:
            self._found[n.name] = self._difference(n, made, wanted)
        elif any(each.op != "get_attr" for each in n.all_input_nodes):  # weights are the same for every batch
            self._found[n.name] = _both(before, self._difference(n, made, wanted))
        self._reading[n] = 0
        return wanted

    def _difference(self, node: fx.Node, made: Tensor, wanted: Tensor) -> NodeParity:
        if made.shape != wanted.shape:
            raise ValueError(f"{node.name} is {tuple(made.shape)} in the model and {tuple(wanted.shape)} in the graph")
        apart = (made - wanted).abs()
        steps = torch.zeros_like(apart)
        if is_quantizer(node):
            _, scale, axis, _ = self.fetch_args_kwargs_from_env(node)[0]
            steps = (apart / (scale if scale.ndim == 0 else scale.reshape(_along(made, axis)))).round()
        rest = torch.where(steps >= 1, 0.0, apart)  # NaN stays
        return NodeParity(
            node=node.name,
            quantizer=is_quantizer(node),
            operators=self._reading[node],
            values=made.numel(),
            one_step=int((steps == 1).sum()),
            further=int((steps > 1).sum()),
            largest=float(rest.max()) / (float(wanted.abs().max()) or 1.0),
        )


def is_quantizer(node: fx.Node) -> bool:
    """Return whether a node of an exported program is the quantize-dequantize operator."""
    return node.target is torch.ops.calibration.quantize_dequantize.default


def _reads_a_quantizer(node: fx.Node) -> bool:
    return any(is_quantizer(each) for each in node.all_input_nodes)


def _along(values: Tensor, axis: int) -> list[int]:
    return [-1 if each == axis else 1 for each in range(values.ndim)]


def _both(first: NodeParity, second: NodeParity) -> NodeParity:
    counts = {name: getattr(first, name) + getattr(second, name) for name in ("values", "one_step", "further")}
    return replace(first, **counts, largest=max(first.largest, second.largest))
