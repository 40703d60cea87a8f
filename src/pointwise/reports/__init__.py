"""The report of a fit: binned figures, their JSON, and one self-contained HTML file."""

from pointwise.reports.classification import classification_figures
from pointwise.reports.html import render_html
from pointwise.reports.importance import permutation_importance
from pointwise.reports.regression import regression_figures
from pointwise.reports.report import Report
from pointwise.reports.segmentation import segmentation_figures
from pointwise.reports.thumbnails import worst_mistakes

__all__ = [
    "Report",
    "classification_figures",
    "permutation_importance",
    "regression_figures",
    "render_html",
    "segmentation_figures",
    "worst_mistakes",
]
