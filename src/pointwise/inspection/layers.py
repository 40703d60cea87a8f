"""The layers of a network: what each is, its sizes and its parameters."""

from dataclasses import dataclass

from torch import nn

PARAMETERS = (nn.ParameterList, nn.ParameterDict)
LISTS = (nn.ModuleList, nn.ModuleDict, *PARAMETERS)


@dataclass(frozen=True)
class Layer:
    """One module without layers inside.

    Attributes:
        name: Its path in the network.
        kind: Its class.
        shape: Its sizes, as it prints them.
        parameters: Number of trained numbers in it.
    """

    name: str
    kind: str
    shape: str
    parameters: int


def layers(network: nn.Module) -> list[Layer]:
    """List the layers of a network in the order of its definition.

    Args:
        network: Any module.

    Returns:
        One entry per module that holds no other; a module reached twice is listed once.

    Example:
        >>> [layer.parameters for layer in layers(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))]
        [8, 0]
    """
    return [
        Layer(name, type(module).__name__, module.extra_repr(), count_parameters(module))
        for name, module in network.named_modules()
        if not isinstance(module, LISTS)
        and all(isinstance(c, PARAMETERS) for c in module.children())
    ]


def count_parameters(network: nn.Module) -> int:
    """Number of trained numbers in a module, those shared counted once.

    Args:
        network: Any module.

    Returns:
        The count, biases included.

    Example:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in network.parameters())
