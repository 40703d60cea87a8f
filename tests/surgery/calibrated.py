"""Random networks that carry signal: norms with statistics, scales and offsets of their own."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointwise.surgery.fold import fold
from pointwise.surgery.swap import Swap

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in evaluation mode, every scale, offset and statistic drawn."""
    torch.manual_seed(seed)
    for module in model.modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None or not tensor.is_floating_point():
                continue
            if isinstance(module, _BatchNorm) or tensor.ndim == 1 or "std" in name:
                low, high = (0.5, 2.0) if name in ("running_var", "std") else (0.3, 1.5)
                tensor.data.uniform_(low, high)
                if name not in ("running_var", "std"):
                    tensor.data *= torch.where(torch.rand_like(tensor) < 0.3, -1.0, 1.0)
    return model.eval()


def calibrated(model: nn.Module, x: Tensor) -> nn.Module:
    """The model in evaluation mode, its batch norms with the statistics of noisy inputs."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.momentum = None
            module.reset_running_stats()
        elif isinstance(module, nn.LayerNorm) and module.elementwise_affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    for parameter in model.parameters():
        if parameter.abs().max() < 1e-3:  # layer scales and heads that begin near zero
            nn.init.uniform_(parameter, 0.5, 1.5)
    with torch.no_grad():
        model.train()(torch.randn(4, *x.shape[1:]))
    return model.eval()


def check_folded(model: nn.Module, *x: Any, dtype: torch.dtype) -> tuple[nn.Module, list[Swap]]:
    """Fold and compare with the model on an input that ``fold`` did not see."""
    model = model.to(dtype)
    given = tuple(t.to(dtype) for t in x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    untouched = copy.deepcopy(model)
    folded, swaps = fold(model, given)
    other = tuple(torch.randn_like(t) + 0.5 for t in given)
    with torch.no_grad():
        expected, found = untouched(*other), folded(*other)
    tolerance = TOLERANCES[dtype] * expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    return folded, swaps


def kinds(model: nn.Module) -> list[str]:
    """The classes of a sequence's modules."""
    return [type(module).__name__ for module in model.children()]


def reasons(swaps: list[Swap]) -> dict[str, str]:
    """Why modules were left alone, by path."""
    return {swap.path: swap.reason for swap in swaps if swap.after is None}
