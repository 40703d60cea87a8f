"""Fitted models and networks for other programs, each run before it is written."""

from pointwise.export.inputs import onnx_inputs
from pointwise.export.library.to_library import Library, to_library
from pointwise.export.onnx.to_onnx import OnnxFile, Port, to_onnx

__all__ = ["Library", "OnnxFile", "Port", "onnx_inputs", "to_library", "to_onnx"]
