"""A float ONNX graph on its way to Q/DQ: where it is quantized, its ranges, and the graph that comes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calibration.graphs.constants import constant_values
from calibration.graphs.insert import insert, weight_scales
from calibration.graphs.operations import operations
from calibration.graphs.qdq import DEPLOYED_BITS
from calibration.graphs.wiring import tensor_types
from calibration.ranges import See, Shape, observed_scales
from calibration.rules import Place, places, scale_names
from calibration.table import BY_CHANNEL, CalibrationTable, TensorScale, places_digest

if TYPE_CHECKING:
    import onnx

Run = Callable[[Any], Iterator[tuple[str, Any]]]
"""From a batch to its named activations, one at a time."""


@dataclass(frozen=True)
class FloatGraph:
    """A float graph and the places where Q/DQ pairs go.

    Attributes:
        model: float32, opset 13 or later.
        places: where it is quantized.
        keep_float: names of the nodes that are not.
        shapes: of every tensor, 0 where it depends on the batch.
    """

    model: onnx.ModelProto
    places: tuple[Place, ...]
    keep_float: tuple[str, ...]
    shapes: Mapping[str, Shape]

    @staticmethod
    def of(model: onnx.ModelProto, keep_float: Iterable[str] = ()) -> FloatGraph:
        """Find the places.

        Raises:
            InputError: `keep_float` names a node that is not there, or that no rule quantizes.
        """
        kept = tuple(sorted(keep_float))
        where = places(operations(model), frozenset(kept))
        types = tensor_types(model)
        shapes = {name: tuple(dim.dim_value for dim in kind.shape.dim) for name, kind in types.items()}
        # A weight that nodes compute has a shape even where none can be inferred.
        weights = constant_values(model, [place.tensor for place in where if place.axis is not None])
        shapes |= {name: weight.shape for name, weight in weights.items()}
        return FloatGraph(model, where, kept, shapes)

    @property
    def activations(self) -> tuple[str, ...]:
        """Names of the activations that are quantized, each once."""
        return tuple(dict.fromkeys(place.tensor for place in self.places if place.axis is None))

    @property
    def digest(self) -> str:
        """What recognises this graph's places."""
        return places_digest(self.places, self._shape)

    def calibrate(
        self, run: Run, batches: Iterable[Any], calibrator: str, images: str, sample_ids: tuple[int, ...]
    ) -> CalibrationTable:
        """Return the scales of this graph.

        Args:
            run: runs a batch through this graph and yields at least `activations`.
            batches: float32 images (n, channels, height, width) in [0, 1].
            calibrator: one of `calibration.observers.CALIBRATORS`.
            images: what is shown: "clean", or a file's name.
            sample_ids: which images these are.

        Raises:
            InputError: unknown calibrator, no batch, or activations that are not finite, with the layer's name.
        """

        def show(batch: Any, see: See) -> None:
            for name, values in run(batch):
                see(name, values)

        scales = observed_scales(show, batches, self.places, calibrator, DEPLOYED_BITS)
        shapes = self._quantized_shapes()
        tensors = {name: TensorScale((scale,), None, calibrator, shapes[name]) for name, scale in scales.items()}
        for name, (channels, axis) in weight_scales(self.model, self.places).items():
            tensors[name] = TensorScale(tuple(channels.tolist()), axis, BY_CHANNEL, shapes[name])
        return CalibrationTable(
            method=calibrator,
            bits=DEPLOYED_BITS,
            images=images,
            sample_ids=sample_ids,
            keep_float=self.keep_float,
            graph=self.digest,
            tensors=tensors,
        )

    def quantized(self, table: CalibrationTable) -> onnx.ModelProto:
        """Return the graph with explicit Q/DQ.

        Raises:
            InputError: the table does not belong to this graph.
        """
        table.check_belongs(self._quantized_shapes(), self.digest)
        return insert(self.model, self.places, {name: table.tensors[name].scales[0] for name in self.activations})

    def _quantized_shapes(self) -> dict[str, Shape]:
        """Return the shape of every tensor that has a scale, by the scale's name."""
        ranks = {place.tensor: len(self._shape(place.tensor)) for place in self.places if place.axis is not None}
        return {name: self._shape(tensor) for (tensor, _), name in scale_names(self.places, ranks).items()}

    def _shape(self, tensor: str) -> Shape:
        return self.shapes.get(tensor, ())
