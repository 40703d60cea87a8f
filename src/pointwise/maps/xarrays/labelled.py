"""Maps of xarray rasters: at once for arrays in memory, lazily for those of dask."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointwise.maps.matching import match_bands
from pointwise.maps.outputs import Output
from pointwise.maps.pixel_model import PixelModel
from pointwise.maps.xarrays.attrs import dress
from pointwise.maps.xarrays.bands import Bands, bands_of, check_numeric, fill_values
from pointwise.maps.xarrays.blocks import BlockMap, parts, run_task

if TYPE_CHECKING:
    import xarray as xr

WINDOW_POSITIONS = 1 << 22
"""Positions that are read at a time from a file that xarray opened without dask."""

BAND = "band"


def map_dataarray(
    model: PixelModel,
    raster: "xr.DataArray | xr.Dataset",
    *,
    output: Output,
    band_dim: str | None = None,
) -> "xr.DataArray":
    """Map a model over a raster of xarray.

    A raster in memory gives a map in memory. One that is backed by dask gives a lazy map with the
    same chunks: each task takes the bands of one chunk as they are, on one thread, and computes it
    part by part, so that it needs little beside the chunk. The model travels once with the graph
    and is compiled once in each process, also on a cluster. A file that was opened without dask is
    read window by window.

    Args:
        model: The model.
        raster: Bands along one dimension and positions along any others; or a ``Dataset`` whose
            variables are the bands. Missing is what is NaN, or ``_FillValue``, ``missing_value``
            or rioxarray's nodata.
        output: What the map holds, from ``plan_output``.
        band_dim: The dimension of the bands. Default: one that is called band, channel or
            variable, else the first of three.

    Returns:
        The map: the dimensions and coordinates of the raster; in place of its bands those of the
        map along ``band``, or nothing if the map has one. Nodata, class numbers and names are in
        the attributes ``_FillValue``, ``flag_values`` and ``flag_meanings``.

    Raises:
        DataError: If it is not clear where the bands are, bands are missing, or they hold no
            numbers.

    Example:
        >>> import xarray as xr
        >>> from pointwise.maps.outputs import plan_output
        >>> from pointwise.maps.pixel_model import as_pixel_model
        >>> from pointwise.nn import MLP
        >>> model = as_pixel_model(MLP([2, 8, 1]), bands=["red", "nir"], targets=["biomass"])
        >>> names = ["blue", "red", "nir"]
        >>> scene = xr.DataArray(np.ones((3, 4, 5)), {"band": names}, ("band", "y", "x"))
        >>> made = map_dataarray(model, scene, output=plan_output(model))
        >>> made.name, made.dims, made.dtype
        ('biomass', ('y', 'x'), dtype('float32'))
    """
    found = bands_of(raster, band_dim, [band.name for band in model.used])
    picks = match_bands(model, found.names, where=found.where)
    source = _Source(found, picks, output)
    make = _lazy if source.is_lazy else _at_once
    return dress(
        make(model, output, source),
        source.out_dims,
        output=output,
        model_name=model.name,
        template=source.template,
        source=found.arrays[0],
    )


class _Source:
    """The bands that a map needs, and where everything is."""

    def __init__(self, bands: Bands, picks: Sequence[int], output: Output) -> None:
        self.dim = bands.dim
        several = len(output.bands) > 1
        if bands.dim is not None:
            (array,) = bands.arrays
            self.arrays: Sequence[xr.DataArray] = (array,)
            self.fills = [fill_values(array, pick) for pick in picks]
            self.picks = tuple(picks)
            self.template = array.isel({bands.dim: 0}, drop=True) if picks else array
            self.axis: int | None = array.dims.index(bands.dim)
        else:
            taken = [bands.arrays[pick] for pick in picks]
            self.fills = [fill_values(array, None) for array in taken]
            self.arrays = _same_dims(taken)
            self.picks = tuple(range(len(picks)))
            self.template = self.arrays[0]
            self.axis = None
        for array in self.arrays:
            check_numeric(array, bands.where)
        dims = [str(dim) for dim in self.template.dims]
        self.out_axis = (self.axis or 0) if several else None
        self.out_dims = list(dims)
        if self.out_axis is not None:
            self.out_dims.insert(self.out_axis, _free_name(BAND, dims))

    def block_map(
        self, model: PixelModel, output: Output, picks: Sequence[int] | None = None
    ) -> BlockMap:
        """What maps its blocks, with the bands at ``picks`` if they moved."""
        return BlockMap(
            model,
            output,
            picks=self.picks if picks is None else picks,
            fills=self.fills,
            axis=self.axis,
            out_axis=self.out_axis,
        )

    @property
    def is_lazy(self) -> bool:
        """Whether dask holds any of it."""
        return any(array.chunks is not None for array in self.arrays)


def _same_dims(arrays: Sequence["xr.DataArray"]) -> Sequence["xr.DataArray"]:
    """Bands with the same dimensions in the same order, repeated along those they lack."""
    import xarray as xr

    if len({frozenset(array.dims) for array in arrays}) > 1:
        return xr.broadcast(*arrays)
    return [array.transpose(*arrays[0].dims) for array in arrays]


def _free_name(name: str, taken: Sequence[str]) -> str:
    return name if name not in taken else _free_name(f"map_{name}", taken)


def _at_once(model: PixelModel, output: Output, source: _Source) -> NDArray[Any]:
    """Window by window, those of a file as it is stored; only the bands that the model takes."""
    block_map, bands = source.block_map(model, output), {}
    if source.dim is not None:
        kept = sorted(set(source.picks))
        if len(kept) < source.arrays[0].sizes[source.dim]:
            bands = {source.dim: kept}
            picks = [kept.index(pick) for pick in source.picks]
            block_map = source.block_map(model, output, picks)
    sizes = source.template.sizes
    shape = [sizes[dim] for dim in source.template.dims]
    stored = source.arrays[0].encoding.get("preferred_chunks", {})
    grain = [_grain(stored.get(dim), sizes[dim]) for dim in source.template.dims]
    out_shape = list(shape)
    if source.out_axis is not None:
        out_shape.insert(source.out_axis, len(output.bands))
    out = np.empty(out_shape, output.dtype)
    for part in parts(shape, WINDOW_POSITIONS, grain):
        window = dict(zip(source.template.dims, part, strict=True))
        block = [array.isel({**window, **bands}).to_numpy() for array in source.arrays]
        where: list[Any] = list(part)
        if source.out_axis is not None:
            where.insert(source.out_axis, slice(None))
        index: tuple[Any, ...] = (..., *where)  # a view, also of a single number
        block_map(block, out[index])
    return out


def _grain(stored: Any, size: int) -> int:
    """Length of the chunks of a file along one dimension; it may be told chunk by chunk."""
    first = stored[0] if isinstance(stored, tuple) and stored else stored
    return min(first, size) if isinstance(first, int) and first > 0 else 1


def _lazy(model: PixelModel, output: Output, source: _Source) -> Any:
    """One task for each chunk of positions; bands in several chunks are not joined before."""
    import dask.array as da
    from dask.delayed import delayed

    arrays, picks = [array.chunk().data for array in source.arrays], source.picks
    if source.axis is not None:
        arrays[0], picks = _needed(arrays[0], source.axis, picks)
    block_map = source.block_map(model, output, picks)
    pairs: list[Any] = []
    for array, dims in zip(arrays, (given.dims for given in source.arrays), strict=True):
        pairs += [array, tuple(map(str, dims))]
    new: dict[str, int] = {}
    index = list(source.out_dims)
    if source.out_axis is not None:
        index[source.out_axis] = "bands of the map"  # no dimension of the raster
        new["bands of the map"] = len(output.bands)
    shipped = delayed(
        block_map, name=f"pointwise-model-{block_map.token}", pure=True, traverse=False
    )
    blockwise: Any = da.blockwise
    return blockwise(
        run_task,
        tuple(index),
        shipped,
        None,
        *pairs,
        new_axes=new,
        concatenate=False,  # bands come as a list of chunks
        dtype=output.dtype,
        meta=np.empty((0,) * len(index), output.dtype),
    )


def _needed(array: Any, axis: int, picks: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """The chunks of bands that the model takes, and where its bands are among theirs."""
    sizes = array.chunks[axis]
    starts = np.cumsum((0, *sizes))
    holding = [int(np.searchsorted(starts, pick, side="right")) - 1 for pick in picks]
    kept = sorted(set(holding))
    if len(kept) == len(sizes):
        return array, tuple(picks)
    places = np.cumsum((0, *(sizes[chunk] for chunk in kept)))
    moved = tuple(
        int(places[kept.index(chunk)] + pick - starts[chunk])
        for pick, chunk in zip(picks, holding, strict=True)
    )
    index = tuple(kept if n == axis else slice(None) for n in range(array.ndim))
    return array.blocks[index], moved
