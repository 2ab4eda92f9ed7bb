from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from reports.address import Address, Found, Part, parse_address, parse_condition, resolve

pytestmark = pytest.mark.core

WORST = {"value": 0.61, "n": 360, "ci95": [0.55, 0.65]}
DOCUMENT: dict[str, Any] = {
    "accuracy": {"clean": {"value": 0.97, "n": 360, "ci95": [0.95, 0.98]}, "reference": None},
    "robustness": [
        {"attack": "pgd", "norm": "linf", "epsilon": 0.05, "worst_case": WORST, "arms": {"loop": {"value": 0.7}}},
        {"attack": "pgd", "norm": "linf", "epsilon": 0.1, "worst_case": {"value": 0.3}},
        {"attack": "fgsm", "norm": "l2", "epsilon": 0.1, "worst_case": {"value": 0.5}},
    ],
    "latency": [{"batch": 1, "p99_ms": 0.4, "valid": True, "throughput_per_s": 4000.0}, {"batch": 64, "p99_ms": None}],
    "memory": {"engine_bytes": 61204},
    "energy": [],
}

KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,8}", fullmatch=True) | st.floats(
    allow_nan=False, allow_infinity=False
).map(lambda value: value + 0.0)
PARTS = st.builds(
    lambda key, filters: Part(key, tuple(sorted(filters.items()))), KEYS, st.dictionaries(KEYS, VALUES, max_size=3)
)
ADDRESSES = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: Address(tuple(parts)))


@given(ADDRESSES)
def test_an_address_reads_back_as_itself(address: Address) -> None:
    assert parse_address(str(address)) == address


@given(st.text(max_size=30))
def test_any_words_are_read_or_refused_in_a_sentence(words: str) -> None:
    try:
        address = parse_address(words)
    except InputError as error:
        assert words in str(error) or repr(words) in str(error)
    else:
        assert parse_address(str(address)) == address


@given(ADDRESSES, st.sampled_from([">=", "<=", ">", "<"]), st.floats(-1e6, 1e6))
def test_a_condition_reads_back_as_itself_and_decides_as_its_sign_says(
    address: Address, sign: str, bound: float
) -> None:
    condition = parse_condition(f"{address} {sign} {bound!r}")
    assert parse_condition(str(condition)) == condition
    assert condition.decide(bound) is ("=" in sign)
    assert condition.decide(bound + 1) is sign.startswith(">")
    assert condition.decide(bound - 1) is sign.startswith("<")
    assert condition.decide(None) is None


def test_the_order_and_spelling_of_filters_mean_nothing() -> None:
    one = parse_address("robustness[attack=pgd,epsilon=0.05].worst_case")
    assert parse_address(" robustness[ epsilon=5e-2, attack=pgd ].worst_case") == one
    assert str(one) == "robustness[attack=pgd,epsilon=0.05].worst_case"


@pytest.mark.parametrize(
    ("text", "value", "object"),
    [
        ("accuracy.clean", 0.97, DOCUMENT["accuracy"]["clean"]),
        ("accuracy.clean.n", 360, DOCUMENT["accuracy"]["clean"]),
        ("accuracy.reference", None, DOCUMENT["accuracy"]),
        ("accuracy.reference.n", None, DOCUMENT["accuracy"]),
        ("robustness[attack=pgd,epsilon=0.05].worst_case", 0.61, WORST),
        ("robustness[norm=l2].worst_case", 0.5, {"value": 0.5}),
        ("robustness[epsilon=0.05].arms.loop", 0.7, {"value": 0.7}),
        ("latency[batch=1].p99_ms", 0.4, DOCUMENT["latency"][0]),
        ("latency[valid=true].p99_ms", 0.4, DOCUMENT["latency"][0]),
        ("latency[batch=64].p99_ms", None, DOCUMENT["latency"][1]),
        ("memory.engine_bytes", 61204, DOCUMENT["memory"]),
        ("energy[source=rapl].joules", None, DOCUMENT),
    ],
)
def test_an_address_leads_to_its_number_and_what_it_belongs_to(text: str, value: float | None, object: Any) -> None:
    assert resolve(DOCUMENT, parse_address(text)) == Found(value, object)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("acuracy.clean", "unknown key of the document 'acuracy'; did you mean 'accuracy'?"),
        ("accuracy.claen", "unknown key of accuracy 'claen'; did you mean 'clean'?"),
        ("latency[bach=1].p99_ms", "unknown filter of latency 'bach'; did you mean 'batch'?"),
        ("latency[batch=2].p99_ms", r"no entry of latency is latency\[batch=2\]; there are batch=1; batch=64"),
        ("robustness[attack=pgd].worst_case", r"ambiguous: 2 entries .* apart by epsilon \(0.05, 0.1\)"),
        ("latency.p99_ms", r"ambiguous: 2 entries of latency fit; tell them apart by batch \(1, 64\)"),
        ("accuracy", "leads to no number: go on with one of clean, reference"),
        ("memory[a=b].engine_bytes", "memory is no list"),
        ("memory.engine_bytes.value", "goes on behind memory.engine_bytes"),
        ("latency[batch=1].valid", "leads to True, which is no number"),
        ("robustness[epsilon=0.05].attack", "leads to 'pgd', which is no number"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        resolve(DOCUMENT, parse_address(text))


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "a[b=1", "a]b", "a[b=1]c", "a[b]", "a[=1]", "a[]"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"write it like|as in robustness"):
        parse_address(text)


def test_a_filter_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="filter b is there twice"):
        parse_address("a[b=1,b=2].c")


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("accuracy.clean>=0.8", 0.8),
        ("accuracy.clean >= 80%", 0.8),
        ("accuracy.clean >= 80 %", 0.8),
        ("latency[batch=1].p99_ms <= 5", 5.0),
        ("latency[batch=1].p99_ms <= 5ms", 5.0),
        ("latency[batch=1].p99_ms <= 500us", 0.5),
        ("memory.engine_bytes < 200 kB", 200_000.0),
        ("latency[batch=1].throughput_per_s > 1e3/s", 1000.0),
        ("energy.joules_per_inference <= 4mJ", 0.004),
    ],
)
def test_units_are_those_of_the_key(text: str, bound: float) -> None:
    assert parse_condition(text).bound == pytest.approx(bound)


@pytest.mark.parametrize("percent", range(101))
def test_a_whole_per_cent_holds_the_fraction_that_it_is(percent: int) -> None:
    condition = parse_condition(f"accuracy.clean >= {percent}%")
    assert condition.bound == percent / 100
    assert condition.decide(float(f"{percent}e-2")) is True


@given(st.decimals(0, 10_000, places=4), st.sampled_from([("us", -3), ("s", 3), ("ms", 0)]))
def test_a_unit_moves_the_point_and_rounds_once(number: Decimal, unit: tuple[str, int]) -> None:
    name, power = unit
    assert parse_condition(f"latency.p99_ms <= {number:f} {name}").bound == float(number.scaleb(power))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("accuracy.clean", "write ADDRESS OP NUMBER"),
        ("accuracy.clean == 1", "write ADDRESS OP NUMBER"),
        ("accuracy.clean >= 5ms", "clean is not compared in 'ms': leave the unit out or use %"),
        ("latency[batch=1].p99_ms <= 5%", "not compared in '%': leave the unit out or use ms"),
        ("latency[batch=1].throughput_per_s > 5 s", "not compared in 's'"),
        ("accuracy.clean >= nan", "not a number"),
        ("accuracy.clean >= 1e999", "not a finite number"),
        ("latency[batch=1].p99_ms <= +5%", "not a number"),
        ("accuracy.clean >= ", "write ADDRESS OP NUMBER"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_condition(text)
