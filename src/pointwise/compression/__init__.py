"""Trained networks rewritten with 1x1 convolutions under a budget.

From the bottom to the top: the closed forms are tensors in, tensors out, in ``functional.factor``,
``functional.tucker`` and ``functional.refit``; ``stages`` and ``forms`` write one layer as a few
plain ones; ``layers``, ``moments``, ``candidates`` and ``allocation`` are about a model: which
layers can be compressed, what data tell of them, what each may become, and which of that the budget
allows.
"""

from pointwise.compression.allocation import Allocation, Limits, allocate
from pointwise.compression.budget import Budget
from pointwise.compression.candidates import Candidate, LayerCandidates, build, list_candidates
from pointwise.compression.compress import Compressed, compress
from pointwise.compression.files import load, save
from pointwise.compression.fisher import EnergyLoss, LabelLoss
from pointwise.compression.forms.form import Form, factor_layer
from pointwise.compression.forms.table import FORMS
from pointwise.compression.layers import FoundLayer, FoundLayers, find_layers
from pointwise.compression.moments import Moments, gather_moments
from pointwise.compression.plan import Plan, PlannedLayer
from pointwise.compression.recover import Recovery
from pointwise.compression.report import CompressionReport, LayerRow
from pointwise.compression.stages import Stage
from pointwise.compression.trade_off import TradeOff, trade_off

__all__ = [
    "FORMS",
    "Allocation",
    "Budget",
    "Candidate",
    "Compressed",
    "CompressionReport",
    "EnergyLoss",
    "Form",
    "FoundLayer",
    "FoundLayers",
    "LabelLoss",
    "LayerCandidates",
    "LayerRow",
    "Limits",
    "Moments",
    "Plan",
    "PlannedLayer",
    "Recovery",
    "Stage",
    "TradeOff",
    "allocate",
    "build",
    "compress",
    "factor_layer",
    "find_layers",
    "gather_moments",
    "list_candidates",
    "load",
    "save",
    "trade_off",
]
