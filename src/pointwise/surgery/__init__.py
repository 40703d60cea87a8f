"""Rewrites of networks that keep their function: one spelling of a layer into another.

Every function leaves the given model untouched unless told otherwise, and returns the new model
with a list of what was changed and of what was left alone and why.
"""

from pointwise.surgery.attention import SplitAttention
from pointwise.surgery.axes import InPlaceOf
from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.convolutionalize import convolutionalize, densify
from pointwise.surgery.dense.classifier import AsRows, DenseClassifier, Grid, ShiftAndStitch
from pointwise.surgery.dense.crops import CropDifference, crop_difference
from pointwise.surgery.equivalence import Difference, Equivalence, check_equivalent
from pointwise.surgery.fold import fold, fold_norms
from pointwise.surgery.layouts import channels_first
from pointwise.surgery.refusals import refusal
from pointwise.surgery.replace import Rule, replace, replace_named
from pointwise.surgery.respell import respell
from pointwise.surgery.restoring import restore
from pointwise.surgery.stock import to_torch
from pointwise.surgery.swap import Swap, describe

__all__ = [
    "AsRows",
    "CropDifference",
    "DenseClassifier",
    "Difference",
    "Equivalence",
    "Grid",
    "InPlaceOf",
    "Rule",
    "ShiftAndStitch",
    "SplitAttention",
    "Swap",
    "channels_first",
    "check_equivalent",
    "convolutionalize",
    "crop_difference",
    "densify",
    "describe",
    "fold",
    "fold_norms",
    "refusal",
    "replace",
    "replace_named",
    "respell",
    "restore",
    "to_conv",
    "to_linear",
    "to_pointwise",
    "to_torch",
]
