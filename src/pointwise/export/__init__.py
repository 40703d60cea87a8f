"""Fitted models and networks in the formats of other runtimes, each run before it is written."""

from pointwise.export.inputs import onnx_inputs
from pointwise.export.onnx.to_onnx import OnnxFile, Port, to_onnx

__all__ = ["OnnxFile", "Port", "onnx_inputs", "to_onnx"]
