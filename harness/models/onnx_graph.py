"""From a torch classifier to an ONNX graph: exported, simplified, checked, free of the exporting machine's traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError
from harness.models.quiet import quiet

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

INPUT, OUTPUT = "images", "scores"

# It gives a linear layer over tokens the tensors and the weight of another layer, in the float graph alone, where the
# quantizers of the INT8 graph are not in its way: then the two have different tensors, and a user's names are lost.
_SKIPPED = ["fuse_matmul_add_bias_into_gemm_batched"]

_OPSET = 18  # the exporter's own; TensorRT 8.6 to 11, OpenVINO and ONNX Runtime all read it


def export(
    model: nn.Module, input_shape: tuple[int, int, int], translations: Mapping[Any, Callable[..., Any]]
) -> onnx.ModelProto:
    """Return a model's graph with a free batch size: input `images` (batch, …), output `scores` (batch, classes).

    Args:
        model: in evaluation mode, on the CPU.
        input_shape: channels, height, width.
        translations: ONNX translations of operators that the exporter does not know.

    Raises:
        InputError: the exporter cannot express the model, or the simplified graph computes something else.
    """
    return simplified(exported(model, input_shape, translations).model_proto)


def exported(
    model: nn.Module, input_shape: tuple[int, int, int], translations: Mapping[Any, Callable[..., Any]]
) -> torch.onnx.ONNXProgram:
    """Return what `export` simplifies: the graph as it was written and the program that it was written from.

    The program's nodes have the names of the graph's tensors.
    """
    import torch

    example = torch.zeros(2, *input_shape)
    try:
        with quiet("torch.onnx", "onnxscript", "onnx_ir"):
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                opset_version=_OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                custom_translation_table=dict(translations),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(f"the model cannot be exported to ONNX: {reason(error)}") from error
    assert program is not None
    return program


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph with its constants folded and its batch norms in the convolutions, checked.

    What exporters write beside the graph (stack traces, and with them the paths of a machine) is not in it.

    Raises:
        InputError: the simplified graph is another one.
    """
    import onnx
    import onnxsim

    made, same = onnxsim.simplify(model, skipped_optimizers=_SKIPPED)
    if not same:
        raise InputError("onnxsim's simplified graph differs from the exported one: report the model to the project")
    del made.metadata_props[:]
    made.doc_string = made.graph.doc_string = ""
    for value in (*made.graph.node, *made.graph.input, *made.graph.output, *made.graph.value_info):
        del value.metadata_props[:]
        value.doc_string = ""
    onnx.checker.check_model(made, full_check=True)
    return made  # type: ignore[no-any-return]


def reason(error: BaseException) -> str:
    """Return the first line of an error, of the one inside where a library wrapped it in its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
