from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.machine import Machine
from harness.devices.nvidia import Ask
from harness.devices.power.finding import find_rig
from harness.devices.power.jetson import jetson_rig, read_watts
from harness.devices.power.meter import Absent, Meter, Rig
from harness.devices.power.nvml import nvml_rig
from harness.devices.power.rapl import rapl_rig

pytestmark = pytest.mark.core

INA3221 = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
RAPL = "sys/class/powercap"


def write(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def rails(**channels: tuple[int, int]) -> dict[str, object]:
    """Return an INA3221's files: millivolts and milliamperes by label."""
    found: dict[str, object] = {}
    for number, (label, (millivolts, milliamperes)) in enumerate(channels.items(), start=1):
        found[f"{INA3221}/in{number}_label"] = label
        found[f"{INA3221}/in{number}_input"] = millivolts
        found[f"{INA3221}/curr{number}_input"] = milliamperes
    return found


NANO = rails(VDD_IN=(5000, 1200), VDD_CPU_GPU_CV=(5000, 400), VDD_SOC=(5000, 300))
AGX = rails(VDD_GPU_SOC=(12000, 500), VDD_CPU_CV=(12000, 100), VIN_SYS_5V0=(5000, 900))


def test_a_modules_input_is_its_total_and_what_it_contains_is_never_added(tmp_path: Path) -> None:
    rig = jetson_rig(write(tmp_path, NANO))
    assert isinstance(rig, Rig) and rig.total == ("VDD_IN",)
    assert read_watts(tmp_path) == pytest.approx({"VDD_IN": 6.0, "VDD_CPU_GPU_CV": 2.0, "VDD_SOC": 1.5})


def test_a_board_without_a_total_rail_tells_its_rails_and_no_total(tmp_path: Path) -> None:
    rig = jetson_rig(write(tmp_path, AGX))
    assert isinstance(rig, Rig) and rig.total == () and "no rail for the whole module" in (rig.reason or "")
    assert rig.rail_set == "VDD_CPU_CV+VDD_GPU_SOC+VIN_SYS_5V0"


def test_rails_that_are_not_connected_and_the_sum_channel_are_left_out(tmp_path: Path) -> None:
    more = {f"{INA3221}/in7_label": "sum of shunt voltages", f"{INA3221}/in7_input": 9, f"{INA3221}/curr7_input": 9}
    root = write(tmp_path, {**rails(VDD_IN=(5000, 1000), NC=(1, 1)), **more})
    assert set(read_watts(root)) == {"VDD_IN"}


def test_older_and_newer_boards_name_and_scale_their_rails_otherwise(tmp_path: Path) -> None:
    older = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    newer = "sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon5"
    files = {f"{older}/rail_name_0": "POM_5V_IN", f"{older}/in_power0_input": 2500}
    assert read_watts(write(tmp_path / "older", files)) == {"POM_5V_IN": 2.5}
    assert read_watts(write(tmp_path / "newer", {f"{newer}/power1_input": 31_000_000, f"{newer}/name": "ina238"})) == {
        "ina238": 31.0
    }


def answers(**known: int) -> Ask:
    return known.get


def test_nvml_counts_energy_or_tells_power_or_neither() -> None:
    counted = nvml_rig(answers(energy_mj=5000, power_mw=1))
    assert isinstance(counted, Rig) and counted.joules is not None and counted.joules() == {"gpu": 5.0}
    told = nvml_rig(answers(power_mw=70_000))
    assert isinstance(told, Rig) and told.watts is not None and told.watts() == {"gpu": 70.0}
    assert isinstance(nvml_rig(answers()), Absent)


def package(microjoules: int, name: str = "package-0", number: str = "0") -> dict[str, object]:
    folder = f"{RAPL}/intel-rapl:{number}"
    return {f"{folder}/name": name, f"{folder}/energy_uj": microjoules, f"{folder}/max_energy_range_uj": 100_000_000}


def test_cpu_packages_are_added_and_what_they_contain_or_is_around_them_is_not(tmp_path: Path) -> None:
    parts = {**package(1, "core", "0:0"), **package(1, "dram", "0:1"), **package(1, "psys", "2")}
    rig = rapl_rig(write(tmp_path, {**package(1), **package(1, "package-1", "1"), **parts}))
    assert isinstance(rig, Rig) and rig.total == ("package-0", "package-1")
    assert rig.joules is not None and set(rig.joules()) == {
        "package-0",
        "package-1",
        "package-0/core",
        "package-0/dram",
        "psys",
    }


def test_a_counter_that_starts_over_is_carried_on(tmp_path: Path) -> None:
    rig = rapl_rig(write(tmp_path, package(99_000_000)))
    assert isinstance(rig, Rig)
    meter = Meter(rig)
    write(tmp_path, package(2_000_000))
    assert meter.sample().joules == pytest.approx({"package-0": 3.0})
    write(tmp_path, package(5_000_000))
    assert meter.sample().joules == pytest.approx({"package-0": 6.0})


def test_counters_that_only_root_may_read_say_what_opens_them(tmp_path: Path) -> None:
    found = rapl_rig(write(tmp_path, {f"{RAPL}/intel-rapl:0/name": "package-0"}))
    assert isinstance(found, Absent) and "sudo chmod a+r /sys/class/powercap" in found.reason


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_machine_without_a_sensor_says_why(tmp_path: Path, on_gpu: bool) -> None:
    found = find_rig(Machine(tmp_path), on_gpu=on_gpu)
    assert isinstance(found, Absent) and found.reason


def test_a_boards_rails_serve_engines_on_its_cpu_and_on_its_gpu(tmp_path: Path) -> None:
    machine = Machine(write(tmp_path, NANO))
    for on_gpu in (False, True):
        found = find_rig(machine, on_gpu=on_gpu)
        assert isinstance(found, Rig) and found.source == "ina3221"
