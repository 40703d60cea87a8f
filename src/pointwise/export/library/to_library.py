"""Write a model as a library for programs in C, and in whatever else calls C."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from pointwise._atomic import replace_folder
from pointwise.errors import DataError
from pointwise.estimators.base import TableEstimator
from pointwise.estimators.image_base import ImageEstimator
from pointwise.export.library import making, proving
from pointwise.export.library.chains import network_chain
from pointwise.export.library.names import library_name
from pointwise.runtime import Chain

HOST = "host"
"""What Halide calls the machine at hand."""


@dataclass(frozen=True)
class Library:
    """A library that was written, and how near it is to the model that it was made of.

    Attributes:
        folder: The folder.
        files: Its files: a header, a source and object code.
        functions: What a program calls, as C declares it.
        target: What it runs on: ``"host"``, or as it was asked for.
        largest_difference: Between its outputs and the model's: of probabilities, of numbers over
            the deviation of their target, and of the outputs of a network over the largest.
            ``None`` if it was not run.
        notes: What to know besides: why it was not run.
    """

    folder: Path
    files: tuple[str, ...]
    functions: tuple[str, ...]
    target: str
    largest_difference: float | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A few lines to read."""
        lines = [f"  {function};" for function in self.functions]
        if self.largest_difference is not None:
            lines.append(f"built and run here: equal to {self.largest_difference:.1g}")
        size = sum((self.folder / name).stat().st_size for name in self.files)
        return "\n".join(
            [*lines, *self.notes, f"{size:,} bytes: {', '.join(self.files)} in {self.folder}"]
        )


def to_library(
    model: TableEstimator | nn.Module | Chain,
    folder: str | Path,
    *,
    name: str | None = None,
    example: Any = None,
    pixels: bool = False,
    interval: float | None = None,
    dtype: str = "float32",
    target: str = HOST,
) -> Library:
    """Write a fitted estimator of tables, or a chain of 1x1s, as a library without dependencies.

    A header, a short source in C99, and object code that holds the weights: nothing else is needed
    to build them into a program, no Python and no other library. The code is that of
    ``runtime.compile``, and no C compiler is needed to make it. If there is one, the library is
    built and run before it is written, and must give what the model gives.

    Args:
        model: A fitted estimator of tables, or a network that is a chain of 1x1s (``read_chain``
            tells), or such a chain.
        folder: Folder for the files.
        name: Of the functions, files and types. Default: that of the folder.
        example: What to check it with; by default values are drawn. Rows for an estimator,
            rasters ``(B, H, W)`` or ``(N, B, H, W)`` for ``pixels``, rows ``(P, C)`` for a network.
        pixels: Of an estimator: whether to take images whose bands are the columns, as
            ``predict_map`` does, and not rows.
        interval: Of a calibrated regression: the share of true values that are to lie in their
            intervals, 0.9 say, whose half width ``NAME_half_width`` tells.
        dtype: Type of the inputs of a network, and of the bands for ``pixels``: float32, or
            float64, uint8, int8, uint16, int16 or int32.
        target: Processor and system to compile for, in Halide's words, ``"arm-64-android"`` or
            ``"x86-64-linux-avx-avx2-f16c-fma-sse41"`` say. Default: this machine.

    Returns:
        What was written.

    Raises:
        DataError: If Halide is not installed or has no code for the target or the network, the
            network is no chain of 1x1s, a raster cannot have the columns, or the folder cannot be
            written.
        DifferenceError: If the library computes something else; nothing is written then.
        NotFittedError: If the estimator is not fitted, or for an interval not calibrated.
        TypeError: If the model is none of these.

    Example:
        >>> import tempfile
        >>> from pointwise.nn import MLP
        >>> with tempfile.TemporaryDirectory() as home:
        ...     done = to_library(MLP([3, 16, 1]), f"{home}/height")
        >>> done.files
        ('height.h', 'height.c', 'height_code_few.o', 'height_code_rows.o', 'height_code_planar.o')
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"cannot write into {folder}: it is a file; a library is a folder")
    name = library_name(folder.absolute().name if name is None else name)
    build, prove = _plan(model, name, example, pixels=pixels, interval=interval, dtype=dtype)
    here = build(HOST)
    difference, reason = proving.proved(here.files, prove)
    notes = [f"not run: {reason}"] if reason else []
    if target != HOST:
        notes.append(f"the files are for {target}: what was run here was compiled for this machine")
    made = here if target == HOST else build(target)
    try:
        with replace_folder(folder) as work:
            for file, data in made.files.items():
                (work / file).write_bytes(data)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror}") from error
    return Library(folder, tuple(made.files), made.declarations, target, difference, tuple(notes))


def _plan(
    model: Any, name: str, example: Any, *, pixels: bool, interval: float | None, dtype: str
) -> tuple[Callable[[str], making.Sources], proving.Prove]:
    """How to build the library for a target, and how to prove it."""
    making.ctype(dtype)
    if isinstance(model, TableEstimator):
        check_is_fitted(model, "network_")
        if pixels:
            build = partial(making.of_pixels, model, name, dtype, interval=interval)
            return build, proving.of_pixels(model, name, dtype, example, interval)
        if dtype != "float32":
            raise DataError("the type is for networks and pixels: rows hold numbers in double")
        build = partial(making.of_table, model, name, interval=interval)
        return build, proving.of_table(model, name, example, interval)
    if interval is not None:
        raise DataError("interval= is for calibrated regressions of tables")
    if pixels:
        raise DataError("pixels=True is for estimators of tables, whose columns become bands")
    if isinstance(model, ImageEstimator):
        raise DataError(
            f"{type(model).__name__} sees whole images, and only chains of 1x1s become a library: "
            "write ONNX instead"
        )
    if not isinstance(model, nn.Module | Chain):
        raise TypeError(
            "model must be a fitted estimator of this package, a torch.nn.Module or a Chain, got "
            f"{type(model).__name__}"
        )
    chain = network_chain(model)
    rows = None if example is None else _rows(example, chain)
    title = "Chain" if isinstance(model, Chain) else type(model).__name__
    build = partial(making.of_chain, chain, name, title, dtype)
    return build, proving.of_chain(chain, name, dtype, rows)


def _rows(example: Any, chain: Chain) -> Any:
    values = example.detach().cpu().numpy() if isinstance(example, Tensor) else example
    rows = np.asarray(values)
    if rows.ndim != 2 or rows.shape[1] != chain.c_in or not len(rows):
        raise DataError(f"example must be rows (P, {chain.c_in}), got shape {rows.shape}")
    if rows.dtype.kind not in "biuf":
        raise DataError(f"example must hold real numbers, got {rows.dtype}")
    return rows
