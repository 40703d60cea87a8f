"""What an exported model takes: rows of a table by column, or images; and some to check it with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from pointwise.data.coding import LARGEST, ColumnCoding, typed_values
from pointwise.data.table import Column, Table, as_table, is_frame
from pointwise.errors import DataError
from pointwise.estimators.base import TableEstimator
from pointwise.estimators.image_base import ImageEstimator

CHECKED_ROWS, CHECKED_IMAGES = 256, 3
"""How many are drawn to check an exported model with."""

RARE = 1 / 16
"""Share of the drawn values that are missing, and of levels that training did not have."""

CHECKED_SIZE = (8, 16)
"""Rows and columns of the images of bands that are drawn."""

ROWS, IMAGES, BANDS = "rows", "images", "bands"
"""Names of the inputs that are no columns."""


def onnx_inputs(model: TableEstimator | ImageEstimator, X: Any) -> dict[str, NDArray[Any]]:
    """Turn rows or images into what an exported model takes, for ONNX Runtime's ``run``.

    Args:
        model: The fitted estimator that was exported.
        X: Rows or images, as its ``predict`` takes them.

    Returns:
        An array for each input. Of a table with names or text it is one ``(N, 1)`` for each column
        that the model uses: numbers and truth values in float64, NaN where they are missing; dates
        in microseconds since 1970 in int64, NumPy's NaT where they are missing; text, empty where
        it is missing (``?`` where the empty text is a level). Of an array of numbers it is ``rows``
        ``(N, columns)``; of images ``images`` ``(N, C, H, W)``, as bytes if the model was trained
        on bytes or fractions from 0 to 1.

    Raises:
        DataError: If the columns or the channels are not those of training.
        NotFittedError: If the model is not fitted.

    Example:
        >>> import pandas as pd
        >>> from pointwise.estimators import PointwiseClassifier
        >>> X = pd.DataFrame({"age": [31.0, 64.0, 50.0], "job": ["smith", "baker", None]})
        >>> model = PointwiseClassifier(members=2, max_epochs=1).fit(X, ["a", "b", "b"])
        >>> onnx_inputs(model, X)["job"].tolist()
        [['smith'], ['baker'], ['']]
    """
    check_is_fitted(model, "network_")
    if isinstance(model, ImageEstimator):
        return {IMAGES: _whole_bytes(model, model.pixels_.read(X))}
    if not is_frame(X) and np.ndim(X) != 2:
        raise DataError(f"rows must be a frame or an array (N, columns), got shape {np.shape(X)}")
    table = as_table(X)
    if not table.rows:
        raise DataError("the table has no rows: at least one is needed")
    _check_names(model, X, table)
    if takes_rows(model):
        return {ROWS: np.stack([column.values for column in table.columns], 1)}
    pairs = zip(model.coding_.columns, table.columns, strict=True)
    return {coding.name: _values(coding, column) for coding, column in pairs if not coding.ignored}


def missing_text(column: ColumnCoding) -> str:
    """What stands for a missing value among the texts of a category.

    Args:
        column: The category.

    Returns:
        The empty text; where that is a level, a question mark, or as many as are no level.

    Example:
        >>> missing_text(ColumnCoding("job", "category", levels=("", "smith")))
        '?'
    """
    text = ""
    while text in column.levels:
        text += "?"
    return text


def takes_rows(model: TableEstimator) -> bool:
    """Whether an exported model takes one array of all columns: numbers without names.

    Args:
        model: The fitted estimator.

    Returns:
        Whether it does.
    """
    kinds = {column.kind for column in model.coding_.columns}
    return kinds <= {"number", "boolean"} and not hasattr(model, "feature_names_in_")


def drawn_inputs(model: TableEstimator | ImageEstimator, *, seed: int = 0) -> Any:
    """Draw rows or images like those in training, to check an exported model with.

    Args:
        model: The fitted estimator.
        seed: Of the draw.

    Returns:
        What its ``predict`` takes: numbers and dates in the range of training, levels of training,
        and some of each that are missing or that training did not have.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pointwise.estimators import PointwiseClassifier
        >>> model = PointwiseClassifier(members=2, max_epochs=1).fit(*load_iris(return_X_y=True))
        >>> drawn_inputs(model).shape
        (256, 4)
    """
    rng = np.random.default_rng(seed)
    if isinstance(model, ImageEstimator):
        pixels = model.pixels_
        shape = (CHECKED_IMAGES, pixels.channels, pixels.height, pixels.width)
        if pixels.unit == "byte":
            return rng.integers(0, 256, shape, dtype=np.uint8)
        return rng.uniform(pixels.lowest, pixels.highest, shape).astype(np.float32)
    drawn = {column.name: _drawn(column, rng) for column in model.coding_.columns}
    if hasattr(model, "feature_names_in_"):
        import pandas as pd

        return pd.DataFrame(drawn)
    if takes_rows(model):
        return np.stack([np.asarray(values, dtype=np.float64) for values in drawn.values()], 1)
    return np.stack([np.asarray(values, dtype=object) for values in drawn.values()], 1)


def drawn_bands(model: TableEstimator, *, seed: int = 0) -> NDArray[np.float32]:
    """Draw images whose bands are the columns of a table, as ``drawn_inputs`` does of rows.

    Args:
        model: The fitted estimator, of numbers and of categories that are numbers.
        seed: Of the draw.

    Returns:
        ``(N, B, H, W)``.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pointwise.estimators import PointwiseClassifier
        >>> model = PointwiseClassifier(members=2, max_epochs=1).fit(*load_iris(return_X_y=True))
        >>> drawn_bands(model).shape
        (2, 4, 8, 16)
    """
    rng = np.random.default_rng(seed)
    bands = [_as_numbers(_drawn(column, rng)) for column in model.coding_.columns]
    return np.stack(bands).reshape(len(bands), -1, *CHECKED_SIZE).swapaxes(0, 1).copy()


def checked_bands(model: TableEstimator, raster: Any) -> NDArray[Any]:
    """Take a raster, or several, to check an exported model with.

    Args:
        model: The fitted estimator.
        raster: ``(B, H, W)`` or ``(N, B, H, W)``.

    Returns:
        ``(N, B, H, W)``.

    Raises:
        DataError: If it has not a band for each column.
    """
    bands = np.asarray(raster)
    names = [column.name for column in model.coding_.columns]
    bands = bands[None] if bands.ndim == 3 else bands
    if bands.ndim != 4 or bands.shape[1] != len(names) or 0 in bands.shape:
        raise DataError(
            f"the raster must have shape (bands, rows, columns) with the {len(names)} bands "
            f"{', '.join(names)}, got {np.shape(raster)}"
        )
    return bands


def _as_numbers(values: Any) -> NDArray[np.float32]:
    """Values as a raster holds them: texts that are no numbers become one that is no level."""

    def number(value: Any) -> float:
        try:
            return float("nan" if value is None else value)
        except ValueError:
            return -LARGEST

    return np.array([number(value) for value in values], np.float32)


def _drawn(column: ColumnCoding, rng: np.random.Generator) -> Any:
    """Values of one column, of the type that a frame has of its kind."""
    missing = rng.random(CHECKED_ROWS) < RARE
    if column.kind == "category":
        levels = np.array([*column.levels, "a level that was not there"], dtype=object)
        number = rng.integers(0, max(len(column.levels), 1), CHECKED_ROWS)
        number[rng.random(CHECKED_ROWS) < RARE] = len(column.levels)
        values = levels[number]
        values[missing] = None
        return values
    spread = rng.uniform(column.low, column.high, CHECKED_ROWS)
    if column.kind == "date":
        dates = (spread * 86_400e6).astype(np.int64).astype("datetime64[us]")
        dates[missing] = np.datetime64("NaT")
        return dates
    if column.kind == "boolean":
        truths = (spread > (column.low + column.high) / 2).astype(object)
        truths[missing] = None
        return truths
    spread[missing] = np.nan
    return spread


def _check_names(model: TableEstimator, x: Any, table: Table) -> None:
    """Refuse a table whose columns are not those of training."""
    known = [column.name for column in model.coding_.columns]
    if hasattr(model, "feature_names_in_") and is_frame(x):
        lacking = [name for name in known if name not in table.names]
        if lacking:
            raise DataError(f"the table has no column {lacking[0]!r}, which the model uses")
        if list(table.names) != known:
            raise DataError(
                f"the table's columns must be those of training, in their order: {known}, got "
                f"{list(table.names)}; take them as X[model.feature_names_in_]"
            )
    elif len(table.columns) != len(known):
        raise DataError(f"the table must have {len(known)} columns, got {len(table.columns)}")


def _values(coding: ColumnCoding, column: Column) -> NDArray[Any]:
    """One column as its input takes it, ``(N, 1)``."""
    values = typed_values(coding, column)
    if coding.kind == "category":
        nothing = missing_text(coding)
        texts = [nothing if text is None else text for text in values]
        return np.array(texts, dtype=object)[:, None]
    if coding.kind == "date":
        return values.astype("datetime64[us]").astype(np.int64)[:, None]
    return values.astype(np.float64)[:, None]


def _whole_bytes(model: ImageEstimator, images: Any) -> NDArray[Any]:
    """Images in the type that the exported model takes: fractions become the nearest bytes."""
    given: NDArray[Any] = np.asarray(images)
    if model.pixels_.unit == "own":
        return given.astype(np.float32)
    nearest: NDArray[Any] = np.rint(given).clip(0, 255).astype(np.uint8)
    return nearest
