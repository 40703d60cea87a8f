"""One network, trained on the rows of a table, on tokens, on an image and on a volume.

Shows that the number of position axes is the input's business: the network that an estimator fits
to rows ``(N, C)`` takes ``(N, C, L)``, ``(N, C, H, W)`` and ``(N, C, D, H, W)`` as it is, and gives
every position the numbers that it gives the row with the same channels.

Run: python examples/same_network_any_rank.py
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pointwise import PointwiseRegressor
from pointwise.data.table import as_table

SHAPES = {
    "rows": (480,),
    "tokens": (4, 120),
    "image": (2, 12, 20),
    "volume": (1, 6, 8, 10),
}
"""Samples and position axes; each shape has 480 positions."""


def make_table(rows: int, seed: int) -> pd.DataFrame:
    """Reflectances of three bands, as a table of pixels would hold them."""
    bands = np.random.default_rng(seed).uniform(size=(rows, 3))
    return pd.DataFrame(bands, columns=["red", "near_infrared", "blue"])


def place(rows: Tensor, samples: int, *space: int) -> Tensor:
    """Lay rows ``(P, C)`` out as ``(N, C, *S)``."""
    return rows.reshape(samples, *space, rows.shape[1]).movedim(-1, 1)


def pick_up(x: Tensor) -> Tensor:
    """Lay ``(N, C, *S)`` out as rows ``(P, C)``."""
    return x.movedim(1, -1).flatten(0, -2)


def main() -> None:
    learn = make_table(600, seed=0)
    red, near = learn["red"], learn["near_infrared"]
    vegetation = (near - red) / (near + red + 0.1)
    model = PointwiseRegressor(members=4, max_epochs=20, random_state=0).fit(learn, vegetation)

    new = make_table(480, seed=1)
    coded = torch.from_numpy(model.coding_.encode(as_table(new)))  # (480, 3), float32
    network = model.network_
    with torch.no_grad():
        on_rows = network(coded)  # (480, 4): a column per member of the ensemble
        for name, (samples, *space) in SHAPES.items():
            x = place(coded, samples, *space)
            y = network(x)
            difference = (pick_up(y) - on_rows).abs().max()
            print(
                f"{name:6}  {tuple(x.shape)!s:19} -> {tuple(y.shape)!s:19}"
                f"  largest difference {difference:.1e}"
            )

    difference = np.abs(on_rows.mean(1).numpy() - model.predict(new)).max()
    print(f"the members' mean against model.predict(table): largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
