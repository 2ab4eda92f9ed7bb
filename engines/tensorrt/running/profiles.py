"""Which batch sizes an engine takes, and in which of its optimisation profiles each runs."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.errors import InputError

Profile = tuple[int, int, int]
"""Smallest, tuned and largest batch size."""


def profile_of(batch: int, profiles: Sequence[Profile]) -> int | None:
    """Return the index of the profile that is tuned for the size nearest to a batch; None where none takes it."""
    fitting = [index for index, (smallest, _, largest) in enumerate(profiles) if smallest <= batch <= largest]
    return min(fitting, key=lambda index: abs(profiles[index][1] - batch), default=None)


def rows_of_a_run(batch: int, profiles: Sequence[Profile]) -> int:
    """Return how many images to run at a time so that batches of any size are served.

    It is the batch size itself where a profile takes it. A larger batch is cut to the largest size that fits into it, a
    smaller one is padded.
    """
    if profile_of(batch, profiles) is not None:
        return batch
    below = [largest for _, _, largest in profiles if largest < batch]
    return max(below) if below else min(smallest for smallest, _, _ in profiles)


def refuse_batch(batch: int, profiles: Sequence[Profile], backend: str) -> InputError:
    """Describe a batch size that no profile takes."""
    takes = " and ".join(
        f"{smallest} to {largest}" if smallest < largest else f"{smallest}" for smallest, _, largest in profiles
    )
    wanted = [*map(list, profiles), [batch, batch, batch]]
    return InputError(
        f"the engine takes batches of {takes}, not {batch}: choose one of these, or build it for {batch} with "
        f"--set build.{backend}.profiles='{wanted}'"
    )
