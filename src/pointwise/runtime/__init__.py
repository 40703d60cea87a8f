"""Fused execution: chains of pointwise maps, run tile by tile through all layers."""

from pointwise.runtime.chain import Chain
from pointwise.runtime.compile import Compiled
from pointwise.runtime.compile import compile as compile  # noqa: A004  (the verb of the package)
from pointwise.runtime.compiled import CompiledChain
from pointwise.runtime.lowering import read_chain

__all__ = ["Chain", "Compiled", "CompiledChain", "compile", "read_chain"]
