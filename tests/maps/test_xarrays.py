"""Maps of xarray rasters in memory: against maps of arrays, whatever the order of dimensions."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from xarray_rasters import (
    NAMES,
    check_same,
    classifier,
    each_kind,
    mapped,
    pixels,
    regressor,
    scene,
    xr,
)

from pointwise.errors import DataError, DataWarning
from pointwise.maps.arrays import map_array
from pointwise.maps.pixel_model import as_pixel_model
from pointwise.maps.xarrays.bands import fill_values
from pointwise.nn import MLP

# --- The same numbers as for arrays ---

DTYPES = ("bool", "uint8", "int16", ">u2", "int32", "uint64", "float32", ">f4", "float64")


@each_kind
def test_equals_the_map_of_the_array(make: Any, output: str) -> None:
    values = pixels(6, 7)
    values[1, 2, 3] = np.nan
    values[:, 4, 4] = np.nan
    made = mapped(make(), scene(values), output)
    expected = map_array(make(), values, bands=NAMES, output=output)
    check_same(made.values, expected)
    assert made.dtype == expected.dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_of_numbers(dtype: str) -> None:
    values = pixels(5, 4, dtype=dtype)
    expected = map_array(regressor(), values.astype(np.float64), bands=NAMES)
    check_same(mapped(regressor(), scene(values)).values, expected)


ORDERS = {
    "band y x": ("band", "y", "x"),
    "y x band": ("y", "x", "band"),
    "y band x": ("y", "band", "x"),
    "x y band": ("x", "y", "band"),
}


@pytest.mark.parametrize("dims", ORDERS.values(), ids=ORDERS.keys())
@each_kind
def test_dimensions_in_any_order(make: Any, output: str, dims: tuple[str, ...]) -> None:
    values = pixels(5, 8)
    made = mapped(make(), scene(values).transpose(*dims), output)
    expected = map_array(make(), values, bands=NAMES, output=output)
    several = expected.ndim == 3
    assert made.dims == (dims if several else tuple(dim for dim in dims if dim != "band"))
    straight = made.transpose(*(["band"] if several else []), "y", "x")
    check_same(straight.values, expected)


SPACES = {
    "time": (("band", "time", "y", "x"), (2, 3, 4)),
    "points": (("band", "point"), (9,)),
    "volume": (("channel", "z", "y", "x"), (2, 3, 2)),
    "one pixel": (("band", "y", "x"), (1, 1)),
    "no pixels": (("band", "y", "x"), (0, 4)),
}


@pytest.mark.parametrize(("dims", "space"), SPACES.values(), ids=SPACES.keys())
def test_any_number_of_dimensions(dims: tuple[str, ...], space: tuple[int, ...]) -> None:
    values = pixels(*space)
    made = mapped(classifier(), scene(values, *dims))
    assert made.dims == dims[1:]
    expected = map_array(classifier(), values.reshape(3, -1), bands=NAMES)
    check_same(made.values.ravel(), expected.ravel())
    proba = mapped(classifier(), scene(values, *dims), "proba")
    assert proba.dims == ("band", *dims[1:])
    assert proba.shape == (3, *space)


def test_a_single_pixel_without_position() -> None:
    values = pixels(1)
    made = mapped(regressor(), xr.DataArray(values[:, 0], {"band": list(NAMES)}, ("band",)))
    assert made.dims == ()
    check_same(made.values, map_array(regressor(), values, bands=NAMES)[0])


def test_large_rasters_go_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = pixels(13, 11)
    values[2, 5, 5] = np.nan
    expected = mapped(classifier(), scene(values), "proba")
    monkeypatch.setattr("pointwise.maps.xarrays.blocks.PART_VALUES", 24)
    monkeypatch.setattr("pointwise.maps.xarrays.labelled.WINDOW_POSITIONS", 40)
    made = mapped(classifier(), scene(values), "proba")
    xr.testing.assert_allclose(made, expected)


# --- Which band is which ---


def test_bands_are_matched_by_name() -> None:
    values = pixels(4, 5)
    more = np.concatenate([values, values[:1] * 7])
    raster = xr.DataArray(more, {"band": [*NAMES, "nir"]}, ("band", "y", "x"))
    shuffled = raster.sel(band=["nir", "red", "blue", "green"])
    expected = map_array(regressor(), values, bands=NAMES)
    check_same(mapped(regressor(), shuffled).values, expected)


def test_names_of_rioxarray() -> None:
    values = pixels(4, 5)
    raster = xr.DataArray(values[::-1], {"band": [1, 2, 3]}, ("band", "y", "x"))
    raster.attrs["long_name"] = NAMES[::-1]
    expected = map_array(regressor(), values, bands=NAMES)
    check_same(mapped(regressor(), raster).values, expected)


@pytest.mark.parametrize(
    ("coordinate", "names"),
    [
        ([665.5, 560.0, 490.0], ["490", "560", "665.5"]),
        ([665.5, 560.0, 490.0], ["490.0", "560.0", "665.5"]),
        ([1234.567, 1000.375, 1000.125], ["1000.125", "1000.375", "1234.567"]),
        (np.array([0.3, 0.2, 0.1], np.float32), ["0.1", "0.2", "0.3"]),
        (
            np.array(["2020-03-01", "2020-02-01", "2020-01-01"], "M8[ns]"),
            ["2020-01-01", "2020-02-01", "2020-03-01"],
        ),
    ],
    ids=["short", "as in a file", "close together", "float32", "days"],
)
def test_wavelengths_as_names(coordinate: Any, names: list[str]) -> None:
    values = pixels(4, 5)
    raster = xr.DataArray(values[::-1], {"band": coordinate}, ("band", "y", "x"))
    torch.manual_seed(1)
    model = as_pixel_model(MLP([3, 8, 1]), bands=names)
    check_same(mapped(model, raster).values, map_array(regressor(), values, bands=NAMES))


def test_numbers_are_no_names() -> None:
    values = pixels(4, 5)
    raster = xr.DataArray(values, {"band": [1, 2, 3]}, ("band", "y", "x"), name="scene")
    with pytest.warns(DataWarning, match="the DataArray .scene.: its bands have no names, .*order"):
        made = mapped(regressor(), raster)
    check_same(made.values, map_array(regressor(), values, bands=NAMES))


def test_a_missing_band_is_named() -> None:
    raster = scene(pixels(4, 5)).isel(band=[0, 2])
    with pytest.raises(DataError, match=r"the DataArray 'reflectance' has no band 'green'"):
        mapped(regressor(), raster)


@pytest.mark.parametrize("dim", ["bands", "channel", "channels", "variable", "spectral"])
def test_the_band_dimension_by_its_name(dim: str) -> None:
    values = pixels(4, 5)
    made = mapped(classifier(), scene(values, dim, "y", "x"), "proba")
    assert made.dims == ("band", "y", "x")
    check_same(made.values, map_array(classifier(), values, bands=NAMES, output="proba"))


def test_the_band_dimension_as_told() -> None:
    raster = scene(pixels(4, 5), "spectral", "y", "x").transpose("y", "x", "spectral")
    made = mapped(regressor(), raster, band_dim="spectral")
    check_same(made.values, map_array(regressor(), pixels(4, 5), bands=NAMES))


def test_a_band_without_a_dimension() -> None:
    torch.manual_seed(0)
    model = as_pixel_model(MLP([1, 4, 1]), bands=["ndvi"])
    values = pixels(4, 5)[:1]
    raster = xr.DataArray(values[0], dims=("y", "x"), name="ndvi")
    check_same(mapped(model, raster).values, map_array(model, values, bands=["ndvi"]))


BAD = {
    "unknown band_dim": (
        lambda: (scene(pixels(2, 2)), {"band_dim": "channel"}),
        "band_dim must be a dimension of the DataArray 'reflectance', got 'channel'; "
        "it has band, y, x",
    ),
    "no band dimension": (
        lambda: (scene(pixels(2, 2, 2), "spectral", "time", "y", "x"), {}),
        "one dimension must hold the bands, the DataArray 'reflectance' has spectral, time, y, x: "
        "rename it to 'band'",
    ),
    "time first": (
        lambda: (xr.DataArray(pixels(2, 2), dims=("time", "y", "x")), {}),
        "one dimension must hold the bands, the DataArray has time, y, x: rename it to 'band'",
    ),
    "dates": (
        lambda: (scene(np.zeros((3, 2, 2), "datetime64[ns]")), {}),
        "bands must hold real numbers, the DataArray 'reflectance' holds datetime64[ns]",
    ),
    "empty dataset": (
        lambda: (xr.Dataset({"spatial_ref": 0}), {}),
        "the Dataset has no variable with dimensions: its variables are to be the bands",
    ),
    "dataset with band_dim": (
        lambda: (scene(pixels(2, 2)).to_dataset("band"), {"band_dim": "y"}),
        "band_dim is for a raster in one array, the variables of this Dataset are its bands: "
        "blue, green, red; leave it out, or give one of them",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_refused(make: Any, message: str) -> None:
    raster, options = make()
    with pytest.raises(DataError) as caught:
        mapped(regressor(), raster, **options)
    assert str(caught.value) == message


# --- Datasets ---


def dataset(values: np.ndarray) -> Any:
    """Variables of three types, with a grid mapping and a variable that is no band."""
    made = xr.Dataset(
        {
            "red": (("y", "x"), values[2].astype(np.float64)),
            "blue": (("y", "x"), values[0].astype(np.int16), {"_FillValue": np.int16(-9)}),
            "green": (("y", "x"), values[1].astype(np.uint8), {"missing_value": 255}),
            "crs": ((), 0, {"crs_wkt": "LOCAL_CS[...]"}),
            "counts": (("time",), np.arange(4)),
        },
        {"y": np.arange(values.shape[1]), "x": np.arange(values.shape[2])},
    )
    made["red"].attrs["grid_mapping"] = "crs"
    return made


def test_variables_of_a_dataset_are_bands() -> None:
    values = pixels(5, 6).round().clip(0, 200)
    values[1, 0, :2] = 255
    values[0, 1, :3] = -9
    made = mapped(classifier(), dataset(values))
    expected = map_array(classifier(), values, bands=NAMES, nodata=[-9, 255, None])
    check_same(made.values, expected)
    assert made.name == "class"
    assert made.dims == ("y", "x")
    assert set(made.coords) == {"y", "x", "crs"}
    assert made.encoding["grid_mapping"] == "crs"
    proba = mapped(classifier(), dataset(values), "proba")
    assert proba.dims == ("band", "y", "x")


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(DataError, match=r"the Dataset has no band 'green'"):
        mapped(regressor(), dataset(pixels(2, 2)).drop_vars("green"))


def test_variables_in_other_orders_and_with_fewer_dimensions() -> None:
    values = pixels(4, 5, 6)
    values[2] = values[2, :1]  # the same at all times
    made = xr.Dataset(
        {
            "blue": (("time", "y", "x"), values[0]),
            "green": (("x", "time", "y"), values[1].transpose(2, 0, 1)),
            "red": (("x", "y"), values[2, 0].T),
        }
    )
    expected = map_array(regressor(), values, bands=NAMES)
    got = mapped(regressor(), made)
    assert got.dims == ("time", "y", "x")
    check_same(got.values, expected)


def test_a_dataset_of_one_array_with_bands() -> None:
    values = pixels(3, 4)
    made = mapped(regressor(), scene(values).to_dataset())
    check_same(made.values, map_array(regressor(), values, bands=NAMES))


# --- Missing values ---

FILLS = {
    "attribute": ({"attrs": {"_FillValue": -99}}, "int16", [-99]),
    "missing_value": ({"attrs": {"missing_value": np.int16(-99)}}, "int16", [-99]),
    "both": ({"attrs": {"_FillValue": -99, "missing_value": -98}}, "int16", [-99, -98]),
    "several": ({"attrs": {"missing_value": np.array([-99, -98])}}, "int16", [-99, -98]),
    "encoding": ({"encoding": {"_FillValue": -99}}, "int16", [-99]),
    "encoding of floats": ({"encoding": {"_FillValue": -99.0}}, "float32", [-99]),
    "encoding of scaled values": (
        {"encoding": {"_FillValue": 3, "scale_factor": 0.1}},
        "float32",
        [],
    ),
    "float32 limit": (
        {"attrs": {"_FillValue": -3.4028235e38}},
        "float32",
        [np.float32(-3.4028235e38)],
    ),
    "tenths": ({"attrs": {"_FillValue": 0.1}}, "float32", [np.float32(0.1)]),
    "not a number": ({"attrs": {"_FillValue": np.nan}}, "float32", []),
    "beyond the type": ({"attrs": {"_FillValue": -9999}}, "uint8", []),
    "fraction": ({"attrs": {"_FillValue": 2.5}}, "uint8", []),
    "infinite": ({"attrs": {"_FillValue": math.inf}}, "uint8", []),
    "infinite float": ({"attrs": {"_FillValue": -math.inf}}, "float32", [-math.inf]),
    "text": ({"attrs": {"_FillValue": "-99", "nodata": "none"}}, "int16", [-99]),
    "large": ({"attrs": {"_FillValue": np.int64(-(2**63))}}, "int64", [-(2**63)]),
    "truth": ({"attrs": {"_FillValue": 1}}, "bool", []),
    "of each band": ({"attrs": {"nodatavals": (7, 8, 9)}}, "uint8", [8]),
    "none": ({}, "uint8", []),
}


@pytest.mark.parametrize(("given", "dtype", "expected"), FILLS.values(), ids=FILLS.keys())
def test_fill_values(given: dict[str, Any], dtype: str, expected: list[float]) -> None:
    array = xr.DataArray(np.zeros((3, 1, 1), dtype), dims=("band", "y", "x"))
    array.attrs.update(given.get("attrs", {}))
    array.encoding.update(given.get("encoding", {}))
    found = fill_values(array, 1)
    assert [float(value) for value in found] == [float(value) for value in expected]
    assert all(value.dtype == array.dtype for value in found)


@pytest.mark.parametrize("gaps", [False, True], ids=["no gaps", "gaps"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_nodata_is_kept(dtype: str, gaps: bool) -> None:
    values = pixels(6, 7).clip(0, 90).astype(dtype)
    values[0, 0] = 99  # one band
    values[:, 1] = 99  # all bands
    model = classifier(gaps=gaps)
    made = mapped(model, scene(values, _FillValue=99))
    check_same(made.values, map_array(model, values, bands=NAMES, nodata=99))
    empty = 7 if gaps else 14
    assert (made.values == made.attrs["_FillValue"]).sum() == empty


def test_nodata_that_rioxarray_was_told() -> None:
    values = pixels(4, 5, dtype="int16")
    values[:, 2, 2] = -77
    raster = scene(values)
    raster.rio.set_nodata(-77)  # kept by the accessor, not in the attributes
    assert raster.attrs == {}
    made = mapped(regressor(), raster)
    assert np.isnan(made.values).sum() == np.isnan(made.values[2, 2]) == 1
