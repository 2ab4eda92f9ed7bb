from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.backend import Availability
from engines.cuda.driver import NoGpu
from harness.devices.clocks import Clock
from harness.devices.installed import Package
from harness.devices.jetson import JetsonState
from harness.devices.nvidia import GpuState
from harness.devices.python_environment import HiddenPackage
from harness.workflow.diagnosis.diagnosis import diagnose
from harness.workflow.diagnosis.readings import Readings
from harness.workflow.diagnosis.steps import KINDS, Step
from tests.harness.workflow.diagnosis.machines import H200, NO_DRIVER, ORIN, orin, package, pc, state

pytestmark = pytest.mark.core

HIDDEN = HiddenPackage(
    "/usr/lib/python3.10/dist-packages", "it is in there", "python3 -m venv --system-site-packages v"
)
NO_ACCESS = Availability(False, "neither cuda-python nor pycuda is installed", "pip install '…[cuda-python]'")


def step(readings: Readings, about: str) -> Step:
    """Return the one step about something."""
    (found,) = [each for each in diagnose(readings).steps if each.about == about]
    return found


def about(readings: Readings) -> dict[str, str]:
    """Return the kinds of a machine's steps by what they are about."""
    return {each.about: each.kind for each in diagnose(readings).steps}


def test_without_an_nvidia_gpu_nothing_is_missing_that_could_be_had_here() -> None:
    assert about(pc()) == {"tensorrt": "elsewhere", "tensorrt-rtx": "elsewhere"}
    assert "this machine has no NVIDIA GPU" in step(pc(), "tensorrt").reason


def test_a_gpu_without_a_driver_is_told_once() -> None:
    readings = pc(has_nvidia_gpu=True)
    assert about(readings) == {"gpu": "mend", "tensorrt": "add"}
    assert step(readings, "gpu").remedy == NO_DRIVER.remedy


def test_a_driver_that_a_container_was_not_shown_is_not_installed_again() -> None:
    readings = pc(has_nvidia_gpu=True, kernel_driver="580.65.06")
    assert "the kernel has the driver 580.65.06 loaded" in step(readings, "gpu").reason
    assert "--gpus all" in step(readings, "gpu").remedy
    rtx = next(each for each in diagnose(readings).backends if each.name == "tensorrt-rtx")
    assert "--gpus all" in rtx.runs.remedy
    assert about(readings) == {"gpu": "mend", "tensorrt": "add"}


def test_another_trouble_of_the_driver_keeps_its_own_remedy() -> None:
    trouble = NoGpu("CUDA_VISIBLE_DEVICES is '' and leaves no GPU", "unset CUDA_VISIBLE_DEVICES")
    readings = pc(trouble, has_nvidia_gpu=True, kernel_driver="580.65.06")
    assert step(readings, "gpu") == Step("mend", "gpu", trouble.reason, trouble.remedy)


def test_on_a_jetson_the_driver_is_jetpacks() -> None:
    remedy = step(orin(NO_DRIVER), "gpu").remedy
    assert "--runtime nvidia" in remedy and "nvidia-jetpack" in remedy
    assert "ubuntu-drivers" not in remedy


def test_on_a_jetson_tensorrt_comes_from_apt_and_tensorrt_rtx_not_at_all() -> None:
    assert about(orin()) == {"tensorrt": "add"}
    assert "sudo apt-get install python3-libnvinfer" in step(orin(), "tensorrt").remedy
    assert "pip" not in step(orin(), "tensorrt").remedy


def test_a_hidden_tensorrt_is_named_in_the_backend_the_step_and_the_refusal() -> None:
    diagnosis = diagnose(orin(hidden_tensorrt=HIDDEN))
    found = next(each for each in diagnosis.backends if each.name == "tensorrt")
    assert found.builds == found.runs == found.precisions["int8"]
    assert found.builds.reason == "JetPack's TensorRT is hidden from this Python: it is in there"
    assert step(orin(hidden_tensorrt=HIDDEN), "tensorrt") == Step(
        "mend", "tensorrt", found.builds.reason, HIDDEN.remedy
    )
    assert "the system's TensorRT is hidden" in step(pc(H200, hidden_tensorrt=HIDDEN), "tensorrt").reason


@pytest.mark.parametrize(
    ("machine", "gpu", "major"), [(orin, ORIN, "12"), (pc, replace(H200, cuda_version="13.0"), "13")]
)
def test_the_bindings_that_are_missing_are_those_of_the_drivers_cuda(machine: object, gpu: object, major: str) -> None:
    states = {"tensorrt": state("tensorrt", runs=NO_ACCESS)}
    readings = (orin if machine is orin else pc)(gpu, states, cuda_access=())  # type: ignore[arg-type]
    found = step(readings, "tensorrt")
    assert found.kind == "mend"
    assert found.remedy == f"install one with: pip install 'cuda-bindings=={major}.*'"


def test_bindings_that_are_there_and_not_chosen_keep_their_remedy() -> None:
    absent = Availability(False, "pycuda is not installed", "pip install '…[pycuda]'")
    readings = pc(H200, {"tensorrt": state("tensorrt", runs=absent)})
    assert step(readings, "tensorrt").remedy == absent.remedy


@pytest.mark.parametrize(
    ("found", "command"),
    [
        (package("cuda-bindings", "13.5.0", "13.5"), "pip install 'cuda-bindings==12.*'"),
        (package("tensorrt", "11.4.0", "13"), "pip install tensorrt-cu12"),
        (package("tensorrt-rtx-cu13", "1.7.1", "13"), "pip install tensorrt-rtx-cu12"),
        (package("torch", "2.15.0", "13.2"), "update the driver to one that knows CUDA 13.2"),
    ],
)
def test_a_package_for_a_newer_cuda_than_the_drivers_is_found(found: Package, command: str) -> None:
    readings = pc(H200, {"tensorrt": state("tensorrt")}, packages=(found,))
    assert command in step(readings, found.name).remedy
    assert "the driver knows CUDA 12.8" in step(readings, found.name).reason


def test_a_package_of_the_same_major_version_is_right() -> None:
    readings = pc(H200, {"tensorrt": state("tensorrt")}, packages=(package("torch", "2.8.0", "12.9"),))
    assert diagnose(readings).steps == ()


def test_a_torch_without_cuda_beside_a_gpu_is_told() -> None:
    packages = (package("torch", "2.8.0+cpu", None),)
    readings = pc(H200, {"tensorrt": state("tensorrt")}, packages=packages)
    assert about(readings) == {"torch": "add"}
    assert "torch" not in about(pc(packages=packages))


def test_a_package_that_is_there_and_broken_is_mended_not_added() -> None:
    crash = Availability(False, "its package crashes when it is imported (SIGSEGV)", "install it again with: pip …")
    readings = pc(H200, {"tensorrt": state("tensorrt", crash)}, has_tensorrt=True)
    assert about(readings) == {"tensorrt": "mend"}
    assert about(pc(H200, {"openvino": state("openvino", crash, version="2026.4")}))["openvino"] == "mend"
    rtx = pc(H200, {"tensorrt-rtx": state("tensorrt-rtx", crash)}, packages=(package("tensorrt-rtx-cu12", "1", "12"),))
    assert about(rtx)["tensorrt-rtx"] == "mend"


def test_a_board_in_a_slow_mode_is_told_the_number_of_the_fast_one() -> None:
    readings = orin(
        states={"tensorrt": state("tensorrt")},
        power_modes={0: "15W", 2: "MAXN_SUPER"},
        board_state=JetsonState("15W", 306, 50, 3),
        board_gpu_clock=Clock(306, 306, 612, 1020),
        governor="schedutil",
    )
    remedies = [each.remedy for each in diagnose(readings).steps]
    assert "for full speed: sudo nvpmodel -m 2" in remedies
    assert "hold it with: sudo jetson_clocks" in remedies
    assert any("3 times" in each.reason for each in diagnose(readings).steps)
    assert {each.kind for each in diagnose(readings).steps} == {"steady"}
    assert not any("cpupower" in remedy for remedy in remedies), "jetson_clocks holds the CPU's too"
    fast = replace(
        readings, board_state=JetsonState("MAXN_SUPER", 1020, 50, 0), board_gpu_clock=Clock(1020, 1020, 1020, 1020)
    )
    assert diagnose(fast).steps == ()


def test_a_gpu_that_is_held_down_and_a_governor_that_follows_the_load_are_told() -> None:
    readings = pc(
        H200, {"tensorrt": state("tensorrt")}, gpu_state=GpuState(80, 900, "power brake"), governor="powersave"
    )
    found = diagnose(readings).steps
    assert [each.kind for each in found] == ["steady", "steady"]
    assert "power brake" in found[0].reason
    assert "cpupower frequency-set -g performance" in found[1].remedy


def test_what_is_broken_comes_first() -> None:
    readings = pc(has_nvidia_gpu=True, governor="powersave", python=replace(pc().python, prefix=Path("/v")))
    kinds = [each.kind for each in diagnose(readings).steps]
    assert kinds == sorted(kinds, key=KINDS.index)
    assert kinds == ["mend", "add", "steady"]


def test_of_a_recorded_tree_no_driver_is_missing() -> None:
    readings = pc(
        NoGpu("a recorded tree has no driver", "run it there"), place={"simulated": True}, has_nvidia_gpu=True
    )
    assert "gpu" not in about(readings)


def test_of_a_recorded_tree_only_what_its_files_tell_is_to_be_done() -> None:
    absent = Availability(False, "libcuda.so.1, the NVIDIA driver, is not here", "install it")
    states = {"tensorrt-rtx": state("tensorrt-rtx", runs=absent)}
    board = orin(NoGpu("a recorded tree has no driver", "run it there"), states, hidden_tensorrt=HIDDEN)
    readings = replace(board, place=replace(board.place, simulated=True))
    assert about(readings) == {"tensorrt": "mend"}
    assert diagnose(readings).torch.sees_gpu is None
