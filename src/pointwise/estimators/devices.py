"""Where to train, and in which arithmetic."""

from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["auto", "float32", "float64", "bfloat16"]


def device_of(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: ``"auto"`` for a GPU if there is one, or torch's name of a device.

    Returns:
        The device.

    Raises:
        ValueError: If it is not here.

    Example:
        >>> device_of("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).cpu()  # one that is not here fails only when it is used
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device must be 'auto' or one that is here, like 'cpu' or 'cuda:0', got {name!r}"
        ) from error
    return torch.device(name)


def product_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The type that matrix products run in while a network trains.

    Args:
        precision: As the estimators take it; ``"auto"`` is bfloat16 on a GPU that has units for it,
            as NVIDIA's do from compute capability 8.0 on: others would imitate it, and be slow.
        device: Where they run.

    Returns:
        The type, or ``None`` for the network's own.

    Example:
        >>> product_type("bfloat16", torch.device("cpu")), product_type("auto", torch.device("cpu"))
        (torch.bfloat16, None)
    """
    if precision == "auto":
        lower = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        lower = precision == "bfloat16"
    return torch.bfloat16 if lower else None
