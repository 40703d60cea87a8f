"""Prediction intervals from the errors on rows that a model has not seen."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.errors import DataError

Floats = NDArray[np.float64]

STEPS = 200
"""Coverages are told apart in steps of one over this; those between are rounded up."""


@dataclass(frozen=True)
class HeldOutErrors:
    """How large the errors of a model are on rows that it has not seen.

    Split conformal prediction: of ``n`` errors in rising order, a new row's is at most the one at
    place ``ceil(coverage (n + 1))`` with that probability at least, if the rows are exchangeable.

    Attributes:
        quantiles: ``(STEPS - 1, targets)``: what absolute errors stay below with a probability of
            1, 2, ... two-hundredths; infinite where there are too few rows to say.
        rows: How many rows there were.

    Reference:
        Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, Distribution-Free Predictive Inference for
        Regression, 2018, section 2.2.

    Example:
        >>> errors = HeldOutErrors.of(np.arange(9.0)[:, None], np.zeros((9, 1)))
        >>> errors.half_widths(0.5), errors.half_widths(0.9)
        (array([4.]), array([8.]))
        >>> errors.half_widths(0.95)
        Traceback (most recent call last):
        pointwise.errors.DataError: a coverage of 0.95 needs 19 rows that were held out, this ...
    """

    quantiles: Floats
    rows: int

    @classmethod
    def of(cls, actual: Floats, predicted: Floats) -> "HeldOutErrors":
        """Take the errors.

        Args:
            actual: What the targets are, ``(N, targets)``.
            predicted: What the model says, of the same shape.

        Returns:
            The errors.
        """
        rows = len(actual)
        found = np.sort(np.abs(actual - predicted), axis=0)
        endless = np.concatenate([found, np.full((1, found.shape[1]), math.inf)])
        places = -(-np.arange(1, STEPS) * (rows + 1) // STEPS) - 1
        return cls(endless[np.minimum(places, rows)], rows)

    def half_widths(self, coverage: float) -> Floats:
        """How far an interval reaches to both sides of a prediction.

        Args:
            coverage: Share of new rows that lie in theirs.

        Returns:
            For each target.

        Raises:
            DataError: If there were too few rows for it.
            ValueError: If it is no share between 0 and 1.
        """
        if not isinstance(coverage, int | float) or not 0 < coverage < 1:
            raise ValueError(f"coverage must be a number between 0 and 1, got {coverage!r}")
        step = max(1, math.ceil(coverage * STEPS - 1e-9))
        if step >= STEPS or not np.isfinite(self.quantiles[step - 1]).all():
            most = int(np.isfinite(self.quantiles).all(1).sum()) / STEPS
            needed = math.ceil(step / max(STEPS - step, 0.5))
            raise DataError(
                f"a coverage of {coverage:g} needs {needed:,} rows that were held out, this model "
                f"was calibrated with {self.rows:,}: ask for {most:g} at most, or calibrate it anew"
            )
        found: Floats = self.quantiles[step - 1]
        return found

    def to_dict(self) -> dict[str, Any]:
        """What a model folder holds; ``null`` for no end."""
        kept = [[float(v) if math.isfinite(v) else None for v in row] for row in self.quantiles]
        return {"rows": self.rows, "quantiles": kept}

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> "HeldOutErrors":
        """Read what ``to_dict`` gave.

        Args:
            entry: That.

        Returns:
            The errors.

        Raises:
            ValueError: If it is something else.
        """
        values = [[math.inf if v is None else float(v) for v in row] for row in entry["quantiles"]]
        quantiles = np.array(values, dtype=np.float64)
        if quantiles.ndim != 2 or len(quantiles) != STEPS - 1 or np.isnan(quantiles).any():
            raise ValueError("the quantiles of its errors are not as they were written")
        return cls(quantiles, int(entry["rows"]))
