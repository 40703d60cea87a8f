"""What a dense classifier must give: the classifier's own head on each window of its own map."""

import re
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Head = Callable[[Tensor], Tensor]


def calibrated(network: nn.Module, example: Tensor) -> nn.Module:
    """The network with batch norms that know their data and do something, in evaluation mode."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.momentum = None
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.1)
    if norms:
        network.train()
        with torch.no_grad():
            network(torch.randn(4, *example.shape[1:], dtype=example.dtype))
    return network.eval()


def map_before(network: nn.Module, pool: str, x: Tensor) -> Tensor:
    """The feature map that reaches a module."""
    seen: list[Tensor] = []
    module = network.get_submodule(pool)
    hook = module.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    try:
        with torch.no_grad():
            network(x)
    finally:
        hook.remove()
    return seen[0]


def on_windows(features: Tensor, head: Head, size: tuple[int, int]) -> Tensor:
    """The head on every window of a feature map, at every cell: ``(N, classes, H', W')``."""
    rows, columns = features.shape[2] - size[0] + 1, features.shape[3] - size[1] + 1
    with torch.no_grad():
        found = [
            head(features[:, :, i : i + size[0], j : j + size[1]].contiguous())
            for i in range(rows)
            for j in range(columns)
        ]
    return torch.stack(found, -1).unflatten(-1, (rows, columns))


def exactly(message: str) -> str:
    """A pattern for ``pytest.raises`` that this message alone fits."""
    return f"^{re.escape(message)}$"


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Equal to a share of the largest value."""
    scale = float(expected.abs().max())
    assert scale > 1e-6, "the network puts out nothing that could differ"
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def after_pool(*names: str) -> Callable[[nn.Module], Head]:
    """A head of modules by name, flattened after the first."""

    def head(network: nn.Module) -> Head:
        first, *rest = (network.get_submodule(name) for name in names)
        return lambda x: nn.Sequential(first, nn.Flatten(), *rest)(x)

    return head
