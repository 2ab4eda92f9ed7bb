"""ONNX Runtime's sessions on the CPU: with its optimizer, or node by node as the graph is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.errors import InputError

if TYPE_CHECKING:
    import onnx


def session(
    graph: onnx.ModelProto | Path, *, threads: int = 0, optimise: bool = True, write_optimized: Path | None = None
) -> Any:
    """Open an ONNX Runtime session on the CPU.

    Args:
        graph: ONNX file, or a graph in memory, of less than 2 GiB.
        threads: CPU threads; 0 leaves that to the runtime.
        optimise: False runs the graph node by node as written: the reference for export parity.
        write_optimized: where the graph goes as the optimizer rewrote it, short of its last step, which changes the
            layout of tensors and no operator, but loses the names of weights.

    Raises:
        InputError: ONNX Runtime refuses the graph.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if write_optimized is not None:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(write_optimized)
    source, name = (str(graph), graph) if isinstance(graph, Path) else (graph.SerializeToString(), "the graph")
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot run {name}: {str(error).splitlines()[0]}") from error
