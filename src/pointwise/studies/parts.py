"""A table taken apart: columns to predict from and to predict, rows to learn from and to score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pointwise.data.table import as_table
from pointwise.errors import DataError
from pointwise.estimators.splitting import split_rows

if TYPE_CHECKING:
    import pandas as pd

Task: TypeAlias = Literal["regression", "classification"]
Say: TypeAlias = Callable[[str], None]

FEW_CLASSES = 10
"""A target of whole numbers with at most this many values is taken for classes."""

LEAST_ROWS = 10
"""Fewer rows than this cannot be split into rows to learn from and rows to score on."""


@dataclass(frozen=True)
class Part:
    """Some rows of a table.

    Attributes:
        x: The columns to predict from.
        y: Targets ``(N,)`` or ``(N, targets)``: float64, or class labels.
        groups: Group of each row, or ``None``.
        times: Time of each row, or ``None``.
    """

    x: "pd.DataFrame"
    y: NDArray[Any]
    groups: NDArray[Any] | None = None
    times: NDArray[Any] | None = None

    def take(self, index: NDArray[Any]) -> "Part":
        """The rows of these numbers."""
        groups, times = (None if v is None else v[index] for v in (self.groups, self.times))
        return Part(self.x.iloc[index], self.y[index], groups, times)


@dataclass(frozen=True)
class Split:
    """The rows of a study; ``test`` is ``valid`` where none were held out for it.

    Attributes:
        learn: Rows that train.
        valid: Rows that choose the epoch.
        test: Rows to score on.
    """

    learn: Part
    valid: Part
    test: Part


def choose_task(y: "pd.Series[Any]") -> Task:
    """Tell regression from classification by the target's values.

    Args:
        y: The target column.

    Returns:
        Classification for text, truth values, and whole numbers with few values.

    Example:
        >>> import pandas as pd
        >>> choose_task(pd.Series([0.5, 1.5])), choose_task(pd.Series(["a", "b"]))
        ('regression', 'classification')
    """
    column = as_table(y.to_frame()).columns[0]
    if column.kind != "number":
        return "classification"
    values = column.values[~column.missing()]
    few = len(np.unique(values)) <= min(FEW_CLASSES, max(2, len(values) // 10))
    return "classification" if few and np.all(values == np.round(values)) else "regression"


def check_columns(frame: "pd.DataFrame", names: Sequence[str], what: str) -> None:
    """Refuse names of columns that a table does not have.

    Args:
        frame: The table.
        names: The names.
        what: What they are, for the message.

    Raises:
        DataError: Naming the first one that is not there, and those most like it.
    """
    known = [str(c) for c in frame.columns]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "its columns are "
            if not near:
                hint += ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
            raise DataError(f"the table has no {what} column {name!r}: {hint}")


def take_apart(
    frame: "pd.DataFrame",
    targets: Sequence[str],
    task: Task,
    *,
    groups: str | None = None,
    times: str | None = None,
    known: NDArray[Any] | None = None,
    say: Say = lambda _: None,
) -> Part:
    """Split a table's columns into those to predict from and those to predict.

    Rows without a target are left out, which ``say`` is told. The groups' column is not predicted
    from: it names what a row belongs to, which new rows do not share.

    Args:
        frame: The table.
        targets: Names of the target columns; one for classification.
        task: What the targets are.
        groups: Name of the column with groups.
        times: Name of the column with times.
        known: Class labels of a model that is to be scored: labels that are the same but for their
            type, or a dot at the end (as in the census data's test file), are taken for those.
        say: Told what was left out.

    Returns:
        All rows that have their targets.

    Raises:
        DataError: If a column is missing, or a target is not what the task needs.
    """
    check_columns(frame, targets, "target")
    check_columns(frame, [name for name in (groups, times) if name], "--groups or --time")
    if task == "classification" and len(targets) > 1:
        raise DataError(f"classification takes one target column, got {len(targets)}")
    given = frame[list(targets)].notna().all(axis=1).to_numpy(dtype=bool)
    if not given.any():
        raise DataError(f"target {targets[0]!r} has no values: name another column")
    if not given.all():
        say(f"{int((~given).sum()):,} rows have no value of the target and are left out")
    frame = frame[given]
    x = frame.drop(columns=[*targets, *([groups] if groups else [])])
    if x.shape[1] == 0:
        raise DataError("the table has no column but the target: nothing to predict from")
    of = {name: frame[name].to_numpy() for name in (groups, times) if name}
    y = _read_targets(frame, targets, task)
    if known is not None:
        y = _as_known(y, known, say)
    return Part(x, y, of.get(groups or ""), of.get(times or ""))


def _as_known(labels: NDArray[Any], known: NDArray[Any], say: Say) -> NDArray[Any]:
    """Labels spelt as a model knows them."""
    by_text = {str(label): label for label in known.tolist()}
    texts = [str(label) for label in labels.tolist()]
    if all(text.endswith(".") and text[:-1] in by_text for text in texts):
        say("the target's labels end in a dot, which the model's do not: read without it")
        texts = [text[:-1] for text in texts]
    if strange := next((text for text in texts if text not in by_text), None):
        raise DataError(
            f"the target holds {strange!r}, a class that the model does not know: "
            f"it knows {', '.join(list(by_text)[:10])}"
        )
    return np.array([by_text[text] for text in texts], dtype=known.dtype)


def _read_targets(frame: "pd.DataFrame", targets: Sequence[str], task: Task) -> NDArray[Any]:
    if task == "classification":
        labels = frame[targets[0]]
        kind = as_table(labels.to_frame()).columns[0].kind
        values = labels.astype(str) if kind in ("category", "date") else labels
        return values.to_numpy(dtype=object if kind in ("category", "date") else None)
    columns = as_table(frame[list(targets)]).columns
    for column in columns:
        if column.kind not in ("number", "boolean"):
            raise DataError(
                f"target {column.name!r} must hold numbers for regression, holds "
                f"{column.values[0]!r}: correct it, or ask for --task classification"
            )
        if column.values.min() == column.values.max():
            raise DataError(
                f"target {column.name!r} is constant ({column.values[0]:g}): there is nothing to "
                "learn; name another column"
            )
    y = np.stack([column.values for column in columns], 1)
    return y[:, 0] if len(targets) == 1 else y


def hold_out(
    whole: Part, given: Part | None, task: Task, *, valid: float, test: float, seed: int
) -> Split:
    """Hold rows out to score on and to choose the epoch with, by groups or times if there are any.

    Args:
        whole: All rows.
        given: Validation rows of the user's own, if any.
        task: Classes are split evenly.
        valid: Share of rows to choose the epoch with.
        test: Share of rows to score on; 0 scores on the validation rows.
        seed: Seed of the split.

    Returns:
        The three parts.

    Raises:
        DataError: If there are too few rows.
    """
    if len(whole.y) < LEAST_ROWS:
        raise DataError(
            f"the table has {len(whole.y)} rows with a target: at least {LEAST_ROWS} are needed"
        )
    rng = np.random.RandomState(seed)
    rest, held = _split(whole, test, task, rng) if test else (whole, None)
    if given is not None:
        return Split(rest, given, held or given)
    learn, chosen = _split(rest, valid, task, rng)
    return Split(learn, chosen, held or chosen)


def _split(
    part: Part, fraction: float, task: Task, rng: np.random.RandomState
) -> tuple[Part, Part]:
    classes = part.y if task == "classification" else None
    grouped = part.groups is not None or part.times is not None
    rest, held = split_rows(
        len(part.y),
        fraction,
        rng,
        classes=None if grouped else classes,
        groups=part.groups,
        times=part.times,
    )
    return part.take(rest), part.take(held)
