"""Network in Network: mlpconv layers, and class maps that are averaged over all positions."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from pointwise.functional.checks import check_input
from pointwise.nn.conv import MakeNorm
from pointwise.nn.dropout import Dropout
from pointwise.nn.mlpconv import MLPConv
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.pooling import GlobalAveragePool


class Stage(NamedTuple):
    """One mlpconv layer: its kernel, the widths of its KxK and 1x1s, the pool before the next."""

    kernel: int
    widths: tuple[int, ...]
    pool: type[nn.MaxPool2d] | type[nn.AvgPool2d] = nn.MaxPool2d


CIFAR = (
    Stage(5, (192, 160, 96)),
    Stage(5, (192, 192, 192), nn.AvgPool2d),
    Stage(3, (192, 192)),
)
MNIST = (
    Stage(5, (96, 64, 48)),
    Stage(5, (128, 96, 48)),
    Stage(5, (128, 96)),
)


class NetworkInNetwork(nn.Module):
    """Mlpconv layers with pools and dropout between them; the last puts out one map per class.

    No dense layer: the mean of a class's map is its logit, and the map itself shows where the
    class is seen (``maps``). A pool halves the size, rounded down: it is 3x3 with stride 2, in ceil
    mode. Every convolution has a ReLU, that of the class maps too.

    Convolutions start from a normal distribution of variance ``2 / fan in`` (He et al., 2015) and
    biases from 0, for inputs of unit scale. Without norms the class maps start from 1 instead, with
    weights of deviation 0.01: maps that start around 0 die in their ReLU within a few steps, and a
    shift of all logits is nothing to the softmax. The authors draw with a fixed deviation of 0.05,
    for pixels from 0 to 255.

    Args:
        classes: Number of outputs.
        stages: Every mlpconv layer; the 1x1 to the classes is added to the last one's widths, and
            its pool is not used.
        channels: Number of input channels.
        norm: Makes the norm after every convolution, those of the class maps too; ``None`` for
            none, as in the paper, they then have biases.
        dropout: Share of values dropped in training after every pool.

    Raises:
        ValueError: If there are no stages, or a size is not positive.

    Shape:
        ``(N, channels, H, W)`` to ``(N, classes)``, with ``H`` and ``W`` of at least ``smallest``.

    Reference:
        Lin, Chen and Yan, Network in Network, 2013, sections 3.3 and 4.

    Example:
        >>> import torch
        >>> network = NetworkInNetwork(7, [Stage(3, (8, 4)), Stage(3, (8,))], channels=1)
        >>> x = torch.ones(2, 1, 20, 30)
        >>> network(x).shape, network.maps(x).shape
        (torch.Size([2, 7]), torch.Size([2, 7, 10, 15]))
    """

    smallest: int
    """Rows and columns that an image must have, so that every pool has something to pool."""

    def __init__(
        self,
        classes: int,
        stages: Sequence[Stage],
        *,
        channels: int = 3,
        norm: MakeNorm | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not stages:
            raise ValueError(f"stages must name one mlpconv layer at least, got {stages!r}")
        self.channels, self.smallest = channels, 2 ** (len(stages) - 1)
        self.features = nn.Sequential()
        *earlier, last = stages
        for stage in earlier:
            self.features.append(MLPConv(channels, stage.widths, kernel=stage.kernel, norm=norm))
            self.features.append(stage.pool(3, 2, ceil_mode=True))
            self.features.append(Dropout(dropout))
            channels = stage.widths[-1]
        self.head = MLPConv(channels, (*last.widths, classes), kernel=last.kernel, norm=norm)
        self.average = GlobalAveragePool()
        self.apply(_initialise)
        if norm is None:
            _keep_alive([self.head.conv, *self.head.mlp][-1].conv)

    def maps(self, x: Tensor) -> Tensor:
        """The class maps before they are averaged: where each class is seen.

        Args:
            x: Images of shape ``(N, channels, H, W)``.

        Returns:
            Maps of shape ``(N, classes, H', W')``: ``H`` and ``W`` halved by every pool, rounded
            down.
        """
        check_input(x, self.channels, 2, self.smallest)
        out: Tensor = self.head(self.features(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, channels, H, W)`` to ``(N, classes)``."""
        out: Tensor = self.average(self.maps(x))
        return out


def nin_cifar(
    classes: int = 10, *, channels: int = 3, norm: MakeNorm | None = None
) -> NetworkInNetwork:
    """The paper's network for CIFAR: 966,986 parameters; 222.5 M multiplications at 32x32.

    The second pool takes means, as in the authors' Caffe model (gist e56253735ef32c3c296d) and in
    the batch-normalised network of szagoruyko/cifar.torch; the paper's own runs took maxima
    (mavenlin/cuda-convnet, NIN/cifar-10_def).

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        norm: Makes the norm after every convolution; ``None`` for none, as in the paper.

    Returns:
        The network, with random weights.

    Example:
        >>> sum(p.numel() for p in nin_cifar().parameters())
        966986
    """
    return NetworkInNetwork(classes, CIFAR, channels=channels, norm=norm)


def nin_mnist(
    classes: int = 10, *, channels: int = 1, norm: MakeNorm | None = None
) -> NetworkInNetwork:
    """The paper's network for MNIST: 349,674 parameters; 50.7 M multiplications at 28x28.

    Sizes, pools and dropout are those of the authors' file (mavenlin/cuda-convnet, NIN/mnist_def).

    Args:
        classes: Number of outputs.
        channels: Number of input channels.
        norm: Makes the norm after every convolution; ``None`` for none, as in the paper.

    Returns:
        The network, with random weights.

    Example:
        >>> sum(p.numel() for p in nin_mnist().parameters())
        349674
    """
    return NetworkInNetwork(classes, MNIST, channels=channels, norm=norm)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | PointwiseConv):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _keep_alive(conv: nn.Module) -> None:
    """Start class maps where their ReLU passes gradients."""
    nn.init.normal_(conv.get_parameter("weight"), std=0.01)
    nn.init.ones_(conv.get_parameter("bias"))
