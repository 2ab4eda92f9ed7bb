from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.cuda import simulated_driver


@pytest.fixture(scope="session")
def simulated_libcuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the simulated NVIDIA driver, a libcuda.so.1 compiled once a session."""
    if simulated_driver.compiler() is None:
        pytest.skip("no C compiler to build the simulated NVIDIA driver with: apt-get install gcc libc6-dev")
    return simulated_driver.build(tmp_path_factory.mktemp("simulated-driver"))
