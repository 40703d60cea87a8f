"""Rasters, models and the maps they should give, for the tests of map files."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from pointwise.data.scenes import open_scene
from pointwise.maps import InputBand, PixelModel, as_pixel_model, map_array, plan_output
from pointwise.maps.files import MapSummary, map_files
from pointwise.nn import MLP

BANDS = ("blue", "green", "red")
NODATA = 9999
NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_600_000.0)


def small_model(*, kind: str = "class", channels: tuple[int, ...] = (3, 8)) -> PixelModel:
    """A classifier of four classes, or a regressor of two targets; ``red`` may be missing."""
    torch.manual_seed(1)
    bands = [InputBand(name, gaps=name == "red") for name in BANDS]
    if kind == "value":
        return as_pixel_model(MLP([*channels, 2]), bands=bands, targets=["height", "age"])
    classes = ["water", "forest", "town & <field>", "Düne"]
    return as_pixel_model(MLP([*channels, 4]), bands=bands, classes=classes, name="model-a")


def pixels(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint16]:
    """Three bands, some pixels of each nodata, and a corner where all are."""
    draws = np.random.default_rng(seed)
    values = draws.integers(0, 9, (3, height, width)).astype(np.uint16)
    values[draws.random(values.shape) < 0.05] = NODATA
    values[:, : height // 3, : width // 3] = NODATA
    return values


def write_raster(
    path: Path,
    values: NDArray[Any],
    *,
    names: tuple[str, ...] = BANDS,
    transform: tuple[float, ...] = NORTH_UP,
    **profile: Any,
) -> Path:
    count, height, width = values.shape
    settings = {"crs": "EPSG:32633", "nodata": NODATA, "driver": "GTiff", **profile}
    with rasterio.open(
        path,
        "w",
        **settings,
        height=height,
        width=width,
        count=count,
        dtype=values.dtype.name,
        transform=rasterio.Affine(*transform),
    ) as dataset:
        for number, name in enumerate(names, 1):
            dataset.set_band_description(number, name)
        dataset.write(values)
    return path


def map_to(
    out: Path, paths: Any, model: PixelModel | None = None, *, asked: Any = "auto", **options: Any
) -> MapSummary:
    model = small_model() if model is None else model
    with open_scene(paths) as scene:
        plan = plan_output(model, asked)
        return map_files(model, scene, out, output=plan, engine="chunks", **options)


def array_map(model: PixelModel, values: NDArray[Any], *, asked: Any = "auto") -> NDArray[Any]:
    """The map of the whole array, ``(B, rows, columns)``."""
    made = map_array(model, values, nodata=NODATA, bands=BANDS, output=asked, engine="chunks")
    return made.reshape(-1, *values.shape[1:])


def read_map(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        return dataset.read()
