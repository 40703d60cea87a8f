"""Modules: one block and its close variants per file. Every one takes ``(N, C, *S)``."""

from pointwise.nn.activation import ACTIVATIONS, activation_name
from pointwise.nn.attention import MultiHeadAttention, NonLocalBlock
from pointwise.nn.bottleneck import Bottleneck
from pointwise.nn.conv import ConvNormActivation, Projection
from pointwise.nn.detection import MaskHead, RPNHead
from pointwise.nn.dropout import Dropout
from pointwise.nn.encoding import CategoryEncoder, NumberEncoder
from pointwise.nn.fire import Fire
from pointwise.nn.fusion import ConcatFusion, GatedFusion, SumFusion
from pointwise.nn.gates import CBAM, AttentionGate, ChannelGate, SpatialGate, SqueezeExcite
from pointwise.nn.inception import InceptionBlock
from pointwise.nn.inverted_residual import InvertedResidual
from pointwise.nn.mlp import MLP
from pointwise.nn.mlpconv import MLPConv
from pointwise.nn.norm import BatchNorm, FrozenBatchNorm, LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.pooling import GlobalAveragePool
from pointwise.nn.pyramid import FeaturePyramid
from pointwise.nn.resample import UpConvolution, UpProjection
from pointwise.nn.segmentation import FCNHead, PyramidHead
from pointwise.nn.separable import DepthwiseSeparableConv
from pointwise.nn.table import ChannelScale, TableNetwork
from pointwise.nn.unet import DoubleConvolution, UNetDecoder, UNetStage

__all__ = [
    "ACTIVATIONS",
    "CBAM",
    "MLP",
    "AttentionGate",
    "BatchNorm",
    "Bottleneck",
    "CategoryEncoder",
    "ChannelGate",
    "ChannelScale",
    "ConcatFusion",
    "ConvNormActivation",
    "DepthwiseSeparableConv",
    "DoubleConvolution",
    "Dropout",
    "FCNHead",
    "FeaturePyramid",
    "Fire",
    "FrozenBatchNorm",
    "GatedFusion",
    "GlobalAveragePool",
    "InceptionBlock",
    "InvertedResidual",
    "LayerNorm",
    "MLPConv",
    "MaskHead",
    "MultiHeadAttention",
    "NonLocalBlock",
    "NumberEncoder",
    "PointwiseConv",
    "Projection",
    "PyramidHead",
    "RPNHead",
    "SpatialGate",
    "SqueezeExcite",
    "SumFusion",
    "TableNetwork",
    "UNetDecoder",
    "UNetStage",
    "UpConvolution",
    "UpProjection",
    "activation_name",
]
