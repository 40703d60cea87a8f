"""Which rows of a table learn, which choose the epoch, and which are scored on."""

from dataclasses import dataclass

import numpy as np

from pointwise.errors import DataError
from pointwise.estimators.splitting import split_rows
from pointwise.studies.parts import Part, Task


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

    @property
    def tested_apart(self) -> bool:
        """Whether rows were held out to score on alone."""
        return self.test is not self.valid


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
        DataError: If a share holds no row out, groups are too few, or a class is in no row that
            trains.
    """
    rng = np.random.RandomState(seed)
    rest, held = _split(whole, "--test", test, task, rng) if test else (whole, None)
    learn, chosen = (rest, given) if given else _split(rest, "--valid", valid, task, rng)
    if task == "classification":
        _check_learnt(learn, chosen, held or chosen)
    return Split(learn, chosen, held or chosen)


def _check_learnt(learn: Part, *others: Part) -> None:
    """Refuse classes that no training row has."""
    for part in others:
        strange = set(part.y.tolist()) - set(learn.y.tolist())
        if strange:
            raise DataError(
                f"class {min(strange, key=str)!r} is only in rows held out, so it cannot be learnt:"
                " remove it, or hold out other rows (--test, --valid, --groups, --time)"
            )


def _split(
    part: Part, option: str, fraction: float, task: Task, rng: np.random.RandomState
) -> tuple[Part, Part]:
    if part.groups is not None and len(np.unique(part.groups.astype(str))) < 2:
        raise DataError("the column of groups names too few groups to hold one out: leave it out")
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
    if len(held) == len(part.y):
        raise DataError(
            f"{option} {fraction:g} of {len(part.y)} rows (of every class alike) holds none out: "
            "give a larger share, or more rows"
        )
    return part.take(rest), part.take(held)
