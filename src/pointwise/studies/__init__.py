"""Fair comparisons of networks on data: the same rows, in the same run."""

from pointwise.studies.baselines import fit_baselines
from pointwise.studies.cells import CellCache
from pointwise.studies.compare import compare
from pointwise.studies.compare_data import CompareData, split_images
from pointwise.studies.compare_plan import CompareOptions
from pointwise.studies.comparison import Comparison
from pointwise.studies.images import ImageOptions, study_images
from pointwise.studies.masks import study_masks
from pointwise.studies.metrics import Score, classification_metrics, regression_metrics, score
from pointwise.studies.parts import Task, check_columns, choose_task, take_apart
from pointwise.studies.study import Study
from pointwise.studies.tables import Options, study_table

__all__ = [
    "CellCache",
    "CompareData",
    "CompareOptions",
    "Comparison",
    "ImageOptions",
    "Options",
    "Score",
    "Study",
    "Task",
    "check_columns",
    "choose_task",
    "classification_metrics",
    "compare",
    "fit_baselines",
    "regression_metrics",
    "score",
    "split_images",
    "study_images",
    "study_masks",
    "study_table",
    "take_apart",
]
