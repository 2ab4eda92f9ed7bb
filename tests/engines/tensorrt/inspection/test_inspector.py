"""Reading an engine's layers: recorded shapes of every version, broken text, and what the audit and the summary say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from engines.audit import layers_audit
from engines.macs import Layer
from engines.tensorrt.inspection.audit import layer_precisions
from engines.tensorrt.inspection.inspector import engine_layers
from engines.tensorrt.inspection.layers import UNKNOWN, EngineLayer, TensorForm, datatype_of, format_of, reformat_layers
from engines.tensorrt.inspection.summary import inspection

pytestmark = pytest.mark.core

INSPECTED = Path(__file__).parent / "inspected"
SAMPLES = sorted(INSPECTED.glob("*.json"))

EXPECTED: Mapping[str, Sequence[tuple[str, str, tuple[str, ...]]]] = {
    "trt8_explicit_int8": [
        ("Reformat", "fp32", ("input_QuantizeLinear",)),
        ("ConvActPool", "int8", ("conv1.weight", "conv1_weight_QuantizeLinear", "conv1", "pool1")),
        ("Convolution", "int8", ("conv10.weight", "conv10_weight_QuantizeLinear", "conv10", "add10", "relu10")),
        ("Reformat", "fp32", ()),
        ("Convolution", "fp16", ("conv100", "relu100")),
        ("Convolution", "int8", ("fc.weight", "fc_weight_QuantizeLinear", "fc", "fc.bias")),
    ],
    "trt8_names_only": [
        (UNKNOWN, UNKNOWN, ()),
        (UNKNOWN, UNKNOWN, ("conv1", "relu1")),
        (UNKNOWN, UNKNOWN, ("sigmoid2", "mul2")),
        (UNKNOWN, UNKNOWN, ("fc", "fc.bias", "add", "relu3")),
    ],
    "trt8_dynamic_shapes": [("Reformat", UNKNOWN, ()), ("Convolution", "int8", ())],
    "trt8_closed_region": [("Myelin", "fp16", ("/attention/query", "/attention/proj"))],
    "trt10_myelin_kernels": [
        ("kgen", "fp16", ("__myl_Move",)),
        ("gemm", "int8", ("/layers.0/key/MatMul", "/layers.0/query/MatMul")),
        ("kgen", "fp16", ("/layers.0/qk/MatMul", "/layers.0/Softmax", "/layers.0/av/MatMul")),
        ("kgen", "fp32", ("/layers.0/av/MatMul", "/layers.0/norm/LayerNormalization")),
        ("NoOp", "fp16", ()),
    ],
    "trt11_split_fields": [("Convolution", "int8", ("conv1", "relu1")), ("kgen", "bf16", ("conv2", "relu2"))],
}

FORMATS = [
    ("Row major linear FP32", "fp32", "LINEAR"),
    ("Row major linear FP16 format", "fp16", "LINEAR"),
    ("Row major Int8 format", "int8", "LINEAR"),
    ("Row major linear BFloat16 format", "bf16", "LINEAR"),
    ("Row major linear UInt8 format", "uint8", "LINEAR"),
    ("Row major linear FP8 format", "fp8", "LINEAR"),
    ("Row major linear BOOL", "bool", "LINEAR"),
    ("Row major linear FP32 format (kLINEAR)", "fp32", "LINEAR"),
    ("Two wide channel vectorized row major FP16 format", "fp16", "CHW2"),
    ("Four wide channel vectorized row major Int8 format", "int8", "CHW4"),
    ("Thirty-two wide channel vectorized row major Int8 format", "int8", "CHW32"),
    ("Thirty-two wide channel vectorized row major FP16 format with 3 spatial dimensions", "fp16", "CDHW32"),
    ("Channel major FP16 format where C % 8 == 0", "fp16", "HWC8"),
    ("Channel major FP16 format where channel % 8 == 0", "fp16", "HWC8"),
    ("Channel major FP16 format where channel % 8 == 0 with 3 spatial dimensions", "fp16", "DHWC8"),
    ("Channel major INT8 format where channel == 4 and column stride % 32 == 0", "int8", "DLA_HWC4"),
    ("Row major INT8 format where column stride % 64 == 0", "int8", "DLA_LINEAR"),
    ("Channel major FP32 format", "fp32", "HWC"),
    ("Half", "fp16", UNKNOWN),
    ("Float", "fp32", UNKNOWN),
    ("FP8", "fp8", UNKNOWN),
    ("N/A due to dynamic shapes", UNKNOWN, UNKNOWN),
    ("Unknown format", UNKNOWN, UNKNOWN),
    ("", UNKNOWN, UNKNOWN),
]


def sample(name: str) -> tuple[EngineLayer, ...]:
    return engine_layers((INSPECTED / f"{name}.json").read_text())


def one(**fields: Any) -> EngineLayer:
    (layer,) = engine_layers(json.dumps({"Layers": [{"Name": "layer", "LayerType": "Convolution", **fields}]}))
    return layer


def multiplying(name: str, *, macs: int = 1, output: str = "", quantized: bool = True) -> Layer:
    return Layer(name, "Conv", macs, output or f"{name}_out", quantized)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_layers_of_every_version_are_read(path: Path) -> None:
    written = json.loads(path.read_text())["Layers"]
    layers = engine_layers(path.read_text())
    assert [layer.name for layer in layers] == [one if isinstance(one, str) else one["Name"] for one in written]
    assert [(layer.kind, layer.precision, layer.onnx_nodes) for layer in layers] == EXPECTED[path.stem]


@pytest.mark.parametrize(("text", "datatype", "layout"), FORMATS, ids=[text or "empty" for text, _, _ in FORMATS])
def test_what_tensorrt_spells_out_becomes_its_own_names(text: str, datatype: str, layout: str) -> None:
    assert (datatype_of(text), format_of(text)) == (datatype, layout)
    assert one(Inputs=[{"Name": "x", "Format/Datatype": f"{text}."}]).inputs == (TensorForm("x", datatype, layout),)


@given(st.sampled_from(FORMATS), st.sampled_from(["Datatype", "DataType"]))
def test_a_split_field_says_what_the_joint_one_said(form: tuple[str, str, str], key: str) -> None:
    text, datatype, layout = form
    tensor = {"Name": "x", "Format": text, **({} if datatype == UNKNOWN else {key: datatype})}
    assert one(Outputs=[tensor]).outputs == (TensorForm("x", datatype, layout),)


@pytest.mark.parametrize(
    ("fields", "precision"),
    [
        ({"Weights": {"Type": "Int8"}, "Outputs": [{"Format/Datatype": "Row major linear FP32"}]}, "int8"),
        ({"Inputs": [{"Format/Datatype": "Int8"}], "Outputs": [{"Format/Datatype": "Float"}]}, "int8"),
        ({"Inputs": [{"Format/Datatype": "Float"}], "TacticName": "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n"}, "fp32"),
        ({"Inputs": [{"Format/Datatype": "Int4"}, {"Format/Datatype": "Half"}]}, "fp16"),
        ({"Inputs": [{"Format/Datatype": "Int64"}], "Outputs": [{"Format/Datatype": "Int32"}]}, "int64"),
        ({"Outputs": [{"Format/Datatype": "BFloat16"}]}, "bf16"),
        ({"TacticName": "sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n"}, "fp8"),
        ({}, UNKNOWN),
    ],
)
def test_a_layer_computes_in_what_it_multiplies(fields: dict[str, Any], precision: str) -> None:
    assert one(**fields).precision == precision


def test_control_characters_may_stand_in_the_text_as_they_are() -> None:
    text = '{"Layers": [{"Name": "l", "Metadata": "[ONNX Layer: a[0]]\x1e[ONNX Layer: b]\x1f[ONNX Layer: a[0]]"}]}'
    assert engine_layers(text)[0].onnx_nodes == ("a[0]", "b")


@pytest.mark.parametrize("number", ["nan", "-nan", "inf", "-inf", "NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite_do_not_hide_the_layers(number: str) -> None:
    fields = f'"Name": "nan, inf", "Alpha": {number}, "Params": [{number}, 1], "Weights": {{"Type": "Int8"}}'
    (layer,) = engine_layers(f'{{"Layers": [{{{fields}}}]}}')
    assert (layer.name, layer.precision) == ("nan, inf", "int8")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "{}", "null", "[]", "[" * 200_000, "9" * 5000, '{"Layers": 3}', '{"Layers": [3]}'),
        *(
            '{"Layers": [{"Inputs": 3}]}',
            '{"Layers": [{"Outputs": ["x"]}]}',
            '{"Layers": [{"Name": "x" "Inputs": []}]}',
        ),
    ],
    ids=lambda text: text[:20] or "empty",
)
def test_text_that_no_version_prints_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"^TensorRT's layer information") as refused:
        engine_layers(text)
    assert len(str(refused.value)) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["Name", "LayerType", "ParameterType", "Inputs", "Outputs", "Weights", "Metadata", "TacticName", "Type"]
LOOKALIKE = st.recursive(
    JSON | st.sampled_from(["PWN(a, b)", "{ForeignNode[a...b]}", "a + b", "[ONNX Layer: a]", "Half", "NoOp"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*KEYS, "Format/Datatype", "Format", "Datatype"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(LOOKALIKE | st.builds(lambda layers: {"Layers": layers}, st.lists(LOOKALIKE, max_size=4)))
def test_any_json_is_read_or_refused(value: Any) -> None:
    text = json.dumps(value)
    try:
        layers = engine_layers(text)
    except InputError:
        return
    assert len(layers) == len(value["Layers"])
    json.dumps(inspection(layers).to_json(), allow_nan=False)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InputError):
        engine_layers(text)


NODE = st.text("abc/._0123456789", min_size=1)


@given(st.lists(NODE, min_size=1, unique=True), st.booleans())
def test_joined_names_come_apart_into_whole_names(nodes: list[str], pointwise: bool) -> None:
    name = f"PWN({', '.join(f'PWN({node})' for node in nodes)})" if pointwise else " + ".join(nodes)
    (layer,) = engine_layers(json.dumps({"Layers": [name]}))
    assert layer.onnx_nodes == tuple(nodes)


def test_copies_are_told_from_layers_that_compute() -> None:
    assert [layer.name.partition(" ")[0] for layer in reformat_layers(sample("trt8_explicit_int8"))] == [
        "input_QuantizeLinear",
        "Reformatting",
    ]
    assert len(reformat_layers(sample("trt8_names_only"))) == 1
    assert [layer.name for layer in reformat_layers(sample("trt10_myelin_kernels"))] == ["__myl_Move_myl0_0"]


def test_names_that_begin_alike_are_told_apart_by_the_audit() -> None:
    graph = [multiplying(name, macs=macs) for name, macs in (("conv1", 1), ("conv10", 2), ("conv100", 4), ("conv", 8))]
    layers = sample("trt8_explicit_int8")
    assert layer_precisions(layers, graph) == {"conv1": "int8", "conv10": "int8", "conv100": "fp16"}
    audit = layers_audit(graph[:3], layer_precisions(layers, graph[:3]), "inspector")
    assert audit.int8_mac_share == pytest.approx(3 / 7)
    assert layers_audit(graph, layer_precisions(layers, graph), "inspector").int8_mac_share is None


def test_of_the_layers_that_name_a_node_the_one_that_multiplies_counts() -> None:
    graph = [multiplying(f"/layers.0/{name}/MatMul") for name in ("key", "query", "qk", "av")]
    assert layer_precisions(sample("trt10_myelin_kernels"), graph) == {
        "/layers.0/key/MatMul": "int8",
        "/layers.0/query/MatMul": "int8",
        "/layers.0/qk/MatMul": "fp16",
        "/layers.0/av/MatMul": "fp16",
    }
    assert layer_precisions(sample("trt11_split_fields"), [multiplying("conv1"), multiplying("conv2")]) == {
        "conv1": "int8",
        "conv2": "bf16",
    }


def test_nothing_is_claimed_where_layers_disagree_or_only_names_are_kept() -> None:
    split = [EngineLayer(f"part{i}", "gemm", kind, (), (), ("conv1",), None) for i, kind in enumerate(("int8", "fp16"))]
    assert layer_precisions(split, [multiplying("conv1")]) == {}
    assert layer_precisions(sample("trt8_names_only"), [multiplying("conv1")]) == {}


def test_a_kernel_that_reads_int8_and_names_no_product_is_not_taken_for_one() -> None:
    kernel = EngineLayer("__myl_CastMulSum_myl0_1", "kgen", "int8", (), (), ("fc",), "__myl_CastMulSum_0x1")
    assert layer_precisions([kernel], [multiplying("fc")]) == {}


def test_a_region_tells_of_the_float_layers_inside_it_only() -> None:
    query, inner, proj, after = (
        multiplying("/attention/query", quantized=False),
        multiplying("/attention/inner"),
        multiplying("/attention/proj", quantized=False),
        multiplying("/after", quantized=False),
    )
    layers = sample("trt8_closed_region")
    assert layer_precisions(layers, [query, inner, proj, after]) == {query.name: "fp16", proj.name: "fp16"}
    between = multiplying("/attention/inner", quantized=False)
    assert layer_precisions(layers, [query, between, proj, after])[between.name] == "fp16"


def test_a_nameless_node_is_found_by_its_output() -> None:
    layers = [EngineLayer("node_of_y + relu", "Convolution", "int8", (), (), ("node_of_y", "relu"), None)]
    assert layer_precisions(layers, [multiplying("y", output="y")]) == {"y": "int8"}


LAYER = st.builds(
    EngineLayer,
    name=st.text(max_size=4),
    kind=st.sampled_from(["Convolution", "Reformat", "NoOp", "kgen"]),
    precision=st.sampled_from(["int8", "fp16", "fp32", UNKNOWN]),
    inputs=st.just(()),
    outputs=st.just(()),
    onnx_nodes=st.just(()),
    tactic=st.none(),
)


@given(st.lists(LAYER, min_size=1), st.dictionaries(st.text(max_size=4), st.floats(0, 1e3), min_size=1))
def test_shares_are_shares(layers: list[EngineLayer], times_ms: dict[str, float]) -> None:
    found = inspection(layers, times_ms)
    assert found.layers == tuple(layers)
    assert sum(found.layer_share.values()) == pytest.approx(1)
    assert found.reformat_count == sum(layer.kind == "Reformat" for layer in layers)
    if sum(times_ms.values()) > 0:
        assert found.reformat_time_share is not None
        assert 0 <= found.reformat_time_share <= 1
    json.dumps(found.to_json(), allow_nan=False)


def test_a_summary_says_what_conversions_cost() -> None:
    layers = sample("trt8_explicit_int8")
    times_ms = {layer.name: 0.5 if layer.is_reformat else 1.0 for layer in layers[:-1]}
    found = inspection(layers, times_ms)
    assert found.reformat_count == 2
    assert found.reformat_time_share == pytest.approx(0.25)
    assert found.layer_share == pytest.approx({"int8": 3 / 6, "fp32": 2 / 6, "fp16": 1 / 6})
    written = json.loads(json.dumps(found.to_json()))
    assert [layer["time_ms"] for layer in written["layers"]] == [0.5, 1.0, 1.0, 0.5, 1.0, None]
    assert written["layers"][1]["outputs"] == [{"name": "pool1_q", "datatype": "int8", "format": "CHW32"}]
    assert inspection(layers).reformat_time_share is None
    assert inspection([]).layer_share == {}
