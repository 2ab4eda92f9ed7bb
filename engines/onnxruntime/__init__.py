"""ONNX Runtime on CPUs: a backend, and the reference that runs a graph node by node as it is written."""
