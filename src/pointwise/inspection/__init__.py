"""Reading models, never changing them."""

from pointwise.inspection.layers import Layer, count_parameters, layers

__all__ = ["Layer", "count_parameters", "layers"]
