"""Maps of arrays: nodata values, masks, memory orders, blocks, and what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest
from map_models import predict_pixels, table_model

from pointwise.errors import DataError, DataWarning
from pointwise.maps import InputBand, Predictor, map_array, plan_output, predict_map
from pointwise.nn import MLP

ROWS, COLUMNS = 13, 11


def small_model(**more):
    return table_model((False, True, False), classes=(1, 2, 4), named=False, **more)


def expected_map(model, raster, missing, output="auto"):
    plan = plan_output(model, output)
    flat = raster.reshape(len(raster), -1).astype(np.float64)
    made = predict_pixels(model, plan, flat, missing.reshape(flat.shape))
    return made.reshape(-1, *raster.shape[1:])


def holed_raster(dtype=np.int16, empty=-1):
    rng = np.random.default_rng(0)
    raster = rng.integers(0, 4, (3, ROWS, COLUMNS)).astype(dtype)
    missing = rng.random(raster.shape) < 0.2
    raster[missing] = empty
    return raster, missing


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Several blocks, the last one shorter, and PyTorch alone: nothing is to be compiled."""
    monkeypatch.setattr("pointwise.maps.arrays.BLOCK_VALUES", 3 * COLUMNS * 4)


NODATA = {
    "scalar": (np.int16, -1, -1),
    "a float of the same value": (np.int16, -1, -1.0),
    "255 in uint8": (np.uint8, 255, 255),
    "an array of one number": (np.uint8, 255, np.array(255)),
    "float32": (np.float32, -3.4028234663852886e38, -3.4028234663852886e38),
    "float32 of a double": (np.float32, np.float32(0.1), 0.1),
    "NaN": (np.float32, np.nan, np.nan),
    "NaN that is not declared": (np.float64, np.nan, None),
    "float16": (np.float16, 9, 9),
}


@pytest.mark.parametrize(("dtype", "empty", "nodata"), NODATA.values(), ids=NODATA.keys())
def test_nodata_values(dtype, empty, nodata):
    model = small_model()
    raster, missing = holed_raster(dtype, empty)
    made = map_array(model, raster, nodata=nodata)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made[None], expected_map(model, raster, missing))


def test_a_nodata_value_for_each_band():
    model = small_model()
    raster, missing = holed_raster()
    for band, value in zip(raster, (-1, -2, -3), strict=True):
        band[band == -1] = value
    raster[2, 0, 0] = -1  # of another band: a value like any other here
    missing[2, 0, 0] = False
    made = map_array(model, raster, nodata=[-1, -2, -3])
    np.testing.assert_array_equal(made[None], expected_map(model, raster, missing))
    raster[1][missing[1]] = 1
    made = map_array(model, raster, nodata=(-1, None, -3))
    missing[1] = False
    np.testing.assert_array_equal(made[None], expected_map(model, raster, missing))


@pytest.mark.parametrize("nodata", [-9999, 0.5, 256, 1e40, float("nan")])
def test_nodata_that_a_type_cannot_hold_is_nowhere(nodata):
    model = small_model()
    raster, _ = holed_raster(np.uint8, 0)
    made = map_array(model, raster, nodata=nodata)
    np.testing.assert_array_equal(made, map_array(model, raster))
    assert (made != 0).all()


def test_masked_arrays():
    model = small_model()
    raster, missing = holed_raster()
    hidden = np.ma.MaskedArray(raster, missing)
    made = map_array(model, hidden)
    assert type(made) is np.ndarray
    np.testing.assert_array_equal(made[None], expected_map(model, raster, missing))
    raster = np.where(missing, 1, raster)
    raster[0, 0, :5] = -7
    both = map_array(model, np.ma.MaskedArray(raster, missing), nodata=-7)
    missing[0, 0, :5] = True
    np.testing.assert_array_equal(both[None], expected_map(model, raster, missing))
    plain = np.ma.MaskedArray(np.ones((3, 2, 2), np.uint8))
    assert (map_array(model, plain) != 0).all()


def memory_mapped(array, folder):
    path = folder / "raster.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


ORDERS = {
    "as it is": lambda a, _: a,
    "fortran": lambda a, _: np.asfortranarray(a),
    "columns first": lambda a, _: np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2),
    "bands last": lambda a, _: np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0),
    "backwards": lambda a, _: a[:, ::-1, ::-1].copy()[:, ::-1, ::-1],
    "window": lambda a, _: np.pad(a, ((1, 1), (2, 2), (3, 3)))[1:-1, 2:-2, 3:-3],
    "memory-mapped": memory_mapped,
    "list": lambda a, _: a.tolist(),
    "other bytes": lambda a, _: a.astype(a.dtype.newbyteorder(">")),
}


@pytest.mark.parametrize("output", ["class", "proba"])
@pytest.mark.parametrize("order", ORDERS)
def test_any_memory_order(order, output, tmp_path):
    model = small_model()
    raster, missing = holed_raster()
    laid = ORDERS[order](raster, tmp_path)
    if isinstance(laid, np.ndarray):
        laid.flags.writeable = False
    made = map_array(model, laid, nodata=-1, output=output)
    expected = expected_map(model, raster, missing, output)
    assert made.shape == ((ROWS, COLUMNS) if output == "class" else (3, ROWS, COLUMNS))
    np.testing.assert_allclose(made.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)


SHAPES = {
    "no rows": (0, 5),
    "no columns": (5, 0),
    "one pixel": (1, 1),
    "a pixel without axes": (),
    "a line": (37,),
    "one long row": (1, 500),
    "a volume": (4, 3, 5),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_any_shape(shape):
    model = small_model()
    raster = np.random.default_rng(0).integers(0, 4, (3, *shape)).astype(np.uint8)
    made = map_array(model, raster)
    assert made.shape == shape
    flat = raster.reshape(3, int(np.prod(shape)))
    expected = predict_pixels(model, plan_output(model), flat, np.zeros(flat.shape, bool))
    np.testing.assert_array_equal(made.reshape(1, -1), expected)


def test_bands_of_a_raster_are_put_right():
    model = table_model((False, True, False), classes=(1, 2, 4))
    raster, missing = holed_raster()
    expected = expected_map(model, raster, missing)[0]
    turned = np.stack([raster[2], np.zeros_like(raster[0]), raster[0], raster[1]])
    made = map_array(model, turned, nodata=-1, bands=["b2", "other", "b0", "B1"])
    np.testing.assert_array_equal(made, expected)
    message = (
        "the array: its bands have no names, so they are taken in the order of the training "
        "columns: b0, b1, b2"
    )
    with pytest.warns(DataWarning, match=f"^{re.escape(message)}$"):
        made = map_array(model, raster, nodata=-1)
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (1, ROWS, COLUMNS)])
def test_the_map_can_be_put_somewhere(shape, tmp_path):
    model = small_model()
    raster, missing = holed_raster()
    out = np.lib.format.open_memmap(tmp_path / "map.npy", "w+", np.uint8, shape)
    assert map_array(model, raster, nodata=-1, out=out) is out
    expected = expected_map(model, raster, missing)
    np.testing.assert_array_equal(np.array(out).reshape(expected.shape), expected)


def test_nodata_of_the_map():
    model = small_model()
    raster, _ = holed_raster()
    made = map_array(model, raster, nodata=-1, out_nodata=255)
    plain = map_array(model, raster, nodata=-1)
    np.testing.assert_array_equal(made, np.where(plain == 0, 255, plain))
    proba = map_array(model, raster, nodata=-1, output="proba", out_nodata=-9999)
    np.testing.assert_array_equal(proba == -9999, np.stack([plain == 0] * 3))


def test_one_call_takes_arrays_too():
    raster, _ = holed_raster()
    network = MLP([3, 4, 2], members=1)
    made = predict_map(network, raster, nodata=-1)
    assert (made.shape, made.dtype) == ((2, ROWS, COLUMNS), np.float32)
    np.testing.assert_array_equal(made, map_array(network, raster, nodata=-1))


REFUSED = {
    "bands last": (
        {"raster": np.zeros((20, 30, 3))},
        "a raster must have shape (bands, rows, columns), got (20, 30, 3) with the bands last: "
        "give np.moveaxis(raster, -1, 0)",
    ),
    "too many bands": (
        {"raster": np.zeros((5, 2, 2))},
        "the array has 5 bands without names, the model takes 3 ('b0', 'b1', 'b2'): give the "
        "bands that it was fitted on",
    ),
    "texts": (
        {"raster": np.full((3, 2, 2), "a")},
        "a raster must be numbers of shape (bands, rows, columns), got <U1 of shape (3, 2, 2)",
    ),
    "longer numbers than torch has": (
        {"raster": np.zeros((3, 2, 2), np.longdouble)},
        f"a raster must hold numbers of 64 bits at most, got {np.dtype(np.longdouble)}: give "
        "raster.astype('float64')",
    ),
    "a number": (
        {"raster": 3.0},
        "a raster must be numbers of shape (bands, rows, columns), got float64 of shape ()",
    ),
    "names": (
        {"raster": np.zeros((3, 2, 2)), "bands": ["a"]},
        "bands must name all 3 bands of the raster, got 1",
    ),
    "nodata": (
        {"raster": np.zeros((3, 2, 2)), "nodata": [0, 1]},
        "nodata must be one number, or one for each of the 3 bands of the raster: got 2",
    ),
    "type of out": (
        {"raster": np.zeros((3, 2, 2)), "out": np.zeros((2, 2))},
        "out must hold uint8 of shape (2, 2), got float64 of shape (2, 2)",
    ),
    "shape of out": (
        {"raster": np.zeros((3, 2, 2)), "out": np.zeros((3, 2), np.uint8)},
        "out must hold uint8 of shape (2, 2), got uint8 of shape (3, 2)",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_arrays_that_do_not_fit(arguments, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        map_array(small_model(), **arguments)


REFUSED_CALLS = {
    "no out": (("a.tif",), {}, "a map of files is written to a file: give out='map.tif'"),
    "nodata of files": (
        (["a.tif", "b.tif"],),
        {"nodata": 0, "out": "map.tif"},
        "nodata is for arrays: files and DataArrays bring their own",
    ),
    "bands of files": (
        ("a.tif",),
        {"bands": ["a"], "out": "map.tif"},
        "bands is for arrays: files and DataArrays bring their own",
    ),
}


@pytest.mark.parametrize(
    ("raster", "more", "message"), REFUSED_CALLS.values(), ids=REFUSED_CALLS.keys()
)
def test_calls_that_say_too_little_or_too_much(raster, more, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        predict_map(small_model(), *raster, **more)


def test_a_data_array_is_not_put_somewhere():
    xarray = pytest.importorskip("xarray")
    raster = xarray.DataArray(np.zeros((3, 2, 2)), dims=("band", "y", "x"))
    message = "out is for arrays and files: assign the DataArray that comes back"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        predict_map(small_model(), raster, out=np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize(
    ("few", "engine", "expected"),
    [
        (1e12, "auto", "chunks"),
        (0, "auto", "auto"),
        (0, "chunks", "chunks"),
        (1e12, "fused", "fused"),
    ],
)
def test_a_small_map_is_not_compiled_for(few, engine, expected, monkeypatch):
    asked = []

    class Seen(Predictor):
        def __init__(self, model, output, *, engine):
            asked.append(engine)
            super().__init__(model, output, engine="chunks")

    monkeypatch.setattr("pointwise.maps.arrays.Predictor", Seen)
    monkeypatch.setattr("pointwise.runtime.compiled.FEW_MACS", few)
    map_array(small_model(), np.zeros((3, 4, 4)), engine=engine)
    assert asked == [expected]


# --- Far outside of the training ---


def ranged_model():
    model = small_model()
    bands = [InputBand(band.name, gaps=band.gaps, low=0.0, high=4.0) for band in model.bands]
    return replace(model, bands=tuple(bands))


@pytest.mark.parametrize("shape", [(), (50,), (ROWS, COLUMNS), (200, 300)], ids=len)
def test_other_units_are_told(shape):
    raster = np.ones((3, *shape), np.float32)
    raster[1] = 4000
    message = (
        "the array: 100 % of a sample of band 'b1' lie far outside the training range (0 to 4): "
        "their predictions are guesses; is it in the units of the training?"
    )
    with pytest.warns(DataWarning, match=f"^{re.escape(message)}$"):
        map_array(ranged_model(), raster)


def test_nothing_is_told_of_few_pixels_nor_of_nodata():
    raster = np.ones((3, 20, 20), np.float32)
    raster[1, 0, :10] = 4000  # one in twenty of those that are there
    raster[:, 5:15] = -9999
    raster[0, :, 0] = np.nan
    assert map_array(ranged_model(), raster, nodata=-9999).any()
    hidden = np.ma.MaskedArray(raster, raster == -9999)
    assert map_array(ranged_model(), hidden).any()
