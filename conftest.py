"""What tests of every package share."""

from __future__ import annotations

import pytest
from hypothesis import settings

from harness.waiting import wait_briefly

wait_briefly()
settings.register_profile("any machine", deadline=None)  # how long an example takes is no law, and machines differ
settings.load_profile("any machine")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs an NVIDIA GPU where torch sees none."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch sees no NVIDIA GPU here")
