"""Maps of rasters: speed beside other libraries, memory and files, first calls, accuracy.

    python benchmarks/maps.py [speed] [files] [calls] [accuracy] [--side 20000] [--folder FOLDER]

Without names all parts run. Contenders take turns in one run; medians are compared. ``files`` makes
a raster of SIDE x SIDE x 6 uint16 (4.8 GB at 20,000) in FOLDER and removes it again. Peers that are
not installed are left out, and named. It needs the extras ``raster`` and ``fast``.
"""

import argparse
import importlib.metadata
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

from map_accuracy import print_accuracy
from map_peers import (
    PACKAGES,
    contenders,
    installed,
    pyspatialml_map,
    same_network,
    write_image,
)
from pointwise.inspection.timing import speedup, take_turns
from pointwise.maps import as_pixel_model, map_array, predict_map
from pointwise.nn import MLP

Array = NDArray[Any]

NETWORKS: dict[str, tuple[tuple[int, ...], int]] = {
    "4-16-8-1": ((4, 16, 8, 1), 0),
    "12-64-64-10, classes": ((12, 64, 64, 10), 10),
    "10-100-100-3": ((10, 100, 100, 3), 0),
}

FILE_NETWORKS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "6-16-8-1, values": ((6, 16, 8, 1), 0, 1),
    "6-64-64-7, classes": ((6, 64, 64, 7), 7, 1),
    "16 members of 6-128-128-7, classes": ((6, 128, 128, 7), 7, 16),
}
"""Channels, classes and members; the last is the size of an estimator on defaults."""

WAYS = (("pixel", "none"), ("band", "none"), ("band", "deflate"), ("band", "zstd"))
"""How the bands of the scene lie in the file, and the compression of the map."""

SIDE = 2_048
SMALL = 2_000
IN_MEMORY = 4_000


def print_speed(seconds: float) -> None:
    """Time the same network in memory, side by side."""
    print(f"\n## Speed: {SIDE:,} x {SIDE:,} pixels, float32, {torch.get_num_threads()} thread(s)\n")
    names = ["scikit-learn", *(name for name in PACKAGES if installed(name))]
    print("| network | pointwise, Mpx/s | " + " | ".join(f"against {n}" for n in names) + " |")
    print("| --- | ---: |" + " ---: |" * len(names))
    for network, (widths, classes) in NETWORKS.items():
        theirs, ours = same_network(widths, classes)
        image = np.random.default_rng(1).normal(size=(widths[0], SIDE, SIDE)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            calls = contenders(theirs, ours, image, Path(folder))
            check_agreement(calls, classes)
            taken = take_turns(calls, seconds=seconds, fewest=5)
        rate = SIDE**2 / 1e6 / statistics.median(taken["pointwise"])
        won = [str(speedup(taken[name], taken["pointwise"])) for name in names]
        print(f"| {network} | {rate:.1f} | {' | '.join(won)} |", flush=True)


def check_agreement(calls: dict[str, Callable[[], Any]], classes: int) -> None:
    """Whether all map the same."""
    made = {name: np.squeeze(np.asarray(call())) for name, call in calls.items()}
    ours = made["pointwise"]
    for name, theirs in made.items():
        if classes:
            assert (theirs == ours).mean() > 0.9999, name
        else:
            np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4, err_msg=name)


def print_files(side: int, folder: Path) -> None:
    """Map files of two sizes, each in a process of its own, and the same in memory."""
    cores = len(os.sched_getaffinity(0))
    print(
        f"\n## Files: 6 bands uint16, tiles of 256, {torch.get_num_threads()} thread(s) compute, "
        f"{cores} core(s) for all\n\n"
        "| network | raster | bands by | map | Mpx/s, first call | Mpx/s, code compiled "
        "| of the rate in memory | extra memory, MB |\n"
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
    )
    for size in (SMALL, side):
        for interleave in ("pixel", "band"):
            source = folder / f"scene_{size}.tif"
            write_scene(source, size, interleave)
            try:
                for network, (_, _, members) in FILE_NETWORKS.items():
                    for compress in [c for i, c in WAYS if i == interleave]:
                        if members == 1 or (size == SMALL and compress == "deflate"):
                            print_file(source, network, size, interleave, compress)
            finally:
                source.unlink()


def print_file(source: Path, network: str, size: int, interleave: str, compress: str) -> None:
    found = in_process(source, network, compress)
    print(
        f"| {network} | {size:,} x {size:,} | {interleave} | {compress} | {found['first']:.1f} "
        f"| {found['rate']:.1f} | {found['rate'] / found['in_memory']:.0%} "
        f"| {found['extra_mb']:.0f} |",
        flush=True,
    )


def write_scene(path: Path, side: int, interleave: str) -> None:
    """A smooth scene with noise, written tile row by tile row, on the disk when this returns."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 64, (6, 256, side), np.uint16)
    waves = 2000 + 1500 * np.sin(np.arange(side) / 300)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=6,
        height=side,
        width=side,
        dtype="uint16",
        crs="EPSG:32618",
        transform=from_origin(500_000, 4_000_000, 30, 30),
        tiled=True,
        blockxsize=256,
        blockysize=256,
        interleave=interleave,
        BIGTIFF="YES",
    ) as file:
        for top in range(0, side, 256):
            rows = min(256, side - top)
            level = (waves + top / side * 1000).astype(np.uint16)
            file.write(noise[:, :rows] + level, window=Window(0, top, side, rows))
    with path.open("rb+") as stream:  # else the disk would be busy with it while maps are timed
        os.fsync(stream.fileno())


def in_process(source: Path, network: str, compress: str) -> dict[str, float]:
    """Map it in a fresh process, which reports its memory."""
    told = subprocess.run(
        [sys.executable, __file__, "--child", str(source), network, compress],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(told.stdout)
    return found


def child(source: str, network: str, compress: Any) -> None:
    """Map a file twice, and an array in memory; print rates and extra memory."""
    from pointwise.data.scenes import open_scene
    from pointwise.maps import plan_output
    from pointwise.maps.files import map_files

    widths, classes, members = FILE_NETWORKS[network]
    torch.manual_seed(0)
    model = as_pixel_model(
        MLP(widths, members=members),
        classes=range(1, classes + 1) if classes else None,
        members=members,
    )
    out = Path(source).with_name("map.tif")
    plan = plan_output(model)
    with open_scene(source) as scene, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = scene.read(slice(0, 256), slice(0, 256))[0]
        map_array(model, image)
        before = peak_mb()
        first = map_files(model, scene, out, output=plan, compress=compress)
        extra = peak_mb() - before
        out.unlink()  # a map that is replaced is freed, a third of a second for 1.6 GB
        found = map_files(model, scene, out, output=plan, compress=compress)
    size = min(IN_MEMORY if members == 1 else IN_MEMORY // 4, found.width)
    with open_scene(source) as scene:
        image = scene.read(slice(0, size), slice(0, size))[0]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        map_array(model, image, engine="fused")
        seconds.append(time.perf_counter() - start)
    out.unlink()
    rate = size**2 / 1e6 / statistics.median(seconds)
    figures = {
        "first": first.megapixels_per_second,
        "rate": found.megapixels_per_second,
        "in_memory": rate,
        "extra_mb": extra,
    }
    print(json.dumps(figures))


def peak_mb() -> float:
    """The most memory that the process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


FIRST_CALLS = (
    "classifier, clean float32",
    "classifier, NaN pixels",
    "regressor, float32 with NaN",
    "string labels",
    "string labels, NaN pixels",
    "an estimator that is fitted already",
    "classifier, nodata 255",
)


def print_calls() -> None:
    """What a first call on defaults does, in ours and in the others."""
    names = ["pointwise", *(name for name in PACKAGES if installed(name))]
    print("\n## First calls\n\n| call | " + " | ".join(names) + " |")
    print("| --- |" + " --- |" * len(names))
    for case in FIRST_CALLS:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cells = [first_call(name, case, Path(folder)) for name in names]
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


def first_call(package: str, case: str, folder: Path) -> str:
    """``works``, what is wrong with the result, or the first line of the error."""
    x, labels, image = first_data(case)
    try:
        made = np.squeeze(np.asarray(first_map(package, case, x, labels, image, folder)))
    except Exception as error:
        text = next(iter(str(error).splitlines()), "")
        return f"{type(error).__name__}: {text[:90]}"
    if made.shape != image.shape[1:]:
        return f"a map of shape {made.shape}"
    if ("NaN" in case or "255" in case) and looks_predicted(made[:5], made[5:]):
        return "predicts pixels without values, with no mark"
    return "works"


def looks_predicted(gone: Array, rest: Array) -> bool:
    """Whether what stands where nothing is known could be a prediction."""
    if gone.dtype.kind not in "iuf":
        return bool(np.isin(gone, rest).any())
    return bool(((gone >= rest.min()) & (gone <= rest.max())).any())


def first_data(case: str) -> tuple[Array, Array, Array]:
    """Rows to learn from, their labels, and an image."""
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 200, size=(4, 40, 50)).astype(np.float32)
    x = rng.uniform(0, 200, size=(200, 4)).astype(np.float32)
    number = (x[:, 0] > 100).astype(int) + 1
    labels = np.array(["soil", "water"])[number - 1] if "string" in case else number
    if "regressor" in case:
        labels = x[:, 0] * 2 + x[:, 1]
    if "NaN" in case:
        image[:, :5] = np.nan
    if "255" in case:
        image = image.astype(np.uint8)
        image[:, :5] = 255
    return x, labels, image


def first_map(
    package: str, case: str, x: Array, labels: Array, image: Array, folder: Path
) -> Array:
    """Map on defaults: ours with our estimators, the others with a random forest."""
    regression = "regressor" in case
    if package == "pointwise":
        from pointwise.estimators import PointwiseClassifier, PointwiseRegressor

        kind = PointwiseRegressor if regression else PointwiseClassifier
        model = kind(max_epochs=2, random_state=0).fit(x, labels)
        nodata = 255 if "255" in case else None
        made: Array = predict_map(model, image, nodata=nodata)
        return made
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    forest = (RandomForestRegressor if regression else RandomForestClassifier)(10, random_state=0)
    if package == "sklearn-raster":
        from sklearn_raster import FeatureArrayEstimator

        if "fitted" in case:
            return FeatureArrayEstimator(forest.fit(x, labels)).predict(image)  # type: ignore
        wrapped = FeatureArrayEstimator(forest).fit(x, labels)
        if "255" in case:
            return wrapped.predict(image, nodata_input=255, nodata_output=255)  # type: ignore
        return wrapped.predict(image)  # type: ignore[no-any-return]
    path = write_image(folder / "image.tif", image)
    if "255" in case:
        with rasterio.open(path, "r+") as file:
            file.nodata = 255
    return pyspatialml_map(forest.fit(x, labels), path)


PARTS = ("speed", "files", "calls", "accuracy")


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--side", type=int, default=20_000, help="of the large raster")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each line of speed")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, help="folder for maps and pictures of accuracy")
    asked = parser.parse_args()
    parts = asked.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    for name in PACKAGES:
        told = importlib.metadata.version(name) if installed(name) else "not installed"
        print(f"{name}: {told}")
    if "speed" in parts:
        print_speed(asked.seconds)
    if "files" in parts:
        asked.folder.mkdir(parents=True, exist_ok=True)
        print_files(asked.side, asked.folder)
    if "calls" in parts:
        print_calls()
    if "accuracy" in parts:
        print_accuracy(asked.out)


if __name__ == "__main__":
    main()
