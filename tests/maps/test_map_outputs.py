"""What a map holds: numbers of classes, nodata, names of bands, and what is refused."""

import math
import re

import numpy as np
import pytest
from map_models import table_model
from torch import nn

from pointwise.errors import DataError
from pointwise.maps import InputBand, PixelModel, as_pixel_model, plan_output
from pointwise.nn import MLP


def classifier(classes):
    bands = (InputBand("a"),)
    return PixelModel(network=nn.Identity(), bands=bands, classes=tuple(classes))


CLASSES = {
    "from one": ([1, 2, 3], "uint8", 0, [1, 2, 3]),
    "with zero": ([0, 1], "uint8", 255, [0, 1]),
    "zero and 255": ([0, 255], "uint8", 254, [0, 255]),
    "all of uint8": (range(256), "uint16", 65535, list(range(256))),
    "from one to 255": (range(1, 256), "uint8", 0, list(range(1, 256))),
    "above 255": ([0, 300], "uint16", 65535, [0, 300]),
    "negative": ([-1, 4], "uint8", 0, [1, 2]),
    "large": ([7, 70000], "uint8", 0, [1, 2]),
    "whole floats": ([1.0, 4.0], "uint8", 0, [1, 4]),
    "broken floats": ([0.5, 1.0], "uint8", 0, [1, 2]),
    "texts": (["b", "a"], "uint8", 0, [1, 2]),
    "texts of numbers": (["7", "9"], "uint8", 0, [1, 2]),
    "truth values": ([False, True], "uint8", 255, [0, 1]),
    "300 texts": ([f"c{i}" for i in range(300)], "uint16", 0, list(range(1, 301))),
    "none that is a number": ([None, 3], "uint8", 0, [1, 2]),
}


@pytest.mark.parametrize(
    ("classes", "dtype", "nodata", "numbers"), CLASSES.values(), ids=CLASSES.keys()
)
def test_numbers_of_classes(classes, dtype, nodata, numbers):
    output = plan_output(classifier(classes))
    assert (output.kind, output.bands, output.dtype) == ("class", ("class",), np.dtype(dtype))
    assert output.nodata == nodata
    assert list(output.codes) == numbers
    assert list(output.codes.values()) == list(classes)
    assert output.nodata not in output.codes
    assert output.colours.keys() == output.codes.keys()


GIVEN = {
    "free": ([1, 2], 255, "uint8", [1, 2]),
    "texts make room": (["a", "b", "c"], 2, "uint8", [1, 3, 4]),
    "beyond uint8": (["a", "b"], 65535, "uint16", [1, 2]),
    "a whole float": (["a", "b"], 9.0, "uint8", [1, 2]),
}


@pytest.mark.parametrize(
    ("classes", "nodata", "dtype", "numbers"), GIVEN.values(), ids=GIVEN.keys()
)
def test_nodata_of_a_class_map_that_is_asked_for(classes, nodata, dtype, numbers):
    output = plan_output(classifier(classes), nodata=nodata)
    assert (output.dtype, output.nodata, list(output.codes)) == (dtype, nodata, numbers)


def test_colours_differ_and_then_repeat():
    colours = list(plan_output(classifier(range(1, 31))).colours.values())
    assert colours[:2] == [(0, 114, 178), (230, 159, 0)]
    assert len(set(colours)) == 20
    assert colours[20:] == colours[:10]


def test_bands_of_numbers():
    model = table_model(targets=("height", "age"), members=3)
    plain, spread = plan_output(model), plan_output(model, spread=True)
    assert plain.bands == ("height", "age")
    assert spread.bands == ("height", "age", "height_spread", "age_spread")
    assert (plain.kind, plain.dtype, plain.codes) == ("value", np.float32, {})
    assert math.isnan(plain.nodata)
    proba = plan_output(table_model(classes=(1, "b"), members=2), "proba", spread=True)
    assert proba.bands == ("proba_1", "proba_b", "proba_1_spread", "proba_b_spread")
    assert plan_output(model, nodata=-9999).nodata == -9999
    assert plan_output(model, nodata=0.1).nodata == float(np.float32(0.1))


REFUSED = {
    "unknown": (
        {},
        {"output": "mean"},
        "output must be one of auto, class, proba, value, got 'mean'",
    ),
    "classes of numbers": (
        {},
        {"output": "class"},
        "a regressor has no classes to map: ask for output='value', not 'class'",
    ),
    "probabilities of numbers": (
        {},
        {"output": "proba"},
        "a regressor has no classes to map: ask for output='value', not 'proba'",
    ),
    "values of classes": (
        {"classes": (1, 2)},
        {"output": "value"},
        "a classifier has no values to map: ask for output='class' or 'proba'",
    ),
    "spread of classes": (
        {"classes": (1, 2), "members": 2},
        {"spread": True},
        "a class map has no band for the spread over members: ask for output='proba'",
    ),
    "spread of one": (
        {},
        {"spread": True},
        "a spread needs a model of several members: this one has 1",
    ),
    "nodata is a class": (
        {"classes": (0, 1)},
        {"nodata": 0},
        "nodata 0 is the number of a class: choose another, such as 255",
    ),
    "nodata is negative": (
        {"classes": (0, 1)},
        {"nodata": -9999},
        "nodata of a class map must be a whole number from 0 to 65535, got -9999",
    ),
    "nodata is NaN": (
        {"classes": (0, 1)},
        {"nodata": math.nan},
        "nodata of a class map must be a whole number from 0 to 65535, got nan",
    ),
    "nodata is infinite": (
        {"classes": (0, 1)},
        {"nodata": math.inf},
        "nodata of a class map must be a whole number from 0 to 65535, got inf",
    ),
    "nodata is a probability": (
        {"classes": (0, 1)},
        {"output": "proba", "nodata": 0},
        "nodata of a map of probabilities must lie outside of 0 to 1, or be NaN: got 0",
    ),
    "nodata is too large": (
        {},
        {"nodata": 1e39},
        "nodata of this map must be a number that float32 holds, got 1e+39",
    ),
}


@pytest.mark.parametrize(("made", "asked", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_maps_that_cannot_be(made, asked, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        plan_output(table_model(**made), **asked)


def test_more_classes_than_numbers():
    with pytest.raises(
        DataError, match=r"^the classes take all 65,536 numbers of a class map: none is left$"
    ):
        plan_output(classifier(range(65536)))
    with pytest.raises(
        DataError, match=r"^a class map can hold at most 65,535 classes, got 65,536$"
    ):
        plan_output(classifier(str(i) for i in range(65536)))


# --- Models ---


def test_a_network_becomes_a_model():
    network = MLP([3, 8, 4], members=2, dropout=0.5)
    model = as_pixel_model(network, bands=["a", "b", "c"], classes=np.arange(4), members=2)
    assert [band.name for band in model.used] == ["a", "b", "c"]
    assert (model.classes, model.outputs, model.name) == ((0, 1, 2, 3), 4, "MLP")
    assert model.named
    assert not model.network.training
    assert network.training
    assert as_pixel_model(model) is model


def test_a_network_without_names():
    model = as_pixel_model(MLP([2, 6]), members=2, name="mine")
    assert [band.name for band in model.bands] == ["x0", "x1"]
    assert (model.targets, model.name, model.named) == (
        ("value1", "value2", "value3"),
        "mine",
        False,
    )
    assert as_pixel_model(MLP([2, 1])).targets == ("value",)
    assert as_pixel_model(MLP([2, 2]), targets=["u", "v"]).targets == ("u", "v")


def test_classes_may_be_of_a_target():
    named = as_pixel_model(MLP([2, 3]), classes=["a", "b", "c"], targets=["cover"])
    assert (named.target, plan_output(named).target) == ("cover", "cover")
    assert plan_output(named).bands == ("class",)
    assert plan_output(as_pixel_model(MLP([2, 3]), classes=["a", "b", "c"])).target == ""


BAD_MODELS = {
    "targets of classes": (
        lambda: as_pixel_model(MLP([2, 3]), classes=["a", "b", "c"], targets=["u", "v"]),
        "classes are of one target, got 2: u, v",
    ),
    "bands": (
        lambda: as_pixel_model(MLP([3, 1]), bands=["red", "nir"]),
        "the network takes 3 channels, got 2 bands: red, nir",
    ),
    "classes": (
        lambda: as_pixel_model(MLP([3, 4]), classes=["u", "v"]),
        "the network puts out 4 channels, not 1 x 2 (members x classes): "
        "give as many classes as a member has outputs",
    ),
    "members": (
        lambda: as_pixel_model(MLP([3, 4]), members=3),
        "the network puts out 4 channels, not 3 x 1 (members x targets): "
        "give as many targets as a member has outputs",
    ),
    "unknown channels": (
        lambda: as_pixel_model(nn.Conv2d(3, 1, 3)),
        "the input channels of Conv2d cannot be read from it: name its bands",
    ),
    "nothing left": (
        lambda: PixelModel(network=nn.Identity(), bands=(InputBand("a", ignored=True),)),
        "a pixel model must take at least one band, got none",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD_MODELS.values(), ids=BAD_MODELS.keys())
def test_models_that_do_not_fit_together(make, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        make()


def test_what_is_no_model():
    with pytest.raises(
        TypeError,
        match=r"^a map needs a fitted estimator for tables, a PixelModel or a network of 1x1s, "
        "got int$",
    ):
        as_pixel_model(3)
