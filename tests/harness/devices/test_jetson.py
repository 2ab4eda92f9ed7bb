from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.environment import device_id, environment
from harness.devices.jetson import JetsonState, board_model, jetpack, read_jetson
from harness.devices.machine import Machine
from harness.devices.state import read_state

pytestmark = pytest.mark.core

RELEASE = (
    "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64, DATE: Fri Sep 13 04:36:44 UTC\n"
)
MODEL = b"NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"
MODES = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
CORE = "processor\t: {core}\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n\n"


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A Jetson Orin Nano with JetPack 6, as far as its files are read."""
    counters = "sys/class/hwmon/hwmon1"
    files: dict[str, str | bytes] = {
        "etc/nv_tegra_release": RELEASE,
        "proc/device-tree/model": MODEL,
        "proc/cpuinfo": "".join(CORE.format(core=core) for core in range(6)),
        "proc/loadavg": "0.10 0.08 0.05 1/300 1000\n",
        "etc/nvpmodel.conf": MODES,
        "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n",
        "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "51000\n",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "49500\n",
        f"{counters}/oc1_event_cnt": "2\n",
        f"{counters}/oc3_event_cnt": "1\n",
    }
    for name, content in files.items():
        _write(tmp_path / name, content)
    return tmp_path


def test_the_board_is_recognised(board: Path) -> None:
    place = environment(Machine(board))
    assert place.jetpack == "6 (L4T 36.4.0)"
    assert place.board == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert (place.cpu, place.cores, place.gpu) == ("ARM Cortex-A78AE", 6, None)
    assert place.simulated
    assert device_id(place) == "simulated-jetson-orin-nano"


def test_its_state_is_read(board: Path) -> None:
    assert read_jetson(board) == JetsonState("MAXN_SUPER", 306.0, 49.5, 3.0)
    state = read_state(Machine(board))
    assert (state["power_mode"], state["gpu_clock_mhz"], state["gpu_temperature_c"]) == ("MAXN_SUPER", 306.0, 49.5)
    assert state["throttle_events"] == 3.0
    assert state["load_average_1m"] == 0.10
    assert state["governor"] is state["busy_fraction"] is state["gpu_throttle"] is None


def test_a_mode_without_a_name_keeps_its_number(board: Path) -> None:
    (board / "etc/nvpmodel.conf").unlink()
    assert read_jetson(board).power_mode == "mode 2"


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("# R35 (release), REVISION: 5.0, GCID: 1", "5 (L4T 35.5.0)"),
        ("# R39 (release), REVISION: 2.1, GCID: 1", "7 (L4T 39.2.1)"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "unknown (L4T 99.1.0)"),
        ("nonsense", None),
    ],
)
def test_jetpack_follows_from_l4t(tmp_path: Path, release: str, version: str | None) -> None:
    _write(tmp_path / "etc/nv_tegra_release", release)
    assert jetpack(tmp_path) == version


def test_a_virtual_machine_is_no_board(tmp_path: Path) -> None:
    _write(tmp_path / "proc/device-tree/model", b"linux,dummy-virt\0")
    assert board_model(tmp_path) is None


def test_off_a_jetson_nothing_answers(tmp_path: Path) -> None:
    assert read_jetson(tmp_path) == JetsonState(None, None, None, None)
    assert jetpack(tmp_path) is board_model(tmp_path) is None
