"""The torch backend's own reader of ONNX: it runs a float graph with torch functions and never executes loaded code."""

from engines.onnx_in_torch.program import TorchProgram

__all__ = ["TorchProgram"]
