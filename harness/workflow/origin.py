"""Where a model comes from: trained here as a torch model, or given as an ONNX file. Both end in graphs."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

from calibration.graphs.qdq import DEPLOYED_BITS
from contracts.errors import InputError
from engines.backend import GRAPH_KINDS, GraphKind
from harness.workflow.artifact import Task
from harness.workflow.context import Context
from harness.workflow.stages import export, finetune, given, keep_float, prune, quantize, sensitivity, train, typed


class Origin(Protocol):
    """What the rest of the journey needs of a model."""

    @property
    def final(self) -> Task:
        """What every engine is held against: the final checkpoint, or the given float graph."""

    def graph(self, kind: GraphKind) -> Task:
        """Return the model as a graph of that kind."""

    def missing(self, kind: GraphKind) -> str | None:
        """Return why this model has no graph of that kind; None where it has one."""

    def stage(self, name: str) -> list[Task]:
        """Return what a stage before the engines makes.

        Raises:
            InputError: this model has no such stage.
        """


class Trained:
    """A torch model: trained or loaded, then pruned, quantized and fine-tuned in the experiment's order."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @cached_property
    def base(self) -> Task:
        """The trained model."""
        return train.task(self._context)

    @cached_property
    def pruned(self) -> Task:
        """The model without the channels that were cut; as it was where nothing is pruned."""
        return prune.task(self._context, self._before(prune.NAME))

    @cached_property
    def unquantized(self) -> Task:
        """The float model that quantizers are put into."""
        return self._before(quantize.NAME)

    @cached_property
    def calibrated(self) -> Task:
        """The ranges of every layer that is not kept in float by name."""
        kept = self._context.experiment.quantize.keep_float
        return quantize.task(self._context, self.unquantized, () if kept == "auto" else kept)

    @cached_property
    def sensitivity(self) -> Task:
        """What quantizing each layer alone costs."""
        return sensitivity.task(self._context, self.unquantized, self.calibrated)

    @cached_property
    def ranges(self) -> Task:
        """The ranges of the layers that are quantized in the end, as they are before fine-tuning through them."""
        if self._context.experiment.quantize.keep_float != "auto":
            return self.calibrated
        return keep_float.task(self._context, self.unquantized, self.calibrated, self.sensitivity)

    @cached_property
    def final(self) -> Task:
        """The final weights and ranges: float and twin at once."""
        through = finetune.NAME in self._order[self._order.index(quantize.NAME) :]
        return finetune.task(self._context, self.unquantized, self.ranges, through_quantizers=through)

    @property
    def _order(self) -> tuple[str, ...]:
        return self._context.experiment.order

    def _before(self, stage: str) -> Task:
        """Return the float checkpoint that a stage begins with: the outcome of those before it."""
        found = self.base
        for earlier in self._order[: self._order.index(stage)]:
            found = {prune.NAME: prune.task, finetune.NAME: finetune.float_task}[earlier](self._context, found)
        return found

    def missing(self, kind: GraphKind) -> str | None:
        """Return why there is no graph of that kind; see `Origin.missing`."""
        bits = self._context.experiment.quantize.bits
        return (
            f"quantize.bits is {bits}, which is simulated alone" if kind == "int8" and bits != DEPLOYED_BITS else None
        )

    def graph(self, kind: GraphKind) -> Task:
        """Return the final model as a graph of that kind."""
        if kind in ("fp16", "bf16"):
            return typed.task(self._context, self.graph("float"), kind)
        return export.task(self._context, self.final, kind)

    def stage(self, name: str) -> list[Task]:
        """Return what a stage makes; see `Origin.stage`."""
        if name == prune.NAME and self._context.experiment.prune.method == "none":
            raise InputError("there is nothing to prune: set prune.method, for example with --set prune.method=l1")
        if name == export.NAME:
            return _graphs(self)
        return [
            {
                train.NAME: lambda: self.base,
                prune.NAME: lambda: self.pruned,
                quantize.NAME: lambda: self.ranges,
                sensitivity.NAME: lambda: self.sensitivity,
                finetune.NAME: lambda: self.final,
            }[name]()
        ]


class Given:
    """A user's ONNX file; it has no gradients, so that it is neither trained nor attacked through them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @cached_property
    def final(self) -> Task:
        """The file as the float graph."""
        return given.float_task(self._context)

    @cached_property
    def ranges(self) -> Task:
        """The ranges of its activations."""
        kept = self._context.experiment.quantize.keep_float
        if kept == "auto":
            raise InputError(
                "quantize.keep_float = auto needs a model with gradients, and a given ONNX graph has none: name the "
                "layers that stay in float"
            )
        return quantize.task(self._context, self.final, kept)

    def missing(self, kind: GraphKind) -> str | None:
        """Return why there is no graph of that kind; see `Origin.missing`."""
        data = self._context.experiment.data
        looks = kind in ("int8", "fp16") and data.calibration is None and data.name == "npz" and data.path is None
        return "it needs images to look at: name a file with --calibration" if looks else None

    def graph(self, kind: GraphKind) -> Task:
        """Return the given model as a graph of that kind."""
        if kind in ("fp16", "bf16"):
            return typed.task(self._context, self.final, kind)
        return self.final if kind == "float" else given.int8_task(self.final, self.ranges)

    def stage(self, name: str) -> list[Task]:
        """Return what a stage makes; see `Origin.stage`."""
        if name == export.NAME:
            return _graphs(self)
        if name == quantize.NAME:
            return [self.ranges]
        raise InputError(
            f"the model is the ONNX file {self._context.experiment.model.onnx}, which has no gradients: {name} needs a "
            "torch model; quantize, export, build, eval and measure work"
        )


def _graphs(model: Origin) -> list[Task]:
    return [model.graph(kind) for kind in GRAPH_KINDS if model.missing(kind) is None]


def origin(context: Context) -> Origin:
    """Return where the experiment's model comes from."""
    return Trained(context) if context.experiment.model.onnx is None else Given(context)
