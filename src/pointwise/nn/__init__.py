"""Modules: one block and its close variants per file. Every one takes ``(N, C, *S)``."""

from pointwise.nn.activation import ACTIVATIONS, activation_name
from pointwise.nn.conv import ConvNormActivation, Projection
from pointwise.nn.dropout import Dropout
from pointwise.nn.encoding import CategoryEncoder, NumberEncoder
from pointwise.nn.mlp import MLP
from pointwise.nn.norm import BatchNorm, LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.pooling import GlobalAveragePool
from pointwise.nn.table import ChannelScale, TableNetwork

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "BatchNorm",
    "CategoryEncoder",
    "ChannelScale",
    "ConvNormActivation",
    "Dropout",
    "GlobalAveragePool",
    "LayerNorm",
    "NumberEncoder",
    "PointwiseConv",
    "Projection",
    "TableNetwork",
    "activation_name",
]
