"""The main job on a table: fit, score on rows held out, and compare with the usual models there."""

import datetime
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pointwise.data.sentinels import strange_value
from pointwise.data.summary import summarize, suspicious_columns
from pointwise.data.table import as_table
from pointwise.errors import DataError
from pointwise.estimators import PointwiseClassifier, PointwiseRegressor
from pointwise.inspection import count_parameters, layers
from pointwise.reports import (
    Report,
    classification_figures,
    permutation_importance,
    regression_figures,
)
from pointwise.studies.baselines import fit_baselines
from pointwise.studies.holdout import Split, hold_out
from pointwise.studies.metrics import Score, score
from pointwise.studies.parts import Part, Say, Task, check_columns, take_apart
from pointwise.studies.study import Study

if TYPE_CHECKING:
    import pandas as pd

Model: TypeAlias = PointwiseRegressor | PointwiseClassifier

IMPORTANCE_ROWS = 2000
"""Rows on which columns are shuffled to see what each is worth."""


@dataclass(frozen=True)
class Options:
    """How to study a table; the command line's options under the same names.

    Attributes:
        members: Number of networks in the ensemble.
        seed: Seed of everything random.
        time_limit: Seconds after which training stops.
        valid: Share of rows to choose the best epoch with.
        test: Share of rows to score on; 0 scores on the validation rows.
        groups: Column whose groups are never split.
        times: Column whose latest rows are held out.
        progress: Whether to show a progress bar.
        checkpoint: File from which a killed fit resumes.
    """

    members: int = 16
    seed: int = 0
    time_limit: float | None = None
    valid: float = 0.15
    test: float = 0.2
    groups: str | None = None
    times: str | None = None
    progress: bool = False
    checkpoint: Path | None = None


def study_table(
    frame: "pd.DataFrame",
    targets: Sequence[str],
    task: Task,
    options: Options,
    *,
    valid: "pd.DataFrame | None" = None,
    title: str = "table",
    say: Say = lambda _: None,
) -> Study[Model]:
    """Fit a model to a table, score it, and fit the usual models to the same rows.

    Args:
        frame: The table, targets included.
        targets: Names of the target columns; one for classification.
        task: What the targets are.
        options: How.
        valid: Rows to choose the best epoch with, of the user's own.
        title: Name of the data, for the report.
        say: Told in a sentence what a person should know, as it is found.

    Returns:
        The fitted model, figures and report.

    Raises:
        DataError: If a column is missing, the target is not what the task needs, or rows are few.

    Example:
        >>> from pointwise.data.bundled import load_bundled
        >>> options = Options(members=1, time_limit=0.1)
        >>> study = study_table(load_bundled("iris"), ["target"], "classification", options)
        >>> study.where, list(study.metrics)
        ('30 test rows', ['accuracy', 'log_loss', 'roc_auc'])
    """
    whole = take_apart(frame, targets, task, groups=options.groups, times=options.times, say=say)
    given = None if valid is None else _take_valid(valid, whole, targets, task, say)
    split = hold_out(whole, given, task, valid=options.valid, test=options.test, seed=options.seed)
    flagged = _flag_columns(whole, frame[list(targets)], say)
    model, seconds, notes = _fit(split, task, options, say)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # far rows are for those who predict to hear of
        mine = score(model, split.test.x, split.test.y)
        importance = _importance(model, split.test, options.seed)
        if isinstance(model, PointwiseRegressor) and split.tested_apart:
            model.calibrate(split.test.x, split.test.y)
    say("fitting the usual models to the same rows, to compare")
    baselines = _baselines(model, split, task, options.seed)
    kind = "test" if split.tested_apart else "validation"
    where = f"{len(split.test.y):,} {kind} rows"
    report = Report(
        title=title,
        task=task,
        target=list(targets),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        history=[{k: v for k, v in e.items() if k != "best"} for e in model.history_],
        best_epoch=model.best_epoch_,
        metrics=dict(mine.metrics),
        metrics_rows=where,
        rows=_count_rows(split),
        baselines=[{k: one[k] for k in ("name", "metrics", "seconds")} for one in baselines],
        figures=_figures(model, split.test, mine, targets),
        importance=importance,
        columns=summarize(as_table(split.learn.x), model.coding_),
        layers=[asdict(layer) for layer in layers(model.network_)],
        warnings=flagged + notes,
        members=options.members,
        parameters=count_parameters(model.network_),
    )
    return Study(model, task, tuple(targets), mine.metrics, where, baselines, seconds, report)


def _take_valid(
    valid: "pd.DataFrame", whole: Part, targets: Sequence[str], task: Task, say: Say
) -> Part:
    """Validation rows of the user's own, with the columns of the others."""
    known = np.unique(whole.y) if task == "classification" else None
    try:
        part = take_apart(valid, targets, task, learn=False, known=known, say=say)
        check_columns(part.x, list(whole.x.columns), "such")
    except DataError as error:
        raise DataError(f"validation rows: {error}") from error
    return Part(part.x[list(whole.x.columns)], part.y)


def _flag_columns(whole: Part, targets: "pd.DataFrame", say: Say) -> list[str]:
    known, wanted = as_table(whole.x), as_table(targets.loc[whole.x.index])
    flagged = [
        f"column {name!r} {reason}: leave it out with --drop if new rows will not have it"
        for name, reason in suspicious_columns(known, wanted.columns[0]).items()
    ]
    flagged += [
        f"column {column.name!r} holds {strange}: if that stands for no value, say so with "
        f"--missing={strange.value}"
        for column in (*wanted.columns, *known.columns)
        if (strange := strange_value(column))
    ]
    for sentence in flagged:
        say(sentence)
    return flagged


def _fit(split: Split, task: Task, options: Options, say: Say) -> tuple[Model, float, list[str]]:
    kind = PointwiseRegressor if task == "regression" else PointwiseClassifier
    model: Model = kind(
        members=options.members,
        time_limit=options.time_limit,
        random_state=options.seed,
        verbose=int(options.progress),
    )
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        valid = (split.valid.x, split.valid.y)
        model.fit(
            split.learn.x, split.learn.y, validation_data=valid, checkpoint=options.checkpoint
        )
    notes = [str(one.message) for one in caught]
    for note in notes:
        say(note)
    return model, time.perf_counter() - began, notes


def _baselines(model: Model, split: Split, task: Task, seed: int) -> list[dict[str, Any]]:
    """The usual models; they learn from the validation rows too, having no epoch to choose."""
    import pandas as pd

    x, y = split.learn.x, split.learn.y
    if split.tested_apart:
        x, y = pd.concat([x, split.valid.x]), np.concatenate([y, split.valid.y])
    test = (split.test.x, split.test.y)
    classify = task == "classification"
    return list(fit_baselines(model.coding_, (x, y), test, classify=classify, seed=seed))


def _importance(model: Model, test: Part, seed: int) -> list[dict[str, Any]]:
    """Shuffle one column at a time on some of the test rows and see what the loss does."""
    few = np.random.default_rng(seed).permutation(len(test.y))[:IMPORTANCE_ROWS]
    part = test.take(few)

    def loss(name: str | None, order: NDArray[np.int64] | None) -> float:
        x = part.x.copy()
        if name is not None and order is not None:
            x[name] = x[name].to_numpy()[order]
        metrics = score(model, x, part.y).metrics
        return metrics["rmse" if "rmse" in metrics else "log_loss"]

    used = [c.name for c in model.coding_.columns if not c.ignored]
    return permutation_importance(used, loss, len(few), repeats=3, seed=seed)


def _figures(
    model: Model, test: Part, mine: Score, targets: Sequence[str]
) -> dict[str, dict[str, Any]]:
    if isinstance(model, PointwiseClassifier):
        index = np.searchsorted(model.classes_, test.y)
        names = [str(c) for c in model.classes_]
        return {targets[0]: classification_figures(index, mine.predicted, names)}
    actual = test.y.reshape(len(test.y), -1)
    return {
        name: regression_figures(actual[:, i], mine.predicted[:, i])
        for i, name in enumerate(targets)
    }


def _count_rows(split: Split) -> dict[str, int]:
    test = len(split.test.y) if split.tested_apart else 0
    return {"train": len(split.learn.y), "valid": len(split.valid.y), "test": test}
