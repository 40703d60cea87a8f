"""Modules: one block and its close variants per file. Every one takes ``(N, C, *S)``."""

from pointwise.nn.activation import ACTIVATIONS, activation_name
from pointwise.nn.dropout import Dropout
from pointwise.nn.encoding import CategoryEncoder, NumberEncoder
from pointwise.nn.mlp import MLP
from pointwise.nn.norm import BatchNorm, LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.table import ChannelScale, TableNetwork

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "BatchNorm",
    "CategoryEncoder",
    "ChannelScale",
    "Dropout",
    "LayerNorm",
    "NumberEncoder",
    "PointwiseConv",
    "TableNetwork",
    "activation_name",
]
