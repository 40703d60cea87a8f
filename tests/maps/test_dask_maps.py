"""Lazy maps: nothing is computed before it is asked for, and then as it is in memory."""

import pickle
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pointwise.maps.outputs import plan_output
from pointwise.maps.pixel_model import PixelModel, as_pixel_model
from pointwise.maps.predictor import Predictor
from pointwise.maps.xarrays import map_dataarray
from pointwise.maps.xarrays.blocks import BlockMap
from pointwise.nn import MLP

da = pytest.importorskip("dask.array")
xr = pytest.importorskip("xarray")
dask = pytest.importorskip("dask")

NAMES = ("blue", "green", "red")


@pytest.fixture(autouse=True)
def _one_scheduler() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


def classifier() -> PixelModel:
    torch.manual_seed(0)
    return as_pixel_model(MLP([3, 8, 3]), bands=NAMES, classes=["a", "b", "c"], name="abc")


def mapped(raster: Any, output: Any = "class", model: PixelModel | None = None) -> Any:
    made = classifier() if model is None else model
    return map_dataarray(made, raster, output=plan_output(made, output))


def scene(*space: int, dims: tuple[str, ...] = ("band", "y", "x"), dtype: str = "int16") -> Any:
    values = np.random.default_rng(0).normal(size=(3, *space)) * 40
    values = values.astype(dtype)
    values[1, ..., 0] = -99
    coords = {name: np.arange(n) for name, n in zip(dims[1:], space, strict=True)}
    attrs = {"_FillValue": -99}
    return xr.DataArray(
        values, {dims[0]: np.array(NAMES, dtype=object), **coords}, dims, attrs=attrs
    )


def check_same(made: Any, expected: Any) -> None:
    """Alike in all but what chunks of other sizes make of the last digit."""
    if made.dtype.kind == "f":
        xr.testing.assert_allclose(made, expected)
        expected = expected.copy(data=made.values)
    xr.testing.assert_identical(made, expected)


class Counted(Predictor):
    """Notes how often it is made, and how many threads PyTorch has when it runs."""

    made: int = 0
    threads: list[int]

    def __init__(self, *args: Any, **options: Any) -> None:
        type(self).made += 1
        super().__init__(*args, **options)

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.threads.append(torch.get_num_threads())
        return super().__call__(*args, **options)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    class Fresh(Counted):
        made = 0
        threads: list[int] = []  # noqa: RUF012

    monkeypatch.setattr("pointwise.maps.xarrays.blocks.Predictor", Fresh)
    return Fresh


# --- Equal to maps in memory ---

CHUNKS: dict[str, dict[str, Any]] = {
    "odd": {"y": (3, 1, 7), "x": (5, 4)},
    "one": {},
    "single bands": {"band": 1, "y": 4},
    "two and one band": {"band": (2, 1), "x": 2},
    "single pixels in a row": {"y": 1},
}
each_chunking = pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS.keys())


@pytest.mark.parametrize("output", ["class", "proba"])
@each_chunking
def test_equals_the_map_in_memory(chunks: dict[str, Any], output: str) -> None:
    raster = scene(11, 9)
    made = mapped(raster.chunk(chunks), output)
    given = raster.chunk(chunks)
    kept = tuple(given.chunksizes[dim] for dim in ("y", "x"))
    assert made.chunks == (((3,), *kept) if output == "proba" else kept)
    check_same(made.compute(), mapped(raster, output))


@pytest.mark.parametrize("dims", [("y", "x", "band"), ("x", "band", "y")], ids="-".join)
@each_chunking
def test_dimensions_in_any_order(chunks: dict[str, Any], dims: tuple[str, ...]) -> None:
    raster = scene(11, 9).transpose(*dims)
    made = mapped(raster.chunk(chunks), "proba")
    assert made.dims == dims
    check_same(made.compute(), mapped(raster, "proba"))


def test_with_a_time_dimension() -> None:
    raster = scene(4, 5, 6, dims=("band", "time", "y", "x"))
    made = mapped(raster.chunk(time=1, x=4))
    assert made.chunks == ((1, 1, 1, 1), (5,), (4, 2))
    check_same(made.compute(), mapped(raster))


DATASETS: dict[str, dict[str, dict[str, Any]]] = {
    "alike": {"blue": {"y": 4}, "green": {"y": 4}, "red": {"y": 4}},
    "unlike": {"blue": {"y": 4}, "green": {"x": 2}, "red": {"y": (3, 8)}},
    "one in memory": {"blue": {"y": 4}, "red": {"x": 5}},
}


@pytest.mark.parametrize("output", ["class", "proba"])
@pytest.mark.parametrize("chunks", DATASETS.values(), ids=DATASETS.keys())
def test_a_dataset(chunks: dict[str, dict[str, Any]], output: str) -> None:
    raster = scene(11, 9)
    whole = xr.Dataset({name: raster.sel(band=name, drop=True) for name in NAMES[::-1]})
    whole["green"] = whole["green"].astype(np.float64)
    lazy = whole.copy()
    for name, given in chunks.items():
        lazy[name] = whole[name].chunk(given)
    made = mapped(lazy, output)
    assert made.chunks is not None
    check_same(made.compute(), mapped(whole, output))


def test_further_bands_are_not_read() -> None:
    raster = scene(6, 7)

    def refuse(block: Any, block_info: Any = None) -> Any:
        assert block_info[0]["chunk-location"][0] in (0, 2, 4)
        return block

    more = xr.concat([raster, raster * 0], "band").isel(band=[2, 3, 0, 4, 1, 5])
    names = np.array(["red", "other", "blue", "another", "green", "third"], dtype=object)
    more = more.assign_coords(band=names).chunk(band=1, y=3)
    more.attrs = raster.attrs
    more.data = more.data.map_blocks(refuse, dtype=more.dtype, meta=more.data._meta)
    check_same(mapped(more).compute(), mapped(raster))


# --- Lazy, and compiled once ---


def test_nothing_is_computed_before(counted: type[Counted]) -> None:
    def fail(block: Any) -> Any:
        raise RuntimeError("computed")

    raster = scene(8, 9).chunk(y=4)
    raster.data = raster.data.map_blocks(fail, dtype=raster.dtype, meta=raster.data._meta)
    made = mapped(raster, "proba")
    assert made.isel(x=0).mean("band").chunks is not None
    assert counted.made == 0
    with pytest.raises(RuntimeError, match="computed"):
        made.compute()


def test_one_compiled_model_serves_all_threads(counted: type[Counted]) -> None:
    raster = scene(40, 9)
    made = mapped(raster.chunk(y=2), "proba")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with dask.config.set(scheduler="threads", num_workers=4):
            computed = made.compute()
        assert torch.get_num_threads() == 2
        found: list[int] = []
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert found == [2]  # new threads start with what was set last
    finally:
        torch.set_num_threads(before)
    assert counted.made == 1
    assert counted.threads == [1] * 20
    check_same(computed, mapped(raster, "proba"))


def test_the_model_is_in_the_graph_once() -> None:
    model, raster = classifier(), scene(8, 9)
    maps = [mapped(raster.chunk(y=size), model=model) for size in (8, 1)]
    graphs = [dict(made.__dask_graph__()) for made in maps]
    shipped = [
        [key for key in graph if str(key).startswith("pointwise-model-")] for graph in graphs
    ]
    assert [len(keys) for keys in shipped] == [1, 1]
    assert shipped[0] == shipped[1]  # the same name for the same model
    small, large = (len(pickle.dumps(graph)) for graph in graphs)
    alone = len(pickle.dumps(graphs[0][shipped[0][0]]))
    assert large - small < 7 * alone / 2


def test_the_same_map_has_the_same_name() -> None:
    raster, model = scene(8, 9).chunk(y=4), classifier()
    first, again = (mapped(raster, model=model).data.name for _ in range(2))
    assert first == again
    assert mapped(raster, "proba", model=model).data.name != first


class Doubled(nn.Sequential):
    """A network of a class that only this file knows."""


def block_map() -> BlockMap:
    model = as_pixel_model(Doubled(nn.Conv2d(3, 1, 1)), bands=NAMES)
    output = plan_output(model)
    return BlockMap(model, output, picks=(2, 0, 1), fills=((7,), (), ()), axis=0, out_axis=None)


def test_a_copy_computes_the_same() -> None:
    first = block_map()
    block = [np.arange(24, dtype=np.uint8).reshape(3, 2, 4)]
    expected = first(block)
    packed = pickle.dumps(first)
    copy = pickle.loads(packed)
    assert copy is not first
    assert pickle.loads(packed) is copy  # one object in a process: compiled once
    assert copy.token == first.token
    np.testing.assert_array_equal(copy(block), expected)


def test_a_chunk_needs_little_memory_beside_it() -> None:
    model = classifier()
    made = BlockMap(
        model, plan_output(model), picks=(0, 1, 2), fills=((1,),) * 3, axis=0, out_axis=None
    )
    block = [np.ones((3, 3000, 1500), np.float64)]  # 108 MB
    made([block[0][:, :2]])
    tracemalloc.start()
    try:
        out = made(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - out.nbytes < 40e6


# --- Files ---


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_lazy_map_goes_to_files(tmp_path: Path) -> None:
    rioxarray = pytest.importorskip("rioxarray")
    pytest.importorskip("zarr")
    raster = scene(40, 50).rio.write_crs(32630)
    expected = mapped(raster)
    made = mapped(raster.chunk(y=16, x=16))
    made.rio.to_raster(tmp_path / "map.tif", tiled=True)
    with rioxarray.open_rasterio(tmp_path / "map.tif") as back:
        np.testing.assert_array_equal(back.values[0], expected.values)
        assert back.rio.nodata == made.attrs["_FillValue"] == 0
    made.to_zarr(tmp_path / "map.zarr", consolidated=False)
    stored = xr.open_zarr(tmp_path / "map.zarr", consolidated=False, mask_and_scale=False)["class"]
    np.testing.assert_array_equal(stored.values, expected.values)
    assert stored.attrs["_FillValue"] == 0
    assert stored.encoding["chunks"] == (16, 16)


# --- A cluster ---


@pytest.mark.slow
def test_a_cluster_maps_a_cube_larger_than_its_workers(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("zarr")
    import maps_dask

    limit = round(1.25 * maps_dask.libraries_mb()) + 350  # workers pause at four fifths of it
    made = maps_dask.run(tmp_path, gigabytes=1.05e-3 * limit, limit_mb=limit)
    assert made.cube_bytes > made.limit_bytes
    assert made.differing == 0
    assert made.nodata[0] == made.nodata[1] > 0
    assert (made.pauses, made.restarts) == (0, 0)
    assert max(made.peak_bytes) < made.limit_bytes
    assert len(made.peak_bytes) == 2
