"""What maps of xarray rasters say of themselves, and their way through files and parts."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xarray_rasters import (
    NAMES,
    check_same,
    classifier,
    each_kind,
    mapped,
    pixels,
    regressor,
    rioxarray,
    scene,
    xr,
)

from pointwise.maps.arrays import map_array
from pointwise.maps.xarrays.attrs import flag_words
from pointwise.maps.xarrays.blocks import common_type, parts

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
