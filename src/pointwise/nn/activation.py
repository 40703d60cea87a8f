"""The activations that a model file may name: a closed table, so that loading imports nothing."""

from collections.abc import Callable

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def activation_name(activation: Callable[[], nn.Module]) -> str:
    """The name under which a model file keeps an activation.

    Args:
        activation: One of the classes in ``ACTIVATIONS``.

    Returns:
        Its name in the table.

    Raises:
        ValueError: If the activation is not in the table, so that it could not be loaded again.

    Example:
        >>> activation_name(nn.ReLU)
        'relu'
    """
    for name, known in ACTIVATIONS.items():
        if known is activation:
            return name
    raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
