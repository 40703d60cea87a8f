"""Models and rasters that the tests of xarray maps share."""

from typing import Any

import numpy as np
import pytest
import torch

from pointwise.maps.outputs import plan_output
from pointwise.maps.pixel_model import InputBand, PixelModel, as_pixel_model
from pointwise.maps.xarrays import map_dataarray
from pointwise.nn import MLP

xr = pytest.importorskip("xarray")
rioxarray = pytest.importorskip("rioxarray")

NAMES = ("blue", "green", "red")
CLASSES = ("open water", "forest", "bare (soil)")


def classifier(*, gaps: bool = False) -> PixelModel:
    torch.manual_seed(0)
    bands = [InputBand(name, gaps=gaps) for name in NAMES]
    return as_pixel_model(MLP([3, 8, 3]), bands=bands, classes=CLASSES, name="soils")


def regressor(targets: tuple[str, ...] = ("biomass",)) -> PixelModel:
    torch.manual_seed(1)
    return as_pixel_model(MLP([3, 8, len(targets)]), bands=NAMES, targets=targets)


def pixels(*space: int, dtype: Any = np.float32) -> np.ndarray:
    made = np.random.default_rng(0).normal(size=(3, *space)) * 40
    return (made + (100 if np.dtype(dtype).kind == "u" else 0)).astype(dtype)


def scene(values: np.ndarray, *dims: str, **attrs: Any) -> Any:
    """A raster with bands first, coordinates and a reference system."""
    given = dims or ("band", "y", "x")
    coords: dict[str, Any] = {given[0]: np.array(NAMES, dtype=object), "spatial_ref": 0}
    for name, size in zip(given[1:], values.shape[1:], strict=True):
        coords[name] = np.arange(size)[::-1] * 30.0
    array = xr.DataArray(values, coords, given, name="reflectance", attrs=attrs)
    array.coords["spatial_ref"].attrs["crs_wkt"] = "LOCAL_CS[...]"
    array.encoding["grid_mapping"] = "spatial_ref"
    return array


def mapped(model: PixelModel, raster: Any, output: Any = "auto", **options: Any) -> Any:
    return map_dataarray(model, raster, output=plan_output(model, output), **options)


def check_same(made: np.ndarray, expected: np.ndarray) -> None:
    """Equal class numbers, or values that differ by rounding."""
    assert made.dtype == expected.dtype
    if made.dtype.kind == "f":
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(made, expected)


KINDS = {
    "class": (classifier, "class"),
    "proba": (classifier, "proba"),
    "value": (regressor, "value"),
    "two values": (lambda: regressor(("height", "cover")), "value"),
}
each_kind = pytest.mark.parametrize(("make", "output"), KINDS.values(), ids=KINDS.keys())
