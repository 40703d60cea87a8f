"""What a chain means, computed in float64 without any haste: the oracle of the executors."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pointwise.functional import Affine
from pointwise.runtime.chain import (
    Activation,
    Argmax,
    Chain,
    Clip,
    Concat,
    Impute,
    Lookup,
    Missing,
    Normalize,
    OneHot,
    Pick,
    Residual,
    Scale,
    SmoothClip,
    Softmax,
    Spread,
    Step,
)


def evaluate(chain: Chain, x: Tensor) -> Tensor:
    """Run a chain on rows in float64.

    Args:
        chain: The chain.
        x: Rows ``(P, C_in)`` of any type.

    Returns:
        Rows ``(P, C_out)`` in float64, or int64 after ``Argmax``.

    Raises:
        ValueError: If ``x`` has other channels.

    Example:
        >>> chain = Chain(2, [Affine(torch.tensor([[1.0, -2.0]])), Activation("relu")])
        >>> evaluate(chain, torch.tensor([[5.0, 1.0], [1.0, 1.0]]))
        tensor([[3.],
                [0.]], dtype=torch.float64)
    """
    if x.ndim != 2 or x.shape[1] != chain.c_in:
        raise ValueError(f"x must have shape (P, {chain.c_in}), got {tuple(x.shape)}")
    return _run(chain.steps, x.double())


def activate(kind: Activation, x: Tensor) -> Tensor:
    """Apply an activation, in the type of ``x``, as PyTorch does.

    Args:
        kind: The activation.
        x: Any tensor.

    Returns:
        A tensor like ``x``.

    Example:
        >>> activate(Activation("leaky_relu", 0.5), torch.tensor([-2.0, 2.0]))
        tensor([-1., 2.])
    """
    match kind.kind:
        case "elu":
            return F.elu(x, kind.parameter)
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "leaky_relu":
            return F.leaky_relu(x, kind.parameter)
        case "softplus":
            return F.softplus(x, kind.parameter, kind.threshold)
        case "tanh" | "sigmoid":
            made: Tensor = getattr(torch, kind.kind)(x)
            return made
    made = getattr(F, kind.kind)(x)
    return made


def _run(steps: Sequence[Step], x: Tensor) -> Tensor:
    for step in steps:
        x = _apply(step, x)
    return x


def _apply(step: Step, x: Tensor) -> Tensor:
    match step:
        case Affine(weight, bias, groups):
            offset = None if bias is None else bias.double()
            return Affine(weight.double(), offset, groups)(x)
        case Activation():
            return activate(step, x)
        case Scale():
            return (x - step.centre.double()) * step.factor.double() + step.shift.double()
        case Clip():
            return torch.clamp(x, step.low.double(), step.high.double())
        case SmoothClip(limit):
            return x / torch.sqrt(1 + (x / limit) ** 2)
        case Impute(values):
            return torch.where(x.isnan(), values.double(), x)
        case Missing():
            return x.isnan().double()
        case Pick(channels):
            return x[:, list(channels)]
    return _apply_whole(step, x)


def _apply_whole(step: Step, x: Tensor) -> Tensor:
    match step:
        case OneHot(codes, usual, unseen):
            hot = (x == codes.double()).double()
            return torch.where(x == unseen, usual.double(), hot)
        case Lookup(table):
            last = len(table) - 1
            index = torch.where((x[:, 0] == -1) | x[:, 0].isnan(), last, x[:, 0]).clamp(0, last)
            rows: Tensor = table.double().index_select(0, index.long())
            return rows
        case Concat(branches):
            return torch.cat([_run(branch, x) for branch in branches], 1)
        case Residual(body):
            return x + _run(body, x)
        case Normalize(groups, eps):
            parts = x.unflatten(1, (groups, -1))
            normed: Tensor = F.layer_norm(parts, parts.shape[2:], eps=eps)
            return normed.flatten(1)
        case Softmax(parts):
            shares: Tensor = x.unflatten(1, (parts, -1)).softmax(2)
            return shares.flatten(1)
        case Spread(members, deviation):
            each: Tensor = x.unflatten(1, (members, -1))
            mean = each.mean(1)
            if not deviation:
                return mean
            return torch.cat([mean, (each - mean[:, None]).square().mean(1).sqrt()], 1)
        case Argmax():
            return x.argmax(1, keepdim=True)
    raise TypeError(f"step must be one of the chain's kinds, got {type(step).__name__}")
