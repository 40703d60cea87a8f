"""Models as ONNX files: the traced graph, its inputs and outputs, the run that proves it."""
