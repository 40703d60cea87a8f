"""Fitted estimators for tables to what a map takes: columns become bands."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sklearn.utils.validation import check_is_fitted

from pointwise.data.coding import ColumnCoding, TableCoding
from pointwise.errors import DataError
from pointwise.maps import InputBand, PixelModel, predict_map
from pointwise.maps.files.writer import Compression
from pointwise.maps.outputs import Asked
from pointwise.maps.pixel_model import value_names
from pointwise.nn import CategoryEncoder, TableNetwork


class PixelMaps:
    """What a fitted estimator for tables does with rasters."""

    network_: TableNetwork
    coding_: TableCoding

    def pixel_model(self) -> PixelModel:
        """Describe the fitted model for maps.

        Returns:
            The model as ``maps`` takes it, with a copy of the network.

        Raises:
            DataError: If a column held dates, which no raster holds.
            NotFittedError: If the model is not fitted.
        """
        check_is_fitted(self, "network_")
        classes = getattr(self, "classes_", None)
        names = getattr(self, "target_names_", None)
        errors = getattr(self, "held_out_errors_", None)
        made = table_pixel_model(
            self.network_,
            self.coding_,
            classes=None if classes is None else tuple(classes.tolist()),
            targets=names or value_names(getattr(self, "n_targets_", 1)),
            target=names[0] if names else "",
            name=type(self).__name__,
            named=hasattr(self, "feature_names_in_"),
        )
        return made if errors is None else replace(made, half_widths=errors.half_widths)

    def predict_map(
        self,
        raster: Any,
        *,
        out: Any = None,
        output: Asked = "auto",
        spread: bool = False,
        interval: float | None = None,
        nodata: float | Sequence[float | None] | None = None,
        bands: Sequence[str | None] | None = None,
        out_nodata: float | None = None,
        compress: Compression = "deflate",
        memory_mb: int = 192,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Predict every pixel of a raster whose bands are the columns of the training table.

        A pixel is nodata in the map where all its bands are missing, or one is missing that had no
        missing value in training.

        Args:
            raster: An array ``(bands, rows, columns)``, an ``xarray.DataArray``, or the path of a
                file or the paths of several.
            out: Of an array: where to put the map. Of files: the GeoTIFF to write, which is needed.
            output: ``"class"``, ``"proba"`` or ``"value"``; ``"auto"`` is class numbers of a
                classifier and values of a regressor.
            spread: Whether bands follow that hold the standard deviation over the members.
            interval: Share of the pixels that are to lie in their interval, whose lower and upper
                ends follow as bands; of a regressor that was calibrated.
            nodata: Of an array: the number that stands for a missing value, or one for each band.
            bands: Of an array: names of its bands.
            out_nodata: What stands where there is no prediction. Default: a number that is no
                class, or NaN.
            compress: Of files: ``"deflate"``, ``"zstd"``, ``"lzw"`` or ``"none"``.
            memory_mb: Of files: most megabytes of pixels in flight.
            progress: Of files: called with the pixels done and the pixels of all.

        Returns:
            Of an array ``(rows, columns)``, or ``(B, rows, columns)`` if the map has several bands;
            of a ``DataArray`` another one, lazy if it is; of files a ``MapSummary``.

        Raises:
            DataError: If the raster has not the model's bands, or an argument does not fit.
            NotFittedError: If the model is not fitted.

        Example:
            >>> from sklearn.datasets import load_iris
            >>> from pointwise.estimators import PointwiseClassifier
            >>> X, y = load_iris(return_X_y=True)
            >>> model = PointwiseClassifier(members=2, max_epochs=3, random_state=0).fit(X, y)
            >>> raster = X.T.reshape(4, 10, 15)
            >>> model.predict_map(raster).shape, model.predict_map(raster, output="proba").shape
            ((10, 15), (3, 10, 15))
        """
        return predict_map(
            self.pixel_model(),
            raster,
            out=out,
            output=output,
            spread=spread,
            interval=interval,
            nodata=nodata,
            bands=bands,
            out_nodata=out_nodata,
            compress=compress,
            memory_mb=memory_mb,
            progress=progress,
        )


def table_pixel_model(
    network: TableNetwork,
    coding: TableCoding,
    *,
    classes: tuple[Any, ...] | None,
    targets: tuple[str, ...],
    target: str = "",
    name: str,
    named: bool,
) -> PixelModel:
    """Describe a fitted table network for maps.

    Args:
        network: The trained network.
        coding: How the columns were coded.
        classes: Labels of a classifier, else ``None``.
        targets: Names of a regressor's targets.
        target: Name of what a classifier's classes are, where it is known.
        name: What maps say they were made with.
        named: Whether the columns had names in training.

    Returns:
        The model as a map takes it, with a copy of the network on the CPU.

    Raises:
        DataError: If a column held dates, which no raster holds.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pointwise.estimators import PointwiseClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = PointwiseClassifier(members=2, max_epochs=3, random_state=0).fit(X, y)
        >>> model.pixel_model().classes
        (0, 1, 2)
    """
    for column in coding.columns:
        if column.kind == "date" and not column.ignored:
            raise DataError(
                f"column {column.name!r} held dates in training, but a raster holds numbers: fit "
                "on days since some date in its place, or leave the column out"
            )
    gaps = _columns_with_gaps(network, coding)
    return PixelModel(
        network=copy.deepcopy(network).cpu().float().eval(),
        bands=tuple(_band(column, column.name in gaps) for column in coding.columns),
        members=network.mlp.members,
        classes=classes,
        targets=targets if classes is None else value_names(1),
        target="" if classes is None else target,
        name=name,
        named=named,
    )


def _band(column: ColumnCoding, gaps: bool) -> InputBand:
    if column.ignored:
        return InputBand(column.name, ignored=True)
    if column.kind == "category":
        return InputBand(column.name, gaps=gaps, levels=column.levels)
    return InputBand(column.name, gaps=gaps, offset=column.offset, low=column.low, high=column.high)


def _columns_with_gaps(network: TableNetwork, coding: TableCoding) -> set[str]:
    """Columns that had missing values in training: the encoders have a place for them."""
    numbers = {coding.numbers[i].name for i in network.numbers.indicated.tolist()}
    shares = zip(coding.categories, _missing_shares(network.categories), strict=True)
    return numbers | {column.name for column, share in shares if share > 0}


def _missing_shares(encoder: CategoryEncoder) -> list[float]:
    """The share of missing values in training of each category."""
    shares = [0.0] * len(encoder.sizes)
    hot = zip(encoder.hot_column.tolist(), encoder.hot_share.tolist(), strict=True)
    for column, share in hot:
        shares[column] = share  # the last entry of a column is that of missing values
    for column in encoder.embedded:
        shares[column] = float(encoder.get_buffer(f"share_{column}")[-1])
    return shares
