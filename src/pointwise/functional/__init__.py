"""Tensors in, tensors out: apply a pointwise map, and the algebra of such maps."""

from pointwise.functional.algebra import Affine, add, block_diagonal, compose, fold_affine, regroup
from pointwise.functional.apply import pointwise

__all__ = [
    "Affine",
    "add",
    "block_diagonal",
    "compose",
    "fold_affine",
    "pointwise",
    "regroup",
]
