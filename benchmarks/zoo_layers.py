"""Random networks that carry signal, and the multiply-adds of the layers that can be converted."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from pointwise.surgery.axes import is_transposed
from pointwise.surgery.equivalence import call

SAMPLES = 16
"""For the statistics of norms."""

FLOOR = 1e-3
"""Share of the mean variance that a channel has at least: where a unit is off for all samples, the
norm after it would make a thousandfold signal of the first value that comes."""


def prepare(model: nn.Module, x: Any) -> None:
    """Draw what a fresh network leaves at 0, 1 or a tiny constant, and calibrate its norms."""
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.numel() > 1 and parameter.is_floating_point():
                _draw(parameter.data)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    model.eval()
    with torch.no_grad():
        for norm in norms:
            norm.train()
            norm.momentum = None
            norm.reset_running_stats()
        for _ in range(2):
            call(model, tree_map_only(Tensor, _more, x))
        for norm in norms:
            norm.momentum = 0.1
            variance = norm.running_var
            assert variance is not None, "norms that track it"
            variance.clamp_(min=FLOOR * variance.mean())
    model.eval()


def _draw(values: Tensor) -> None:
    """Constant parameters become random ones: scales, offsets, matrices by size.

    So do matrices that are drawn tiny, as BEiT's head is: before its offset no error would show.
    Offsets are more often positive, and as large as the scales: then most units are on, as many as
    keep a change of the input at its size on its way to the output. With offsets about 0 deep
    random networks are chaotic (Poole et al., Exponential expressivity in deep neural networks
    through transient chaos, 2016): a ResNet-152 makes its own rounding 10,000 times larger.
    """
    usual = values[0].numel() ** -0.5
    is_matrix = values.ndim > 1 and values.squeeze().ndim > 1
    if values.max() > values.min() and not (is_matrix and values.std() < usual / 50):
        return
    if is_matrix:
        values.normal_(0, usual)
    elif values.flatten()[0] == 0:
        values.uniform_(-0.5, 1.5)
    else:
        values.uniform_(0.5, 1)


def _more(x: Tensor) -> Tensor:
    """Another input like it, of as many samples as it takes to know a norm's statistics."""
    shape = (max(SAMPLES, len(x)), *x.shape[1:])
    return torch.randn(shape) if x.is_floating_point() else torch.randint(5, 90, shape)


def eligible_macs(model: nn.Module, x: Any) -> dict[str, int]:
    """Multiply-adds by path of linear layers, unit-stride 1x1s and the linear maps of attention."""
    macs: Counter[str] = Counter()

    def note(path: str, c_in: int) -> Any:
        return lambda _module, _args, y: macs.update({path: y.numel() * c_in})

    def attention(path: str) -> Any:
        def hook(module: nn.MultiheadAttention, args: Any, named: dict[str, Any], _y: Any) -> None:
            names = ("query", "key", "value")
            query, key, value = (
                {**dict(zip(names, args, strict=False)), **named}[n] for n in names
            )
            sizes = (
                2 * query.numel() + key.numel() + value.numel()
            )  # queries, outputs, keys, values
            macs.update({path: sizes * module.embed_dim})

        return hook

    handles, linear = [], {}
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            handles.append(module.register_forward_hook(attention(path), with_kwargs=True))
            continue
        if isinstance(module, nn.Linear):
            linear[module.weight] = path
            c_in = module.in_features
        elif is_transposed(module):
            c_in = module.weight.shape[0]
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and _is_plain_1x1(module):
            c_in = module.in_channels // module.groups
        else:
            continue
        handles.append(module.register_forward_hook(note(path, c_in)))
    with torch.no_grad(), _Reading(linear) as reading:
        call(model, x)
    for handle in handles:
        handle.remove()
    return dict(macs) | {p: n for p, n in reading.macs.items() if p not in macs}


class _Reading(TorchFunctionMode):
    """Counts what is done with the weights of linear layers, also where no layer is called."""

    def __init__(self, linear: dict[Tensor, str]) -> None:
        super().__init__()
        self.linear, self.macs = linear, Counter[str]()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        y = func(*args, **(kwargs or {}))
        if func is torch.nn.functional.linear:
            weight = args[1] if len(args) > 1 else (kwargs or {})["weight"]
            if weight in self.linear:
                self.macs.update({self.linear[weight]: y.numel() * weight.shape[1]})
        return y


def _is_plain_1x1(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    unit = set(conv.kernel_size) == {1} and set(conv.stride) == {1}
    pads = not isinstance(conv.padding, str) and set(conv.padding) != {0}
    return unit and not pads and not isinstance(conv, _ConvTransposeNd)
