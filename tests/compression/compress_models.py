"""Small models of many kinds for compression, each with an example and calibration data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def block(c_in: int, c_out: int, stride: int = 1) -> list[nn.Module]:
    """A convolution, its norm and a ReLU."""
    conv = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(c_out), nn.ReLU()]


class Residual(nn.Module):
    """Two convolutions and a path around them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*block(3, 16))
        self.body = nn.Sequential(*block(16, 16), *block(16, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(x + self.body(x), inplace=True)
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


class Unet(nn.Module):
    """Down, up and a mask of scores in a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, stride=2, padding=1, padding_mode="reflect")
        self.middle = nn.Conv2d(16, 32, 3, padding="same", groups=2)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.up(F.relu(self.middle(F.relu(self.down(x)))))
        return {"out": self.last(F.relu(x))}


class Twice(nn.Module):
    """A layer called twice, and one under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv1d(16, 16, 5, padding=2)
        self.last = nn.Conv1d(16, 8, 3)
        self.same = self.last

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.inner(torch.tanh(self.inner(x))))
        scores: Tensor = self.same(x).mean(-1)
        return scores


class Named(nn.Module):
    """Two named inputs, and a regression."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(24, 32), nn.Linear(12, 32)
        self.last = nn.Linear(32, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        value: Tensor = self.last(F.gelu(self.left(left)) * self.right(right))
        return value


def _attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True, dropout=0.1)
    return nn.Sequential(
        nn.Linear(8, 16), layer, nn.Flatten(), nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 4)
    )


def _cnn() -> nn.Module:
    return nn.Sequential(
        *block(3, 16), *block(16, 24, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5)
    )


@dataclass(frozen=True)
class Model:
    """How to make a model, and the shape of one sample, or of several inputs by name."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] | dict[str, tuple[int, ...]]
    logits: Callable[[Any], Tensor] | None = None
    least: float = 0.5


MODELS: dict[str, Model] = {
    "cnn": Model(_cnn, (3, 12, 12)),
    "residual": Model(Residual, (3, 10, 10)),
    "unet": Model(Unet, (3, 12, 12), logits=lambda y: y["out"]),
    "unet_without_logits": Model(Unet, (3, 12, 12)),
    "twice": Model(Twice, (16, 20)),
    "named": Model(Named, {"left": (24,), "right": (12,)}),
    "attention": Model(_attention, (6, 8), least=0.87),
}


def drawn(model: Model, samples: int) -> Any:
    """Inputs with correlated channels, off centre."""

    def draw(shape: tuple[int, ...]) -> Tensor:
        x = torch.randn(samples, *shape)
        return x + 0.5 * x.cumsum(-1) + 0.3

    if isinstance(model.shape, dict):
        return {name: draw(shape) for name, shape in model.shape.items()}
    return draw(model.shape)


def made(model: Model) -> tuple[nn.Module, Any, list[Any]]:
    """A model whose norms know its data, an example and calibration data."""
    torch.manual_seed(0)
    network = model.make()
    batches = [drawn(model, 32) for _ in range(4)]
    with torch.no_grad():
        for batch in batches * 3:
            network(**batch) if isinstance(batch, dict) else network(batch)
    return network.eval(), drawn(model, 2), batches
