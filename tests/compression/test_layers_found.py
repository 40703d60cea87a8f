"""Which layers are found, and the reason for every one that is not."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from pointwise.compression.forms.stages import Stage
from pointwise.compression.layers import find_layers
from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.replace import replace_named

X = torch.ones(2, 4, 6, 6)
READ = "something else reads its weight, which layers in its place have not"


class Odd(nn.Conv2d):
    """A subclass that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).abs()


class Inner(nn.Conv2d):
    """A subclass that changes what ``forward`` calls."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, 2 * weight, bias)


class Named(nn.Conv2d):
    """A subclass with another constructor and a name."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1)

    @staticmethod
    def stride_of(kernel: int) -> int:
        return kernel


class Model(nn.Module):
    """A layer, and another that something is wrong with."""

    def __init__(self, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def hooked() -> nn.Module:
    layer = nn.Conv2d(4, 4, 3)
    layer.register_forward_hook(lambda *_: None)
    return layer


def infinite() -> nn.Module:
    layer = nn.Conv2d(4, 4, 3)
    with torch.no_grad():
        layer.weight[0, 0, 0, 0] = float("inf")
    return layer


class Reader(nn.Module):
    """Reads the weight of its layer."""

    def __init__(self, *, only_type: bool = False) -> None:
        super().__init__()
        self.layer, self.only_type = nn.Linear(6, 6), only_type

    def forward(self, x: Tensor) -> Tensor:
        if self.only_type:
            return self.layer(x.to(self.layer.weight.dtype))
        return nn.functional.linear(x, self.layer.weight)


class Sizes(Reader):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[..., : self.layer.in_features])


class Unused(Reader):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Sized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ConvTranspose2d(4, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, output_size=[14, 14])


class Looks(Reader):
    """Does one thing with matrices and another with all else."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x) if isinstance(self.layer, nn.Linear) else self.layer(x)


class Marked(Reader):
    """Reads a number that somebody hung on the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer.gain = 3.0  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.layer.gain


class Doubled(Reader):
    """Runs the layer with other weights, by their names."""

    def forward(self, x: Tensor) -> Tensor:
        weights = {name: 2 * value for name, value in self.layer.named_parameters()}
        return torch.func.functional_call(self.layer, weights, (x,))  # type: ignore[no-any-return]


class Past(Reader):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer.forward(x)


OTHERWISE = "the model does something else with layers in its place"

LEFT: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "subclass": (
        lambda: Odd(4, 4, 3),
        "second",
        "Odd is a subclass of Conv2d: its forward may differ",
    ),
    "inner subclass": (
        lambda: Inner(4, 4, 3),
        "second",
        "Inner is a subclass of Conv2d: its forward may differ",
    ),
    "hook": (hooked, "second", "has forward hooks: remove them first"),
    "parametrization": (
        lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
        "second",
        "has parametrizations: call torch.nn.utils.parametrize.remove_parametrizations first",
    ),
    "infinite": (infinite, "second", "its weights must be finite real numbers"),
    "too_many_outputs": (
        lambda: nn.Linear(6, 8193),
        "second",
        "its 8193 outputs are too many for their moments",
    ),
    "weight_read": (Reader, "second.layer", READ),
    "type_read": (lambda: Reader(only_type=True), "second.layer", READ),
    "sizes_read": (
        Sizes,
        "second.layer",
        "something else reads its in_features, which layers in its place have not",
    ),
    "not_called": (Unused, "second.layer", "it is not called with the example"),
    "kind_looked_at": (Looks, "second.layer", OTHERWISE),
    "mark_read": (Marked, "second.layer", OTHERWISE),
    "other_weights": (
        Doubled,
        "second.layer",
        "something else reads its named_parameters, which layers in its place have not",
    ),
    "forward_called": (
        Past,
        "second.layer",
        "its forward is called past its hooks, so that no data are seen there",
    ),
    "output_size": (Sized, "second.layer", "it is called with more than one tensor"),
}


@pytest.mark.parametrize(("make", "path", "reason"), LEFT.values(), ids=LEFT.keys())
def test_left_alone(make: Callable[[], nn.Module], path: str, reason: str) -> None:
    model = Model(make())
    found = find_layers(model, X)
    assert [layer.path for layer in found.layers] == ["first"]
    assert [(swap.path, swap.reason) for swap in found.left] == [(path, reason)]


def test_only_those_that_matter_are_left() -> None:
    """Among many layers, each that the model looks at is found."""
    parts = [nn.Linear(6, 6) for _ in range(9)]
    parts[3:3] = [Looks()]
    parts[7:7] = [Marked()]
    found = find_layers(nn.Sequential(*parts), torch.ones(1, 6))
    assert {swap.path: swap.reason for swap in found.left} == {
        "3.layer": OTHERWISE,
        "7.layer": OTHERWISE,
    }
    assert len(found.layers) == 9


class Counts(nn.Module):
    """What it does depends on how many of its layers are matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y * any(isinstance(layer, nn.Linear) for layer in self.layers)


def test_layers_that_matter_together_are_left() -> None:
    found = find_layers(Counts(), torch.ones(1, 6))
    assert found.layers == ()
    assert {swap.reason for swap in found.left} == {OTHERWISE}


def test_the_random_state_is_left_as_it_was() -> None:
    model = Model(nn.Conv2d(4, 4, 1))
    before = torch.get_rng_state()
    find_layers(model, X)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_kind_is_found() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2),
        nn.ConvTranspose2d(6, 6, 2, stride=2),
        PointwiseConv(6, 5, bias=False),
        nn.Flatten(2),
        nn.Conv1d(5, 7, 3),
        nn.Linear(14, 3).half().float(),
    )
    found = find_layers(model, X)
    assert found.left == ()
    shapes = [(2, 4, 6, 6), (2, 6, 2, 2), (2, 6, 4, 4), (2, 5, 16), (2, 7, 14)]
    assert [layer.calls for layer in found.layers] == [(shape,) for shape in shapes]
    assert [layer.bias for layer in found.layers] == [True, True, False, True, True]
    assert {layer.itemsize for layer in found.layers} == {4}
    for layer in found.layers:
        assert layer.stage == Stage.of(model.get_submodule(layer.path))


def test_a_shared_layer_is_one_with_several_calls() -> None:
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(1, 2), layer)
    (found,) = find_layers(model, torch.ones(2, 3, 4, 6)).layers
    assert found.path == "0"
    assert found.calls == ((2, 3, 4, 6), (2, 12, 6))


def test_tied_parameters_are_left() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    reason = "it shares the parameter '{}': the two would no longer be tied"
    found = find_layers(model, torch.ones(1, 6))
    assert found.layers == ()
    assert [s.reason for s in found.left] == [reason.format("1.weight"), reason.format("0.weight")]


def test_subclasses_that_change_nothing_are_found() -> None:
    model = Model(Named(4))
    found = find_layers(model, X)
    assert [layer.path for layer in found.layers] == ["first", "second"]
    assert found.layers[1].stage == Stage.of(nn.Conv2d(4, 4, 3, padding=1))


def test_held_layers_are_left() -> None:
    model = nn.Sequential(nn.Linear(6, 6))
    model.also = [model[0]]
    (left,) = find_layers(model, torch.ones(1, 6)).left
    assert left.reason == (
        "the attribute 'also' of the model holds it too, and would keep the old one"
    )


def test_attention_and_transformers() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    found = find_layers(model, torch.ones(2, 5, 8))
    assert found.layers == ()
    reasons = {swap.path: swap.reason for swap in found.left}
    assert reasons["self_attn"] == "it holds its matrices itself: to_pointwise makes layers of them"
    assert reasons["self_attn.out_proj"] == READ
    assert reasons["linear1"].startswith("something else reads its ")
    assert reasons["linear2"].startswith("something else reads its ")


@pytest.mark.parametrize("exclude", [["0"], ["0.1"], ["0.1", "1"]], ids=str)
def test_excluded(exclude: list[str]) -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)), nn.Linear(6, 2))
    found = find_layers(model, torch.ones(1, 6), exclude=exclude)
    kept = [
        path
        for path in ("0.0", "0.1", "1")
        if not any(f"{path}.".startswith(f"{out}.") for out in exclude)
    ]
    assert [layer.path for layer in found.layers] == kept
    assert {swap.reason for swap in found.left} == {"it is excluded"}


def test_what_is_found_can_be_replaced() -> None:
    model = Model(nn.Conv2d(4, 4, 1))
    paths = {layer.path for layer in find_layers(model, X).layers}
    _, swaps = replace_named(model, lambda path, m: nn.Sequential() if path in paths else None)
    assert {swap.path for swap in swaps if swap.after} == paths == {"first", "second"}


def test_the_model_is_left_as_it_was() -> None:
    model = Model(nn.Conv2d(4, 4, 1)).train()
    find_layers(model, X)
    assert [type(part) for part in model.modules()] == [Model, nn.Conv2d, nn.Conv2d]
    assert all(part.training for part in model.modules())
    assert "_watch" not in vars(model.first)


def test_bad_arguments() -> None:
    model = Model(nn.Conv2d(4, 4, 1))
    message = "exclude must hold paths of modules, the model has no 'third'"
    with pytest.raises(ValueError, match=re.escape(message)):
        find_layers(model, X, exclude=["third"])
    message = "example must be an input of the model, which fails on it: Given groups=1"
    with pytest.raises(ValueError, match=re.escape(message)):
        find_layers(model, torch.ones(1, 3, 6, 6))
