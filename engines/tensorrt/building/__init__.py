"""From an ONNX file to a plan."""
