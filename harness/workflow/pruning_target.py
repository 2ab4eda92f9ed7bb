"""What pruning brings down: parameters, multiply-accumulates or an engine's latency, and how far it came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError
from engines.registry import AUTO, choose
from harness.compression.pruning import once_a_structure, ratio_for
from harness.workflow.artifact import Made
from harness.workflow.context import Context

if TYPE_CHECKING:
    from torch import nn

    Quantity = Callable[[nn.Module], float]

_LOOKED_AT = 8  # random images that a candidate is calibrated on, where only its speed counts


@dataclass(frozen=True)
class Goal:
    """A quantity, and how much of it is to be left.

    Attributes:
        target: its name.
        before: of the whole model.
        wanted: at most so much.
        quantity: finds it, once for models of the same channel counts.
        doubts: why a measured quantity is not valid; grows with what is measured.
    """

    target: str
    before: float
    wanted: float
    quantity: Quantity
    doubts: list[str] = field(default_factory=list)

    def ratio(self, context: Context, make: Callable[[float], nn.Module]) -> float:
        """Return the channel ratio that brings the quantity down to what is wanted; `make` prunes by a ratio.

        Raises:
            InputError: no ratio does.
        """
        with context.progress.bar(f"searching the channel ratio for {self.target}", 1):
            return ratio_for(make, self.quantity, self.wanted, most=context.experiment.prune.max_sparsity).ratio

    def outcome(self, model: nn.Module, channel_ratio: float) -> Made:
        """Return what the manifest says of the model that was pruned, with sentences for the user.

        Args:
            model: after all cuts.
            channel_ratio: share of the channels that went.
        """
        found = self.quantity(model)
        before, wanted, reached = map(self._told, (self.before, self.wanted, found))
        doubts = list(dict.fromkeys(self.doubts))
        warnings = [f"the {self.target} that was pruned for is doubtful: {'; '.join(doubts)}"] if doubts else []
        if found > self.wanted:
            warnings.append(f"{self.target}: at most {wanted} was wanted, and {reached} is left")
        return {
            "target": {
                "target": self.target,
                "before": self.before,
                "wanted": self.wanted,
                "reached": found,
                "channel_ratio": channel_ratio,
                "doubts": doubts,
            },
            "told": [f"{self.target}: {before} before, at most {wanted} wanted, {reached} reached"],
            "warnings": warnings,
        }

    def _told(self, value: float) -> str:
        return f"{value:.3f} ms" if self.target == "latency" else f"{value:,.0f}"


def goal(context: Context, folder: Path, model: nn.Module, input_shape: Sequence[int]) -> Goal | None:
    """Return what pruning is to reach; None where a share of the channels themselves is asked for.

    Args:
        context: of the experiment.
        folder: where scratch folders lie.
        model: before any cut.
        input_shape: channels, height, width.

    Raises:
        InputError: a latency that cannot be measured here.
    """
    asked = context.experiment.prune
    if asked.target == "channels":
        return None
    doubts: list[str] = []
    quantity = once_a_structure(QUANTITIES[asked.target](context, folder, input_shape, doubts))
    before = quantity(model)
    return Goal(asked.target, before, (1 - asked.sparsity) * before, quantity, doubts)


def latency_settings(context: Context) -> dict[str, Any]:
    """Return the settings that decide the latency that is pruned for, as the run folder records them."""
    build, measure = context.lasting.build, context.lasting.measure
    backend = build.backend[0]
    return {
        "backend": backend,
        "precision": build.precision[0],
        "options": build.options if backend == AUTO else build.options.get(backend, {}),
        "batch": measure.batch[0],
        "profile": measure.profile,
        "threads": measure.threads,
        "cuda_graph": measure.cuda_graph,
    }


def _size(name: str) -> Callable[[Context, Path, Sequence[int], list[str]], Quantity]:
    def made(context: Context, folder: Path, input_shape: Sequence[int], doubts: list[str]) -> Quantity:
        del context, folder, doubts
        from harness.compression.size import size_of

        return lambda model: float(getattr(size_of(model, input_shape), name))

    return made


def _latency_ms(context: Context, folder: Path, input_shape: Sequence[int], doubts: list[str]) -> Quantity:
    """Return what finds the median latency of a model's engine, of the recorded backend, precision and batch."""
    lasting = replace(context, experiment=context.lasting)
    precision, batch = lasting.experiment.build.precision[0], lasting.experiment.measure.batch[0]
    if precision not in ("int8", "fp32"):
        raise InputError(
            f"prune.target = latency measures int8 or fp32 engines, and the first of build.precision is {precision}"
        )
    backend, _ = choose(lasting.experiment.build.backend[0])

    def quantity(model: nn.Module) -> float:
        import torch

        from harness.compression.traced import traced
        from harness.compression.twin import Twin
        from harness.workflow.engine_latency import p50_ms

        channels, height, width = input_shape
        twin = Twin(traced(deepcopy(model).eval(), (channels, height, width)))
        twin.calibrate("minmax", [torch.rand(_LOOKED_AT, *input_shape, generator=torch.Generator().manual_seed(0))])
        times, why = p50_ms(lasting, folder, twin, input_shape, backend, precision, (batch,))
        if batch not in times:
            raise InputError(
                f"the latency of a pruned model cannot be measured here ({'; '.join(why)}): choose another prune.target"
            )
        doubts.extend(why)
        return times[batch]

    return quantity


QUANTITIES: dict[str, Callable[[Context, Path, Sequence[int], list[str]], Quantity]] = {
    "parameters": _size("parameters"),
    "macs": _size("macs"),
    "latency": _latency_ms,
}
"""By target, what finds the quantity of a model."""
