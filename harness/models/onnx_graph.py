"""From a torch classifier to an ONNX graph: exported, simplified, checked, free of the exporting machine's traces."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx
    from torch import nn

INPUT, OUTPUT = "images", "scores"

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
    import torch

    example = torch.zeros(2, *input_shape)
    try:
        with _quiet():
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
        raise InputError(f"the model cannot be exported to ONNX: {_reason(error)}") from error
    assert program is not None
    return _simplified(program.model_proto)


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx
    import onnxsim

    simplified, same = onnxsim.simplify(model)
    if not same:
        raise InputError("onnxsim's simplified graph differs from the exported one: report the model to the project")
    # The raw exporter writes stack traces, and with them the paths of this machine, into metadata and doc strings.
    del simplified.metadata_props[:]
    simplified.graph.doc_string = ""
    for value in (
        *simplified.graph.node,
        *simplified.graph.input,
        *simplified.graph.output,
        *simplified.graph.value_info,
    ):
        del value.metadata_props[:]
        value.doc_string = ""
    onnx.checker.check_model(simplified, full_check=True)
    return simplified  # type: ignore[no-any-return]


def _reason(error: BaseException) -> str:
    """Return the first line of the error that the exporter's own ones wrap."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's advice to its developers away from our users."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
