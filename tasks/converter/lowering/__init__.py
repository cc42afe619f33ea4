"""UFF -> ONNX."""
