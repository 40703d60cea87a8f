"""How ``(N, C, *S)`` lies in memory, and its flat forms: rows ``(P, C)`` and columns ``(C, P)``.

``P`` counts the positions of all samples. Rows are a view of a table and of channels-last memory;
columns are a view of one planar sample.
"""

from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of a position lie side by side in memory, as they do in a table.

    Args:
        x: Tensor of shape ``(N, C, *S)``.

    Returns:
        Whether ``to_rows`` needs no transposition; always true without position axes.

    Example:
        >>> import torch
        >>> is_channels_last(torch.ones(2, 3)), is_channels_last(torch.ones(2, 3, 5))
        (True, False)
    """
    return x.ndim == 2 or x.stride(1) == 1


def to_rows(x: Tensor) -> Tensor:
    """Flatten ``(N, C, *S)`` to rows ``(P, C)``.

    Args:
        x: Tensor of shape ``(N, C, *S)``.

    Returns:
        Rows: a view where the memory allows it.

    Example:
        >>> import torch
        >>> to_rows(torch.ones(2, 3, 5, 7)).shape
        torch.Size([70, 3])
    """
    return x if x.ndim == 2 else x.movedim(1, -1).flatten(0, -2)


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """Undo ``to_rows``: ``(P, C)`` to ``(N, C, *S)``.

    Args:
        rows: Rows of shape ``(P, C)``, with any number of channels.
        like: The tensor that ``to_rows`` flattened.

    Returns:
        Tensor of shape ``(N, C, *S)``, in the memory order of ``like``.
    """
    if like.ndim == 2:
        return rows
    n, _, *space = like.shape
    x = rows.reshape(n, *space, rows.shape[1]).movedim(-1, 1)
    return x if is_channels_last(like) else x.contiguous()


def to_columns(x: Tensor) -> Tensor:
    """Flatten ``(N, C, *S)`` to columns ``(C, P)``, contiguous.

    Args:
        x: Tensor of shape ``(N, C, *S)``.

    Returns:
        Columns: a view of one planar sample, a copy otherwise.

    Example:
        >>> import torch
        >>> to_columns(torch.ones(2, 3, 5, 7)).shape
        torch.Size([3, 70])
    """
    return x.transpose(0, 1).flatten(1).contiguous()


def from_columns(columns: Tensor, like: Tensor) -> Tensor:
    """Undo ``to_columns``: ``(C, P)`` to ``(N, C, *S)``.

    Args:
        columns: Columns of shape ``(C, P)``, with any number of channels.
        like: The tensor that ``to_columns`` flattened.

    Returns:
        Tensor of shape ``(N, C, *S)``, in the memory order of ``like``.
    """
    n, _, *space = like.shape
    x = columns.reshape(columns.shape[0], n, *space).transpose(0, 1)
    return like_memory(x, like) if like.ndim > 2 and is_channels_last(like) else x.contiguous()


def like_memory(y: Tensor, x: Tensor) -> Tensor:
    """Lay a result out as the input lies, where an operator of torch did not.

    Args:
        y: Tensor of shape ``(N, C, *S)``, of any channels and positions.
        x: The tensor whose memory order it takes.

    Returns:
        ``y``, or a channels-last copy if ``x`` is channels-last and ``y`` is not.
    """
    if not is_channels_last(x) or is_channels_last(y):
        return y
    return y.movedim(1, -1).contiguous().movedim(-1, 1)
