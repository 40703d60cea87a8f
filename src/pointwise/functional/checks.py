"""What an input must be, said in one wording by every block and network."""

import itertools
from collections.abc import Sequence

from torch import Tensor

AXES = {None: "*S", 0: "", 1: "L", 2: "H, W", 3: "D, H, W"}


def check_input(x: Tensor, channels: int, rank: int | None = None, smallest: int = 0) -> None:
    """Refuse an input whose channels, rank or size do not fit.

    Args:
        x: The input.
        channels: Number of channels that it must have.
        rank: Number of position axes that it must have. Default: any.
        smallest: Positions that every position axis must have at least.

    Raises:
        ValueError: If it does not fit.

    Example:
        >>> import torch
        >>> check_input(torch.ones(1, 3, 16, 16), 3, rank=2, smallest=32)
        Traceback (most recent call last):
        ValueError: x must have at least 32 positions along every axis, got (16, 16)
    """
    if x.ndim < 2 or x.shape[1] != channels or (rank is not None and x.ndim != rank + 2):
        shape = ", ".join(part for part in ("N", str(channels), AXES[rank]) if part)
        raise ValueError(f"x must have shape ({shape}), got {tuple(x.shape)}")
    space = x.shape[2:]
    if space and min(space) < smallest:
        raise ValueError(
            f"x must have at least {smallest} positions along every axis, got {tuple(space)}"
        )


def check_batches(maps: Sequence[Tensor]) -> None:
    """Refuse maps of different batches, of which one of a single sample would be used for all.

    Args:
        maps: The maps.

    Raises:
        ValueError: If they have not equally many samples.
    """
    samples = [x.shape[0] for x in maps]
    if any(count != samples[0] for count in samples):
        raise ValueError(f"maps must have equally many samples, got {samples}")


def check_finest_first(maps: Sequence[Tensor]) -> None:
    """Refuse maps of which one is larger than the one before: it would lose most of its positions.

    Args:
        maps: The maps, of one rank.

    Raises:
        ValueError: If they are not in order, along any axis.

    Example:
        >>> import torch
        >>> check_finest_first([torch.ones(1, 8, 4), torch.ones(1, 8, 9)])
        Traceback (most recent call last):
        ValueError: maps must stand with the finest first, got sizes (4,), (9,)
    """
    sizes = [tuple(x.shape[2:]) for x in maps]
    for finer, coarser in itertools.pairwise(sizes):
        if any(more > fewer for more, fewer in zip(coarser, finer, strict=True)):
            raise ValueError(
                f"maps must stand with the finest first, got sizes {', '.join(map(str, sizes))}"
            )


def check_rank(rank: int) -> None:
    """Refuse a number of position axes that torch has no convolution for.

    Args:
        rank: Number of position axes.

    Raises:
        ValueError: If it is not 1, 2 or 3.
    """
    if rank not in (1, 2, 3):
        raise ValueError(f"rank must be 1, 2 or 3, got {rank}")


def check_groups(groups: int, c_in: int, c_out: int) -> None:
    """Refuse groups that do not divide the channels.

    Args:
        groups: Number of groups.
        c_in: Number of input channels.
        c_out: Number of output channels.

    Raises:
        ValueError: If a size is not positive or ``groups`` does not divide both.
    """
    if min(c_in, c_out, groups) < 1:
        raise ValueError(
            f"c_in, c_out and groups must be at least 1: got {c_in}, {c_out} and {groups}"
        )
    if c_in % groups or c_out % groups:
        raise ValueError(f"groups must divide c_in and c_out: got {groups}, {c_in} and {c_out}")


def check_kernel(kernel: int | Sequence[int], rank: int) -> None:
    """Refuse a kernel without a positive size along every position axis.

    Args:
        kernel: Its size, along every axis or along each.
        rank: Number of position axes.

    Raises:
        ValueError: If a size is not positive, or there is not one per axis.

    Example:
        >>> check_kernel((3, 0), 2)
        Traceback (most recent call last):
        ValueError: kernel must be at least 1 along each of 2 axes, got (3, 0)
    """
    sizes = (kernel,) * rank if isinstance(kernel, int) else tuple(kernel)
    if len(sizes) != rank or min(sizes) < 1:
        axes = "1 axis" if rank == 1 else f"each of {rank} axes"
        raise ValueError(f"kernel must be at least 1 along {axes}, got {kernel}")


def check_stride(stride: int) -> None:
    """Refuse a stride that is not positive.

    Args:
        stride: Every how many positions along each axis are kept.

    Raises:
        ValueError: If it is below 1.
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
