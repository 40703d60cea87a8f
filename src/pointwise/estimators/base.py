"""What the regressor and the classifier share: everything but the meaning of the target."""

import copy
import warnings
from abc import abstractmethod
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from pointwise.data.coding import check_finite, code_table
from pointwise.data.table import Table, as_table, is_frame
from pointwise.errors import DataError, DataWarning
from pointwise.estimators.building import build_network
from pointwise.estimators.devices import Precision, device_of, product_type
from pointwise.estimators.following import follow
from pointwise.estimators.fused import fused_outputs
from pointwise.estimators.pixel_models import PixelMaps
from pointwise.estimators.splitting import Index, split_rows
from pointwise.estimators.target_names import name_targets
from pointwise.inspection import count_parameters
from pointwise.nn import ChannelScale, TableNetwork
from pointwise.training import Checkpoint, Objective, Rows, Settings, train

Floats: TypeAlias = NDArray[np.float64]

EXACT_ROWS = 16384
"""Up to this many rows are predicted in float64: it costs nothing that a person would notice, and
a row's prediction then does not depend on the rows beside it (float32 products round by shape)."""

CHUNK_ROWS = 8192
"""Rows that prediction puts through the network at a time."""


class TableEstimator(PixelMaps, BaseEstimator):  # type: ignore[misc]
    """Base of the estimators for tables; see ``PointwiseRegressor`` for the parameters."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "members": [Interval(Integral, 1, None, closed="left")],
        "hidden": [tuple, list],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "warm_start": ["boolean"],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "float64", "bfloat16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    _loss_name: ClassVar[str]

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
        warm_start: bool = False,
        device: str = "auto",
        precision: Precision = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.members = members
        self.hidden = hidden
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
        groups: Any = None,
        times: Any = None,
        checkpoint: str | Path | Checkpoint | None = None,
    ) -> Self:
        """Fit to the rows of a table.

        Args:
            X: Data frame, or array ``(N, columns)``.
            y: Targets ``(N,)`` or ``(N, targets)``; or class labels ``(N,)``.
            sample_weight: Weight of each row. Default: equal.
            validation_data: ``(X, y)`` or ``(X, y, sample_weight)`` to find the best epoch with;
                all of ``X`` then trains.
            groups: Group of each row; no group is split between training and validation.
            times: Time of each row; the latest rows become the validation part.
            checkpoint: File to keep the state in, so that a killed fit resumes from it.

        Returns:
            The estimator.

        Raises:
            ValueError: If the data, the target or a parameter is not as it must be.
        """
        self._validate_params()
        if not all(isinstance(c, int | np.integer) and c >= 1 for c in self.hidden):
            raise ValueError(f"hidden must hold positive whole numbers, got {self.hidden!r}")
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31 - 1))
        warm = self.warm_start and hasattr(self, "network_")
        table = self._read(X, reset=not warm)
        for column in table.columns:
            check_finite(column)
        target = self._read_target(y, table.rows, reset=not warm)
        self.__dict__.pop("held_out_errors_", None)  # they are of other weights
        if not warm:
            self.target_names_ = name_targets(y, 1 if target.ndim == 1 else target.shape[1])
        weight = self._row_weight(sample_weight, table, target)
        if validation_data is None:
            groups, times = (None if v is None else np.asarray(v) for v in (groups, times))
            learn, held = split_rows(
                table.rows,
                self.validation_fraction,
                rng,
                classes=target if target.ndim == 1 else None,
                groups=groups,
                times=times,
            )
            held_table, held_target, held_weight = table, target, weight
        else:
            held_table, held_target, held_weight = self._read_validation(validation_data)
            learn, held = np.arange(table.rows), np.arange(held_table.rows)
        if not warm:
            self._build(_take(table, learn), target[learn], weight[learn], seed)
        rows = self._rows(table, target, weight, learn)
        valid = self._rows(held_table, held_target, held_weight, held)
        self._train(rows, valid, self._settings(len(learn), seed), checkpoint)
        self.rows_ = {"train": len(learn), "valid": len(held)}
        return self

    def _build(self, table: Table, target: NDArray[Any], weight: Floats, seed: int) -> None:
        """Code the columns and draw a network for them."""
        self.coding_ = code_table(table)
        for column in self.coding_.columns:
            if column.ignored:
                warnings.warn(
                    f"column {column.name!r} {column.ignored}: it is left out", DataWarning, 3
                )
        x = self.coding_.encode(table, np.float64)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network_ = build_network(
                self.coding_,
                x,
                weight,
                self._scale(target, weight),
                hidden=tuple(self.hidden),
                members=self.members,
                dropout=self.dropout,
            )
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        self.network_.to(device_of(self.device), dtype)
        self.__dict__.pop("compressed_", None)

    def _train(
        self,
        rows: Rows,
        valid: Rows,
        settings: Settings,
        checkpoint: str | Path | Checkpoint | None,
    ) -> None:
        """Train the network; Ctrl-C keeps the best epoch so far."""
        if isinstance(checkpoint, str | Path):
            checkpoint = Checkpoint(checkpoint)
        objective = self._objective()
        epochs = train(
            self.network_,
            objective,
            rows,
            valid,
            settings,
            forward="scaled",
            checkpoint=checkpoint,
        )
        macs = settings.batch_size * count_parameters(self.network_)
        unit = self._loss_name if self.verbose else None
        self.history_, self.best_epoch_ = follow(
            epochs, settings, macs=macs, layers=len(self.hidden) + 1, unit=unit
        )

    def _read(self, x: Any, *, reset: bool) -> Table:
        """Read ``x`` as a table by scikit-learn's rules for names and numbers of columns."""
        if is_frame(x):
            table = as_table(x)
            validate_data(self, x, reset=reset, skip_check_array=True)
            if table.rows == 0 or not table.columns:
                kind = "sample(s)" if table.rows == 0 else "feature(s)"
                raise DataError(
                    f"found 0 {kind} in a table of shape {x.shape}: at least 1 is needed"
                )
        else:
            x = validate_data(
                self,
                _unfolded(x),
                reset=reset,
                dtype=None,
                ensure_all_finite=False,
                ensure_min_samples=2 if reset else 1,
                estimator=self,
            )
            table = as_table(x)
        if reset and table.rows < 2:
            raise DataError("found 1 sample (n_samples=1): at least 2 are needed to fit")
        return table

    def _row_weight(self, sample_weight: Any, table: Table, target: NDArray[Any]) -> Floats:
        weight: Floats = _check_sample_weight(
            sample_weight, np.empty((table.rows, 1)), dtype=np.float64, ensure_non_negative=True
        )
        weight = weight * self._class_weight(target)
        if not weight.sum() > 0:
            raise DataError("sample_weight and class_weight must leave a row of positive weight")
        return weight

    def _read_validation(self, data: tuple[Any, ...]) -> tuple[Table, NDArray[Any], Floats]:
        if not isinstance(data, tuple) or len(data) not in (2, 3):
            raise DataError("validation_data must be (X, y) or (X, y, sample_weight)")
        x, y, *weight = data
        table = self._read(x, reset=False)
        target = self._read_target(y, table.rows, reset=False)
        return table, target, self._row_weight(weight[0] if weight else None, table, target)

    def _rows(self, table: Table, target: NDArray[Any], weight: Floats, index: Index) -> Rows:
        """Rows as the network's device and type hold them."""
        like = self.network_.weight
        dtype = np.float64 if like.dtype == torch.float64 else np.float32
        x = self.coding_.encode(_take(table, index), dtype)
        equal = np.all(weight[index] == weight[index[0]])
        w = None if equal else _tensor(weight[index] / weight[index].mean(), like)
        return Rows(torch.from_numpy(x).to(like.device), self._scaled(target[index], like), w)

    def _settings(self, rows: int, seed: int) -> Settings:
        """Settings for this many rows."""
        batch = int(2 ** np.clip(np.round(np.log2(rows / 50)), 5, 10))
        return Settings(
            batch_size=self.batch_size or batch,
            learning_rate=self.learning_rate,
            max_epochs=self.max_epochs,
            patience=self.patience,
            time_limit_s=self.time_limit,
            seed=seed,
            autocast=product_type(self.precision, device_of(self.device)),
        )

    def _outputs(self, x: Any) -> Tensor:
        """The members' outputs for new rows, ``(N, M, C_out)`` in float64, on the CPU."""
        check_is_fitted(self, "network_")
        table = self._read(x, reset=False)
        network: TableNetwork = self.network_
        exact = table.rows <= EXACT_ROWS and network.weight.device.type != "mps"
        if exact:
            network = copy.deepcopy(network).double()
        like = network.weight
        coded = self.coding_.encode(
            table, np.float64 if like.dtype == torch.float64 else np.float32
        )
        self._warn_of_far_rows(table)
        self._warn_of_unseen_levels(table, coded)
        scaled = _scaled_outputs(network, torch.from_numpy(coded)).double()
        scaled = scaled.unflatten(1, (network.mlp.members, -1))
        scale = network.scale  # applied in float64: float32 has no target like 1e9 + 1
        members: Tensor = scaled * scale.scale.double().cpu() + scale.shift.double().cpu()
        return members

    def _warn_of_far_rows(self, table: Table) -> None:
        for name, count in self.coding_.far_outside(table).items():
            column = next(c for c in self.coding_.columns if c.name == name)
            warnings.warn(
                f"{count} of {table.rows} rows lie far outside the training range of column "
                f"{name!r} ({column.span}): their predictions are guesses",
                DataWarning,
                4,
            )

    def _warn_of_unseen_levels(self, table: Table, coded: NDArray[Any]) -> None:
        columns = {column.name: column for column in table.columns}
        for name, unseen in self.coding_.many_unseen(coded).items():
            example = str(columns[name].values[int(unseen.argmax())])
            warnings.warn(
                f"{int(unseen.sum())} of {table.rows} rows hold a value of column {name!r} that "
                f"training did not have, such as {example!r}: it counts as unknown there",
                DataWarning,
                4,
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    @abstractmethod
    def _read_target(self, y: Any, rows: int, *, reset: bool) -> NDArray[Any]:
        """Targets as numbers ``(N, C_out)``, or class numbers ``(N,)``."""

    @abstractmethod
    def _class_weight(self, target: NDArray[Any]) -> Floats | float:
        """Factor of each row's weight."""

    @abstractmethod
    def _scale(self, target: NDArray[Any], weight: Floats) -> ChannelScale:
        """Scale of the network's outputs."""

    @abstractmethod
    def _scaled(self, target: NDArray[Any], like: Tensor) -> Tensor:
        """Targets as the loss takes them."""

    @abstractmethod
    def _objective(self) -> Objective:
        """What to minimise."""


@torch.no_grad()
def _scaled_outputs(network: TableNetwork, x: Tensor) -> Tensor:
    """The network's outputs for coded rows, before their scale, on the CPU."""
    if fused := fused_outputs(network, x):
        return fused(x)
    device = network.weight.device
    return torch.cat([network.scaled(rows.to(device)).cpu() for rows in x.split(CHUNK_ROWS)])


def _unfolded(x: Any) -> Any:
    """Take a single channel at F positions for what its maker meant: F channels of a row."""
    shape: tuple[int, ...] = getattr(x, "shape", ())
    if len(shape) != 3 or 1 not in shape[1:]:
        return x
    if shape[1] == 1 and shape[2] > 1:
        warnings.warn(
            f"X has shape {tuple(shape)}: one channel at {shape[2]} positions. A network of 1x1s "
            "sees each position alone, so it could only add up functions of single features; the "
            f"{shape[2]} features are taken as channels, as if X had shape {(shape[0], shape[2])}",
            DataWarning,
            5,
        )
    return np.asarray(x).reshape(shape[0], -1)


def _take(table: Table, index: Index) -> Table:
    if len(index) == table.rows:
        return table
    columns = tuple(
        type(column)(column.name, column.kind, column.values[index]) for column in table.columns
    )
    return Table(columns, len(index))


def _tensor(values: NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(like.device, like.dtype)
