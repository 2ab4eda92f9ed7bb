from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from reports.document import ResultDocument
from reports.store import StoredResult
from reports.terminal import print_report
from tests.reports.gpu_results import ON_A_GPU, TOLD, on_a_gpu

pytestmark = pytest.mark.core

Build = Callable[..., ResultDocument]


def shown(documents: Sequence[ResultDocument], width: int = 80, color: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, no_color=not color, force_terminal=color, color_system="standard" if color else None
    )
    print_report(console, [StoredResult(Path(), document) for document in documents])
    return stream.getvalue()


def words(output: str) -> str:
    """Return the words of an output without its frames and line breaks."""
    return " ".join(output.translate(dict.fromkeys(map(ord, "│─╭╮╰╯"), " ")).split())


def test_one_engine_tells_its_story_within_80_columns(sample: Build) -> None:
    output = shown([sample()])
    assert max(map(len, output.splitlines())) <= 80
    assert "\x1b" not in output
    told = words(output)
    for value in (
        "digits: small-cnn on digits, openvino int8, 61.2 kB",
        "quantized by entropy on 512 clean images, in float: head",
        "multiply-accumulates: 87.5 % INT8, 12.5 % FP32, by OpenVINO's runtime model",
        "clean 97.2 % [95.0, 98.5] of 360 images",
        "float 97.8 % [95.7, 98.9] of 360 images",
        "5 decisions changed against float: 3 to wrong, 1 to right",
        "pgd linf 0.05 60.6 % [55.4, 65.5] of 360 images",
        "loop 61.7 % [56.5, 66.5] 20 7,200 18.7",
        "1 0.212 0.254 0.324 0.356 4,492 1,024 yes",
        "64 4.87 5.84 - - 12,516 80 no",
        "batch 64 is not valid: the medians of the first and the last half differ by 14 %",
        "device peak -, process peak 214 MB over a baseline of 181 MB",
        "not measured: no energy sensor answers: RAPL is readable by root only",
        "not valid: the CPU governor is schedutil, not performance",
        "warning: the loop arm stopped after 20 of 40 iterations",
        "no temperature sensor answers, so throttling cannot be excluded",
    ):
        assert value in told


def test_several_engines_are_compared_first(sample: Build) -> None:
    output = shown([sample("fp32"), sample("int8")])
    assert max(map(len, output.splitlines())) <= 80
    header, _, wide, narrow, note = output.splitlines()[:5]
    assert header.split()[:3] == ["engine", "clean", "pgd"]
    assert words(wide) == "openvino fp32 97.8 % 57.2 % 0.431 13.1* 140 kB"
    assert words(narrow) == "openvino int8 97.2 % 60.6 % 0.212 4.87* 61.2 kB"
    assert note.strip() == "* not a valid measurement, for the reasons below"


def test_two_boards_are_told_apart(sample: Build) -> None:
    told = words(shown([sample(), sample(device_id="jetson")], width=120))
    assert "openvino int8 on cpu-6f1d2ab0" in told
    assert "openvino int8 on jetson" in told


def test_what_is_absent_is_said_with_its_reason(sample: Build) -> None:
    nothing = sample(
        accuracy={"clean": None, "reference": None, "flips": None, "reason": "the engine did not load"},
        robustness=(),
        robustness_reason="eval was not asked for",
        latency=(),
        latency_reason="the worker died",
    )
    told = words(shown([nothing]))
    for reason in ("the engine did not load", "eval was not asked for", "the worker died"):
        assert f"not measured: {reason}" in told
    assert "0.0 %" not in told


def test_an_engine_that_does_not_tell_its_precision_says_so_and_an_old_one_nothing(sample: Build) -> None:
    silent: dict[str, object] = {
        "int8_mac_share": None,
        "layers": [],
        "source": "tensorrt",
        "reason": "this backend does not tell",
    }
    assert "not known what its layers run in: this backend does not tell" in words(shown([sample(precision=silent)]))
    old = words(shown([sample(precision=None)]))
    assert "multiply-accumulates" not in old
    assert "not known" not in old


def test_energy_is_shown_with_its_source_and_rails(sample: Build) -> None:
    energy = {
        "joules_per_inference": 0.00412,
        "source": "ina3221",
        "rails": {"VDD_IN": 8.31, "VDD_SOC": 2.2},
        "rail_set": "VDD_IN, the whole module",
        "mean_watts": 6.5,
        "idle_watts": 4.1,
        "reason": None,
    }
    told = words(shown([sample(energy=energy)]))
    assert "0.00412 J an inference by ina3221 (6.50 W, idle 4.10 W)" in told
    assert "VDD_IN 8.31 J, VDD_SOC 2.20 J: VDD_IN, the whole module" in told


def test_rails_without_a_total_are_shown_with_the_reason(sample: Build) -> None:
    energy = {
        "joules_per_inference": None,
        "source": "ina3221",
        "rails": {"VDD_GPU_SOC": 8.31},
        "rail_set": "VDD_GPU_SOC",
        "reason": "this board has no rail for the whole module",
    }
    told = words(shown([sample(energy=energy)]))
    assert "not measured: this board has no rail for the whole module VDD_GPU_SOC 8.31 J" in told


def test_a_comparison_says_its_verdict_with_its_interval(sample: Build) -> None:
    against: dict[str, object] = {
        "backend": "openvino",
        "precision": "fp32",
        "sha256": "0" * 64,
        "batch": 64,
        "pairs": 38,
        "left_out": 2,
        "window_s": 0.5,
        "ratio": {"value": 0.34, "ci99": (0.33, 0.35)},
        "verdict": "faster",
        "reason": None,
    }
    open_: dict[str, object] = {"verdict": "inconclusive", "reason": "19 pairs of windows are too few", "ratio": None}
    told = words(shown([sample(against=[against, {**against, **open_}])]))
    assert "batch 64: faster than openvino fp32, 0.340 of its time, 99 % interval 0.330 to 0.350 (38 pairs" in told
    assert "neither faster nor slower than openvino fp32 for sure: 19 pairs of windows are too few" in told


@pytest.mark.parametrize("color", [False, True])
def test_hostile_text_is_text(hostile: Callable[[str], ResultDocument], color: bool) -> None:
    clear_screen, markup, reordering = "\x1b[2J\x1b]0;owned\x07", "[red]boo[/red]", "\u202edesrever\r\n\u0085"
    output = shown([hostile(clear_screen + markup + reordering)] * 2, width=200, color=color)
    assert "\x1b[2J" not in output
    assert "\x1b]" not in output
    assert not set(output) & set("\x07\r\u202e\u0085")
    assert "[red]boo[/red]" in output


def test_hostile_text_keeps_within_the_width(hostile: Callable[[str], ResultDocument]) -> None:
    output = shown([hostile("x" * 300)] * 2)
    assert max(map(len, output.splitlines())) <= 80


def test_an_engine_on_a_gpu_tells_its_layers_its_checks_and_where_the_time_goes(sample: Build) -> None:
    output = shown([sample(**on_a_gpu(sample().model_dump(mode="json")))])
    assert max(map(len, output.splitlines())) <= 80
    for sentence in TOLD:
        assert sentence in words(output), output
    environment = {**sample().environment.model_dump(), "simulated": True}
    assert "openvino int8 (simulated)" in shown([sample(environment=environment)])


def test_an_agreement_that_is_not_known_has_its_reason(sample: Build) -> None:
    agreement = {**ON_A_GPU["checks"]["agreement"], "error": None, "images": 0, "reason": "there is no GPU"}
    checks = {"agreement": agreement, "rows": None, "batches": None}
    assert "is not known: there is no GPU" in words(shown([sample(checks=checks)]))
