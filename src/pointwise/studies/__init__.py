"""Fair comparisons of networks on data: the same rows, in the same run."""

from pointwise.studies.baselines import fit_baselines
from pointwise.studies.metrics import Score, classification_metrics, regression_metrics, score
from pointwise.studies.parts import Task, check_columns, choose_task, take_apart
from pointwise.studies.tables import Options, TableStudy, study_table

__all__ = [
    "Options",
    "Score",
    "TableStudy",
    "Task",
    "check_columns",
    "choose_task",
    "classification_metrics",
    "fit_baselines",
    "regression_metrics",
    "score",
    "study_table",
    "take_apart",
]
