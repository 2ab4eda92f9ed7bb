"""From an ONNX file to TensorRT's network definition; the parser's errors by node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError
from engines.tensorrt import versions
from engines.tensorrt.flavour import Bindings, Flavour
from engines.tensorrt.messages import Messages

if TYPE_CHECKING:
    import tensorrt

_NAMED = 3  # faulty nodes that a sentence names


@dataclass(frozen=True)
class Network:
    """A network definition, with what it must not outlive.

    Attributes:
        definition: TensorRT's network.
        parser: owns the weights that the network refers to.
        image_input: name of its one input.
        image_shape: channels, height, width.
    """

    definition: tensorrt.INetworkDefinition
    parser: tensorrt.OnnxParser
    image_input: str
    image_shape: tuple[int, ...]


def read_network(
    trt: Bindings,
    flavour: Flavour,
    builder: tensorrt.Builder,
    graph: Path,
    messages: Messages,
    *,
    on_dla: bool = False,
) -> Network:
    """Parse an ONNX file.

    Raises:
        InputError: the parser refuses it; the sentence names the nodes, and what to do.
    """
    versions.prepare_plugins(trt, messages.logger)
    definition = builder.create_network(versions.network_flags(trt, on_dla=on_dla))
    parser = trt.OnnxParser(definition, messages.logger)
    if not parser.parse(graph.read_bytes(), str(graph)):
        raise InputError(
            f"{flavour.title} {trt.__version__} cannot build {graph}: {_faults(parser, messages)}; "
            "write these operators otherwise and export the graph again, or use a newer version or another backend"
        )
    images = definition.get_input(0)
    dims: Any = images.shape
    return Network(definition, parser, images.name, tuple(dims)[1:])


def _faults(parser: tensorrt.OnnxParser, messages: Messages) -> str:
    faults = [
        f"node {node}{f' ({operator})' if operator else ''}: {' '.join(description.split()).rstrip('.')}"
        for node, operator, description in versions.parser_errors(parser)
    ]
    if not faults:
        return messages.reason
    more = len(faults) - _NAMED
    return "; ".join(faults[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
