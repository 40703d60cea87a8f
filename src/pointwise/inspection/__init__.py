"""Reading models, never changing them: their layers, and what each of them costs."""

from pointwise.inspection.alternatives import Alternative
from pointwise.inspection.cost import Cost, LayerCost, Total, cost
from pointwise.inspection.layers import Layer, count_parameters, layers
from pointwise.inspection.machine import Machine, measure_machine
from pointwise.inspection.plots import plot_cost, plot_shares
from pointwise.inspection.timing import Speedup, speedup, take_turns
from pointwise.inspection.whatif import WhatIf, whatif

__all__ = [
    "Alternative",
    "Cost",
    "Layer",
    "LayerCost",
    "Machine",
    "Speedup",
    "Total",
    "WhatIf",
    "cost",
    "count_parameters",
    "layers",
    "measure_machine",
    "plot_cost",
    "plot_shares",
    "speedup",
    "take_turns",
    "whatif",
]
