"""Accuracy under attack as the terminal and the page show it, with everything that the protocol can tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from reports.curves import curves
from reports.document import Repeatability, ResultDocument, read_document
from reports.robustness_parts import Attribution, Robustness
from reports.robustness_wording import cautions, is_doubtful, repeatability_told, stage_rows
from reports.store import StoredResult, read_results
from reports.wording import attack_name
from tests.reports.robust_results import (
    REPEATABILITY,
    ROBUSTNESS,
    RULE,
    SANITY,
    STAGES,
    TOLD,
    TURNED_BY,
    WARNING,
    WAVERING,
    rate,
    robust,
)
from tests.reports.test_html import page_of
from tests.reports.test_terminal import shown, words

pytestmark = pytest.mark.core

Build = Callable[..., ResultDocument]
Store = Callable[[Path, ResultDocument], StoredResult]


@pytest.fixture
def whole(sample: Build) -> ResultDocument:
    return sample(**robust(sample().model_dump(mode="json")))


def test_a_document_of_the_protocol_survives_its_file(whole: ResultDocument, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(whole.to_json(), encoding="utf-8")
    assert read_document(path) == whole
    written = json.loads(whole.to_json())["robustness"][0]
    assert written == ROBUSTNESS[0]


def test_a_document_of_before_the_protocol_has_none_of_it(sample: Build) -> None:
    (entry,) = sample().robustness
    assert (entry.steps, entry.skipped, entry.sanity) == ((), {}, ())
    assert (entry.minimal_norm, entry.attribution, entry.gradients) == (None, None, None)
    told = words(shown([sample()]))
    for silent in ("sanity", "smallest change", "gradients in", "what ran", "asked", "over epsilon"):
        assert silent not in told


def test_the_terminal_tells_it_within_80_columns(whole: ResultDocument) -> None:
    output = shown([whole])
    assert max(map(len, output.splitlines())) <= 80
    told = words(output)
    for sentence in TOLD:
        assert sentence in told, output
    for row in ("engine 97.2 % 60.6 % [55.4, 65.5] -2.5", "twin 97.5 % 63.1 % [58.0, 67.9] +0.3"):
        assert row in told, output
    assert "0 (clean) 97.2 % [95.0, 98.5] 0.025 84.4 % [80.3, 87.8] 0.05 60.6 % [55.4, 65.5] 0.1 11.9 %" in told
    assert "fgsm turned 71" not in told  # what held is only counted
    assert "rho" not in told  # settings are for the page


def test_the_page_tells_it_and_folds_the_details(whole: ResultDocument, store: Store, tmp_path: Path) -> None:
    page = page_of([store(tmp_path, whole)], tmp_path / "report.html")
    for sentence in TOLD:
        assert sentence in page.text
    for sentence in ("held robust is at most clean : 60.6 % against 97.2 %", "fgsm turned 71", "rho 0.75", "-2.5"):
        assert sentence in page.text
    folded = [tag for tag, _ in page.elements].count("details")
    assert folded == 4  # of layers, of the curve, of the attacks, of the rules
    assert "Attacks one by one: 6" in page.text
    assert "not judged doubling the steps changes nothing" in page.text


def test_a_warning_that_only_repeats_a_rule_is_said_once(whole: ResultDocument) -> None:
    first, second = cautions(whole.robustness[0])
    assert first.endswith(SANITY[4]["told"])
    assert second == WARNING


def test_what_was_lost_is_counted_from_the_row_above() -> None:
    attribution = Attribution.model_validate({"attack": "apgd-ce", "stages": STAGES})
    assert [change for _, change in stage_rows(attribution)] == ["-", "-3.0", "0.0", "+0.3", "-2.5"]
    many = [{**stage, "robust": rate(value, 0, 1, 10_000)} for stage, value in zip(STAGES, (0.5, 0.4988), strict=False)]
    attribution = Attribution.model_validate({"attack": "apgd-ce", "stages": many})
    assert [change for _, change in stage_rows(attribution)] == ["-", "-0.12"]


def test_an_engine_that_wavers_is_told_with_its_votes() -> None:
    assert repeatability_told(Repeatability.model_validate(WAVERING)) == (
        "200 images asked 3 times, in other places and batches: decisions changed: 7 from run to run, 2 with the batch "
        "size, scores up to 0.0310 of their spread apart; each decision is the majority of 5 runs"
    )
    assert is_doubtful(Repeatability.model_validate(WAVERING))
    equal = Repeatability.model_validate({**REPEATABILITY, "largest_difference": 0.0})
    assert repeatability_told(equal).endswith("no decision changed, scores equal")
    assert not is_doubtful(equal)
    stale = equal.model_copy(update={"fault": "stale"})
    assert repeatability_told(stale).endswith("its answers are stale, so that no number here can be believed")
    assert is_doubtful(stale)


def entry(epsilon: float, value: float, attack: str = "pgd", norm: str = "linf") -> dict[str, Any]:
    return {**ROBUSTNESS[2], "attack": attack, "norm": norm, "epsilon": epsilon, "worst_case": rate(value, 0, 1)}


def test_a_curve_needs_two_epsilons_of_one_attack_and_norm(sample: Build) -> None:
    apart = [entry(0.1, 0.5), entry(0.1, 0.4), entry(0.2, 0.3, norm="l2"), entry(0.3, 0.2, attack="square")]
    assert curves(sample(robustness=apart)) == ()
    (curve,) = curves(sample(robustness=[entry(0.2, 0.1), *apart]))
    assert (curve.attack, curve.norm) == ("pgd", "linf")
    assert [(epsilon, found.value) for epsilon, found in curve.points] == [(0.0, 0.9722), (0.1, 0.4), (0.2, 0.1)]
    unknown = {"clean": None, "reference": None, "flips": None, "reason": "it was not asked for"}
    (curve,) = curves(sample(robustness=[entry(0.2, 0.1), *apart], accuracy=unknown))
    assert [epsilon for epsilon, _ in curve.points] == [0.1, 0.2]


def test_the_curve_is_drawn_with_its_intervals(whole: ResultDocument, store: Store, tmp_path: Path) -> None:
    charts = page_of([store(tmp_path, whole)], tmp_path / "report.html").json("charts")
    assert [name for name in charts if "curve" in name] == ["engine-1-curve-1"]
    (line,) = charts["engine-1-curve-1"]["data"]
    assert line["x"] == [0.0, 0.025, 0.05, 0.1]
    assert line["y"] == [97.22, 84.44, 60.56, 11.94]
    assert line["error_y"]["array"] == pytest.approx([1.26, 3.39, 4.9, 3.76])
    assert line["error_y"]["arrayminus"][3] == pytest.approx(2.95)
    bars = charts["engine-1-accuracy"]["data"][0]["y"]
    assert len(bars) == 2 + 4 + 6


def test_arms_stay_in_their_tables_where_attacks_are_many(sample: Build, store: Store, tmp_path: Path) -> None:
    many = [{**ROBUSTNESS[0], "epsilon": number / 100} for number in range(1, 7)]
    page = page_of([store(tmp_path, sample(robustness=many))], tmp_path / "report.html")
    assert len(page.json("charts")["engine-1-accuracy"]["data"][0]["y"]) == 2 + 6


def test_pictures_say_how_they_were_chosen_and_what_turned_them(
    whole: ResultDocument, store: Store, tmp_path: Path
) -> None:
    result = store(tmp_path, whole)
    with np.load(result.folder / "images.npz") as archive:
        arrays = {**archive, "rule": np.array(RULE), "turned_by": np.array(TURNED_BY)}
    np.savez(result.folder / "images.npz", **arrays)
    images = read_results(tmp_path)[0].images()
    assert images is not None
    assert (images.rule, images.turned_by) == (RULE, TURNED_BY)
    page = page_of([result], tmp_path / "report.html")
    assert "4 of 4 stored images: the first images, in the test split's order, that some arm turned. The" in page.text
    assert "turned by loop, apgd-dlr on twin" in page.text
    assert "difference \N{MULTIPLICATION SIGN} 10" in page.text


@pytest.mark.parametrize(
    "change",
    [
        {"rule": np.array(["one", "two"])},
        {"rule": np.array(3.0)},
        {"turned_by": np.array(["loop"])},
        {"turned_by": np.zeros(4)},
    ],
)
def test_words_beside_the_images_that_are_none_are_refused(
    change: dict[str, Any], whole: ResultDocument, store: Store, tmp_path: Path
) -> None:
    result = store(tmp_path, whole)
    with np.load(result.folder / "images.npz") as archive:
        arrays: dict[str, Any] = dict(archive)
    np.savez(result.folder / "images.npz", **{**arrays, **change})
    with pytest.raises(InputError, match=r"images\.npz is damaged"):
        result.images()


def test_a_combination_has_the_names_of_its_attacks() -> None:
    assert attack_name(Robustness.model_validate(ROBUSTNESS[3])) == "pgd+square l2 0.5"
