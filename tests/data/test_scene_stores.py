"""NetCDF, HDF5 and Zarr as scenes: which variables are bands, and where their pixels lie."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_cases import PLACE, assert_reads, numbers, scene_error, scene_warning, write
from store_cases import STORES, X, Y, cube, to_netcdf, to_zarr, to_zarr_3, variables

from pointwise.data.scenes import Grid, open_scene

xr = pytest.importorskip("xarray")
rasterio = pytest.importorskip("rasterio")
for library in ("rioxarray", "zarr", "h5netcdf"):
    pytest.importorskip(library)

each_store = pytest.mark.parametrize("store", STORES.values(), ids=STORES.keys())


# --- Which variables are bands ---


@each_store
def test_variables_are_bands(store: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    values = numbers(2, dtype="int16")
    path = store(variables(values), tmp_path / "a")
    assert_reads(path, values)
    with open_scene(path) as scene:
        assert scene.names == ("blue", "nir")
        assert scene.grid.transform == PLACE
        assert rasterio.crs.CRS.from_wkt(scene.grid.crs).to_epsg() == 32633


@each_store
def test_the_third_axis_holds_bands(store: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    values = numbers(4, dtype="float32")
    path = store(cube(values, [0.45, 0.5, 0.625, 0.7]), tmp_path / "a")
    assert_reads(path, values)
    with open_scene(path) as scene:
        assert scene.names == ("0.45", "0.5", "0.625", "0.7")
        for bands in ([2], [3, 0], [1, 2], [0, 0, 3]):
            got, _ = scene.read(slice(5, 15), slice(7, 30), bands)
            np.testing.assert_array_equal(got, values[bands, 5:15, 7:30])


DTYPES = ("uint8", "int8", "uint16", "uint32", "int32", "uint64", "int64", "float32", "float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("store", [to_zarr_3, to_netcdf], ids=["zarr", "netcdf"])
def test_types(store: Callable[[Any, Path], Path], dtype: str, tmp_path: Path) -> None:
    values = numbers(2, dtype=dtype)
    assert_reads(store(variables(values), tmp_path / "a"), values)


NAMES: dict[str, tuple[Any, dict[str, Any], tuple[str | None, ...]]] = {
    "words": (["red", "nir"], {}, ("red", "nir")),
    "wavelengths": ([450, 840], {}, ("450", "840")),
    "counted from 1": ([1, 2], {}, (None, None)),
    "counted from 0": ([0, 1], {}, (None, None)),
    "nothing": (None, {}, (None, None)),
    "long names": ([1, 2], {"long_name": ["red", "nir"]}, ("red", "nir")),
    "one long name": ([1, 2], {"long_name": "reflectance"}, (None, None)),
    "days": (
        np.array(["2020-01-31", "2020-02-29"], "datetime64[ns]"),
        {},
        ("2020-01-31", "2020-02-29"),
    ),
}


@pytest.mark.parametrize(("axis", "attributes", "names"), NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("store", [to_zarr, to_netcdf], ids=["zarr", "netcdf"])
def test_names_of_the_third_axis(
    store: Callable[[Any, Path], Path],
    axis: Any,
    attributes: dict[str, Any],
    names: tuple[str | None, ...],
    tmp_path: Path,
) -> None:
    path = store(cube(numbers(2), axis, **attributes), tmp_path / "a")
    with open_scene(path) as scene:
        assert scene.names == names


ORDERS = [("y", "x", "band"), ("x", "band", "y"), ("band", "x", "y")]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_axes_in_any_order(order: tuple[str, ...], tmp_path: Path) -> None:
    values = numbers(3, dtype="uint16")
    assert_reads(to_zarr(cube(values).transpose(*order), tmp_path / "a"), values)


def test_axes_of_length_one_are_left_out(tmp_path: Path) -> None:
    values = numbers(3, dtype="uint16")
    data = cube(values, ["r", "g", "b"]).expand_dims(time=1)
    assert_reads(to_zarr(data, tmp_path / "a"), values)
    assert_reads(to_netcdf(variables(values[:2]).expand_dims(time=1), tmp_path / "b"), values[:2])


AXES = {
    "lat lon": ("lat", "lon", {}, {}),
    "upper case": ("Y", "X", {}, {}),
    "axis": ("a", "b", {"axis": "Y"}, {"axis": "X"}),
    "standard names": (
        *("a", "b"),
        {"standard_name": "projection_y_coordinate"},
        {"standard_name": "projection_x_coordinate"},
    ),
}


@pytest.mark.parametrize(("y", "x", "of_y", "of_x"), AXES.values(), ids=AXES.keys())
def test_how_axes_are_called(
    y: str, x: str, of_y: dict[str, str], of_x: dict[str, str], tmp_path: Path
) -> None:
    values = numbers(3, dtype="uint16")
    data = xr.DataArray(np.moveaxis(values, 0, 2), dims=(y, x, "band"), name="cube")
    data = data.assign_coords({x: (x, X, of_x), y: (y, Y, of_y)})
    path = to_netcdf(data.to_dataset(), tmp_path / "a")
    assert_reads(path, values)
    with open_scene(path) as scene:
        assert scene.grid == Grid(37, 41, None, PLACE)


def test_a_named_variable(tmp_path: Path) -> None:
    values = numbers(3, dtype="uint16")
    data = cube(values, ["r", "g", "b"])
    data["mask"] = (("y", "x"), values[0])
    path = to_zarr(data, tmp_path / "a")
    assert_reads(path, values, variable="cube")
    assert_reads(path, values[:1], variable="mask")
    assert scene_error(lambda: open_scene(path), tmp_path) == (
        "a.zarr: several variables may be meant, name one with variable=: cube, mask"
    )
    assert scene_error(lambda: open_scene(path, variable="red"), tmp_path) == (
        "a.zarr: has no variable 'red', it holds cube, mask"
    )


# --- Missing values and packed ones ---


@each_store
def test_fill_values(store: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    values = numbers(2, dtype="int16") % 20
    path = store(variables(values, _FillValue=np.int16(9)), tmp_path / "a")
    assert_reads(path, values, values == 9)
    with open_scene(path) as scene:
        assert [band.nodata for band in scene.bands] == [9, 9]


def test_each_variable_has_its_fill_value(tmp_path: Path) -> None:
    values = numbers(2, dtype="int16") % 20
    data = variables(values)
    data["blue"].attrs["_FillValue"] = np.int16(3)
    data["nir"].attrs["missing_value"] = np.int16(4)
    missing = np.stack([values[0] == 3, values[1] == 4])
    assert_reads(to_netcdf(data, tmp_path / "a"), values, missing)


@pytest.mark.parametrize(
    ("fills", "dtype", "missing", "told"),
    [
        ({"_FillValue": np.float32("nan"), "missing_value": np.float32(-9)}, "f4", [-9], -9),
        ({"_FillValue": np.int16(3), "missing_value": np.int16(4)}, "i2", [3, 4], 3),
        ({"missing_value": np.array([5, 6], "i2")}, "i2", [5, 6], 5),
        ({"_FillValue": np.float32("nan")}, "f4", [], np.nan),
        ({"missing_value": "none"}, "i2", [], None),
    ],
)
def test_every_fill_value_is_missing(
    fills: Any, dtype: str, missing: Any, told: float | None, tmp_path: Path
) -> None:
    values = (numbers(2, dtype="int16") % 20 - 10).astype(dtype)
    path = to_zarr(variables(values, **fills), tmp_path / "a")
    assert_reads(path, values, np.isin(values, missing))
    with open_scene(path) as scene:
        np.testing.assert_equal([band.nodata for band in scene.bands], [told, told])


@each_store
def test_nan_is_missing(store: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    values = numbers(2, dtype="float32")
    values[0, 3:5] = np.nan
    assert_reads(store(variables(values), tmp_path / "a"), values, np.isnan(values))


@each_store
def test_packed_values_are_unpacked(store: Callable[[Any, Path], Path], tmp_path: Path) -> None:
    stored = numbers(1, dtype="int16")
    stored[0, 3] = -9999
    packing = {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": np.int16(-9999)}
    data = variables(stored, ("red",), **packing)
    data["size"] = (("y", "x"), stored[0])
    path = store(data, tmp_path / "a")
    with open_scene(path) as scene:
        got, missing = scene.read(slice(None), slice(None))
    np.testing.assert_array_equal(missing, np.stack([stored[0] == -9999, np.zeros((37, 41), bool)]))
    np.testing.assert_allclose(got[0][~missing[0]], (stored[0] * 0.5 + 10)[~missing[0]])
    np.testing.assert_array_equal(got[1], stored[0])


# --- Where the pixels lie ---


def test_a_written_transform_keeps_rotation(tmp_path: Path) -> None:
    data = variables(numbers(2)).drop_vars(["x", "y"])
    turned = rasterio.Affine(3.0, 1.0, 10.0, -1.0, 3.0, 20.0)
    path = to_netcdf(data.rio.write_transform(turned), tmp_path / "a")
    with open_scene(path) as scene:
        assert scene.grid.transform == tuple(turned)[:6]
        assert scene.grid.crs is not None


CUTS: dict[str, Callable[[Any], Any]] = {
    "cut": lambda data: data.isel(y=slice(5, 30), x=slice(7, 20)),
    "flipped": lambda data: data.isel(y=slice(None, None, -1)),
    "coarser": lambda data: data.isel(y=slice(36)).coarsen(y=2, x=2, boundary="trim").mean(),
    "one row": lambda data: data.isel(y=slice(4, 5)),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_coordinates_count_where_a_written_transform_is_stale(
    cut: Callable[[Any], Any], tmp_path: Path
) -> None:
    data = variables(numbers(2, dtype="float32"))
    data.spatial_ref.attrs["GeoTransform"] = "500000 30 0 5000000 0 -30"
    part = cut(data)
    with open_scene(to_netcdf(part, tmp_path / "a")) as scene:
        a, b, c, d, e, f = scene.grid.transform
    assert (b, d) == (0, 0)
    for values, step, first in ((part.x.values, a, c), (part.y.values, e, f)):
        np.testing.assert_allclose(first + step * (np.arange(len(values)) + 0.5), values, atol=1e-6)


def test_a_written_transform_counts_where_coordinates_agree(tmp_path: Path) -> None:
    data = variables(numbers(2, dtype="float32"))
    data = data.assign_coords(x=X.astype(np.float32), y=Y.astype(np.float32))
    data.spatial_ref.attrs["GeoTransform"] = "500000.001 30 0 5000000.001 0 -30"
    with open_scene(to_netcdf(data, tmp_path / "a")) as scene:
        assert scene.grid.transform == (30, 0, 500000.001, 0, -30, 5000000.001)


def test_a_store_that_gdal_wrote_bottom_up(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    values, path = numbers(1, dtype="float32"), tmp_path / "a.nc"
    if "netCDF" not in rasterio.drivers.raster_driver_extensions().values():
        pytest.skip("GDAL writes no netCDF")
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 5e6)}
    shape = {"count": 1, "height": 37, "width": 41, "dtype": "float32"}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **shape, **place) as out:
        out.write(values)
    importlib.import_module("rasterio.shutil").copy(tmp_path / "a.tif", path, driver="netCDF")
    with open_scene(path) as scene:
        got, _ = scene.read(slice(None), slice(None))
        a, _, c, _, e, f = scene.grid.transform
    for row, column in ((0, 0), (30, 5)):
        x, y = 5e5 + 30 * (column + 0.5), 5e6 - 30 * (row + 0.5)
        assert got[0, int((y - f) / e), int((x - c) / a)] == values[0, row, column]


def test_south_up(tmp_path: Path) -> None:
    values = numbers(2)
    data = variables(values).isel(y=slice(None, None, -1))
    path = to_zarr(data, tmp_path / "a")
    assert_reads(path, values[:, ::-1])
    with open_scene(path) as scene:
        assert scene.grid.transform == (30.0, 0.0, 500_000.0, 0.0, 30.0, 5_000_000.0 - 37 * 30)


def test_coordinates_rounded_to_float32_are_regular(tmp_path: Path) -> None:
    data = variables(numbers(2))
    data = data.assign_coords(x=np.float32(10 + 0.01 * np.arange(41)))
    data = data.assign_coords(y=np.float32(50 - 0.01 * np.arange(37)))
    with open_scene(to_netcdf(data, tmp_path / "a")) as scene:
        expected = (0.01, 0, 9.995, 0, -0.01, 50.005)
        np.testing.assert_allclose(scene.grid.transform, expected, rtol=0, atol=1e-5)


def test_one_row_takes_the_width_of_its_pixels(tmp_path: Path) -> None:
    data = variables(numbers(2)).isel(y=slice(0, 1))
    with open_scene(to_zarr(data, tmp_path / "a")) as scene:
        assert scene.grid.transform == PLACE


UNPLACED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "irregular": (
        lambda d: d.assign_coords(x=np.geomspace(1, 100, 41)),
        "the coordinates 'x' are not regular",
    ),
    "none": (lambda d: d.drop_vars(["x", "y"]), "axis 'x' has no coordinates"),
    "words": (
        lambda d: d.assign_coords(y=[f"row {n}" for n in range(37)]),
        "the coordinates 'y' are no numbers",
    ),
    "equal": (lambda d: d.assign_coords(y=Y * 0), "the coordinates 'y' are not regular"),
    "one pixel": (lambda d: d.isel(x=[0], y=[0]), "one pixel does not tell its size"),
}


@pytest.mark.parametrize(("change", "words"), UNPLACED.values(), ids=UNPLACED.keys())
def test_pixels_without_a_place(change: Callable[[Any], Any], words: str, tmp_path: Path) -> None:
    path = to_netcdf(change(variables(numbers(2))), tmp_path / "a")
    told, scene = scene_warning(lambda: open_scene(path), tmp_path)
    assert told == f"a.nc: {words}: a map lies on the pixel grid"
    with scene:
        size = scene.read(slice(None), slice(None))[0].shape[1:]
        assert scene.grid == Grid(*size)


def test_blocks_are_chunks(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    data = cube(numbers(4))
    for path, encoding in [
        (tmp_path / "a.nc", {"chunksizes": (2, 10, 20)}),
        (tmp_path / "b.nc", {}),
    ]:
        data.to_netcdf(path, engine="h5netcdf", encoding={"cube": encoding})
    data.to_zarr(tmp_path / "c.zarr", zarr_format=2, encoding={"cube": {"chunks": (1, 8, 16)}})
    found = []
    for name in ("a.nc", "b.nc", "c.zarr"):
        with open_scene(tmp_path / name) as scene:
            found.append(scene.block)
    assert found == [(10, 20), (1, 41), (8, 16)]


@pytest.mark.parametrize("suffix", ["nc", "nc4", "h5", "hdf5", "ZARR"])
def test_a_folder_of_stores(suffix: str, tmp_path: Path) -> None:
    values = numbers(2)
    save = to_zarr if suffix == "ZARR" else to_netcdf
    for name, plane in zip(("nir", "blue"), values, strict=True):
        save(variables(plane[None], (name,)), tmp_path / f"{name}.{suffix}")
    (tmp_path / "empty.zarr").mkdir()
    assert_reads(tmp_path, values[::-1])
    with open_scene(tmp_path) as scene:
        assert scene.names == ("blue", "nir")


def test_a_store_beside_a_geotiff(tmp_path: Path) -> None:
    values = numbers(3, dtype="int16")
    paths = [
        to_netcdf(variables(values[:2]), tmp_path / "a"),
        write(tmp_path / "b.tif", values[2:]),
    ]
    assert_reads(paths, values)
