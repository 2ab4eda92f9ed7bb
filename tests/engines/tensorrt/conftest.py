from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.tensorrt.simulated import VERSIONS, install


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each simulated version in turn, installed under its import name."""
    with install(request.param) as made:
        yield made
