"""A table taken apart: the columns to predict from and those to predict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pointwise.data.coding import check_finite, first_misfit
from pointwise.data.names import shorten
from pointwise.data.table import Column, as_level, as_table, as_text
from pointwise.errors import DataError

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

    Example:
        >>> import pandas as pd
        >>> check_columns(pd.DataFrame({"price": [1]}), ["prise"], "target")
        Traceback (most recent call last):
            ...
        pointwise.errors.DataError: the table has no target column 'prise': did you mean 'price'?
    """
    known = [str(c) for c in frame.columns]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near))}?"
            raise DataError(
                f"the table has no {what} column {name!r}: "
                + (hint if near else f"its columns are {shorten(known, 20)}")
            )


def take_apart(
    frame: "pd.DataFrame",
    targets: Sequence[str],
    task: Task,
    *,
    groups: str | None = None,
    times: str | None = None,
    learn: bool = True,
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
        learn: Whether the rows are to be learnt from: then they must be several, columns finite,
            and targets vary.
        known: Class labels of a model that is to be scored: labels that are the same but for their
            type, or a dot at the end (as in the census data's test file), are taken for those.
        say: Told what was left out.

    Returns:
        All rows that have their targets.

    Raises:
        DataError: If a column is missing, or a target is not what the task needs.

    Example:
        >>> from pointwise.data.bundled import load_bundled
        >>> part = take_apart(load_bundled("iris"), ["target"], "classification")
        >>> part.x.shape, part.y[0]
        ((150, 4), 'setosa')
    """
    check_columns(frame, targets, "target")
    helpers = [name for name in (groups, times) if name]
    check_columns(frame, [groups] if groups else [], "--groups")
    check_columns(frame, [times] if times else [], "--time")
    for name in (*targets, *helpers):
        if (*targets, *helpers).count(name) > 1:
            raise DataError(f"name column {name!r} once among targets, --groups and --time")
    if task == "classification" and len(targets) > 1:
        raise DataError(
            f"classification takes one target column, got {len(targets)}: fit one model for each"
        )
    for column in as_table(frame.drop(columns=list(targets))).columns if learn else ():
        check_finite(column)
    given = frame[list(targets)].notna().all(axis=1).to_numpy(dtype=bool)
    if not given.any():
        raise DataError(f"target {targets[0]!r} has no values: name another column")
    if not given.all():
        say(f"{int((~given).sum()):,} rows have no value of the target and are left out")
    frame = frame[given]
    if learn and len(frame) < LEAST_ROWS:
        raise DataError(
            f"the table has {len(frame)} rows with a target: at least {LEAST_ROWS} are needed"
        )
    x = frame.drop(columns=[*targets, *([groups] if groups else [])])
    if x.shape[1] == 0:
        raise DataError("the table has no column but the target: nothing to predict from")
    of = {name: _known(frame[name]) for name in helpers}
    if times and as_table(frame[[times]]).columns[0].kind == "category":
        say(f"column {times!r} holds text, not times: the last rows in alphabetical order are held")
    columns = as_table(frame[list(targets)]).columns
    y = _labels(columns[0]) if task == "classification" else _numbers(columns)
    if learn:
        _check_varied(columns, task)
    if known is not None:
        y = _as_known(y, known, say)
    return Part(x, y, of.get(groups or ""), of.get(times or ""))


def _known(column: "pd.Series[Any]") -> NDArray[Any]:
    """The values of a column of groups or times, which must have no gaps."""
    if column.isna().any():
        raise DataError(
            f"column {column.name!r} of groups or times must be known for every row: "
            f"{int(column.isna().sum()):,} rows have none; fill them in or remove those rows"
        )
    return column.to_numpy()


def _as_known(labels: NDArray[Any], known: NDArray[Any], say: Say) -> NDArray[Any]:
    """Labels spelt as a model knows them."""
    by_text = {str(label): label for label in known.tolist()}
    texts = [str(label) for label in labels.tolist()]
    if all(text.endswith(".") and text[:-1] in by_text for text in texts):
        say("the target's labels end in a dot, which the model's do not: read without it")
        texts = [text[:-1] for text in texts]
    texts = [as_level(text, by_text) for text in texts]
    if strange := next((text for text in texts if text not in by_text), None):
        raise DataError(
            f"the target holds {strange!r}, a class that the model does not know: "
            f"it knows {', '.join(list(by_text)[:10])}"
        )
    return np.array([by_text[text] for text in texts], dtype=known.dtype)


def _labels(column: Column) -> NDArray[Any]:
    """Class labels: text, truth values or whole numbers; fractions as text."""
    check_finite(column)
    if column.kind == "date":
        raise DataError(
            f"target {column.name!r} must hold classes or numbers, holds dates: "
            "give the days since some date"
        )
    if column.kind == "boolean":
        return column.values.astype(bool)
    if column.kind == "number" and np.all(column.values == np.round(column.values)):
        return column.values.astype(np.int64)
    return as_text(column.values)


def _numbers(columns: Sequence[Column]) -> NDArray[np.float64]:
    """Numbers to predict, ``(N,)`` or ``(N, targets)``."""
    for column in columns:
        check_finite(column)
        if column.kind not in ("number", "boolean"):
            strange = column.values[first_misfit(column, "number")]
            raise DataError(
                f"target {column.name!r} must hold numbers for regression, holds {str(strange)!r}: "
                "correct it, or ask for --task classification"
            )
    y = np.stack([column.values for column in columns], 1)
    return y[:, 0] if len(columns) == 1 else y


def _check_varied(columns: Sequence[Column], task: Task) -> None:
    """Refuse targets that are all the same or, as classes, all different."""
    for column in columns:
        values, rows = np.unique(column.values), len(column.values)
        if len(values) == 1:
            raise DataError(
                f"target {column.name!r} is constant ({values.tolist()[0]!r}): there is nothing to "
                "learn; name another column"
            )
        if task == "classification" and 2 * len(values) > rows:
            raise DataError(
                f"target {column.name!r} has {len(values):,} classes in {rows:,} rows, which need "
                "several rows each: name another column, or ask for --task regression of numbers"
            )
