"""Faults of a graph with Q/DQ that a build would take without a word, found before any build.

`error` is what TensorRT refuses, what it reads as something else than was written, and what no sound quantization
writes; `warning` is what costs speed. The rules are TensorRT's for INT8 fusion (its developer guide, "Explicit
Quantization"); `calibration.rules` places Q/DQ so that none of them is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from calibration.graphs import lint_errors, lint_warnings
from calibration.graphs.quantized_graph import QuantizedGraph
from calibration.graphs.wiring import called
from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx

Severity = Literal["error", "warning"]
Rule = Callable[[QuantizedGraph], Iterator[tuple["onnx.NodeProto", str]]]

RULES: tuple[tuple[Severity, str, Rule], ...] = (
    ("error", "non-zero-zero-point", lint_errors.non_zero_zero_point),
    ("error", "uint8", lint_errors.uint8),
    ("error", "not-int8", lint_errors.not_int8),
    ("error", "scale", lint_errors.scale),
    ("error", "per-channel-activation", lint_errors.per_channel_activation),
    ("error", "weight-axis", lint_errors.weight_axis),
    ("error", "quantized-bias", lint_errors.quantized_bias),
    ("warning", "split-fusion", lint_warnings.split_fusion),
    ("warning", "unquantized-input", lint_warnings.unquantized_input),
    ("warning", "float-layer", lint_warnings.float_layer),
    ("warning", "float-residual", lint_warnings.float_residual),
    ("warning", "float-pool", lint_warnings.float_pool),
    ("warning", "few-channels", lint_warnings.few_channels),
    ("warning", "odd-channels", lint_warnings.odd_channels),
)


@dataclass(frozen=True)
class Finding:
    """One fault of a graph.

    Attributes:
        severity: an error is not to be built; a warning costs speed.
        rule: identifier, a name of `RULES`.
        node: to look at; the tensor it gives where it has no name.
        sentence: what is wrong and what to do.
    """

    severity: Severity
    rule: str
    node: str
    sentence: str


def lint(model: onnx.ModelProto) -> tuple[Finding, ...]:
    """Return what is wrong with a graph with Q/DQ: errors first, each kind in the order of the nodes.

    A graph without Q/DQ has no findings. Subgraphs (If, Loop) are not looked into.

    Args:
        model: of any opset, its nodes in an order of execution, its external data loaded. It is not changed.
    """
    graph = QuantizedGraph(model)
    if not graph.quantizers:
        return ()
    order = {node.output[0]: index for index, node in enumerate(model.graph.node)}
    found = [
        (severity != "error", order[node.output[0]], Finding(severity, name, called(node), sentence))
        for severity, name, rule in RULES
        for node, sentence in rule(graph)
    ]
    return tuple(finding for *_, finding in sorted(found, key=lambda each: each[:2]))


def refuse_errors(findings: Iterable[Finding], where: str) -> None:
    """Do nothing unless there is an error among the findings; warnings pass.

    Args:
        findings: of `lint`.
        where: the file or model that was examined, as a user knows it.

    Raises:
        InputError: the first error, and how many more there are.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        others = len(errors) - 1
        more = f" (and {others} more error{'s' if others > 1 else ''})" if others else ""
        raise InputError(f"{where}: {errors[0].sentence}{more}")
