"""ONNX graphs around quantization: Q/DQ in and out of them, typed graphs, lint."""
