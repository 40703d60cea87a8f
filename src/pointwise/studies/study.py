"""What came out of a study."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pointwise.reports import Report

ModelT = TypeVar("ModelT")


@dataclass(frozen=True)
class Study(Generic[ModelT]):
    """A fitted model and how it compares.

    Attributes:
        model: The fitted estimator.
        task: What it does.
        targets: Names of what it predicts.
        metrics: Its figures on the rows of ``where``.
        where: Which rows, pixels or images those are, in words.
        baselines: Figures of the usual models on the same ones.
        seconds: Seconds that the fit took.
        report: What ``pointwise report`` draws.
    """

    model: ModelT
    task: str
    targets: tuple[str, ...]
    metrics: dict[str, float]
    where: str
    baselines: list[dict[str, Any]]
    seconds: float
    report: Report
