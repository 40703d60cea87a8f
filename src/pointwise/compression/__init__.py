"""Trained networks rewritten with 1x1 convolutions under a budget.

From the bottom to the top: the closed forms are tensors in, tensors out, in ``functional.factor``,
``functional.tucker`` and ``functional.refit``; ``forms`` writes one layer as a few plain ones.
``layers`` finds what can be compressed in a model, ``statistics`` what data tell of it,
``allocation`` what each layer becomes under the budget, and ``fitting`` gives the new layers their
weights. ``compress`` is all of that in one call; ``plans`` and ``reports`` keep and tell it.
"""

from pointwise.compression.allocation.allocation import Allocation, Limits, allocate
from pointwise.compression.allocation.candidates import (
    Candidate,
    LayerCandidates,
    build,
    list_candidates,
)
from pointwise.compression.budget import Budget
from pointwise.compression.compress import Compressed, compress
from pointwise.compression.fitting.recover import Recovery
from pointwise.compression.forms.form import Form, factor_layer
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.layers import FoundLayer, FoundLayers, find_layers
from pointwise.compression.plans.files import load, save
from pointwise.compression.plans.plan import Plan, PlannedLayer
from pointwise.compression.reports.report import CompressionReport, LayerRow
from pointwise.compression.statistics.fisher import EnergyLoss, LabelLoss
from pointwise.compression.statistics.moments import Moments, gather_moments
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
