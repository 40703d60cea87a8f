"""Regression on tables."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d
from torch import Tensor

from pointwise.errors import DataError
from pointwise.estimators.base import Floats, TableEstimator, _tensor
from pointwise.estimators.intervals import HeldOutErrors
from pointwise.nn import ChannelScale
from pointwise.training import SquaredError

UNCALIBRATED = (
    "This %(name)s has no held-out errors to make intervals of: call 'calibrate' with rows that it "
    "has not seen."
)


class PointwiseRegressor(RegressorMixin, TableEstimator):  # type: ignore[misc]
    """Predict numbers from the columns of a table.

    An ensemble of small MLPs, trained side by side as one network of grouped 1x1 convolutions.
    Columns may be numbers, truth values, text or dates, with values missing; they are encoded
    inside. A part of the rows is held out to find the epoch at which to stop.

    Args:
        members: Number of MLPs; their mean is the prediction.
        hidden: Channels of each member's hidden layers.
        dropout: Share of hidden channels dropped in training.
        learning_rate: Step size of AdamW.
        batch_size: Rows of a step. Default: a power of two near a fiftieth of the rows.
        max_epochs: Most times that every row is seen.
        patience: Epochs without a better validation score after which training stops.
        validation_fraction: Share of rows held out, unless ``fit`` is given validation data.
        time_limit: Seconds after which training stops. Default: none.
        warm_start: Whether a further ``fit`` goes on from the weights of the last.
        device: Where to train and predict; ``"auto"`` is a GPU if there is one.
        precision: Type of the arithmetic; ``"auto"`` is bfloat16 products on a GPU with units
            for them, else float32.
        random_state: Seed; the same one gives the same predictions, bit for bit.
        verbose: 1 shows a progress bar on standard error.

    Attributes:
        network_: The trained ``nn.TableNetwork``, which also runs on images and volumes.
        coding_: How the columns become channels.
        history_: One record per epoch: losses (of the scaled target), learning rate, seconds.
        best_epoch_: The epoch whose weights are kept.
        rows_: Number of training and validation rows.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, if the training table had any.
        target_names_: Names of the targets, or ``None`` where ``y`` had none.
        held_out_errors_: Errors on the rows of ``calibrate``; not there before.

    Reference:
        Gorishniy, Kotelnikov and Babenko, TabM, 2025 (many MLPs in one). Gorishniy, Rubachev and
        Babenko, On Embeddings for Numerical Features, 2022.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = PointwiseRegressor(members=4, max_epochs=30, random_state=0).fit(X, y)
        >>> model.predict(X[:2]).shape
        (2,)
    """

    _loss_name: ClassVar[str] = "scaled squared error"

    def predict(self, X: Any) -> Floats:
        """Predict the targets of new rows.

        Args:
            X: Data frame or array with the columns of the training table.

        Returns:
            ``(N,)``, or ``(N, targets)`` if the training targets had two axes.

        Raises:
            ValueError: If the columns are not those of the training table.
        """
        mean: Floats = self._outputs(X).mean(1).numpy()
        return mean[:, 0] if self.single_target_ else mean

    def calibrate(self, X: Any, y: Any) -> Self:
        """Find out how large errors are, for ``predict_interval``.

        Args:
            X: Rows that the model has not seen, neither to train nor to choose the epoch: such as
                those that it will predict. A hundred do.
            y: Their targets.

        Returns:
            The model itself. A further ``fit`` forgets it.

        Raises:
            DataError: If the targets are not numbers, or not one per row.
            ValueError: If the columns are not those of the training table.
        """
        predicted = self._outputs(X).mean(1).double().numpy()
        actual = self._read_target(y, len(predicted), reset=False)
        self.held_out_errors_ = HeldOutErrors.of(actual, predicted)
        return self

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Floats:
        """Predict intervals that the targets of new rows lie in.

        They are as wide for all rows: what is right in the mean over rows like those of
        ``calibrate``, and not for each kind of row alone.

        Args:
            X: Data frame or array with the columns of the training table.
            coverage: Share of the rows that are to lie in theirs.

        Returns:
            Lower and upper ends ``(N, 2)``, or ``(N, targets, 2)`` if the training targets had two
            axes.

        Raises:
            DataError: If the model was calibrated with too few rows for this coverage.
            NotFittedError: If the model is not calibrated.
            ValueError: If the columns are not those of the training table, or the coverage is no
                share between 0 and 1.

        Reference:
            Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, Distribution-Free Predictive Inference
            for Regression, 2018 (split conformal).

        Example:
            >>> from sklearn.datasets import load_diabetes
            >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
            >>> model = PointwiseRegressor(members=2, max_epochs=9, random_state=0)
            >>> model = model.fit(X[:300], y[:300]).calibrate(X[300:], y[300:])
            >>> model.predict_interval(X[:2], coverage=0.8).shape
            (2, 2)
        """
        check_is_fitted(self, "held_out_errors_", msg=UNCALIBRATED)
        half = self.held_out_errors_.half_widths(coverage)
        middle = self._outputs(X).mean(1).double().numpy()
        ends: Floats = np.stack([middle - half, middle + half], -1)
        return ends[:, 0] if self.single_target_ else ends

    def _read_target(self, y: Any, rows: int, *, reset: bool) -> NDArray[Any]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        numbers = _as_floats(y)
        if numbers.ndim == 2 and numbers.shape[1] == 1:
            numbers = column_or_1d(numbers, warn=True)
        single = numbers.ndim == 1
        numbers = numbers.reshape(len(numbers), -1)
        if len(numbers) != rows:
            raise DataError(f"y must have one entry per row: got {len(numbers)} for {rows} rows")
        if reset:
            self.single_target_ = single
            self.n_targets_ = numbers.shape[1]
        elif numbers.shape[1] != self.n_targets_:
            raise DataError(f"y must have {self.n_targets_} targets, got {numbers.shape[1]}")
        return numbers

    def _class_weight(self, target: NDArray[Any]) -> float:
        return 1.0

    def _scale(self, target: NDArray[Any], weight: Floats) -> ChannelScale:
        mean = np.average(target, axis=0, weights=weight)
        spread = np.sqrt(np.average((target - mean) ** 2, axis=0, weights=weight))
        return ChannelScale(np.where(spread > 0, spread, 1.0).tolist(), mean.tolist())

    def _scaled(self, target: NDArray[Any], like: Tensor) -> Tensor:
        scale = self.network_.scale
        return _tensor(
            (target - scale.shift.double().cpu().numpy()) / scale.scale.double().cpu().numpy(), like
        )

    def _objective(self) -> SquaredError:
        return SquaredError(self.network_.mlp.members)


def _as_floats(y: Any) -> Floats:
    """Targets as finite float64, within what float32 holds."""
    if hasattr(y, "dtype") and np.asarray(y).dtype.kind in "mM":
        raise DataError("y must hold numbers for regression, got dates: give days since some date")
    try:
        checked: Floats = check_array(
            y, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name="y"
        )
    except (TypeError, ValueError) as error:
        if "could not convert" in str(error) or "argument must be" in str(error):
            raise DataError(
                f"y must hold numbers for regression ({error}): for classes use PointwiseClassifier"
            ) from error
        raise
    most = np.finfo(np.float32).max / 2
    bad = ~(np.abs(checked.reshape(len(checked), -1)) <= most).all(1)
    if bad.any():
        raise DataError(
            f"y must hold finite numbers: {int(bad.sum())} rows hold NaN, infinity or a number "
            f"beyond {most:.2g}, the first is row {int(bad.argmax())}; remove those rows"
        )
    return checked
