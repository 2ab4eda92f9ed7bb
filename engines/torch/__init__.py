"""PyTorch as a runtime: a float ONNX graph, interpreted operator by operator."""
