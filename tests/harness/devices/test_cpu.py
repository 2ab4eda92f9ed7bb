from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices import cpu

pytestmark = pytest.mark.core

XEON = """processor\t: {core}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz
cpu MHz\t\t: {mhz}
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni

"""
ORIN = """processor\t: {core}
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd42

"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _x86(root: Path) -> Path:
    _write(root / "proc/cpuinfo", "".join(XEON.format(core=core, mhz=2000 + 1000 * core) for core in range(2)))
    return root


def _orin(root: Path) -> Path:
    _write(root / "proc/cpuinfo", "".join(ORIN.format(core=core) for core in range(6)))
    return root


def test_an_x86_tree(tmp_path: Path) -> None:
    root = _x86(tmp_path)
    assert cpu.cpu_name(root) == "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz"
    assert cpu.usable_cores(root) == (0, 1)
    assert not cpu.supports_bf16(root)
    assert cpu.frequency_mhz(root) == 2500.0


def test_an_arm_tree(tmp_path: Path) -> None:
    root = _orin(tmp_path)
    assert cpu.cpu_name(root) == "ARM Cortex-A78AE"
    assert len(cpu.usable_cores(root)) == 6
    assert not cpu.supports_bf16(root)
    assert cpu.frequency_mhz(root) is None


@pytest.mark.parametrize(
    ("flags", "bf16"),
    [
        ("flags : avx512_bf16 avx512f", True),
        ("flags : avx_vnni", False),
        ("flags : amx_bf16 amx_int8", True),
        ("Features : bf16 i8mm", True),
        ("flags : avx512_vnni_of_another_name bf16x", False),
        ("", False),
    ],
)
def test_instruction_sets_are_whole_words(tmp_path: Path, flags: str, bf16: bool) -> None:
    _write(tmp_path / "proc/cpuinfo", f"processor : 0\n{flags}\n")
    assert cpu.supports_bf16(tmp_path) == bf16


def test_an_unknown_arm_core_is_named_by_its_numbers(tmp_path: Path) -> None:
    _write(tmp_path / "proc/cpuinfo", "processor : 0\nCPU implementer : 0x99\nCPU part : 0x001\n")
    assert cpu.cpu_name(tmp_path) == "ARM core 0x99/0x001"


def test_cpufreq_is_believed_before_cpuinfo_and_governors_are_joined(tmp_path: Path) -> None:
    root = _x86(tmp_path)
    for core, (khz, governor) in enumerate([(1_200_000, "powersave"), (1_400_000, "performance")]):
        folder = root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        _write(folder / "scaling_cur_freq", f"{khz}\n")
        _write(folder / "scaling_governor", f"{governor}\n")
    assert cpu.frequency_mhz(root) == 1300.0
    assert cpu.governor(root) == "performance,powersave"


def test_load_and_swap(tmp_path: Path) -> None:
    _write(tmp_path / "proc/loadavg", "1.25 0.80 0.50 2/345 6789\n")
    _write(tmp_path / "proc/meminfo", "MemTotal: 100 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n")
    assert cpu.load_average_1m(tmp_path) == 1.25
    assert cpu.swap_used_bytes(tmp_path) == 1024 * 1024


def test_the_load_is_the_difference_of_two_readings_of_the_usable_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _x86(tmp_path)
    #                            user nice system idle iowait irq softirq steal guest guest_nice
    before = (
        "cpu 9 9 9 9 9 9 9 9 0 0\ncpu0 100 0 0 100 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\ncpu7 5 5 5 5 5 5 5 5 0 0\n"
    )
    after = (
        "cpu 9 9 9 9 9 9 9 9 0 0\ncpu0 110 5 5 150 10 0 0 20 0 0\ncpu1 9 0 0 90 0 1 0 0 0 0\ncpu7 5 5 5 5 5 5 5 5 0 0\n"
    )
    _write(root / "proc/stat", before)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        _write(root / "proc/stat", after)

    monkeypatch.setattr("time.sleep", sleep)
    assert cpu.sample_load(root) == cpu.CpuLoad(busy_fraction=0.15, steal_fraction=0.1)
    assert slept == [cpu.SAMPLE_S]


def test_a_tree_that_does_not_move_has_no_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    root = _x86(tmp_path)
    assert cpu.sample_load(root) is None
    _write(root / "proc/stat", "cpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert cpu.sample_load(root) is None


def test_this_machine_answers() -> None:
    assert cpu.usable_cores()
    load = cpu.sample_load()
    assert load is None or (0 <= load.busy_fraction <= 1 and 0 <= load.steal_fraction <= 1)


def test_an_empty_tree_answers_nothing(tmp_path: Path) -> None:
    assert cpu.cpu_name(tmp_path) == "unknown CPU"
    for reader in (cpu.frequency_mhz, cpu.governor, cpu.load_average_1m, cpu.swap_used_bytes, cpu.cpu_times_s):
        assert reader(tmp_path) is None
    assert cpu.cpu_flags(tmp_path) == frozenset()
