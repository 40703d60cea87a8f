"""The layout trap: features belong on the channel axis; as positions they cannot interact.

Shows what happens when a table of F features is handed to 1x1 convolutions as one channel at F
positions, ``(N, 1, F)``, instead of F channels, ``(N, F)``. A 1x1 sees each position alone, so the
network is a sum of functions of single features. It cannot learn ``y = a * b``, where the right
layout has no trouble; and the estimators warn of it.

Run: python examples/layout_trap.py
"""

import warnings

import torch
from torch import Tensor, nn

from pointwise import PointwiseRegressor
from pointwise.errors import DataWarning
from pointwise.nn import MLP
from pointwise.training import Rows, Settings, SquaredError, train


class SumOverPositions(nn.Module):
    """An MLP at every position, and the sum of what it says there."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, L)`` to ``(N, C_out)``."""
        return self.mlp(x).sum(2)


def r2(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Train on two thirds of the rows and score on the rest: 1 is perfect, 0 is the mean."""
    learn, test = Rows(x[:800], y[:800]), Rows(x[800:], y[800:])
    settings = Settings(batch_size=32, learning_rate=5e-3, max_epochs=40)
    for _ in train(network, SquaredError(members=1), learn, learn, settings):
        pass
    with torch.no_grad():
        error = (network(test.x) - test.y).square().sum()
    return float(1 - error / (test.y - test.y.mean()).square().sum())


def main() -> None:
    torch.manual_seed(0)
    features = torch.rand(1200, 2) * 2 - 1
    product = features.prod(1, keepdim=True)  # an interaction and nothing else

    as_positions = features[:, None]  # (N, 1, F)
    trapped = SumOverPositions(MLP([1, 32, 32, 1]))
    print(f"features as positions (N, 1, F): R2 {r2(trapped, as_positions, product):.3f}")
    print(f"features as channels  (N, F):    R2 {r2(MLP([2, 32, 32, 1]), features, product):.3f}")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PointwiseRegressor(members=2, max_epochs=2, random_state=0)
        model.fit(as_positions.numpy(), product[:, 0].numpy())
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            print(f"the estimator says: {warning.message}")


if __name__ == "__main__":
    main()
