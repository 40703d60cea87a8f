"""What a linear layer reads and writes, as rows: patches of the input, channels of the output."""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pointwise.compression.forms.stages import Stage

LARGEST = 1 << 22
"""So many numbers of patches are written out at once."""


def output_rows(stage: Stage, y: Tensor, *, most: int | None = None) -> Tensor:
    """The outputs of a layer, position by position.

    Args:
        stage: The layer.
        y: What it gave.
        most: At most so many positions of each sample: those that ``patch_rows`` takes, in the same
            order. Default: all.

    Returns:
        ``(G, P, O)`` in float64.
    """
    return _rows(stage, y, stage.outputs, most)


def input_rows(stage: Stage, x: Tensor, *, most: int | None = None) -> Tensor:
    """The inputs of a layer, position by position.

    Args:
        stage: The layer.
        x: What it was given.
        most: As for ``output_rows``.

    Returns:
        ``(G, P, C)`` in float64.
    """
    return _rows(stage, x, stage.inputs, most)


def patch_rows(stage: Stage, x: Tensor, *, most: int | None = None) -> Iterator[Tensor]:
    """What a layer reads for each position of its output, in pieces of bounded size.

    ``weight @ patch`` is the output at that position but for the bias, of transposed convolutions
    too: there most of a patch may be zeros.

    Args:
        stage: The layer.
        x: What it was given.
        most: At most so many positions of each sample, drawn once for all samples. Default: all.

    Yields:
        ``(G, P, C * T)`` in float64, the taps innermost.

    Example:
        >>> stage = Stage.of(torch.nn.Conv1d(1, 1, 2))
        >>> [rows.tolist() for rows in patch_rows(stage, torch.tensor([[[1.0, 2.0, 3.0]]]))]
        [[[[1.0, 2.0], [2.0, 3.0]]]]
    """
    if stage.taps == 1 and not stage.kernel:
        yield input_rows(stage, x, most=most)
        return
    windows = _windows(stage, x.detach().double())  # (N, C, *S, *K)
    samples, rank = windows.shape[0], len(stage.kernel)
    if windows.numel() == 0:
        return
    space = windows.shape[2 : 2 + rank]
    if most is not None and math.prod(space) > most:
        last = windows.movedim((0, 1), (-2, -1))[_drawn(space, most)]  # (P, *K, N, C)
        windows = last.movedim((-2, -1), (0, 1))
    places = windows.ndim - 2 - rank
    at_once = max(1, LARGEST * samples // windows.numel())
    order = (1, 0, *range(3, 3 + places), 2, *range(3 + places, 3 + places + rank))
    for part in windows.split(at_once):
        grouped = part.unflatten(1, (stage.groups, -1)).permute(order)  # (G, N, *S, C, *K)
        yield _in_order(stage, grouped).reshape(stage.groups, -1, stage.inputs * stage.taps)


def _drawn(space: Sequence[int], most: int) -> tuple[Tensor, ...]:
    """Indices of some positions, always the same ones of a space."""
    order = torch.randperm(math.prod(space), generator=torch.Generator().manual_seed(0))
    return torch.unravel_index(order[:most].sort().values, tuple(space))


def patch_sum(stage: Stage, x: Tensor) -> tuple[Tensor, int]:
    """The sum of all patches, without writing them out, and their number.

    Args:
        stage: The layer.
        x: What it was given.

    Returns:
        ``(G, C * T)`` in float64, and the number of positions.
    """
    if stage.taps == 1 and not stage.kernel:
        rows = input_rows(stage, x)
        return rows.sum(1), rows.shape[1]
    windows = _windows(stage, x.detach().double())
    rank = len(stage.kernel)
    places = (0, *range(2, 2 + rank))
    count = windows.numel() // max(1, stage.c_in * stage.taps)
    return _in_order(stage, windows.sum(places)).reshape(stage.groups, -1), count


def _rows(stage: Stage, x: Tensor, width: int, most: int | None) -> Tensor:
    x = x.detach()
    if stage.kind == "linear":
        x = x if x.ndim > 1 else x[None]
    elif stage.kind != "pointwise" and x.ndim == len(stage.kernel) + 1:
        x = x[None]
    x = x if stage.kind == "linear" else x.movedim(1, -1)  # (N, *S, C)
    space = x.shape[1:-1]
    if most is not None and math.prod(space) > most:
        every: tuple[slice | Tensor, ...] = (slice(None), *_drawn(space, most))
        x = x[every]
    return x.double().reshape(-1, stage.groups, width).transpose(0, 1)


def _windows(stage: Stage, x: Tensor) -> Tensor:
    """A view ``(N, C, *S, *K)``: for each position of the output what lies under its taps."""
    rank = len(stage.kernel)
    if x.ndim == rank + 1:
        x = x[None]
    x = _stuffed(stage, x) if stage.kind == "transposed" else _padded(stage, x)
    for axis in range(rank):
        reach = stage.dilation[axis] * (stage.kernel[axis] - 1) + 1
        step = 1 if stage.kind == "transposed" else stage.stride[axis]
        x = x.unfold(2 + axis, reach, step)[..., :: stage.dilation[axis]]
    return x


def _in_order(stage: Stage, taps: Tensor) -> Tensor:
    """Of transposed convolutions the first tap meets what lies furthest ahead."""
    axes = tuple(range(-len(stage.kernel), 0))
    return taps.flip(axes) if stage.kind == "transposed" else taps


def _padded(stage: Stage, x: Tensor) -> Tensor:
    flat = [n for pair in reversed(stage.pads()) for n in pair]
    if not any(flat):
        return x
    mode = "constant" if stage.padding_mode == "zeros" else stage.padding_mode
    return F.pad(x, flat, mode=mode)


def _stuffed(stage: Stage, x: Tensor) -> Tensor:
    """Zeros between and around the positions: a transposed convolution is a plain one on that."""
    rank = len(stage.kernel)
    space = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stage.stride, strict=True)]
    wide = x.new_zeros(*x.shape[:2], *space)
    every = tuple(slice(None, None, s) for s in stage.stride)
    wide[(slice(None), slice(None), *every)] = x
    flat = []
    for axis in reversed(range(rank)):
        reach = stage.dilation[axis] * (stage.kernel[axis] - 1)
        before, after = stage.pads()[axis]
        flat += [reach - before, reach - after + stage.output_padding[axis]]
    return F.pad(wide, flat)
