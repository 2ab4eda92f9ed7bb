"""A graph written anew with every node in its planned precision: constants converted, Casts where types meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from calibration.graphs.half_operators import FLOAT, Form, Half

if TYPE_CHECKING:
    import onnx


def write(
    model: onnx.ModelProto, forms: Sequence[Form | None], types: Mapping[str, int], kind: Half
) -> onnx.ModelProto:
    """Return the graph in which each node has its form; one Cast per tensor and direction, shared by its readers.

    Args:
        model: a float32 graph, its constants initializers, its nodes in topological order.
        forms: one a node; None for a node that takes its inputs in whichever type they have.
        types: `TensorProto.DataType` by tensor.
        kind: the half type.

    Returns:
        A new graph whose value_info is inferred, and which onnx's checker has passed with types and shapes.
    """
    import onnx
    from onnx import shape_inference

    written = onnx.ModelProto()
    written.CopyFrom(model)
    graph = written.graph
    for field in (graph.node, graph.initializer, graph.value_info):
        del field[:]
    writer = _Writer(model.graph, forms, types, kind)
    for node, form in zip(model.graph.node, forms, strict=True):
        writer.add(node, form)
    for output in model.graph.output:
        if types.get(output.name) == FLOAT:
            writer.version(output.name, False)
    graph.node.extend(writer.nodes)
    graph.initializer.extend(writer.initializers())
    written = shape_inference.infer_shapes(written, strict_mode=True)
    onnx.checker.check_model(written, full_check=True)
    return written


class _Writer:
    """Nodes in their new types, and under which name each tensor exists in half and in float32."""

    def __init__(
        self, graph: onnx.GraphProto, forms: Sequence[Form | None], types: Mapping[str, int], kind: Half
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph, self._types, self._kind = graph, types, kind
        self._outputs = {value.name for value in graph.output}
        self._taken = {*types, *(name for node in graph.node for name in (*node.input, *node.output))}
        self._names: dict[tuple[str, bool], str] = {}  # (tensor, is half) -> its name in the new graph
        self._half: dict[str, bool] = {}  # whether a tensor is made in half
        constants = [tensor.name for tensor in graph.initializer if tensor.data_type == FLOAT]
        self._float_constants = self._read_as_float(forms).intersection(constants)
        self._half_constants = {  # constant -> name of its half version
            name: self._new_name(name, kind.name) if name in self._float_constants else name for name in constants
        }

    def _read_as_float(self, forms: Sequence[Form | None]) -> set[str]:
        read = set(self._outputs)
        for node, form in zip(self._graph.node, forms, strict=True):
            for position, name in enumerate(node.input):
                if form is None or not form.inputs[position]:
                    read.add(name)
        return read

    def add(self, node: onnx.NodeProto, form: Form | None) -> None:
        """Append a node in its form, behind the Casts that it needs first."""
        import onnx

        new = onnx.NodeProto()
        new.CopyFrom(node)
        for position, name in enumerate(node.input):
            is_half = self._half.get(name, False) if form is None else form.inputs[position]
            if self._types.get(name) == FLOAT:
                new.input[position] = self.version(name, is_half)
        for position, name in enumerate(node.output):
            if form is not None and form.outputs[position]:
                self._half[name] = True
                new.output[position] = self._new_name(name, self._kind.name) if name in self._outputs else name
                self._names[name, True] = new.output[position]
        if new.op_type == "Cast" and self._types.get(node.input[0]) == self._types.get(node.output[0]) == FLOAT:
            new.op_type = "Identity"  # both ends have one type, whichever it is: a Cast would double the ones around
            del new.attribute[:]
        elif form is not None and any(form.outputs):
            self._turn_attribute(new)
        self.nodes.append(new)

    def version(self, name: str, is_half: bool) -> str:
        """Return the name of a float tensor in the wanted type; the first reader brings the Cast."""
        from onnx import helper

        if (name, is_half) in self._names:
            return self._names[name, is_half]
        if name in self._half_constants and is_half:
            new = self._half_constants[name]
        elif self._half.get(name, False) == is_half:
            new = name
        else:
            ending = self._kind.name if is_half else "fp32"
            new = name if name in self._outputs and not is_half else self._new_name(name, ending)
            source = self.version(name, not is_half)
            target = self._kind.onnx_type if is_half else FLOAT
            self.nodes.append(helper.make_node("Cast", [source], [new], name=f"{name}_to_{ending}", to=target))
        self._names[name, is_half] = new
        return new

    def initializers(self) -> list[onnx.TensorProto]:
        """Return the constants in the types in which they are read."""
        from onnx import numpy_helper

        kept = []
        for tensor in self._graph.initializer:
            if tensor.data_type != FLOAT or tensor.name in self._float_constants:
                kept.append(tensor)
            if (tensor.name, True) in self._names:
                values = self._kind.rounded(numpy_helper.to_array(tensor))
                kept.append(numpy_helper.from_array(values, self._names[tensor.name, True]))
        return kept

    def _turn_attribute(self, node: onnx.NodeProto) -> None:
        """Rewrite the attribute that decides the type of a half output."""
        from onnx import helper, numpy_helper

        if node.op_type == "Cast":
            next(entry for entry in node.attribute if entry.name == "to").i = self._kind.onnx_type
        elif node.op_type == "ConstantOfShape":
            filling = numpy_helper.to_array(node.attribute[0].t) if node.attribute else np.zeros(1, np.float32)
            del node.attribute[:]
            tensor = numpy_helper.from_array(self._kind.rounded(filling))
            node.attribute.append(helper.make_attribute("value", tensor))

    def _new_name(self, name: str, ending: str) -> str:
        new = f"{name}_{ending}"
        while new in self._taken:
            new += "_"
        self._taken.add(new)
        return new
