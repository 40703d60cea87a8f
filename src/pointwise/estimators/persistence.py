"""Fitted estimators to model folders and back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn.utils.validation import check_is_fitted

from pointwise.data.coding import ColumnCoding, TableCoding
from pointwise.errors import ModelFileError
from pointwise.estimators.building import blank_network, network_config
from pointwise.estimators.classifier import PointwiseClassifier
from pointwise.estimators.compressing import apply_plans, told_plans
from pointwise.estimators.image_classifier import ImageClassifier
from pointwise.estimators.image_persistence import image_config, restore_image_model
from pointwise.estimators.intervals import HeldOutErrors
from pointwise.estimators.labels import labels_array
from pointwise.estimators.regressor import PointwiseRegressor
from pointwise.estimators.segmenter import Segmenter
from pointwise.modelfiles import model_card, read_model, write_model

TableModel: TypeAlias = PointwiseRegressor | PointwiseClassifier
ImageModel: TypeAlias = ImageClassifier | Segmenter
Estimator: TypeAlias = TableModel | ImageModel

TABLE_MODELS: dict[str, type[PointwiseRegressor] | type[PointwiseClassifier]] = {
    "PointwiseClassifier": PointwiseClassifier,
    "PointwiseRegressor": PointwiseRegressor,
}
IMAGE_MODELS: dict[str, type[ImageClassifier] | type[Segmenter]] = {
    "ImageClassifier": ImageClassifier,
    "Segmenter": Segmenter,
}
"""The classes that a model folder may name: closed tables, so that loading imports nothing."""


def save(
    model: Estimator,
    path: str | Path,
    *,
    targets: Sequence[str] | None = None,
    metrics: Mapping[str, float] | None = None,
    baselines: Sequence[Mapping[str, Any]] = (),
    report: Mapping[str, Any] | None = None,
    rows: Mapping[str, int] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted estimator as a model folder, as one step.

    No training row is in it: column names, levels of categories, ranges, weights and scores.

    Args:
        model: The fitted estimator.
        path: Folder to make, or a model folder to replace.
        targets: Names of the targets. Default: ``y``, or ``y0``, ``y1``, ...
        metrics: Scores to keep with the model.
        baselines: Scores of other models on the same rows, for the model card.
        report: Figures that ``pointwise report`` draws.
        rows: Rows of each part of the data; the scores are those on the last part. Default: the
            training and validation rows.
        reading: What ``read_table`` was told or found out of the table's file, by the names of its
            arguments (``missing``, ``day_first``): ``pointwise predict`` reads new files so too.

    Raises:
        ModelFileError: If the folder cannot be written, or the names are not one per target.
        NotFittedError: If the model is not fitted.

    Example:
        >>> import tempfile
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = PointwiseClassifier(members=2, max_epochs=3, random_state=0).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as home:
        ...     save(model, f"{home}/iris")
        ...     again = load(f"{home}/iris")
        >>> (again.predict_proba(X) == model.predict_proba(X)).all()
        np.True_
    """
    check_is_fitted(model, "network_")
    parameters = model.get_params(deep=False)
    if not isinstance(parameters["random_state"], int | np.integer | None):
        parameters["random_state"] = None  # a generator's state is not a parameter of the model
    described = (
        image_config(model, parameters, targets)
        if isinstance(model, ImageClassifier | Segmenter)
        else _table_config(model, parameters, targets)
    )
    config: dict[str, Any] = {
        "task": described["task"],
        "estimator": type(model).__name__,
        **described,
        **told_plans(model),
        **({"reading": known} if (known := _given(reading or {})) else {}),
        "training": {
            "best_epoch": model.best_epoch_,
            "rows": model.rows_,
            "history": _by_column(model.history_),
        },
        "metrics": {k: v if math.isfinite(v) else None for k, v in (metrics or {}).items()},
    }
    card = model_card(config, rows=rows or model.rows_, baselines=baselines)
    write_model(path, model.network_.state_dict(), config, card=card, report=report)


def _table_config(
    model: TableModel, parameters: dict[str, Any], targets: Sequence[str] | None
) -> dict[str, Any]:
    regression = isinstance(model, PointwiseRegressor)
    errors = getattr(model, "held_out_errors_", None)
    outputs = model.n_targets_ if regression else 1
    known = targets or getattr(model, "target_names_", None)
    names = list(known or (["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]))
    if len(names) != outputs:
        raise ModelFileError(f"targets must have one name per target ({outputs}), got {names}")
    if isinstance(weights := parameters.get("class_weight"), Mapping):
        parameters["class_weight"] = [[label, float(weight)] for label, weight in weights.items()]
    return {
        "task": "regression" if regression else "classification",
        "columns": [asdict(column) for column in model.coding_.columns],
        "named_columns": hasattr(model, "feature_names_in_"),
        "targets": names,
        "single_target": model.single_target_ if regression else True,
        "classes": None if regression else model.classes_.tolist(),
        **({"held_out_errors": errors.to_dict()} if errors is not None else {}),
        "network": network_config(model.network_),
        "parameters": parameters,
    }


def _given(reading: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reading.items() if value}


def _by_column(history: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """One list per figure in place of one record per epoch: a third of the bytes."""
    return {key: [_short(epoch[key]) for epoch in history] for key in history[0]}


def _short(value: Any) -> Any:
    """A figure of seven digits; ``None`` for what JSON cannot hold."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.7g}") if math.isfinite(value) else None


def load(path: str | Path) -> Estimator:
    """Read an estimator back from its model folder; nothing in the folder is run.

    Args:
        path: Folder that ``save`` or ``pointwise fit`` wrote.

    Returns:
        The fitted estimator, on the CPU.

    Raises:
        ModelFileError: If the folder is missing, damaged, too new or not one of ours.

    Example:
        >>> load("no-such-folder-anywhere")
        Traceback (most recent call last):
            ...
        pointwise.errors.ModelFileError: there is no model folder no-such-folder-anywhere; ...
    """
    folder = read_model(path)
    try:
        return _restore(folder.config, folder.tensors)
    except ModelFileError as error:  # it says itself what to do
        raise ModelFileError(f"model {path}: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"model {path} does not fit together ({type(error).__name__}: {error}): "
            "its config.json was edited or written by another tool; fit the model again"
        ) from error


def _restore(config: dict[str, Any], tensors: dict[str, Any]) -> Estimator:
    name = config["estimator"]
    model = (
        restore_image_model(IMAGE_MODELS[name], config, tensors)
        if name in IMAGE_MODELS
        else _restore_table_model(TABLE_MODELS[name], config, tensors)
    )
    model.network_.eval()
    history = config["training"]["history"]
    model.history_ = [
        dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)
    ]
    model.best_epoch_ = config["training"]["best_epoch"]
    model.rows_ = config["training"]["rows"]
    return model


def _restore_table_model(
    kind: type[PointwiseRegressor] | type[PointwiseClassifier],
    config: dict[str, Any],
    tensors: dict[str, Any],
) -> TableModel:
    parameters = config["parameters"]
    parameters = {**parameters, "hidden": tuple(parameters["hidden"])}
    if isinstance(weights := parameters.get("class_weight"), list):
        parameters["class_weight"] = dict(map(tuple, weights))
    model = kind(**parameters)
    columns = [
        ColumnCoding(**{**c, "levels": tuple(c["levels"]), "parts": tuple(c["parts"])})
        for c in config["columns"]
    ]
    model.coding_ = TableCoding(tuple(columns))
    _check_channels(model.coding_, config["network"])
    model.n_features_in_ = len(columns)
    if config["named_columns"]:
        model.feature_names_in_ = np.array([c.name for c in columns], dtype=object)
    network, told = apply_plans(blank_network(config["network"]), config)
    model.__dict__.update(told)
    matrix = next(name for name, value in network.named_parameters() if value is network.weight)
    model.network_ = network.to(tensors[matrix].dtype)
    model.network_.load_state_dict(tensors)
    model.target_names_ = tuple(config["targets"])
    if isinstance(model, PointwiseRegressor):
        model.single_target_ = config["single_target"]
        model.n_targets_ = len(config["targets"])
        if "held_out_errors" in config:
            model.held_out_errors_ = HeldOutErrors.from_dict(config["held_out_errors"])
    else:
        model.classes_ = labels_array(config["classes"])
    return model


def _check_channels(coding: TableCoding, network: Mapping[str, Any]) -> None:
    """Refuse columns that give other channels than the network takes."""
    numbers = sum(max(1, len(column.parts)) for column in coding.numbers)
    levels = [len(column.levels) + 1 for column in coding.categories]
    if numbers != network["numbers"]["columns"] or levels != network["categories"]:
        raise ValueError("its columns are not those of its network")
