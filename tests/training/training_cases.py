"""Small networks and rows that the tests of the training loop share."""

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor, nn

from pointwise.nn import MLP
from pointwise.training import Epoch, Rows, Settings, SquaredError, train

SETTINGS = Settings(batch_size=16, learning_rate=1e-2, max_epochs=6, patience=3, seed=5)


class WithEmbedding(nn.Module):
    """Column 0 is a code that is embedded, the rest are numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.Embedding(4, 3)
        self.mlp = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(torch.cat([self.levels(x[:, 0].abs().long() % 4), x[:, 1:]], 1))
        return out


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def with_dropout() -> nn.Module:
    return MLP([3, 16, 16, 1], dropout=0.3)


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def with_frozen_layer() -> nn.Module:
    network = plain()
    network[0].requires_grad_(False)
    return network


def with_tied_weights() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    network[2].weight = network[0].weight
    return network


def matrices_only() -> nn.Module:
    """One group of parameters, where the others have one of matrices and one of vectors."""
    return nn.Sequential(nn.Linear(3, 8, bias=False), nn.ReLU(), nn.Linear(8, 1, bias=False))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": plain,
    "dropout": with_dropout,
    "batch norm": with_batch_norm,
    "embedding": WithEmbedding,
    "frozen layer": with_frozen_layer,
    "tied weights": with_tied_weights,
    "matrices only": matrices_only,
}


def make_network(name: str = "plain", seed: int = 0) -> nn.Module:
    """Draw a network; the same seed draws the same one, and the global state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name]()


def make_rows(n: int = 60, *, noise: float = 0.1, seed: int = 1) -> Rows:
    """Rows of a smooth function of three numbers."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator)
    y = x.sum(1, keepdim=True).tanh() + noise * torch.randn(n, 1, generator=generator)
    return Rows(x, y)


ROWS, VALID = make_rows(), make_rows(40, seed=2)


class WithLoss:
    """Squared error on validation rows, and any loss on training rows."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.loss = loss

    def score(self, output: Tensor, target: Tensor) -> Tensor:
        return SquaredError(1).score(output, target)

    def __repr__(self) -> str:
        return "WithLoss()"  # the same for every loss: a checkpoint must not tell them apart


def squares_but_at_step(step: int, replaced: Callable[[Tensor], Tensor]) -> WithLoss:
    """Squared error whose values one step of the training replaces."""
    steps = count(1)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        values = SquaredError(1).loss(output, target)
        return replaced(values) if next(steps) == step else values

    return WithLoss(loss)


def fit(network: nn.Module, settings: Settings = SETTINGS, **kwargs: object) -> list[Epoch]:
    """Train to the end."""
    rows, valid = kwargs.pop("rows", ROWS), kwargs.pop("valid", VALID)
    return list(train(network, SquaredError(1), rows, valid, settings, **kwargs))


def weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the state."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def assert_same_bits(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Compare states bit by bit."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), f"{name} differs"


def same_bits(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Whether two states agree in every bit."""
    return all(torch.equal(actual[name], value) for name, value in expected.items())
