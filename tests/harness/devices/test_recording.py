from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from harness.devices.environment import device_id, environment
from harness.devices.machine import THIS_MACHINE, Machine
from harness.devices.power.finding import find_rig
from harness.devices.power.meter import Rig
from harness.devices.recording import FILES, record
from harness.devices.state import read_moment, read_state

from . import recorded_orin

pytestmark = pytest.mark.core


def test_what_is_read_of_a_record_is_what_is_read_of_the_machine(tmp_path: Path) -> None:
    board = Machine(recorded_orin.record(tmp_path / "board"))
    assert record(board, tmp_path / "record") > 20
    again = Machine(tmp_path / "record")
    assert read_state(again) == read_state(board)
    assert read_moment(again) == read_moment(board)
    assert environment(again) == environment(board)
    assert device_id(environment(again)) == "simulated-jetson-orin-nano"


def test_this_machine_can_be_recorded(tmp_path: Path) -> None:
    record(THIS_MACHINE, tmp_path / "record")
    here, there = environment(), environment(Machine(tmp_path / "record"))
    assert (there.cpu, there.board, there.gpu, there.simulated) == (here.cpu, here.board, here.gpu, True)
    state = read_state(Machine(tmp_path / "record"))
    assert state["governor"] == read_state()["governor"]
    found = find_rig(Machine(tmp_path / "record"), on_gpu=False)
    assert isinstance(found, Rig) == isinstance(find_rig(THIS_MACHINE, on_gpu=False), Rig)


@settings(max_examples=25, deadline=None)
@given(st.text("0123456789abcdef", min_size=12, max_size=16), st.sampled_from(["Serial", "serial", "SERIAL"]))
def test_no_serial_number_is_in_it(tmp_path_factory: pytest.TempPathFactory, secret: str, name: str) -> None:
    folder = tmp_path_factory.mktemp("private")
    serials = {
        "proc__cpuinfo": f"processor\t: 0\nCPU part\t: 0xd42\n\n{name}\t\t: {secret}\nModel\t: a board\n",
        "proc__device-tree__serial-number": f"{secret}\0",
        "etc__hostname": secret,
        "etc__machine-id": secret,
        "sys__class__net__eth0__address": secret,
        "sys__class__dmi__id__product_uuid": secret,
        "proc__driver__nvidia__gpus__0000:01:00.0__information": f"GPU UUID: GPU-{secret}",
    }
    board = Machine(recorded_orin.record(folder / "board", **serials))
    record(board, folder / "record")
    texts = [path.read_text() for path in (folder / "record").rglob("*") if path.is_file()]
    assert not any(secret in text for text in texts)
    assert any("CPU part" in text for text in texts)


def test_links_are_followed_and_files_that_are_not_ours_to_read_are_left_out(tmp_path: Path) -> None:
    board = recorded_orin.record(tmp_path / "board")
    zone = board / "sys/class/thermal/thermal_zone0"
    (board / "sys/devices/virtual").mkdir(parents=True)
    zone.rename(board / "sys/devices/virtual/zone")
    zone.symlink_to(board / "sys/devices/virtual/zone")
    (board / "var/lib/nvpmodel/status").unlink()
    (board / "var/lib/nvpmodel/status").mkdir()  # reading it fails, for root too
    record(Machine(board), tmp_path / "record")
    assert (tmp_path / "record/sys/class/thermal/thermal_zone0/type").read_text() == "cpu-thermal\n"
    assert not (tmp_path / "record/var").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="is not empty: name a new folder"):
        record(THIS_MACHINE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_every_pattern_is_named_once() -> None:
    assert len(FILES) == len(set(FILES))
