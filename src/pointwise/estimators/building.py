"""From coded training rows to the network that fits them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointwise.data.coding import TableCoding
from pointwise.nn import MLP, ChannelScale, TableNetwork
from pointwise.nn.activation import ACTIVATIONS, activation_name
from pointwise.nn.encoding import CategoryEncoder, NumberEncoder

Floats = NDArray[np.float64]

ROWS_PER_PIECE = 20
"""A column of numbers is cut into pieces of at least this many different rows on average."""

MOST_PIECES = 64

ROWS_PER_CHANNEL = 4
"""All columns together have a piece for so many different rows, or ``FREE_CHANNELS``."""

FREE_CHANNELS = 1024


def build_network(
    coding: TableCoding,
    x: Floats,
    weight: Floats,
    scale: ChannelScale,
    *,
    hidden: tuple[int, ...],
    members: int,
    dropout: float,
) -> TableNetwork:
    """Fit the encoders to the training rows and put an MLP behind them.

    Args:
        coding: How the columns were coded.
        x: Coded training rows ``(N, C)``.
        weight: Weight of each row, ``(N,)``.
        scale: Scale of the outputs.
        hidden: Channels of the hidden layers.
        members: Number of members.
        dropout: Share of hidden channels dropped in training.

    Returns:
        A network with freshly drawn weights.
    """
    levels = [len(c.levels) for c in coding.categories]
    split = x.shape[1] - len(levels)
    pieces = count_pieces(_distinct(x[weight > 0]), split)
    numbers = NumberEncoder.fit(x[:, :split], weight, pieces=pieces)
    categories = CategoryEncoder.fit(x[:, split:], weight, levels)
    channels = (numbers.c_out + categories.c_out, *hidden, len(scale.scale))
    mlp = MLP(channels, members=members, dropout=dropout)
    return TableNetwork(numbers, categories, mlp, scale)


def count_pieces(rows: int, columns: int) -> int:
    """Into how many pieces each column of numbers is cut.

    Few rows of many columns get few: hundreds of columns cut finely make a first layer that is far
    larger than the table, slow to fit, and no more accurate.

    Args:
        rows: Number of different training rows.
        columns: Number of columns of numbers.

    Returns:
        Pieces of a column, from 1 to 64.

    Example:
        >>> count_pieces(20_000, 8), count_pieces(480, 8), count_pieces(480, 204)
        (64, 24, 5)
    """
    channels = max(FREE_CHANNELS, rows // ROWS_PER_CHANNEL)
    most = min(MOST_PIECES, channels // max(columns, 1))
    return int(np.clip(rows // ROWS_PER_PIECE, 1, max(most, 1)))


def _distinct(x: Floats) -> int:
    """Number of different rows: a row that is there twice is like one of twice the weight."""
    rows = np.ascontiguousarray(x).view(np.dtype((np.void, x.itemsize * x.shape[1])))
    return len(np.unique(rows))


def network_config(network: TableNetwork) -> dict[str, Any]:
    """The sizes from which ``blank_network`` makes the same network again, as JSON holds them."""
    numbers, mlp = network.numbers, network.mlp
    return {
        "numbers": {
            "columns": len(numbers.centre),
            "indicated": len(numbers.indicated),
            "pieces": len(numbers.piece_column),
        },
        "categories": list(network.categories.sizes),
        "channels": list(mlp.channels),
        "members": mlp.members,
        "activation": activation_name(type(mlp.activations[0])) if mlp.activations else "identity",
        "dropout": mlp.dropout.p,
    }


def blank_network(config: dict[str, Any]) -> TableNetwork:
    """Make a network of the sizes that ``network_config`` wrote, to load a state dict into."""
    numbers = NumberEncoder.blank(**config["numbers"])
    categories = CategoryEncoder([[1.0] * size for size in config["categories"]])
    mlp = MLP(
        config["channels"],
        members=config["members"],
        activation=ACTIVATIONS[config["activation"]],
        dropout=config["dropout"],
    )
    outputs = config["channels"][-1]
    return TableNetwork(numbers, categories, mlp, ChannelScale([1.0] * outputs, [0.0] * outputs))
