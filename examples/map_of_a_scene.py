"""A map of a scene from a few labelled pixels, as an array and as a file with its picture.

Shows how a model fitted on rows maps a raster: the bands are the columns, a pixel that lacks a band
has no class, and a file of any size gives the same map as the array, with its names and colours.

Run: python examples/map_of_a_scene.py  (writes scene.tif, map.tif and map.png here)
"""

import numpy as np
import pandas as pd
import rasterio

from pointwise.estimators import PointwiseClassifier
from pointwise.maps.previews import write_preview

BANDS = ("green", "red", "infrared")
COLOURS = {"water": (60, 40, 20), "forest": (40, 35, 160), "field": (80, 110, 120)}
ROWS, COLUMNS, EMPTY = 120, 160, 0


def invented_scene() -> tuple[np.ndarray, np.ndarray]:
    """Three bands with noise over fields, a forest and a lake, and what each pixel really is."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    truth = np.full((ROWS, COLUMNS), "field", object)
    truth[x + 12 * np.sin(y / 9) > 90] = "forest"
    truth[(y - 45) ** 2 + (x - 70) ** 2 < 900] = "water"
    clean = np.array([COLOURS[name] for name in truth.ravel()]).T.reshape(3, ROWS, COLUMNS)
    scene = np.clip(clean + rng.normal(0, 9, clean.shape), 1, 255).astype(np.uint8)
    scene[:, y + x < 40] = EMPTY  # the corner that the satellite did not see
    return scene, truth


def main() -> None:
    scene, truth = invented_scene()
    seen = (scene != EMPTY).all(0)

    rows = np.random.default_rng(1).choice(np.flatnonzero(seen), 400, replace=False)
    table = pd.DataFrame(scene.reshape(3, -1).T[rows], columns=BANDS)
    model = PointwiseClassifier(members=4, hidden=(32,), max_epochs=40, random_state=0)
    model.fit(table, truth.ravel()[rows])
    print(f"fitted on {len(table)} of {seen.sum():,} pixels: {', '.join(model.classes_)}")

    numbers = model.predict_map(scene, nodata=EMPTY, bands=BANDS)
    names = np.array(["", *model.classes_], object)[numbers]
    print(f"an array of {numbers.dtype}, {(numbers == 0).sum()} pixels without a class")
    print(f"{(names == truth)[seen].mean():.1%} of the others are right")

    shape = {"height": ROWS, "width": COLUMNS, "count": 3, "dtype": "uint8", "nodata": EMPTY}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open("scene.tif", "w", driver="GTiff", **shape, **place) as file:
        file.write(scene)
        file.descriptions = BANDS
    made = model.predict_map("scene.tif", out="map.tif")
    with rasterio.open("map.tif") as file:
        same = bool((file.read(1) == numbers).all())
        codes = {key: name for key, name in file.tags(1).items() if key.startswith("CLASS")}
    print(f"map.tif: {made.width} x {made.height} pixels, as the array: {same}, {codes}")
    picture = write_preview("map.tif", "map.png", title="An invented scene")
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
