from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.cuda.implementations import implementations
from engines.registry import backend as find_backend
from tests.engines.cuda.simulated_driver import run_pytest
from tests.engines.tensorrt.backend_cases import BackendCases, built
from tests.engines.tensorrt.simulated import VERSIONS

CASES = "tests/engines/tensorrt/simulated_backend_cases.py"


@pytest.mark.core
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("implementation", ["cuda-python", "pycuda"])
def test_on_a_double_of_every_version(
    simulated_libcuda: Path, version: str, implementation: str, tmp_path: Path
) -> None:
    if implementation not in implementations():
        pytest.skip(f"{implementation} is not installed")
    settings = {"SIMULATED_TENSORRT": version, "HARNESS_CUDA": implementation, "XDG_CACHE_HOME": str(tmp_path)}
    said = run_pytest(simulated_libcuda, CASES, settings=settings)
    assert re.search(r"\d\d passed", said), said


@pytest.mark.gpu
@pytest.mark.core
@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"], scope="class")
class TestOnAGpu(BackendCases):
    @pytest.fixture(scope="class")
    def engines(self, backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        state = find_backend(backend).runnable()
        if not state.usable:
            pytest.skip(f"{backend} does not run here: {state.reason}")
        folder = tmp_path_factory.mktemp(backend)
        for precision in self.precisions:
            if find_backend(backend).availability(precision).usable:
                built(backend, precision, folder / precision)
        yield folder
