"""What cannot be measured, refused before any long work."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pointwise.compression.calibration import batch_size
from pointwise.inspection.outputs import outputs_of
from pointwise.surgery.equivalence import Example, call, evaluating

STEADY = 1e-3
"""What two runs of one input may differ by, as a share of the largest output."""


def check_given(model: nn.Module, example: Example, samples: int) -> None:
    """Refuse arguments of which nothing can be made, before anything is run.

    Args:
        model: The model.
        example: An input.
        samples: How many samples of the data are to be taken.

    Raises:
        TypeError: If the model is no module.
        ValueError: If the example holds no sample, or none are to be taken; or if the model is a
            compiled one, or has lazy layers, or parameters that were made in inference mode.

    Example:
        >>> check_given(nn.Linear(3, 2), torch.ones(1, 3), 100)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if hasattr(model, "_orig_mod") or model._compiled_call_impl is not None:
        raise ValueError("model must be the one before torch.compile: compile what comes out here")
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise ValueError(f"model must know its sizes, its {name} is lazy: run it once first")
        if parameter.is_inference():
            raise ValueError(
                f"model must be made outside of torch.inference_mode(), its {name} was made in it"
            )
    if example is None:
        raise ValueError("example must be an input of the model, got None")
    if type(samples) is not int or samples < 1:
        raise ValueError(f"samples must be a whole number above 0, got {samples!r}")
    if batch_size(example) == 0:
        raise ValueError("example must hold at least one sample, got none")


def check_steady(model: nn.Module, example: Example) -> None:
    """Refuse a model that gives no finite numbers, or others every time.

    Args:
        model: The model.
        example: An input.

    Raises:
        ValueError: If it does.

    Example:
        >>> check_steady(nn.Linear(3, 2), torch.ones(1, 3))
    """
    first, second = (_run(model, example, seed) for seed in (0, 1))
    if not first:
        raise ValueError("model must put out at least one tensor, it puts out none")
    for name, one in first.items():
        if one.is_meta:
            raise ValueError(f"model must have values, its {name} is on the meta device")
        if one.is_floating_point() and one.isnan().any():
            raise ValueError(f"model must give numbers for the example, its {name} holds nan")
    changed = find_change(first, second)
    if changed is not None:
        raise ValueError(
            "model must give the same every time in evaluation mode, its "
            f"{changed} changes from one run to the next: it draws random numbers"
        )


def find_change(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> str | None:
    """The first of the outputs of a run that another run of the same input gives otherwise.

    Args:
        first: The outputs by name.
        second: Those of the other run.

    Returns:
        The name; ``None`` if all are the same but for rounding.

    Example:
        >>> find_change({"output": torch.ones(2)}, {"output": torch.tensor([1, 1.0001])})
        >>> find_change({"output": torch.ones(2)}, {"output": torch.tensor([1, 1.1])})
        'output'
    """
    for name, one in first.items():
        other = second.get(name)
        if other is None or other.shape != one.shape:
            return name
        if one.is_floating_point() and one.numel():
            apart = (one.double() - other.double()).nan_to_num().abs().max()
            if not apart <= STEADY * one.double().nan_to_num().abs().max():
                return name
    return None


def _run(model: nn.Module, example: Example, seed: int) -> dict[str, Tensor]:
    with evaluating(model), torch.no_grad():
        torch.manual_seed(seed)
        return outputs_of(call(model, example))
