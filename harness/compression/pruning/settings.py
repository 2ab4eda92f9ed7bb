"""What is to be cut, and by which measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from contracts.errors import InputError, unknown_name

METHODS = ("l1", "l2", "bn-scale", "taylor", "robust-taylor", "random")
SCOPES = ("local", "global")
WITH_GRADIENTS = ("taylor", "robust-taylor")


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """One cut.

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

    Raises:
        InputError: a value out of range, or an unknown method or scope.
    """

    method: str = "l1"
    sparsity: float = 0.5
    scope: str = "local"
    limits: Mapping[str, float] = field(default_factory=dict)
    max_sparsity: float = 0.95
    ignore: tuple[str, ...] = ()
    round_to: int = 1
    seed: int = 0

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
        for name, value in (
            ("sparsity", self.sparsity),
            *((f"limits[{name!r}]", v) for name, v in self.limits.items()),
        ):
            if not 0 <= value <= self.max_sparsity:
                raise InputError(
                    f"prune.{name} must be between 0 and max_sparsity ({self.max_sparsity}), got {value}: change one"
                )

    def in_steps(self, steps: int) -> list[Pruning]:
        """Return the cuts, one after the other, that together take what this one takes, limits and all.

        Every cut rounds up to whole channels, and to `round_to`: together they may take a few channels more.
        """

        def each(share: float) -> float:
            return in_steps(share, steps)[0] if share else 0.0

        limits = {name: each(share) for name, share in self.limits.items()}
        step = replace(self, sparsity=each(self.sparsity), limits=limits, max_sparsity=each(self.max_sparsity))
        return [step] * steps


def in_steps(sparsity: float, steps: int) -> list[float]:
    """Return the share that each of several cuts takes of what the one before left.

    All are equal, and together they take `sparsity`: (1 - share) ** steps = 1 - sparsity.

    Args:
        sparsity: in (0, 1).
        steps: at least 1.

    Raises:
        InputError: out of range.
    """
    if not 0 < sparsity < 1:
        raise InputError(f"prune.sparsity must be above 0 and below 1, got {sparsity}")
    if steps < 1:
        raise InputError(f"prune.steps must be at least 1, got {steps}")
    return [1 - (1 - sparsity) ** (1 / steps) if steps > 1 else sparsity] * steps
