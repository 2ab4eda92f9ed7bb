"""What is to be cut, and by which measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from contracts.errors import InputError, unknown_name

Scope = Literal["local", "global"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class Needs:
    """What an importance is found from, beside the weights.

    Attributes:
        gradients: of a loss on clean or on adversarial images.
        batch_norms: only layers whose channels meet one can be cut.
        seed: it is drawn.
    """

    gradients: Literal["none", "clean", "adversarial"] = "none"
    batch_norms: bool = False
    seed: bool = False


NEEDS: Mapping[str, Needs] = {
    "l1": Needs(),
    "l2": Needs(),
    "bn-scale": Needs(batch_norms=True),
    "taylor": Needs(gradients="clean"),
    "robust-taylor": Needs(gradients="adversarial"),
    "random": Needs(seed=True),
}
"""The importances; each is computed in `harness.compression.pruning.importance`."""

METHODS = tuple(NEEDS)
WITH_GRADIENTS = tuple(name for name, needs in NEEDS.items() if needs.gradients != "none")


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """A cut, or one of several that together take what it takes.

    Attributes:
        method: what makes a channel important, one of `METHODS`; see `harness.compression.pruning.importance`.
        sparsity: share of the channels to cut, in (0, 1), rounded up to whole channels.
        scope: `local` cuts this share of every layer, `global` this share of all layers' channels together, the least
            important first, each layer's importances divided by their mean.
        limits: layer's name -> its own share, in [0, 1); 0 leaves its output channels alone. A container's name stands
            for all layers below it, and the longest name wins. Of layers that only shrink together (those of a
            residual sum), the smallest counts.
        max_sparsity: no layer loses more than this share, in (0, 1).
        ignore: names of modules that keep every tensor that they and the modules below them have: neither their
            outputs nor their inputs shrink, and nobody looks into them.
        round_to: channel counts become multiples of this, by cutting more, not less; a layer keeps at least this many.
        seed: of `random`.
        part: how far this cut goes on the way to the whole one, in (0, 1]; see `in_steps`.

    Raises:
        InputError: a value out of range, or an unknown method or scope.
    """

    method: str = "l1"
    sparsity: float = 0.5
    scope: Scope = "local"
    limits: Mapping[str, float] = field(default_factory=dict)
    max_sparsity: float = 0.95
    ignore: tuple[str, ...] = ()
    round_to: int = 1
    seed: int = 0
    part: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("pruning method", self.method, METHODS)
        if self.scope not in SCOPES:
            raise unknown_name("pruning scope", self.scope, SCOPES)
        for name, value in (("sparsity", self.sparsity), ("max_sparsity", self.max_sparsity)):
            if not 0 < value < 1:
                raise InputError(f"prune.{name} must be above 0 and below 1, got {value}")
        if self.round_to < 1:
            raise InputError(f"prune.round_to must be at least 1, got {self.round_to}")
        if not 0 < self.part <= 1:
            raise InputError(f"a part of a cut must be above 0 and at most 1, got {self.part}")
        for name, value in (
            ("sparsity", self.sparsity),
            *((f"limits[{name!r}]", v) for name, v in self.limits.items()),
        ):
            if not 0 <= value <= self.max_sparsity:
                raise InputError(
                    f"prune.{name} must be between 0 and max_sparsity ({self.max_sparsity}), got {value}: change one"
                )

    @property
    def needs(self) -> Needs:
        """What the method's importances are found from."""
        return NEEDS[self.method]

    def in_steps(self, steps: int) -> list[Pruning]:
        """Return cuts, one after the other, whose last one ends where this one does; see `prune` for what holds.

        Cut k of n leaves (1 - share) ** (k / n) of what was there before the first, so that each takes the same share
        of what the one before left, for every layer by its own share.

        Raises:
            InputError: fewer than one.
        """
        if steps < 1:
            raise InputError(f"prune.steps must be at least 1, got {steps}")
        return [replace(self, part=self.part * step / steps) for step in range(1, steps + 1)]

    def share(self, whole: float) -> float:
        """Return the share that is gone after this cut, where the whole one takes `whole`, in [0, 1)."""
        return whole if self.part == 1 else 1 - (1 - whole) ** self.part
