"""Which band is which column: names first, then the order with a warning, else one clear error."""

import re
import warnings

import pytest
from torch import nn

from pointwise.errors import DataError, DataWarning
from pointwise.maps import InputBand, PixelModel, match_bands

NAMES = ("blue", "green", "red", "nir")


def model(names=NAMES, ignored=(), named=True, levels=()):
    bands = [
        InputBand(n, ignored=n in ignored, levels=("1", "2") if n in levels else ()) for n in names
    ]
    return PixelModel(network=nn.Identity(), bands=tuple(bands), named=named)


BY_NAME = {
    "same": (model(), NAMES, (0, 1, 2, 3)),
    "swapped": (model(), ("nir", "red", "green", "blue"), (3, 2, 1, 0)),
    "among others": (model(), ("swir", "red", None, "nir", "blue", "green"), (4, 5, 1, 3)),
    "capitals": (model(), ("Blue", "GREEN", "red", " nir"), (0, 1, 2, 3)),
    "capitals that tell": (model(("B", "b")), ("b", "B"), (1, 0)),
    "without the ignored": (model(ignored=["green"]), ("red", "nir", "blue"), (2, 0, 1)),
    "categories last": (model(levels=["blue"]), NAMES, (1, 2, 3, 0)),
}


@pytest.mark.parametrize(("made", "names", "expected"), BY_NAME.values(), ids=BY_NAME.keys())
def test_names_decide(made, names, expected):
    assert match_bands(made, names, where="scene.tif") == expected
    for band, index in zip(made.used, expected, strict=True):
        assert names[index].strip().casefold() == band.name.casefold()


BY_ORDER = {
    "no names": (
        model(),
        (None,) * 4,
        (0, 1, 2, 3),
        "scene.tif: its bands have no names, so they are taken in the order of the training "
        "columns: blue, green, red, nir",
    ),
    "other names": (
        model(),
        ("B2", "B3", "B4", "B8"),
        (0, 1, 2, 3),
        "scene.tif: its bands have names that are no columns of the model ('B2', 'B3', 'B4', "
        "'B8'), so they are taken in the order of the training columns: blue, green, red, nir",
    ),
    "all columns": (
        model(ignored=["green"]),
        (None,) * 4,
        (0, 2, 3),
        "scene.tif: its bands have no names, so they are taken in the order of the training "
        "columns: blue, red, nir",
    ),
    "used columns": (
        model(ignored=["green"]),
        (None,) * 3,
        (0, 1, 2),
        "scene.tif: its bands have no names, so they are taken in the order of the training "
        "columns: blue, red, nir",
    ),
    "a category first": (
        model(levels=["blue"]),
        (None,) * 4,
        (1, 2, 3, 0),
        "scene.tif: its bands have no names, so they are taken in the order of the training "
        "columns: blue, green, red, nir",
    ),
    "numbers for names": (
        model(["band_1", "band_2", "band_3"]),
        (None,) * 3,
        (0, 1, 2),
        "scene.tif: its bands without a name are taken by their place in the scene: band_1, "
        "band_2, band_3",
    ),
    "numbers of which one was dropped": (
        model(["band_3", "band_1"]),
        (None,) * 3,
        (2, 0),
        "scene.tif: its bands without a name are taken by their place in the scene: band_3, band_1",
    ),
    "numbers beside names": (
        model(["red", "band_2", "nir"]),
        ("red", None, "nir"),
        (0, 1, 2),
        "scene.tif: its bands without a name are taken by their place in the scene: band_2",
    ),
    "a name that is a number of another": (
        model(["unnamed_band_1", "band_1", "c"]),
        (None, "band_1", "c"),
        (0, 1, 2),
        "scene.tif: its bands without a name are taken by their place in the scene: unnamed_band_1",
    ),
    "fewer than were numbered": (
        model(["band_1", "band_3"]),
        (None,) * 2,
        (0, 1),
        "scene.tif: its bands have no names, so they are taken in the order of the training "
        "columns: band_1, band_3",
    ),
}


@pytest.mark.parametrize(
    ("made", "names", "expected", "message"), BY_ORDER.values(), ids=BY_ORDER.keys()
)
def test_else_the_order_with_a_warning(made, names, expected, message):
    with pytest.warns(DataWarning, match=f"^{re.escape(message)}$"):
        assert match_bands(made, names, where="scene.tif") == expected


def test_a_model_without_names_takes_the_order_and_says_nothing():
    made = model(named=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert match_bands(made, (None,) * 4, where="the array") == (0, 1, 2, 3)
        assert match_bands(made, ("nir", "b", "c", "blue"), where="a.tif") == (0, 1, 2, 3)


REFUSED = {
    "one missing": (
        model(),
        ("blue", "green", "red"),
        "scene.tif has no band 'nir': the model needs 'blue', 'green', 'red', 'nir', the raster "
        "has 'blue', 'green', 'red'; name the bands as the columns were in training",
    ),
    "some unnamed": (
        model(),
        ("blue", None, "red", None),
        "scene.tif has no band 'green', 'nir': the model needs 'blue', 'green', 'red', 'nir', the "
        "raster has 'blue', one without a name, 'red', one without a name; name the bands as the "
        "columns were in training",
    ),
    "a number at the place of a name": (
        model(["band_1", "dem"]),
        ("dem", None),
        "scene.tif has no band 'band_1': the model needs 'band_1', 'dem', the raster has 'dem', "
        "one without a name; name the bands as the columns were in training",
    ),
    "one for two columns": (
        model(("B", "b")),
        ("b", "c"),
        "scene.tif has no band 'B': the model needs 'B', 'b', the raster has 'b', 'c'; name the "
        "bands as the columns were in training",
    ),
    "twice": (
        model(),
        ("blue", "green", "red", "nir", "red"),
        "scene.tif has more than one band 'red' (bands 3 and 5): give every band a name of its own",
    ),
    "twice but for capitals": (
        model(),
        ("blue", "green", "Red", "nir", "RED"),
        "scene.tif has more than one band 'red' (bands 3 and 5): give every band a name of its own",
    ),
    "too few without names": (
        model(),
        (None,) * 3,
        "scene.tif has 3 bands without names, the model takes 4 ('blue', 'green', 'red', 'nir'): "
        "give the bands that it was fitted on",
    ),
    "one for three of four": (
        model(ignored=["green"]),
        ("B2",),
        "scene.tif has 1 band ('B2'), the model takes 3 ('blue', 'red', 'nir'), or all 4 columns "
        "of the training table: give the bands that it was fitted on",
    ),
    "unnamed model": (
        model(named=False),
        (),
        "scene.tif has 0 bands without names, the model takes 4 ('blue', 'green', 'red', 'nir'): "
        "give the bands that it was fitted on",
    ),
    "many names": (
        model([f"c{i}" for i in range(14)]),
        ("c0",),
        "scene.tif has no band 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9', 'c10', "
        "'c11', 'c12', and 1 more: the model needs 'c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', "
        "'c7', 'c8', 'c9', 'c10', 'c11', and 2 more, the raster has 'c0'; name the bands as the "
        "columns were in training",
    ),
}


@pytest.mark.parametrize(("made", "names", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bands_that_do_not_fit(made, names, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        match_bands(made, names, where="scene.tif")
