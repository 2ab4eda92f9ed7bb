from __future__ import annotations

import pytest

from harness.waiting import as_deployed, wait_briefly

pytestmark = pytest.mark.core


def test_what_is_timed_does_not_see_our_setting() -> None:
    environment = {"PATH": "/bin"}
    wait_briefly(environment)
    assert environment["GOMP_SPINCOUNT"] == "1000"
    assert as_deployed(environment) == {"PATH": "/bin"}


@pytest.mark.parametrize("given", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_what_the_user_set_stays_and_is_deployed(given: dict[str, str]) -> None:
    environment = dict(given)
    wait_briefly(environment)
    assert environment == given
    assert as_deployed(environment) == given
