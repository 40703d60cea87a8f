"""What becomes of layers that are not plain, for ``surgery_zoo.py --refusals``: case by case."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from pointwise.surgery import Swap, check_equivalent, restore, to_conv, to_linear, to_pointwise

Convert = Callable[[nn.Module], tuple[nn.Module, list[Swap]]]


class Scaled(nn.Linear):
    """A subclass whose forward does more."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Closing(nn.Module):
    """A plain function closes over the layer."""

    def __init__(self) -> None:
        super().__init__()
        layer = self.fc = nn.Linear(4, 4)
        self.run = lambda x: layer(x)

    def forward(self, x: Tensor) -> Any:
        return self.run(x)


class Listing(nn.Module):
    """The layer is in a plain list, too."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.all = [self.fc]

    def forward(self, x: Tensor) -> Any:
        return self.all[0](x)


class Branching(nn.Module):
    """Its way through depends on the values."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return self.a(x) if x.sum() > 0 else self.b(x)


class Reading(nn.Module):
    """It multiplies by a layer's weight and never calls the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.fc.weight.T + self.fc.bias


def changed(layer: nn.Module, change: Callable[[Any], Any]) -> nn.Module:
    change(layer)
    return layer


def tied() -> nn.Module:
    model = nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    return model


def shared() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked(layer: nn.Module, name: str) -> nn.Module:
    return changed(layer, lambda one: getattr(one, name)(lambda *_: None))


def quantized() -> nn.Module:
    from torch.ao.nn.quantized import dynamic

    layer: nn.Module = dynamic.Linear(4, 4)
    return layer


def pruned() -> nn.Module:
    layer: nn.Module = prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)
    return layer


def with_example(model: nn.Module) -> tuple[nn.Module, list[Swap]]:
    return to_pointwise(model, example=torch.ones(1, 4))


def in_place(model: nn.Module) -> tuple[nn.Module, list[Swap]]:
    return to_pointwise(model, in_place=True)  # quantized and scripted layers cannot be copied


CASES: dict[str, tuple[Callable[[], nn.Module], Convert]] = {
    "stride": (lambda: nn.Conv2d(4, 4, 1, stride=2), to_pointwise),
    "padding": (lambda: nn.Conv2d(4, 4, 1, padding=1), to_pointwise),
    "padding mode": (
        lambda: nn.Conv2d(4, 4, 1, padding=1, padding_mode="reflect"),
        to_pointwise,
    ),
    "padding mode without padding": (
        lambda: nn.Conv2d(4, 4, 1, padding_mode="reflect"),
        to_pointwise,
    ),
    "padding same": (lambda: nn.Conv2d(4, 4, 1, padding="same"), to_pointwise),
    "dilation": (lambda: nn.Conv2d(4, 4, 1, dilation=2), to_pointwise),
    "larger kernel": (lambda: nn.Conv2d(4, 4, (1, 3), padding="same"), to_pointwise),
    "groups": (lambda: nn.Conv2d(4, 4, 1, groups=2), to_pointwise),
    "groups, to linear": (lambda: nn.Conv2d(4, 4, 1, groups=2), to_linear),
    "transposed": (lambda: nn.ConvTranspose2d(4, 4, 1), to_pointwise),
    "bilinear": (lambda: nn.Bilinear(4, 4, 4), to_pointwise),
    "recurrent": (lambda: nn.LSTM(4, 4), to_pointwise),
    "attention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), to_pointwise),
    "no bias": (lambda: nn.Linear(4, 4, bias=False), to_pointwise),
    "subclass": (lambda: Scaled(4, 4), to_pointwise),
    "forward on the instance": (
        lambda: changed(nn.Linear(4, 4), lambda one: setattr(one, "forward", torch.relu)),
        to_pointwise,
    ),
    "forward hook": (lambda: hooked(nn.Linear(4, 4), "register_forward_hook"), to_pointwise),
    "forward pre-hook": (
        lambda: hooked(nn.Linear(4, 4), "register_forward_pre_hook"),
        to_pointwise,
    ),
    "backward hook": (lambda: hooked(nn.Linear(4, 4), "register_full_backward_hook"), to_pointwise),
    "hook on another module": (
        lambda: nn.Sequential(hooked(nn.ReLU(), "register_forward_hook"), nn.Linear(4, 4)),
        to_pointwise,
    ),
    "old weight norm": (lambda: nn.utils.weight_norm(nn.Linear(4, 4)), to_pointwise),
    "old spectral norm": (lambda: nn.utils.spectral_norm(nn.Linear(4, 4)), to_pointwise),
    "pruned": (pruned, to_pointwise),
    "parametrized": (lambda: parametrizations.weight_norm(nn.Linear(4, 4)), to_pointwise),
    "lazy": (lambda: nn.LazyLinear(4), to_pointwise),
    "further buffer": (
        lambda: changed(nn.Linear(4, 4), lambda one: one.register_buffer("mask", torch.ones(4))),
        to_pointwise,
    ),
    "quantized": (quantized, in_place),
    "TorchScript": (lambda: torch.jit.script(nn.Linear(4, 4)), in_place),
    "shared layer": (shared, to_pointwise),
    "shared weight": (tied, to_conv),
    "shared weight, shape kept": (tied, to_pointwise),
    "frozen": (lambda: nn.Linear(4, 4).requires_grad_(False), to_pointwise),
    "evaluating in training": (
        lambda: nn.Sequential(nn.Linear(4, 4).eval(), nn.ReLU()),
        to_pointwise,
    ),
    "bfloat16": (lambda: nn.Linear(4, 4, dtype=torch.bfloat16), to_pointwise),
    "float64": (lambda: nn.Conv2d(4, 4, 1, dtype=torch.float64), to_pointwise),
    "meta device": (lambda: nn.Linear(4, 4, device="meta"), to_pointwise),
    "function over layers": (Closing, to_pointwise),
    "held in a list": (Listing, to_pointwise),
    "weights that a parent reads": (Reading, with_example),
    "way that depends on values": (Branching, to_pointwise),
}
"""What is given, and how it is to be converted."""


def state_of(model: nn.Module) -> dict[str, tuple[Any, ...]]:
    """What must be there again after the way back, by path."""
    tensors = dict(model.named_parameters(remove_duplicate=False))
    state: dict[str, tuple[Any, ...]] = {
        name: (tuple(one.shape), one.dtype, one.device, one.requires_grad)
        for name, one in tensors.items()
    }
    paths = model.named_modules(remove_duplicate=False)
    return state | {f"{path} mode": (part.training,) for path, part in paths}


def kept(model: nn.Module, new: nn.Module) -> str:
    """What is as it was after the way back; an error where something is not."""
    back, _ = restore(new)
    if state_of(back) != state_of(model):
        raise AssertionError(f"the way back differs: {state_of(back)}, {state_of(model)}")
    values = [one for one in model.state_dict().values() if isinstance(one, Tensor)]
    if any(one.is_meta for one in values):
        return "names, type, device, flags"
    pairs = zip(values, back.state_dict().values(), strict=True)
    if not all(torch.equal(one, other) for one, other in pairs):
        raise AssertionError("the way back changes values")
    return "names, type, device, flags, every bit"


def example_of(model: nn.Module) -> Any:
    """Something that the model takes."""
    first = next(model.parameters())
    if isinstance(model, nn.MultiheadAttention):
        return (torch.randn(2, 5, 4),) * 3
    if isinstance(next(model.modules()), nn.Sequential) and isinstance(model[0], nn.Embedding):
        return torch.tensor([[0, 3, 1]])
    is_image = any(isinstance(part, nn.Conv2d) for part in model.modules())
    return torch.randn((2, 4, 5, 5) if is_image else (2, 4)).to(first.dtype)


def refusal_rows() -> Iterator[str]:
    """The table: every case, what it was, what became of it, and why or what was kept."""
    yield "| case | layer | becomes | why not, or what is kept |"
    yield "| --- | --- | --- | --- |"
    for case, (make, convert) in CASES.items():
        torch.manual_seed(0)
        model = make()
        new, swaps = convert(model)
        swap = next((one for one in swaps if one.after is None), swaps[0])
        if swap.after is None:
            yield f"| {case} | `{swap.before}` | left alone | {swap.reason} |"
            continue
        remark = kept(model, new)
        if not any(parameter.is_meta for parameter in model.parameters()):
            check_equivalent(model, new, example_of(model))
            remark += "; equal outputs"
        yield f"| {case} | `{swap.before}` | `{swap.after}` | {remark} |"
