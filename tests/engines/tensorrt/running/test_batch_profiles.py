from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.tensorrt.running.profiles import Profile, profile_of, refuse_batch, rows_of_a_run

pytestmark = pytest.mark.core

SIZES = st.integers(1, 300)
PROFILES = st.lists(st.tuples(SIZES, SIZES, SIZES).map(lambda sizes: tuple(sorted(sizes))), min_size=1, max_size=4)


@given(SIZES, PROFILES)
def test_a_run_fits_a_profile_and_wastes_no_more_than_it_must(batch: int, profiles: Sequence[Profile]) -> None:
    rows = rows_of_a_run(batch, profiles)
    index = profile_of(rows, profiles)
    assert index is not None and profiles[index][0] <= rows <= profiles[index][2]
    taken = {size for smallest, _, largest in profiles for size in range(smallest, largest + 1)}
    below = [size for size in taken if size <= batch]
    assert rows == (max(below) if below else min(taken))


@given(SIZES, PROFILES)
def test_of_the_profiles_that_take_a_batch_the_one_tuned_nearest_runs_it(
    batch: int, profiles: Sequence[Profile]
) -> None:
    index = profile_of(batch, profiles)
    fitting = [abs(tuned - batch) for smallest, tuned, largest in profiles if smallest <= batch <= largest]
    assert (index is None) == (not fitting)
    if index is not None:
        assert abs(profiles[index][1] - batch) == min(fitting)


def test_a_refusal_names_what_is_taken_and_the_option() -> None:
    sentence = str(refuse_batch(9, [(1, 1, 1), (2, 4, 8)], "tensorrt"))
    assert sentence == (
        "the engine takes batches of 1 and 2 to 8, not 9: choose one of these, or build it for 9 with "
        "--set build.tensorrt.profiles='[[1, 1, 1], [2, 4, 8], [9, 9, 9]]'"
    )
