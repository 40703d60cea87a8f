"""Classification on tables."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from pointwise.errors import DataError
from pointwise.estimators.base import Floats, TableEstimator
from pointwise.estimators.devices import Precision
from pointwise.estimators.labels import class_numbers, find_classes, read_labels
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
        precision: Type of the arithmetic; ``"auto"`` is bfloat16 products on a GPU with units
            for them, else float32.
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
        labels = read_labels(y, rows)
        if reset:
            self.classes_ = find_classes(labels)
        return class_numbers(labels, self.classes_)

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
