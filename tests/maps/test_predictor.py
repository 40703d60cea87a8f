"""Predictions of pixels against the rule written down for one pixel at a time."""

import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from map_models import predict_pixels, table_model
from torch import nn

from pointwise.errors import DataError
from pointwise.maps import InputBand, PixelModel, Predictor, as_pixel_model, plan_output
from pointwise.nn import MLP

GAPS = {
    "none": (False, False, False),
    "one": (False, True, False),
    "two": (True, True, False),
    "all": (True, True, True),
}
KINDS = {
    "class": ({"classes": (1, 2, 5)}, "class", False),
    "proba": ({"classes": ("a", "b", "c")}, "proba", False),
    "proba and spread": ({"classes": ("a", "b", "c"), "members": 3}, "proba", True),
    "class of members": ({"classes": (1, 2, 5), "members": 3}, "class", False),
    "value": ({}, "value", False),
    "values": ({"targets": ("height", "age")}, "value", False),
    "values of members": ({"targets": ("height", "age"), "members": 3}, "value", False),
    "values and spread": ({"targets": ("height", "age"), "members": 3}, "value", True),
}
each_engine = pytest.mark.parametrize("engine", ["auto", "chunks"])


def case(kind, gaps):
    arguments, output, spread = KINDS[kind]
    model = table_model(GAPS[gaps], **arguments)
    return model, plan_output(model, output, spread=spread)


def some_pixels(bands=3, count=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(bands, count)), rng.random((bands, count)) < 0.3


def assert_predicted(made, model, output, pixels, missing):
    expected = predict_pixels(model, output, pixels, missing)
    assert made.dtype == output.dtype
    if output.kind == "class":
        np.testing.assert_array_equal(made, expected)
    else:
        np.testing.assert_allclose(made, expected, rtol=2e-5, atol=2e-5)


RULES = [(kind, gaps, "chunks") for kind in KINDS for gaps in GAPS]
FUSED = [(kind, "one", "auto") for kind in KINDS]  # each is compiled, which takes a while


@pytest.mark.parametrize(("kind", "gaps", "engine"), [*RULES, *FUSED])
def test_every_pixel_follows_the_rule(kind, gaps, engine):
    model, output = case(kind, gaps)
    pixels, missing = some_pixels()
    predictor = Predictor(model, output, engine=engine)
    made = predictor(pixels.reshape(3, 5, 8), missing.reshape(3, 5, 8))
    assert made.shape == (len(output.bands), 5, 8)
    assert_predicted(made.reshape(-1, 40), model, output, pixels, missing)


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf, 3e38, -1.7e308])
def test_what_is_no_finite_number_is_missing(gaps, lost):
    model, output = case("class", gaps)
    pixels, missing = some_pixels()
    holed = np.where(missing, lost, pixels)
    assert_predicted(
        Predictor(model, output, engine="chunks")(holed), model, output, pixels, missing
    )


@settings(max_examples=60)
@given(
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.booleans(),
)
def test_nan_and_mask_add_up(gaps, masked, lost, shared):
    model = table_model(tuple(gaps))
    output = plan_output(model)
    pixels = np.linspace(-2, 2, 12).reshape(3, 4)
    mask = np.array(masked).reshape(3, 4)[: 1 if shared else 3]
    nan = np.array(lost).reshape(3, 4)
    made = Predictor(model, output, engine="chunks")(np.where(nan, np.nan, pixels), mask)
    assert_predicted(made, model, output, pixels, mask | nan)


@pytest.mark.parametrize(
    "dtype",
    ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">i2", ">f4", "?"],
)
@pytest.mark.parametrize("gaps", ["none", "one"])
def test_every_type_of_pixel(dtype, gaps):
    engine = "auto" if (dtype, gaps) in (("u2", "none"), ("f8", "none")) else "chunks"
    model, output = case("value", gaps)
    pixels = np.random.default_rng(0).integers(0, 2, (3, 700)).astype(dtype)
    missing = np.random.default_rng(1).random((3, 700)) < 0.2
    made = Predictor(model, output, engine=engine)(pixels, missing)
    assert_predicted(made, model, output, pixels.astype(np.float64), missing)


def test_offsets_are_subtracted_in_double_precision():
    base = 1e9
    model = table_model((False, True), offsets=(base, base))
    output = plan_output(model)
    pixels = base + np.linspace(-1, 1, 80).reshape(2, 40)
    missing = np.random.default_rng(0).random((2, 40)) < 0.2
    made = Predictor(model, output, engine="chunks")(pixels, missing)
    assert_predicted(made, model, output, pixels, missing)
    assert len(np.unique(made)) > 20


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "i8", "f4", "f8", ">u2"])
@pytest.mark.parametrize("level_gaps", [False, True], ids=["complete", "gaps"])
def test_categories_are_numbers_in_a_raster(dtype, level_gaps):
    model = table_model((False,), levels=("10", "2", "3.0", "007"), level_gaps=level_gaps)
    output = plan_output(model)
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, 4, 60), rng.choice([2, 3, 7, 10, 99], 60)]).astype(dtype)
    missing = rng.random((2, 60)) < 0.2
    made = Predictor(model, output, engine="chunks")(pixels, missing)
    assert_predicted(made, model, output, pixels.astype(np.float64), missing)


def test_negative_levels_of_a_small_type():
    model = table_model((False,), levels=("-1", "-128", "127"))
    output = plan_output(model)
    pixels = np.array([[0, 0, 0, 0], [-1, -128, 127, 5]], np.int8)
    made = Predictor(model, output, engine="chunks")(pixels)
    assert_predicted(made, model, output, pixels.astype(float), np.zeros((2, 4), bool))


def test_categories_come_after_numbers_wherever_their_column_stood():
    model = table_model((False,), levels=("1", "2"))
    turned = PixelModel(network=model.network, bands=model.bands[::-1])
    assert [band.name for band in turned.used] == ["b0", "soil"]
    pixels = np.array([[0.3, 0.7], [1, 2]])
    output = plan_output(model)
    np.testing.assert_array_equal(
        Predictor(turned, output, engine="chunks")(pixels),
        Predictor(model, output, engine="chunks")(pixels),
    )


BAD_LEVELS = {
    "texts": (
        ("clay", "loam"),
        "column 'soil' held texts in training ('clay', 'loam'), but a raster holds numbers: "
        "fit on numbers in their place, or leave the column out",
    ),
    "not finite": (
        ("nan", "inf"),
        "column 'soil' held texts in training ('nan', 'inf'), but a raster holds numbers: "
        "fit on numbers in their place, or leave the column out",
    ),
    "twice": (
        ("3", "03", "4"),
        "levels '3' and '03' of column 'soil' are the same number in a raster: write them alike, "
        "and fit again",
    ),
}


@pytest.mark.parametrize(("levels", "message"), BAD_LEVELS.values(), ids=BAD_LEVELS.keys())
def test_levels_that_no_raster_has(levels, message):
    model = table_model((False,), levels=levels)
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Predictor(model, plan_output(model))


def test_truth_values_are_one_and_zero():
    model = table_model((False,), levels=("False", "True"))
    as_numbers = PixelModel(
        network=model.network, bands=(model.bands[0], InputBand("soil", levels=("0", "1")))
    )
    pixels = np.array([[0.5, 0.5, 0.5], [0, 1, 2]])
    output = plan_output(model)
    np.testing.assert_array_equal(
        Predictor(model, output, engine="chunks")(pixels),
        Predictor(as_numbers, output, engine="chunks")(pixels),
    )


SHAPES = {"pixel": (), "row": (7,), "plane": (4, 6), "volume": (2, 3, 4), "nothing": (0, 5)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_any_number_of_axes(shape):
    model, output = case("values", "none")
    pixels = np.random.default_rng(0).normal(size=(3, *shape))
    made = Predictor(model, output, engine="chunks")(pixels)
    assert made.shape == (2, *shape)
    flat = pixels.reshape(3, -1) if pixels.size else pixels.reshape(3, 0)
    expected = predict_pixels(model, output, flat, np.zeros(flat.shape, bool))
    np.testing.assert_allclose(made.reshape(expected.shape), expected, rtol=2e-5, atol=2e-5)


LAYOUTS = {
    "fortran": lambda a: np.asfortranarray(a),
    "bands last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0),
    "window": lambda a: np.pad(a, ((0, 0), (1, 2), (3, 1)))[:, 1:-2, 3:-1],
    "turned": lambda a: np.ascontiguousarray(a[:, ::-1, ::-1])[:, ::-1, ::-1],
    "every other": lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
}


@pytest.mark.parametrize("kind", ["values", "class"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_order_in_and_out(layout, kind):
    model, output = case(kind, "one")
    pixels, missing = some_pixels(count=15 * 40)
    pixels, missing = pixels.reshape(3, 15, 40), missing.reshape(3, 15, 40)
    expected = Predictor(model, output, engine="chunks")(pixels, missing)
    turn = LAYOUTS[layout]
    laid = turn(pixels)
    laid.flags.writeable = False
    out = turn(np.zeros_like(expected))
    predictor = Predictor(model, output, engine="chunks")
    assert predictor(laid, turn(missing), out=out) is out
    rounding = 1e-6 * np.nanmax(np.abs(expected))  # processors sum in different orders
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=rounding)


def test_many_pieces_are_one_map(monkeypatch):
    model, output = case("class", "one")
    pixels, missing = some_pixels(count=1000)
    whole = Predictor(model, output, engine="chunks")(pixels, missing)
    monkeypatch.setattr("pointwise.maps.predictor.SHORTEST", 64)
    monkeypatch.setattr("pointwise.maps.predictor.LONGEST", 64)
    np.testing.assert_array_equal(Predictor(model, output, engine="chunks")(pixels, missing), whole)


def test_a_piece_without_values_is_nodata_alone():
    model, output = case("class", "all")
    made = Predictor(model, output, engine="chunks")(np.full((3, 5), np.nan))
    np.testing.assert_array_equal(made, np.zeros((1, 5), np.uint8))


def test_it_travels_and_stays_the_same():
    model, output = case("proba and spread", "one")
    predictor = Predictor(model, output, engine="chunks")
    pixels, missing = some_pixels()
    copied = pickle.loads(pickle.dumps(predictor))
    assert copied.engine == "chunks"
    np.testing.assert_array_equal(copied(pixels, missing), predictor(pixels, missing))


@each_engine
def test_several_threads_at_once(engine):
    model, output = case("class of members", "one")
    predictor = Predictor(model, output, engine=engine)
    inputs = [some_pixels(count=3000, seed=seed) for seed in range(8)]
    expected = [predictor(*one) for one in inputs]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda one: predictor(*one), inputs * 3))
    for one, other in zip(made, expected * 3, strict=True):
        np.testing.assert_array_equal(one, other)


# --- Networks ---


def test_a_network_in_training_predicts_without_dropout():
    network = MLP([3, 8, 1], dropout=0.9).train()
    model = PixelModel(network=network, bands=tuple(InputBand(n) for n in "abc"))
    pixels = np.random.default_rng(0).normal(size=(3, 50))
    made = Predictor(model, plan_output(model), engine="chunks")(pixels)
    assert network.training
    expected = network.eval()(torch.tensor(pixels.T, dtype=torch.float32)).detach().numpy().T
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


class Odd(nn.Module):
    """A pointwise map that no reader knows."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).sin()


FOREIGN = {
    "any axes": Odd(MLP([3, 6, 4])),
    "images": Odd(nn.Conv2d(3, 4, 1)),
    "signals": Odd(nn.Conv1d(3, 4, 1)),
    "volumes": Odd(nn.Conv3d(3, 4, 1)),
    "rows": Odd(nn.Sequential(nn.Linear(3, 9), nn.Linear(9, 4))),
    "double": Odd(nn.Conv2d(3, 4, 1)).double(),
}


@pytest.mark.parametrize("output", ["class", "proba"])
@pytest.mark.parametrize("network", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_network_that_is_no_chain_runs_as_it_is(network, output):
    model = as_pixel_model(network, bands=["a", "b", "c"], classes=["u", "v"], members=2)
    plan = plan_output(model, output)
    predictor = Predictor(model, plan, engine="chunks")
    assert predictor.engine == "network"
    pixels, missing = some_pixels()
    rows = torch.tensor(pixels.T, dtype=next(network.parameters()).dtype)
    for axes in range(2, 6):
        try:
            y = network(rows.reshape(*rows.shape, *[1] * (axes - 2))).reshape(-1, 2, 2)
            break
        except RuntimeError:
            continue
    proba = y.softmax(2).mean(1).detach().numpy().T
    expected = proba.argmax(0)[None] + 1 if output == "class" else proba
    expected = np.where(missing.any(0), plan.nodata, expected)
    np.testing.assert_allclose(predictor(pixels, missing), expected, rtol=1e-5, atol=1e-6)


BAD_NETWORKS = {
    "neighbours": (
        nn.Conv2d(2, 1, 3, padding=1),
        "Conv2d cannot map pixels one by one: what it gives for a pixel depends on other pixels; "
        "it must take 2 channels and give 1 at every position",
    ),
    "fewer outputs": (
        Odd(nn.Conv2d(2, 1, 1, stride=2)),
        "Odd cannot map pixels one by one: it gives (1, 12) for 2 bands of 24 pixels; "
        "it must take 2 channels and give 1 at every position",
    ),
}


@pytest.mark.parametrize(("network", "message"), BAD_NETWORKS.values(), ids=BAD_NETWORKS.keys())
def test_networks_that_look_further_than_a_pixel(network, message):
    model = as_pixel_model(network, bands=["a", "b"])
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Predictor(model, plan_output(model), engine="chunks")


def test_the_fused_engine_is_not_forced_on_what_it_cannot_run():
    model = as_pixel_model(Odd(nn.Conv2d(2, 1, 1)), bands=["a", "b"])
    with pytest.raises(ValueError, match=r"^the fused engine cannot run this network: Odd is not"):
        Predictor(model, plan_output(model), engine="fused")
    with pytest.raises(
        ValueError, match=r"^engine must be one of auto, fused, chunks, got 'fast'$"
    ):
        Predictor(model, plan_output(model), engine="fast")


BAD_CALLS = {
    "bands": (
        {"values": np.zeros((2, 5))},
        "pixels must have shape (3, *S), one channel for each of the model's bands; got (2, 5)",
    ),
    "texts": ({"values": np.full((3, 2), "a")}, "pixels must be numbers, got <U1"),
    "mask": (
        {"values": np.zeros((3, 5)), "missing": np.zeros((2, 5), bool)},
        "missing must hold bool of shape (3, 5) or (1, 5), got bool of shape (2, 5)",
    ),
    "mask of numbers": (
        {"values": np.zeros((3, 5)), "missing": np.zeros((3, 5))},
        "missing must hold bool of shape (3, 5) or (1, 5), got float64 of shape (3, 5)",
    ),
    "out": (
        {"values": np.zeros((3, 5)), "out": np.zeros((1, 5))},
        "out must hold float32 of shape (1, 5), got float64 of shape (1, 5)",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_calls_that_do_not_fit(arguments, message):
    model, output = case("value", "none")
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Predictor(model, output, engine="chunks")(**arguments)
