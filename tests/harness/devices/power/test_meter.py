from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.power.meter import Meter, Metered, Rails, Rig

pytestmark = pytest.mark.core


class Planted:
    """A sensor and a clock that are set by hand."""

    def __init__(self, rails: Rails) -> None:
        self.rails = rails
        self.now_s = 0.0

    def read(self) -> Rails:
        return self.rails

    def clock(self) -> float:
        return self.now_s

    def after(self, seconds: float, rails: Rails) -> None:
        self.now_s += seconds
        self.rails = rails


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 50)), min_size=1, max_size=30))
def test_watts_are_integrated_by_trapezoids(steps: list[tuple[float, float]]) -> None:
    planted = Planted({"VDD_IN": 5.0})
    meter = Meter(Rig("planted", "all", ("VDD_IN",), watts=planted.read), planted.clock)
    last, joules = 5.0, 0.0
    for seconds, watts in steps:
        planted.after(seconds, {"VDD_IN": watts})
        joules += seconds * (last + watts) / 2
        last = watts
        assert meter.sample().joules["VDD_IN"] == pytest.approx(joules)


def test_counters_are_told_from_where_they_stood() -> None:
    planted = Planted({"gpu": 1000.0})
    meter = Meter(Rig("planted", "gpu", ("gpu",), joules=planted.read), planted.clock)
    planted.after(1, {"gpu": 1012.5})
    assert meter.sample() == Metered(1, {"gpu": 12.5})
    planted.after(1, {"gpu": 1013.0})
    assert meter.sample() == Metered(2, {"gpu": 13.0})


def test_a_rail_that_missed_a_sample_goes_on_from_its_last_answer() -> None:
    planted = Planted({"a": 2.0, "b": 4.0})
    meter = Meter(Rig("planted", "a+b", (), watts=planted.read), planted.clock)
    planted.after(1, {"a": 2.0})
    assert meter.sample().joules == {"a": 2.0}
    planted.after(1, {"a": 2.0, "b": 4.0})
    assert meter.sample().joules["a"] == 4.0
