"""Does a map of a Zarr cube that is larger than a dask worker's memory limit stay within it?

A cube of six bands of uint16 is written chunk by chunk, mapped lazily on a cluster of local
workers with a memory limit each, written to Zarr by the workers, and compared chunk by chunk with
the same call in this process. The peak is the high-water mark of each worker's resident memory
(Linux), with the libraries that it has loaded: it is also shown for workers that have only loaded
them and mapped one small chunk.

    python benchmarks/maps_dask.py [--gigabytes 4] [--limit 800] [--workers 2]

It needs the extra ``raster``.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pointwise.maps.outputs import plan_output
from pointwise.maps.pixel_model import PixelModel, as_pixel_model
from pointwise.maps.xarrays import map_dataarray
from pointwise.nn import MLP

BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")
CLASSES = ("water", "forest", "grass", "soil", "built")
CHUNK = 1024
NODATA = 0
CHUNK_BYTES = len(BANDS) * CHUNK * CHUNK * 2


@dataclass(frozen=True)
class Run:
    """What one run on a cluster was like."""

    cube_bytes: int
    limit_bytes: int
    base_bytes: tuple[int, ...]
    peak_bytes: tuple[int, ...]
    pauses: int
    restarts: int
    differing: int
    nodata: tuple[int, int]
    seconds: float

    @property
    def rows(self) -> dict[str, str]:
        """What the table says."""
        return {
            "cube": _show(self.cube_bytes),
            "limit of a worker": _show(self.limit_bytes),
            "workers before the cube": ", ".join(map(_show, self.base_bytes)),
            "peak of the workers": ", ".join(map(_show, self.peak_bytes)),
            "pauses, restarts": f"{self.pauses}, {self.restarts}",
            "nodata pixels, of the cube and of the map": "{:,}, {:,}".format(*self.nodata),
            "pixels unlike those of one process": f"{self.differing:,}",
            "seconds, with reading and writing": f"{self.seconds:.1f}",
        }


def model() -> PixelModel:
    torch.manual_seed(0)
    network = MLP([len(BANDS), 16, len(CLASSES)])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-1, 1)
    return as_pixel_model(network, bands=BANDS, classes=CLASSES, name="five classes")


def values(row: int, column: int) -> np.ndarray:
    """A chunk of fields, each of one value, so that little is stored; some without values."""
    height, width = 16, 32
    y = np.arange(row * CHUNK, (row + 1) * CHUNK, height)[:, None]
    x = np.arange(column * CHUNK, (column + 1) * CHUNK, width)[None, :]
    band = np.arange(len(BANDS))[:, None, None]
    fields = (y * 7919 + x * 104729) // height % 9973
    made = ((fields * (band * 31 + 1)) % 4001 + 1).astype(np.uint16)
    made[:, fields % 50 == 0] = NODATA
    return made.repeat(height, axis=1).repeat(width, axis=2)


def write_cube(path: Path, rows: int, columns: int) -> int:
    """Write a cube of so many chunks; the number of its pixels without values."""
    import dask.array as da
    import xarray as xr
    import zarr

    shape = (len(BANDS), rows * CHUNK, columns * CHUNK)
    lazy = da.zeros(shape, chunks=(len(BANDS), CHUNK, CHUNK), dtype=np.uint16)
    coords = {
        "band": np.array(BANDS, dtype=object),
        "y": 30.0 * np.arange(shape[1])[::-1],
        "x": 30.0 * np.arange(shape[2]),
    }
    cube = xr.DataArray(lazy, coords, ("band", "y", "x"), name="cube")
    cube.attrs["_FillValue"] = np.uint16(NODATA)
    cube.to_zarr(path, compute=False, consolidated=False)
    stored = zarr.open_array(path / "cube")
    empty = 0
    for row in range(rows):
        for column in range(columns):
            chunk = values(row, column)
            empty += int((chunk[0] == NODATA).sum())
            y, x = row * CHUNK, column * CHUNK
            stored[:, y : y + CHUNK, x : x + CHUNK] = chunk
    return empty


def lazy_map(path: Path) -> Any:
    """The lazy map of the cube."""
    import xarray as xr

    cube = xr.open_zarr(path, consolidated=False, mask_and_scale=False)["cube"]
    made = model()
    return map_dataarray(made, cube, output=plan_output(made))


def peak() -> int:
    """Most resident memory that this process has had."""
    text = Path("/proc/self/status").read_text("ascii")
    (line,) = (line for line in text.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def libraries_mb() -> int:
    """What a process holds that has loaded the libraries and done nothing, in MB.

    A torch for graphics cards takes 400 MB more than one without.
    """
    code = "import distributed, torch, xarray, maps_dask; print(maps_dask.peak())"
    home = str(Path(__file__).parent)
    path = os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH")) if part)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) // 10**6


def run(folder: Path, *, gigabytes: float, limit_mb: int, workers: int = 2) -> Run:
    """Map a cube on a cluster, and compare."""
    import xarray as xr
    from distributed import Client, LocalCluster

    cube, out = folder / "cube.zarr", folder / "map.zarr"
    side = math.sqrt(gigabytes * 1e9 / CHUNK_BYTES)
    rows = math.ceil(side)
    columns = math.ceil(gigabytes * 1e9 / CHUNK_BYTES / rows)
    empty = write_cube(cube, rows, columns)
    write_cube(folder / "small.zarr", 1, workers)
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=f"{limit_mb}MB",
            dashboard_address=None,
            local_directory=folder,
        ) as cluster,
        Client(cluster) as client,
    ):
        lazy_map(folder / "small.zarr").to_zarr(folder / "small-map.zarr", consolidated=False)
        base, before = client.run(peak), client.run(os.getpid)
        start = time.perf_counter()
        lazy_map(cube).to_zarr(out, consolidated=False)
        seconds = time.perf_counter() - start
        peaks, after = client.run(peak), client.run(os.getpid)
        limits = [
            w["memory_limit"] for w in client.scheduler_info(n_workers=-1)["workers"].values()
        ]
        paused = [
            event
            for worker in before
            for _, event in client.get_events(worker)
            if event.get("status") == "paused"
        ]
    mapped = xr.open_zarr(out, consolidated=False, mask_and_scale=False)["class"]
    expected = lazy_map(cube)
    unlike = int((mapped != expected).sum().compute(scheduler="synchronous"))
    blank = int((mapped == mapped.attrs["_FillValue"]).sum().compute(scheduler="synchronous"))
    return Run(
        cube_bytes=rows * columns * CHUNK_BYTES,
        limit_bytes=min(limits),
        base_bytes=tuple(base.values()),
        peak_bytes=tuple(peaks.values()),
        pauses=len(paused),
        restarts=len(set(after.values()) - set(before.values())),
        differing=unlike,
        nodata=(empty, blank),
        seconds=seconds,
    )


def _show(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=4, help="size of the cube")
    parser.add_argument("--limit", type=int, default=800, help="memory limit of a worker in MB")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = run(
            Path(folder), gigabytes=args.gigabytes, limit_mb=args.limit, workers=args.workers
        )
    print("| what | figure |\n| --- | --- |")
    for what, figure in made.rows.items():
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    main()
