"""The backends on a double of one version and the SIMULATED driver: test_tensorrt_backend.py runs this file."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError, MissingDependencyError
from engines.cuda.device import Device
from engines.engine import LoadOptions
from engines.loading import build_engine, load_engine, read_manifest
from engines.registry import backend as find_backend
from engines.tensorrt.messages import Messages
from engines.tensorrt.running.engine import TensorRTEngine
from tests.engines.cuda.simulated_driver import KINDS, Simulation
from tests.engines.tensorrt.backend_cases import BackendCases, built, written
from tests.engines.tensorrt.simulated import install
from tests.engines.tiny_graphs import pixels

VERSION = os.environ["SIMULATED_TENSORRT"]
NOT_RTX = pytest.mark.skipif(VERSION.startswith("rtx"), reason="TensorRT-RTX has no such option")
NOTHING = dict.fromkeys(KINDS, 0)


@pytest.fixture(scope="module", autouse=True)
def double() -> Iterator[Any]:
    with install(VERSION) as module:
        yield module


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation()


@pytest.fixture(autouse=True)
def nothing_is_left(simulation: Simulation) -> Iterator[None]:
    yield
    assert simulation.live() == NOTHING


@pytest.fixture(scope="module")
def backend() -> str:
    return "tensorrt-rtx" if VERSION.startswith("rtx") else "tensorrt"


@pytest.fixture(scope="module")
def engines(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    for precision in BackendCases.precisions:
        if find_backend(backend).availability(precision).usable:
            built(backend, precision, folder / precision)
    return folder


class TestOnADouble(BackendCases):
    def test_every_engine_is_marked_as_simulated(self, engines: Path) -> None:
        manifests = [read_manifest(folder) for folder in engines.iterdir() if folder.is_dir()]
        assert len(manifests) == (3 if VERSION.startswith("8.") else 4)
        assert all(manifest.simulated for manifest in manifests)

    def test_int8_runs_in_int8(self, engines: Path) -> None:
        audit = read_manifest(engines / "int8").audit
        assert audit is not None and audit.int8_mac_share == 1.0, audit

    def test_8_6_has_no_bf16_and_says_so(self, backend: str, tmp_path: Path) -> None:
        usable = find_backend(backend).availability("bf16").usable
        assert usable != VERSION.startswith("8.")

    def test_options_reach_the_builder(self, backend: str, tmp_path: Path, double: Any) -> None:
        options = {
            "profiles": [[2, 4, 8]],
            "workspace_bytes": 1 << 20,
            "optimization_level": 2,
            "tf32": True,
            "sparsity": True,
            "max_aux_streams": 0,
            "detailed": False,
        }
        if backend == "tensorrt":
            options |= {"hardware_compatibility": "ampere_plus", "timing_cache": False}
        manifest = built(backend, "fp32", tmp_path / "engine", options)
        assert manifest.options["workspace_bytes"] == 1 << 20
        with load_engine(tmp_path / "engine", LoadOptions(batch_size=1)) as engine:
            assert engine.infer(pixels(3)).shape == (3, 5)  # padded to the smallest batch
        if backend == "tensorrt":
            assert manifest.made_for["compute_capability_from"] == "8.0" and "gpu" not in manifest.made_for

    @NOT_RTX
    def test_a_dla_core_that_is_not_here_is_refused(self, backend: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="dla_core 1 is not on this machine, which has 0 DLA cores"):
            built(backend, "fp16", tmp_path / "engine", {"profiles": [[4, 4, 4]], "dla_core": 1})

    @NOT_RTX
    def test_a_dla_core_takes_fp16(
        self, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, double: Any
    ) -> None:
        monkeypatch.setenv("SIMULATED_DLA_CORES", "2")
        options = {"profiles": [[4, 4, 4]], "dla_core": 1}
        assert built(backend, "fp16", tmp_path / "fp16", options).options["dla_core"] == 1
        if hasattr(double.BuilderFlag, "FP16"):
            with pytest.raises(InputError, match=r"a DLA core takes typed graphs in fp16 alone .* Q/DQ only from 11"):
                built(backend, "int8", tmp_path / "int8", options)
        else:
            built(backend, "int8", tmp_path / "int8", options)

    @pytest.mark.skipif(not VERSION.startswith("rtx"), reason="only TensorRT-RTX compiles for other GPUs")
    def test_an_engine_for_other_gpus_is_built_and_refused_here(self, backend: str, tmp_path: Path) -> None:
        built(backend, "fp32", tmp_path / "engine", {"compute_capabilities": ["12.0"]})
        with pytest.raises(InputError, match=r"compiled for compute capability 12\.0, and here is 8\.9"):
            load_engine(tmp_path / "engine", LoadOptions())
        with pytest.raises(InputError, match=r"no compute capability '9\.9': it has .*12\.0"):
            built(backend, "fp32", tmp_path / "other", {"compute_capabilities": ["9.9"]})

    def test_profiles_that_cannot_be_are_refused(self, backend: str, tmp_path: Path) -> None:
        for options, why in (
            ({"profiles": []}, "must name at least one range"),
            ({"profiles": [[4, 2, 8]]}, "must be smallest, tuned, largest"),
            ({"profiles": [[0, 1, 1]]}, "greater than or equal to 1"),
            ({"dla_core": 0}, "(a DLA core takes one batch size|has no setting 'dla_core')"),
            ({"workspace": 3}, "did you mean 'workspace_bytes'"),
        ):
            with pytest.raises(InputError, match=rf"build\.{backend}.*{why}"):
                built(backend, "fp32", tmp_path / json.dumps(options).replace("/", "_"), dict(options))

    @NOT_RTX
    def test_the_timing_cache_is_kept_by_gpu_and_version(
        self, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        for name in ("first", "second"):
            built(backend, "fp32", tmp_path / name, {"profiles": [[1, 4, 8]]})
        (kept,) = (tmp_path / "cache").rglob("*.cache")
        version = VERSION.removeprefix("rtx-")
        assert version in kept.name and "simulated-gpu" in kept.name and kept.stat().st_size
        kept.write_bytes(b"damaged")
        built(backend, "fp32", tmp_path / "third", {"profiles": [[1, 4, 8]]})
        assert kept.read_bytes() != b"damaged"

    @NOT_RTX
    def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
        self, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
        assert built(backend, "fp32", tmp_path / "engine", {}).weights_bytes
        assert (tmp_path / "engine" / "engine.plan").exists()

    def test_a_driver_that_is_too_old_is_told(
        self, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, double: Any
    ) -> None:
        def nothing(logger: Any) -> None:
            logger.log(double.ILogger.Severity.WARNING, "CUDA initialization failure with error: 35.")
            raise TypeError("pybind11::init(): factory function returned nullptr")

        monkeypatch.setattr(double, "Builder", nothing)
        with pytest.raises(MissingDependencyError, match=r"error: 35; update the NVIDIA driver"):
            built(backend, "fp32", tmp_path / "engine")

    def test_what_an_error_names_is_not_what_was_tried_in_vain(self, double: Any) -> None:
        messages = Messages(double)
        severity = double.ILogger.Severity
        messages.logger.log(severity.ERROR, "Error Code: 9: Skipping tactic 0x1 due to exception")
        messages.logger.log(severity.ERROR, "Error Code: 4: the real   one.")
        messages.logger.log(severity.ERROR, "and what follows")
        assert messages.reason == "Error Code: 4: the real one"
        assert Messages(double).reason == "it said nothing"
        assert Messages(double).logger is messages.logger

    def test_nothing_of_tensorrt_outlives_the_context_after_an_error(
        self, engines: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alive: list[bool] = []
        plans: list[Any] = []
        close = Device.__exit__

        def watched(device: Device, *error: Any) -> None:
            gc.collect()
            alive.extend(plan() is not None for plan in plans)
            close(device, *error)

        monkeypatch.setattr(Device, "__exit__", watched)
        with (
            pytest.raises(InputError, match="takes batches of"),
            load_engine(engines / "fp32", LoadOptions(batch_size=4)) as engine,
        ):
            assert isinstance(engine, TensorRTEngine)
            plans.append(weakref.ref(engine._plan.engine))
            del engine._context
            engine._context = engine._new_context(9)  # its frame holds a context, which holds the engine
        assert alive == [False]

    def test_progress_never_falls_and_ends_near_one(self, backend: str, tmp_path: Path, double: Any) -> None:
        told: list[float] = []
        (tmp_path / "engine").mkdir()
        build_engine(backend, "fp32", written(tmp_path, "fp32"), tmp_path / "engine", {}, told.append)
        if hasattr(double, "IProgressMonitor"):
            assert told == sorted(told) and 0.8 < told[-1] <= 1.0
        else:
            assert told == []

    def test_too_little_memory_is_told_in_a_sentence(self, engines: Path, simulation: Simulation) -> None:
        simulation.set_memory_limit(2048)
        try:
            with (
                pytest.raises(InputError, match=r"GPU memory"),
                load_engine(engines / "fp32", LoadOptions(batch_size=8)),
            ):
                pass
        finally:
            simulation.set_memory_limit(1 << 33)
        with load_engine(engines / "fp32", LoadOptions(batch_size=8)) as engine:
            assert np.isfinite(engine.infer(pixels(2))).all()
