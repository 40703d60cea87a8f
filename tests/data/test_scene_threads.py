"""Scenes read by several threads at once: each window holds its own values."""

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scene_cases import numbers, scene_warning, write, write_vrt

from pointwise.data.scenes import Scene, open_scene
from pointwise.data.scenes.raster import RasterFile

pytest.importorskip("rasterio")

VALUES = numbers(2, 37, 41, "int16")
TILES = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}


def geotiff(folder: Path) -> Path:
    return write(folder / "a.tif", VALUES, **TILES)


def several(folder: Path) -> list[Path]:
    return [write(folder / f"{n}.tif", VALUES[n : n + 1], **TILES) for n in (0, 1)]


def vrt(folder: Path) -> Path:
    several(folder)
    return write_vrt(folder / "a.vrt", "Int16")


def store(folder: Path, ending: str) -> Path:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("h5py" if ending == "nc" else "zarr")
    place = {"y": -np.arange(37.0), "x": np.arange(41.0)}
    array = xr.DataArray(VALUES, place, ("band", "y", "x"), name="cube")
    path = folder / f"a.{ending}"
    if ending == "nc":
        array.to_netcdf(path, engine="h5netcdf", encoding={"cube": {"chunksizes": (1, 8, 8)}})
    else:
        array.to_dataset().to_zarr(path, zarr_format=2, encoding={"cube": {"chunks": (1, 8, 8)}})
    return path


SCENES: dict[str, Callable[[Path], Any]] = {
    "geotiff": geotiff,
    "several files": several,
    "vrt": vrt,
    "netcdf": lambda folder: store(folder, "nc"),
    "zarr": lambda folder: store(folder, "zarr"),
}


@pytest.mark.parametrize("make", SCENES.values(), ids=SCENES.keys())
def test_threads_read_the_right_values(make: Callable[[Path], Any], tmp_path: Path) -> None:
    with open_scene(make(tmp_path)) as scene, ThreadPoolExecutor(4) as threads:
        check_random_windows(scene, threads, 200)


def test_files_without_a_place_are_read_by_threads(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", VALUES, crs=None, transform=None, **TILES)
    _, scene = scene_warning(lambda: open_scene(path), tmp_path)
    with scene, ThreadPoolExecutor(4) as threads:
        check_random_windows(scene, threads, 200)


def test_threads_meet_in_the_file(tmp_path: Path) -> None:
    """Each thread has a dataset of its own: none waits for another one."""
    barrier = threading.Barrier(2, timeout=30)

    def read(file: RasterFile) -> None:
        with file._dataset() as dataset:
            barrier.wait()
            dataset.read(1)

    file = RasterFile(str(geotiff(tmp_path)))
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(read, [file, file]))
        assert len(file._datasets) == 3
    file.close()
    assert not file._datasets


def test_threads_that_ended_leave_no_files_open(tmp_path: Path) -> None:
    with open_scene(geotiff(tmp_path)) as scene:
        for _ in range(5):
            thread = threading.Thread(target=scene.read, args=(slice(0, 5), slice(0, 5)))
            thread.start()
            thread.join()
        (file,) = scene._files
        assert len(file._datasets) <= 2  # type: ignore[attr-defined]


def test_nothing_stays_open(tmp_path: Path) -> None:
    path = geotiff(tmp_path)
    before = open_files()
    with open_scene(path) as scene, ThreadPoolExecutor(3) as threads:
        check_random_windows(scene, threads, 20)
        assert open_files() > before
    gc.collect()
    assert open_files() == before


def check_random_windows(scene: Scene, threads: ThreadPoolExecutor, count: int) -> None:
    random = np.random.default_rng(0)
    windows = [
        (slice(top, top + 1 + high), slice(left, left + 1 + wide))
        for top, left, high, wide in random.integers((0, 0, 0, 0), (37, 41, 20, 20), (count, 4))
    ]

    def read(window: tuple[slice, slice]) -> NDArray[Any]:
        values, missing = scene.read(*window)
        assert missing is None
        return values

    for window, got in zip(windows, threads.map(read, windows), strict=True):
        np.testing.assert_array_equal(got, VALUES[:, window[0], window[1]])


def open_files() -> int:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("open files are counted in /proc")
    return sum(path.exists() and str(path.resolve()).endswith(".tif") for path in folder.iterdir())
