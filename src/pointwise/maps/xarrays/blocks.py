"""One block of an xarray raster to one block of the map: what runs in each task of a graph."""

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from pointwise.maps.outputs import Output
from pointwise.maps.pixel_model import PixelModel
from pointwise.maps.predictor import Predictor

PART_VALUES = 1 << 20
"""Values of a block that are gathered and computed at a time, a few megabytes."""

Parts = tuple[slice, ...]


class BlockMap:
    """Computes blocks of a map from blocks of a raster, a part at a time.

    It is compiled at the first block, once in a process: copies that arrive by pickle are one
    object as long as it lives, and safe to call from several threads.

    Args:
        model: The model.
        output: What the map holds.
        picks: For each band of the model its index among the bands of a block.
        fills: For each band of the model the numbers that mean "no value".
        axis: The axis of the bands in the arrays of a block; ``None`` if each is one band.
        out_axis: The axis of the bands in the map; ``None`` for a map without one.
    """

    def __init__(
        self,
        model: PixelModel,
        output: Output,
        *,
        picks: Sequence[int],
        fills: Sequence[tuple[Any, ...]],
        axis: int | None,
        out_axis: int | None,
    ) -> None:
        self.model, self.output = model, output
        self.picks, self.fills = tuple(picks), tuple(fills)
        self.axis, self.out_axis = axis, out_axis
        self._lock = threading.Lock()
        self._predictor: Predictor | None = None
        self._packed: bytes | None = None

    def __reduce__(self) -> Any:
        """It travels packed: who only hands it on, as a scheduler does, unpacks nothing twice."""
        return _arrive, (self.token, self._pack())

    @property
    def token(self) -> str:
        """A name for what it computes, the same wherever it travels."""
        return sha256(self._pack()).hexdigest()[:32]

    def _pack(self) -> bytes:
        if self._packed is None:
            import cloudpickle  # networks may be of classes that only the caller's script knows

            given = (
                (self.model, self.output),
                {
                    "picks": self.picks,
                    "fills": self.fills,
                    "axis": self.axis,
                    "out_axis": self.out_axis,
                },
            )
            self._packed = cloudpickle.dumps(given)
        return self._packed

    @property
    def predictor(self) -> Predictor:
        """The compiled model."""
        with self._lock:
            if self._predictor is None:
                self._predictor = Predictor(self.model, self.output)
            return self._predictor

    def __call__(self, block: Sequence[NDArray[Any]], out: Any = None) -> NDArray[Any]:
        """Map one block.

        Args:
            block: Arrays that hold its bands, one after the other.
            out: Where to put the result. Default: new memory.

        Returns:
            The block of the map.
        """
        bands = [band for array in block for band in self._bands(array)]
        taken = [bands[pick] for pick in self.picks]
        shape = bands[0].shape
        if out is None:
            out = np.empty(self._out_shape(shape), self.output.dtype)
        target = out[None] if self.out_axis is None else np.moveaxis(out, self.out_axis, 0)
        for part in parts(shape, PART_VALUES // max(len(taken), 1)):
            values, missing = self._gather([band[part] for band in taken])
            target[(slice(None), *part)] = self._predict(values, missing, shape, part)
        return np.asarray(out)

    def _predict(
        self,
        values: NDArray[Any],
        missing: NDArray[np.bool_] | None,
        shape: tuple[int, ...],
        part: Parts,
    ) -> NDArray[Any]:
        made = self.predictor(values, missing)  # (B, n)
        lengths = (len(range(*one.indices(n))) for one, n in zip(part, shape, strict=True))
        return made.reshape(made.shape[0], *lengths)

    def _bands(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """The bands of one array of a block, as views."""
        if self.axis is None:
            yield array
        else:
            yield from np.moveaxis(array, self.axis, 0)

    def _out_shape(self, space: tuple[int, ...]) -> tuple[int, ...]:
        if self.out_axis is None:
            return space
        return (*space[: self.out_axis], len(self.output.bands), *space[self.out_axis :])

    def _gather(
        self, bands: Sequence[NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """One part as ``(C, n)`` values in native order, and where fill values are."""
        dtype = common_type([band.dtype for band in bands])
        values = np.empty((len(bands), bands[0].size), dtype)
        for row, band in zip(values, bands, strict=True):
            row[:] = band.reshape(-1)
        if not any(self.fills):
            return values, None
        missing = np.zeros(values.shape, np.bool_)
        for row, band, fills in zip(missing, bands, self.fills, strict=True):
            for fill in fills:  # compared before the type changes
                row |= (band == fill).reshape(-1)
        return values, missing


_ARRIVED: WeakValueDictionary[str, BlockMap] = WeakValueDictionary()
_ARRIVING = threading.Lock()


def _arrive(token: str, packed: bytes) -> BlockMap:
    """The object of this process: the one at hand if it still lives."""
    with _ARRIVING:
        made = _ARRIVED.get(token)
        if made is None:
            import cloudpickle

            given, options = cloudpickle.loads(packed)
            made = BlockMap(*given, **options)
            made._packed = packed
            _ARRIVED[token] = made
        return made


def run_task(block_map: BlockMap, *blocks: Any) -> NDArray[Any]:
    """Map one block in a task of a graph, on one thread: other tasks have the other cores.

    Args:
        block_map: What to compute.
        blocks: One array for each band, or one list of arrays along the bands.

    Returns:
        The block of the map.
    """
    block = blocks[0] if isinstance(blocks[0], list) else list(blocks)
    with _ONE_THREAD.held():
        return block_map(block)


class _OneThread:
    """Holds PyTorch to one thread while any task runs.

    New threads start with the number that was set last in any thread, so it is the first task that
    notes it, and each one puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running, self._before = 0, 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """One thread in this task; afterwards as before."""
        with self._lock:
            now = torch.get_num_threads()  # asked first: a new thread takes its number when asked
            if self._running == 0:
                self._before = now
            self._running += 1
            torch.set_num_threads(1)
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                torch.set_num_threads(self._before)


_ONE_THREAD = _OneThread()


def common_type(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The type that holds all of these, in native byte order.

    Args:
        dtypes: Types of numbers; truth values count as small integers.

    Returns:
        Their common type.

    Example:
        >>> common_type([np.dtype("uint8"), np.dtype(">i2")]).name
        'int16'
    """
    numbers = [np.dtype(np.uint8) if dtype.kind == "b" else dtype for dtype in dtypes]
    return np.result_type(*numbers).newbyteorder("=")


def parts(shape: Sequence[int], most: int, grain: Sequence[int] | None = None) -> Iterator[Parts]:
    """Cut an array into parts of a bounded number of positions, the last axes whole if they fit.

    Args:
        shape: Its shape.
        most: Positions of a part.
        grain: Sizes of the pieces in which it is stored, which are not cut: if one is larger than
            ``most``, then so are the parts. Default: single positions.

    Yields:
        Slices along each axis.

    Example:
        >>> [part for part in parts((3, 4), 8)]
        [(slice(0, 2, None), slice(0, 4, None)), (slice(2, 3, None), slice(0, 4, None))]
    """
    grains = (
        [1] * len(shape)
        if grain is None
        else [min(g, n) for g, n in zip(grain, shape, strict=True)]
    )
    if math.prod(shape) == 0:
        return
    steps: list[int] = []
    room = most
    for axis in reversed(range(len(shape))):
        whole = room // math.prod(grains[:axis]) // grains[axis] * grains[axis]
        steps.append(min(shape[axis], max(grains[axis], whole)))
        room //= steps[-1]
    edges = [range(0, n, step) for n, step in zip(shape, reversed(steps), strict=True)]
    for starts in itertools.product(*edges):
        yield tuple(
            slice(start, min(start + edge.step, n))
            for start, edge, n in zip(starts, edges, shape, strict=True)
        )
