"""Classification on tables."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import narwhals as nw
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from pointwise.data.table import missing_in
from pointwise.errors import DataError
from pointwise.estimators.base import Floats, Precision, TableEstimator
from pointwise.nn import ChannelScale
from pointwise.training import CrossEntropy


class PointwiseClassifier(ClassifierMixin, TableEstimator):  # type: ignore[misc]
    """Predict a class from the columns of a table.

    The same network as ``PointwiseRegressor``, with one output channel per class. All parameters
    and attributes not named here are that estimator's.

    Args:
        members: Number of MLPs; the mean of their probabilities is the prediction.
        hidden: Channels of each member's hidden layers.
        dropout: Share of hidden channels dropped in training.
        learning_rate: Step size of AdamW.
        batch_size: Rows of a step. Default: a power of two near a fiftieth of the rows.
        max_epochs: Most times that every row is seen.
        patience: Epochs without a better validation score after which training stops.
        validation_fraction: Share of rows held out, of every class alike.
        time_limit: Seconds after which training stops. Default: none.
        class_weight: Weight of each class, ``"balanced"`` for weights that even out the classes,
            or ``None``.
        warm_start: Whether a further ``fit`` goes on from the weights of the last.
        device: Where to train and predict; ``"auto"`` is a GPU if there is one.
        precision: Type of the arithmetic; ``"auto"`` is bfloat16 products on a GPU, else float32.
        random_state: Seed; the same one gives the same predictions, bit for bit.
        verbose: 1 shows a progress bar on standard error.

    Attributes:
        classes_: The class labels, sorted.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = PointwiseClassifier(members=4, max_epochs=30, random_state=0).fit(X, y)
        >>> model.predict_proba(X[:2]).shape
        (2, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TableEstimator._parameter_constraints,
        "class_weight": [dict, str, None],
    }
    _loss_name: ClassVar[str] = "cross-entropy"

    def __init__(
        self,
        *,
        members: int = 16,
        hidden: tuple[int, ...] = (128, 128),
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        batch_size: int | None = None,
        max_epochs: int = 200,
        patience: int = 20,
        validation_fraction: float = 0.15,
        time_limit: float | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        warm_start: bool = False,
        device: str = "auto",
        precision: Precision = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            members=members,
            hidden=hidden,
            dropout=dropout,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            patience=patience,
            validation_fraction=validation_fraction,
            time_limit=time_limit,
            warm_start=warm_start,
            device=device,
            precision=precision,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def predict_proba(self, X: Any) -> Floats:
        """Predict the probability of every class.

        Args:
            X: Data frame or array with the columns of the training table.

        Returns:
            ``(N, K)``, the classes in the order of ``classes_``; each row sums to 1.

        Raises:
            ValueError: If the columns are not those of the training table.
        """
        proba: Floats = self._outputs(X).softmax(2).mean(1).numpy()
        return proba

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable class.

        Args:
            X: Data frame or array with the columns of the training table.

        Returns:
            Class labels ``(N,)``.

        Raises:
            ValueError: If the columns are not those of the training table.
        """
        best = self.predict_proba(X).argmax(1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def _read_target(self, y: Any, rows: int, *, reset: bool) -> NDArray[Any]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        labels = _read_labels(y)
        check_classification_targets(labels)
        if len(labels) != rows:
            raise DataError(f"y must have one entry per row: got {len(labels)} for {rows} rows")
        if reset:
            self.classes_ = np.unique(labels)
            if len(self.classes_) < 2:
                only = self.classes_.tolist()[0]
                raise DataError(f"y must have at least 2 classes, got 1 class: all are {only!r}")
        index = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
        strange = labels != self.classes_[index]
        if strange.any():
            raise DataError(
                f"y holds a class that training did not have: {labels[strange].tolist()[0]!r}; "
                f"known are {', '.join(map(repr, self.classes_[:10].tolist()))}"
            )
        found: NDArray[Any] = index
        return found

    def _class_weight(self, target: NDArray[Any]) -> Floats:
        given = self.class_weight
        if isinstance(given, Mapping):
            unknown = [label for label in given if label not in self.classes_.tolist()]
            if unknown:
                raise DataError(f"class_weight names a class that y does not have: {unknown[0]!r}")
            if any(not 0 <= factor < np.inf for factor in given.values()):
                raise ValueError(f"class_weight must hold finite weights from 0 on, got {given!r}")
            per_class = np.array([given.get(c, 1.0) for c in self.classes_.tolist()], dtype=float)
        elif given is None:
            per_class = np.ones(len(self.classes_))
        elif given == "balanced":
            present = np.unique(target)
            per_class = np.ones(len(self.classes_))
            per_class[present] = compute_class_weight("balanced", classes=present, y=target)
        else:
            raise ValueError(f"class_weight must be a mapping, 'balanced' or None, got {given!r}")
        row_weight: Floats = per_class[target]
        return row_weight

    def _scale(self, target: NDArray[Any], weight: Floats) -> ChannelScale:
        return ChannelScale([1.0] * len(self.classes_), [0.0] * len(self.classes_))

    def _scaled(self, target: NDArray[Any], like: Tensor) -> Tensor:
        return torch.from_numpy(target.astype(np.int64)).to(like.device)

    def _objective(self) -> CrossEntropy:
        return CrossEntropy(self.network_.mlp.members)


def _read_labels(y: Any) -> NDArray[Any]:
    """Labels ``(N,)`` of one kind, in the type that NumPy has for it."""
    y = nw.from_native(y, series_only=True, pass_through=True)
    labels: NDArray[Any] = column_or_1d(y.to_numpy() if isinstance(y, nw.Series) else y, warn=True)
    missing = ~np.isfinite(labels) if labels.dtype.kind == "f" else missing_in(labels)
    if missing.any():
        raise DataError(
            f"y must have a class in every row: {int(missing.sum())} rows hold NaN, infinity or "
            f"nothing, the first is row {int(missing.argmax())}; remove those rows"
        )
    if labels.dtype.kind != "O" or all(isinstance(label, str) for label in labels):
        return labels
    kinds = {type(label).__name__: label for label in labels}
    if len(kinds) > 1:
        shown = " and ".join(f"{label!r} ({kind})" for kind, label in kinds.items())
        raise DataError(f"y must hold labels of one kind, got {shown}: write all of them as text")
    return np.array(labels.tolist())
