"""Maps of xarray rasters in memory: against maps of arrays, whatever the order of dimensions."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pointwise.errors import DataError, DataWarning
from pointwise.maps.arrays import map_array
from pointwise.maps.outputs import plan_output
from pointwise.maps.pixel_model import InputBand, PixelModel, as_pixel_model
from pointwise.maps.xarrays import map_dataarray
from pointwise.maps.xarrays.attrs import flag_words
from pointwise.maps.xarrays.bands import fill_values
from pointwise.maps.xarrays.blocks import common_type, parts
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


# --- The same numbers as for arrays ---

KINDS = {
    "class": (classifier, "class"),
    "proba": (classifier, "proba"),
    "value": (regressor, "value"),
    "two values": (lambda: regressor(("height", "cover")), "value"),
}
each_kind = pytest.mark.parametrize(("make", "output"), KINDS.values(), ids=KINDS.keys())

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


def test_wavelengths_as_names() -> None:
    values = pixels(4, 5)
    raster = xr.DataArray(values[::-1], {"band": [665.5, 560.0, 490.0]}, ("band", "y", "x"))
    torch.manual_seed(1)
    model = as_pixel_model(MLP([3, 8, 1]), bands=["490", "560", "665.5"])
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


# --- What a map says of itself ---


def test_a_class_map_says_what_it_holds() -> None:
    raster = scene(pixels(3, 4, dtype="uint8"), AREA_OR_POINT="Point", units="percent",
                   long_name="x", scale_factor=0.1, add_offset=2.0, valid_range=[0, 9],
                   STATISTICS_MEAN="3", _FillValue=0)  # fmt: skip
    made = mapped(classifier(), raster)
    flags = made.attrs.pop("flag_values")
    np.testing.assert_array_equal(flags, np.array([1, 2, 3], np.uint8))
    assert flags.dtype == made.dtype == np.uint8
    assert made.attrs.pop("pointwise_version")
    assert made.attrs == {
        "AREA_OR_POINT": "Point",
        "long_name": "class",
        "_FillValue": 0,
        "flag_meanings": "open_water forest bare_soil",
        "flag_colors": "#0072b2 #e69f00 #009e73",
        "pointwise_model": "soils",
    }
    assert type(made.attrs["_FillValue"]) is np.uint8
    assert made.name == "class"
    assert set(made.coords) == {"y", "x", "spatial_ref"}
    xr.testing.assert_identical(made.x, raster.x)
    xr.testing.assert_identical(made.spatial_ref, raster.spatial_ref)
    assert made.encoding == {"grid_mapping": "spatial_ref"}


def test_a_class_map_says_what_its_classes_are() -> None:
    model = replace(classifier(), target="soil")
    assert mapped(model, scene(pixels(3, 4))).attrs["pointwise_target"] == "soil"
    assert "pointwise_target" not in mapped(classifier(), scene(pixels(3, 4))).attrs


def test_bands_of_a_map_have_names() -> None:
    made = mapped(classifier(), scene(pixels(3, 4)), "proba")
    names = ["proba_open water", "proba_forest", "proba_bare (soil)"]
    assert made.band.values.tolist() == names
    assert made.attrs["long_name"] == tuple(names)
    assert math.isnan(made.attrs["_FillValue"])
    assert "flag_values" not in made.attrs
    assert made.name == "proba"
    total = made.sum("band").values
    np.testing.assert_allclose(total, np.ones((3, 4)), rtol=1e-5)


def test_the_raster_is_left_alone() -> None:
    raster = scene(pixels(3, 4), _FillValue=0)
    before = raster.copy(deep=True)
    mapped(classifier(), raster)
    xr.testing.assert_identical(raster, before)
    assert raster.encoding == {"grid_mapping": "spatial_ref"}


def test_coordinates_of_positions_stay_and_those_of_bands_go() -> None:
    raster = scene(pixels(3, 4)).assign_coords(
        longitude=(("y", "x"), np.ones((3, 4))), wavelength=("band", [1, 2, 3]), time=5
    )
    assert set(mapped(classifier(), raster).coords) == {
        *("y", "x", "longitude", "time", "spatial_ref")
    }
    assert set(mapped(classifier(), raster, "proba").coords) == {
        *("band", "y", "x", "longitude", "time", "spatial_ref")
    }


NAMES_OF_MAPS = {"x": "x_map", "band": "band", "biomass": "biomass"}


@pytest.mark.parametrize(("target", "name"), NAMES_OF_MAPS.items(), ids=NAMES_OF_MAPS.keys())
def test_a_map_has_a_name_that_a_dataset_takes(target: str, name: str) -> None:
    made = mapped(regressor((target,)), scene(pixels(3, 4)))
    assert made.name == name
    assert name in made.to_dataset()


def test_a_raster_with_another_dimension_called_band() -> None:
    values = pixels(4, 5)
    raster = scene(values, "spectral", "band", "x")
    made = mapped(classifier(), raster, "proba", band_dim="spectral")
    assert made.dims == ("map_band", "band", "x")
    assert made.map_band.size == 3


WORDS = {
    "blanks": (["open water", "forest"], ["open_water", "forest"]),
    "numbers": ([3, 1.5, True], ["3", "1.5", "True"]),
    "signs": (["a/b", "c@d", "(e)"], ["a_b", "c@d", "e"]),
    "letters": (["Wälder", "森林"], ["Wälder", "森林"]),
    "same": (["a b", "a_b", "a/b"], ["a_b", "a_b_2", "a_b_3"]),
    "nothing": (["", " "], ["_", "__2"]),
}


@pytest.mark.parametrize(("labels", "words"), WORDS.values(), ids=WORDS.keys())
def test_labels_as_words(labels: list[Any], words: list[str]) -> None:
    assert flag_words(labels) == words


# --- Files ---


@pytest.fixture
def _affine() -> Any:
    """Rioxarray multiplies affine transforms in a way that affine 3 calls old."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Use `@` matmul", PendingDeprecationWarning)
        yield


@pytest.mark.usefixtures("_affine")
@each_kind
def test_through_geotiff(tmp_path: Path, make: Any, output: str) -> None:
    values = pixels(6, 7)
    values[:, 2, 3] = np.nan
    raster = scene(values).rio.write_crs(32630)
    made = mapped(make(), raster, output)
    made.rio.to_raster(tmp_path / "map.tif")
    with rioxarray.open_rasterio(tmp_path / "map.tif") as back:
        np.testing.assert_array_equal(back.values.reshape(made.shape), made.values)
        assert back.rio.crs == raster.rio.crs
        assert back.rio.transform() == raster.rio.transform()
        np.testing.assert_equal(back.rio.nodata, float(made.attrs["_FillValue"]))
        assert back.attrs["long_name"] == made.attrs["long_name"]


@pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning")
@each_kind
def test_through_zarr(tmp_path: Path, make: Any, output: str) -> None:
    pytest.importorskip("zarr")
    values = pixels(6, 7)
    values[:, 2, 3] = np.nan
    made = mapped(make(), scene(values), output)
    made.to_zarr(tmp_path / "map.zarr")
    raw = xr.open_zarr(tmp_path / "map.zarr", mask_and_scale=False, chunks=None)[made.name]
    np.testing.assert_array_equal(raw.values, made.values)
    np.testing.assert_equal(raw.attrs["_FillValue"], float(made.attrs["_FillValue"]))
    with xr.open_zarr(tmp_path / "map.zarr", decode_coords="all", chunks=None) as masked:
        assert np.isnan(masked[made.name].values).sum() == made.size / 42
        assert masked[made.name].encoding["grid_mapping"] == "spatial_ref"
        assert "spatial_ref" in masked.coords


@pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning")
def test_a_file_without_dask_is_read_by_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr")
    values = pixels(40, 30)
    raster = scene(values)
    raster.to_zarr(tmp_path / "scene.zarr", encoding={"reflectance": {"chunks": (3, 16, 8)}})
    monkeypatch.setattr("pointwise.maps.xarrays.labelled.WINDOW_POSITIONS", 300)
    stored = xr.open_zarr(tmp_path / "scene.zarr", chunks=None)["reflectance"]
    made = mapped(classifier(), stored)
    check_same(made.values, map_array(classifier(), values, bands=NAMES))
    assert made.chunks is None
    assert not stored.variable._in_memory  # nothing is kept


# --- Parts ---

PARTS = {
    "whole": ((4, 5), 20, None, [(4, 5)]),
    "rows": ((4, 5), 10, None, [(2, 5), (2, 5)]),
    "uneven": ((3, 5), 11, None, [(2, 5), (1, 5)]),
    "columns": ((2, 5), 3, None, [(1, 3), (1, 2), (1, 3), (1, 2)]),
    "stored": ((4, 6), 12, (2, 3), [(2, 6), (2, 6)]),
    "stored small": ((4, 6), 6, (2, 3), [(2, 3)] * 4),
    "stored large": ((4, 6), 1, (4, 6), [(4, 6)]),
    "nothing": ((0, 5), 3, None, []),
    "no axes": ((), 3, None, [()]),
}


@pytest.mark.parametrize(("shape", "most", "grain", "sizes"), PARTS.values(), ids=PARTS.keys())
def test_parts(shape: Any, most: int, grain: Any, sizes: list[Any]) -> None:
    array = np.zeros(shape, np.int64)
    made = list(parts(shape, most, grain))
    assert [array[part].shape for part in made] == sizes
    for part in made:
        array[part] += 1
    np.testing.assert_array_equal(array, np.ones(shape))


TYPES = {
    "same": (["uint8", "uint8"], "uint8"),
    "wider": (["uint8", "int16"], "int16"),
    "truth": (["bool"], "uint8"),
    "bytes": ([">i2", "<i2"], "int16"),
    "float": (["int32", "float32"], "float64"),
}


@pytest.mark.parametrize(("given", "expected"), TYPES.values(), ids=TYPES.keys())
def test_common_type(given: list[str], expected: str) -> None:
    made = common_type([np.dtype(one) for one in given])
    assert made == np.dtype(expected)
    assert made.isnative
