"""The layers of an engine in its builder's own words, for builds on machines where the engine cannot be loaded.

With detailed verbosity the builder logs what it has made, one line a layer, as its inspector's one-line format does:
`Name: conv_myl0_2, LayerType: correlation, Inputs: [ { Name: …, Datatype: Int8, Format: … }], Outputs: […], …`. Seen in
TensorRT-RTX 1.7.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from engines.tensorrt.inspection.inspector import engine_layers
from engines.tensorrt.inspection.layers import EngineLayer, of_profile
from engines.tensorrt.messages import LAYERS

_LAYER = re.compile(
    r"^Name: (?P<Name>.*?), LayerType: (?P<LayerType>\w+), Inputs: \[(?P<Inputs>.*?)\], (?:Constants: \[.*?\], )?"
    r"Outputs: \[(?P<Outputs>.*?)\], TacticName: (?P<TacticName>.*?), StreamId: \d+, Metadata: (?P<Metadata>.*)$",
    re.MULTILINE,
)
_TENSOR = re.compile(r"\{ Name: (?P<Name>.*?), Dimensions: .*?Datatype: (?P<Datatype>\w+), Format: (?P<Format>.*?) \}")
# Lists of tensors end with "}]" or are empty; dimensions inside them end with "]," and are no end.
_END_OF_DIMENSIONS = re.compile(r"(Dimensions|Strides|StrideOrder): \[([\d,\s-]*)\]")


def layers_said(messages: Iterable[str]) -> tuple[EngineLayer, ...]:
    """Return the layers of the first optimisation profile that a builder told of last; none where it told of none."""
    told = [message for message in messages if message.startswith(LAYERS)]
    layers = list(_layers(told[-1])) if told else []
    return of_profile(engine_layers(json.dumps({"Layers": layers})), 0)


def _layers(text: str) -> Iterator[dict[str, Any]]:
    plain = _END_OF_DIMENSIONS.sub(r"\1: (\2)", text)
    for found in _LAYER.finditer(plain):
        layer: dict[str, Any] = found.groupdict()
        for side in ("Inputs", "Outputs"):
            layer[side] = [tensor.groupdict() for tensor in _TENSOR.finditer(layer[side])]
        yield layer
