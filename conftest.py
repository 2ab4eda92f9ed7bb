"""What tests of every package share."""

from __future__ import annotations

import pytest
from hypothesis import settings

from engines.cuda.driver import NoGpu, find_gpu
from harness.waiting import wait_briefly

wait_briefly()
settings.register_profile("any machine", deadline=None)  # how long an example takes is no law, and machines differ
settings.load_profile("any machine")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs an NVIDIA GPU where there is none; a board has no torch, and its tests are of the core."""
    if item.get_closest_marker("gpu") is None:
        return
    found = find_gpu()
    if isinstance(found, NoGpu):
        pytest.skip(f"no NVIDIA GPU here: {found.reason}")
    if item.get_closest_marker("core") is None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("torch sees no NVIDIA GPU here")
