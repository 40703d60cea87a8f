"""``pointwise fit`` on a table."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pointwise.cli.fit_output import find_checkpoint, keep_study
from pointwise.cli.options import split_names
from pointwise.cli.words import say
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from pointwise.studies import Options, Task

MOST_HELD_OUT = 0.9
"""Share of the rows that are scored on, or choose the epoch, at most."""


@dataclass(frozen=True)
class AskedTable:
    """What a command line says of a table.

    Attributes:
        data: The file, or a bundled name.
        reading: How to read it, as ``read_table`` takes it.
        target: Columns to predict, with commas between them.
        task: What the targets are.
        drop: Columns to leave out, with commas between them.
        valid: A share of the rows to choose the best epoch with, or a file of its own.
        test: A share of the rows to score on.
    """

    data: str
    reading: dict[str, Any]
    target: str | None = None
    task: str | None = None
    drop: str | None = None
    valid: str | None = None
    test: str | None = None


def fit_table(
    asked: AskedTable, options: "Options", out: Path, *, resume: bool, as_json: bool
) -> None:
    """Fit a model to a table, score it beside the usual models, and keep it in a folder.

    Args:
        asked: The table.
        options: How; shares and the checkpoint are filled in here.
        out: Model folder to write.
        resume: Whether to go on where a killed fit of the same command was.
        as_json: Whether to print JSON.

    Raises:
        DataError: If the table or an option is not as it must be.
    """
    from pointwise.data.files import read_table
    from pointwise.modelfiles import check_target
    from pointwise.studies import check_columns, study_table

    test = read_test_share(asked.test)
    check_target(out)
    table = read_table(asked.data, **asked.reading)
    for note in table.notes:
        say(note)
    targets = split_names(asked.target or table.default_target)
    if targets is None:
        known = ", ".join(map(str, table.frame.columns))
        raise DataError(f"name the column to predict with --target: {asked.data} has {known}")
    check_columns(table.frame, targets, "target")
    texts = [name for name in table.frame if table.frame[name].dtype.kind in "OTU"]
    like = {"texts": texts, "day_first": table.day_first}
    share, valid = _read_valid(asked.valid, asked.reading | like)
    dropped = split_names(asked.drop) or []
    check_columns(table.frame, dropped, "--drop")
    if both := [name for name in targets if name in dropped]:
        raise DataError(f"column {both[0]!r} is both --target and --drop: leave out one of them")
    if asked.task is None:
        task = _told_task(table.frame, targets)
    else:
        task = as_task(asked.task)
    frame = table.frame.drop(columns=dropped)
    _say_columns(frame, targets, task)
    checkpoint = find_checkpoint(out, resume)
    tested = options.test if valid is None else 0.0
    study = study_table(
        frame,
        targets,
        task,
        replace(options, valid=share, test=tested if test is None else test, checkpoint=checkpoint),
        valid=None if valid is None else valid.drop(columns=dropped, errors="ignore"),
        title=Path(asked.data).name,
        say=say,
    )
    settled = {"missing": asked.reading.get("missing"), "day_first": table.day_first}
    keep_study(study, out, checkpoint, reading=settled, as_json=as_json)


def read_test_share(test: str | None) -> float | None:
    """Read ``--test`` of a table or a scene.

    Args:
        test: As given.

    Returns:
        The share; ``None`` if nothing was given.

    Raises:
        BadParameter: If it is no share.

    Example:
        >>> read_test_share("0.25")
        0.25
    """
    try:
        share = None if test is None else float(test)
    except ValueError:
        share = -1.0
    if share is not None and not 0 <= share <= MOST_HELD_OUT:
        raise typer.BadParameter(
            f"must be a share of the rows from 0 to {MOST_HELD_OUT}, got {test!r}",
            param_hint="'--test'",
        )
    return share


def _read_valid(valid: str | None, reading: dict[str, Any]) -> "tuple[float, pd.DataFrame | None]":
    """A share of the rows, or a file of its own."""
    from pointwise.data.files import read_table

    if valid is None:
        return 0.15, None
    try:
        fraction = float(valid)
    except ValueError:
        return 0.15, read_table(valid, **reading).frame
    if not 0 < fraction <= MOST_HELD_OUT:
        raise DataError(
            f"--valid must be a file, or a share of the rows above 0 and up to {MOST_HELD_OUT}, "
            f"got {valid}"
        )
    return fraction, None


def as_task(given: str) -> "Task":
    """Read ``--task``.

    Args:
        given: As given.

    Returns:
        The task.

    Raises:
        BadParameter: If it is none.

    Example:
        >>> as_task("regression")
        'regression'
    """
    for task in ("regression", "classification"):
        if given == task:
            return task
    raise typer.BadParameter(f"must be regression or classification, got {given!r}")


def _told_task(frame: "pd.DataFrame", targets: list[str]) -> "Task":
    """What the targets look like."""
    from pointwise.studies import choose_task

    return "regression" if len(targets) > 1 else choose_task(frame[targets[0]])


def _say_columns(frame: "pd.DataFrame", targets: list[str], task: str) -> None:
    """Say what was understood of every column."""
    from pointwise.data.table import as_table

    say(f"{len(frame):,} rows; {task} of {', '.join(targets)} from")
    for column in as_table(frame.drop(columns=targets)).columns[:50]:
        missing = int(column.missing().sum())
        gaps = f", {missing:,} missing" if missing else ""
        levels = (
            f" of {len(set(column.values) - {None}):,} levels" if column.kind == "category" else ""
        )
        say(f"  {column.name}: {column.kind}{levels}{gaps}")
    if frame.shape[1] - len(targets) > 50:
        say(f"  and {frame.shape[1] - len(targets) - 50} more columns")
