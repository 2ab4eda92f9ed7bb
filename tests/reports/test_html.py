from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InputError
from reports.document import ResultDocument
from reports.html import write_html
from reports.store import StoredResult
from tests.reports.gpu_results import TOLD, on_a_gpu

pytestmark = pytest.mark.core

Build = Callable[..., ResultDocument]
Store = Callable[[Path, ResultDocument], StoredResult]

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page's elements, its visible words, and the raw text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            attributes, text = self.scripts.pop()
            self.scripts.append((attributes, text + data))
        elif inside == "style":
            self.styles.append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def json(self, name: str) -> dict[str, Any]:
        texts = [text for attributes, text in self.scripts if attributes.get("id") == name]
        return dict(json.loads(*texts))


def page_of(results: list[StoredResult], path: Path) -> Page:
    write_html(results, path)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture
def two(tmp_path: Path, sample: Build, store: Store) -> list[StoredResult]:
    return [store(tmp_path, sample("fp32")), store(tmp_path, sample("int8"))]


def test_the_page_tells_what_was_measured(two: list[StoredResult], tmp_path: Path) -> None:
    page = page_of(two, tmp_path / "report.html")
    for words in (
        "Engines compared",
        "openvino int8",
        "97.2 %",
        "[95.0, 98.5]",
        "5 decisions changed, 3 from right to wrong and 1 from wrong to right",
        "steps 20, step_size 0.0125, random_start True",
        "Not measured: no energy sensor answers: RAPL is readable by root only",
        "the medians of the first and the last half differ by 14 %",
        "the CPU governor is schedutil, not performance",
        "no temperature sensor answers, so throttling cannot be excluded",
        "4d4d" * 16,
        "harness run digits --set measure.batch=[1,64]",
        "digit 8",
    ):
        assert words in page.text
    assert page.text.count("4 of 4 stored images") == 2


def test_the_precision_of_the_layers_is_folded_away(sample: Build, store: Store, tmp_path: Path) -> None:
    fallen = {"name": "deep", "operator": "Conv", "precision": "fp32", "macs": 1, "quantized": True}
    part = {"int8_mac_share": None, "source": "a runtime", "reason": "it is silent"}
    results = [
        store(tmp_path, sample(id="told")),
        store(tmp_path, sample(id="fallen", precision={**part, "layers": [fallen]})),
        store(tmp_path, sample(id="silent", precision={**part, "layers": []})),
        store(tmp_path, sample(id="old", precision=None)),
    ]
    page = page_of(results, tmp_path / "report.html")
    assert "87.5 % INT8, 12.5 % FP32, by OpenVINO's runtime model" in page.text
    assert "conv2 Conv yes int8 448,000 87.4 %" in page.text
    assert page.text.count("is not known: it is silent") == 2
    assert sum(tag == "details" for tag, _ in page.elements) == 2
    markup = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert markup.count('<span class="invalid">fp32</span>') == 1  # only the layer that was quantized in vain


def test_the_page_is_small_and_asks_no_host(two: list[StoredResult], tmp_path: Path) -> None:
    page = page_of(two, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 6_000_000
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    assert not re.search(r"@import|url\(", "".join(page.styles))
    policies = [attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv")]
    assert policies
    assert "default-src 'none'" in str(policies[0])


def test_the_embedded_documents_are_the_documents(two: list[StoredResult], tmp_path: Path) -> None:
    page = page_of(two, tmp_path / "report.html")
    for number, result in enumerate(two, start=1):
        assert ResultDocument.model_validate(page.json(f"engine-{number}-document")) == result.document


def test_every_chart_has_a_place_and_its_numbers(two: list[StoredResult], tmp_path: Path) -> None:
    page = page_of(two, tmp_path / "report.html")
    charts = page.json("charts")
    places = {attributes.get("id") for _, attributes in page.elements if attributes.get("class") == "chart"}
    assert set(charts) == places
    bars = charts["engine-2-accuracy"]["data"][0]
    assert bars["x"] == [97.78, 97.22, 60.56, 63.89, 61.67]
    assert bars["error_x"]["array"][1] == pytest.approx(1.26)
    assert bars["error_x"]["arrayminus"][1] == pytest.approx(2.25)
    assert sum(charts["engine-2-latency-64"]["data"][0]["y"]) == 80


def test_the_page_is_accessible(two: list[StoredResult], tmp_path: Path) -> None:
    page = page_of(two, tmp_path / "report.html")
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    for tag, attributes in page.elements:
        if tag == "th":
            assert attributes.get("scope") in {"row", "col"}
        if tag == "img":
            assert attributes.get("alt")
        if attributes.get("role") in {"img", "region"}:
            assert attributes.get("aria-label")
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "</script><img src=x onerror=alert(1)>",
        "\"'><svg onload=alert(1)>",
        "{{ 7 * 7 }}<!--",
        "\u202e\x1b[31m\u2028",
    ],
)
def test_hostile_text_is_text(
    hostile: Callable[[str], ResultDocument], store: Store, tmp_path: Path, text: str
) -> None:
    result = store(tmp_path, hostile(text))
    names = np.array([text] * 10)
    with np.load(result.folder / "images.npz") as archive:
        arrays = {**archive, "class_names": names, "rule": np.array(text), "turned_by": names[:4]}
    np.savez(result.folder / "images.npz", **arrays)
    page = page_of([result, result], tmp_path / "report.html")
    assert [tag for tag, _ in page.elements if tag in {"svg", "iframe", "object"}] == []
    assert len(page.scripts) == 5
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all(str(attributes["src"]).startswith("data:image/png") for tag, attributes in page.elements if tag == "img")
    assert not set("\u202e\x1b\u2028") & set(page.text)
    if text.isprintable():
        assert text in page.text
    assert ResultDocument.model_validate(page.json("engine-1-document")) == result.document
    # plotly reads some markup in labels: there a foreign `<` has to arrive as an entity.
    for label in page.json("charts")["engine-1-accuracy"]["data"][0]["y"]:
        assert isinstance(label, int)
    for label in page.json("charts")["engine-1-accuracy"]["layout"]["yaxis"]["ticktext"]:
        assert "<" not in label.replace("<br>", "", 1)


def test_a_document_with_nothing_measured_still_makes_a_page(sample: Build, store: Store, tmp_path: Path) -> None:
    document = sample(
        accuracy={"clean": None, "reference": None, "flips": None, "reason": "the engine did not load"},
        robustness=(),
        robustness_reason="eval was not asked for",
        latency=(),
        latency_reason="the worker died",
        lineage=(),
        device={"before": {}, "after": {}, "valid": True, "reasons": []},
    )
    page = page_of([store(tmp_path, document)], tmp_path / "report.html")
    for reason in ("the engine did not load", "eval was not asked for", "the worker died"):
        assert reason in page.text
    assert page.json("charts") == {}


def test_large_images_do_not_burst_the_page(two: list[StoredResult], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((24, 3, 224, 224), dtype=np.float32)
    numbers = np.zeros(24, np.int64)
    for result in two:
        np.savez(
            result.folder / "images.npz",
            clean=noise,
            adversarial=noise,
            labels=numbers,
            clean_decisions=numbers,
            adversarial_decisions=numbers,
        )
    page = page_of(two, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 6_000_000
    assert "of 24 stored images" in page.text
    assert "class 0" in page.text


def test_a_damaged_array_leaves_the_old_page_alone(two: list[StoredResult], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("the page of yesterday")
    (two[0].folder / "latencies.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"latencies\.npz"):
        write_html(two, path)
    assert path.read_text() == "the page of yesterday"
    assert [entry.name for entry in tmp_path.iterdir() if entry.suffix == ".tmp"] == []


def test_the_page_tells_what_a_gpu_told(sample: Build, store: Store, tmp_path: Path) -> None:
    page = page_of(
        [store(tmp_path / "r", sample(**on_a_gpu(sample().model_dump(mode="json"))))], tmp_path / "page.html"
    )
    for sentence in TOLD:
        assert sentence in page.text
    assert "int8 CHW32" in page.text and "correlation" in page.text
    assert not [attributes for tag, attributes in page.elements if tag == "script" and "alert" in str(attributes)]
    assert "\x1b" not in page.text
