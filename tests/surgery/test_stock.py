"""Networks of ours as torch modules only: the same function without this package."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

import pointwise.nn as ours
from blocks import settled
from pointwise.errors import DifferenceError
from pointwise.networks import NETWORKS, build
from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.equivalence import check_equivalent
from pointwise.surgery.inlining import inline
from pointwise.surgery.stock import to_torch


def x(*shape: int) -> Tensor:
    return torch.randn(shape)


BLOCKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "rows": (lambda: ours.PointwiseConv(4, 6), lambda: x(3, 4)),
    "tokens": (lambda: ours.PointwiseConv(4, 6), lambda: x(3, 4, 5)),
    "images": (lambda: ours.PointwiseConv(4, 6, groups=2), lambda: x(3, 4, 5, 5)),
    "volumes": (lambda: ours.PointwiseConv(4, 6), lambda: x(3, 4, 2, 3, 2)),
    "rows_in_groups": (lambda: ours.PointwiseConv(4, 6, groups=2), lambda: x(3, 4)),
    "projection": (lambda: ours.Projection(4, 6), lambda: x(3, 4, 5)),
    "strided_projection": (lambda: ours.Projection(4, 6, stride=2), lambda: x(3, 4, 5, 5)),
    "convolution": (lambda: ours.ConvNormActivation(4, 6, 3, rank=1), lambda: x(3, 4, 9)),
    "mlp": (lambda: ours.MLP([4, 8, 8, 2], dropout=0.1), lambda: x(3, 4)),
    "members": (
        lambda: ours.MLP([4, 8, 8, 2], members=3, norm=ours.LayerNorm, residual=True),
        lambda: x(3, 4),
    ),
    "members_on_images": (
        lambda: ours.MLP([4, 8, 8, 2], members=3, norm=ours.BatchNorm),
        lambda: x(3, 4, 5, 5),
    ),
    "batch_norm": (lambda: ours.BatchNorm(4), lambda: x(3, 4, 2, 3, 2)),
    "frozen_batch_norm": (lambda: ours.FrozenBatchNorm(4), lambda: x(3, 4, 5, 5)),
    "layer_norm": (lambda: ours.LayerNorm(4), lambda: x(3, 4, 5, 5)),
    "layer_norm_of_rows": (lambda: ours.LayerNorm(4), lambda: x(3, 4)),
    "layer_norm_in_groups": (lambda: ours.LayerNorm(4, groups=2), lambda: x(3, 4, 5)),
    "pool": (lambda: ours.GlobalAveragePool(), lambda: x(3, 4, 5, 5)),
    "pool_of_rows": (lambda: ours.GlobalAveragePool(), lambda: x(3, 4)),
    "bottleneck": (lambda: ours.Bottleneck(8, 4, 16, stride=2), lambda: x(2, 8, 9, 9)),
    "fire": (lambda: ours.Fire(8, 4, 6, 6), lambda: x(2, 8, 9, 9)),
    "inverted": (
        lambda: ours.InvertedResidual(8, 8, gate=lambda c: ours.SqueezeExcite(c, 4)),
        lambda: x(2, 8, 9, 9),
    ),
    "attention": (lambda: ours.MultiHeadAttention(8, 2), lambda: x(2, 8, 5, 5)),
    "non_local": (lambda: ours.NonLocalBlock(8, 4), lambda: x(2, 8, 5, 5)),
    "cbam": (lambda: ours.CBAM(8, 4), lambda: x(2, 8, 5, 5)),
    "sum": (lambda: ours.SumFusion([4, 6], 8), lambda: (x(2, 4, 5, 5), x(2, 6, 5, 5))),
    "gated": (lambda: ours.GatedFusion([4, 6], 8), lambda: (x(2, 4, 5, 5), x(2, 6, 5, 5))),
    "separable": (lambda: ours.DepthwiseSeparableConv(4, 8), lambda: x(2, 4, 9, 9)),
    "pyramid": (
        lambda: ours.FeaturePyramid([4, 8], 6),
        lambda: ([x(2, 4, 8, 8), x(2, 8, 4, 4)],),
    ),
    "up": (lambda: ours.UpProjection(4, 2), lambda: x(2, 4, 5, 5)),
    "fcn_to_a_size": (lambda: ours.FCNHead(8, 3), lambda: (x(2, 8, 5, 5), (10, 10))),
    "gate": (lambda: ours.AttentionGate(4, 8, 4), lambda: (x(2, 4, 8, 8), x(2, 8, 4, 4))),
    "proposals": (lambda: ours.RPNHead(8, 3), lambda: ([x(2, 8, 8, 8)],)),
    "in_torch_containers": (
        lambda: nn.Sequential(ours.Projection(3, 8), nn.Sequential(ours.MLP([8, 8]))),
        lambda: x(2, 3, 5, 5),
    ),
}
each_block = pytest.mark.parametrize(("make", "example"), BLOCKS.values(), ids=BLOCKS)


def check_needs_no_package(model: nn.Module) -> None:
    """No class of ours among its modules, and none named in its pickle."""
    for module in model.modules():
        assert not any("pointwise" in kind.__module__ for kind in type(module).__mro__)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    for text in (b"pointwise.", b"cpointwise"):
        assert text not in buffer.getvalue().replace(b"pointwise.conv", b"").replace(
            b"pointwise.norm", b""
        ).replace(b"pointwise.activation", b"")


@each_block
def test_block_becomes_torchs(make: Callable[[], nn.Module], example: Callable[[], Any]) -> None:
    model, given = settled(make()).double(), example()
    given = torch.utils._pytree.tree_map_only(Tensor, Tensor.double, given)
    new, swaps = to_torch(model, given)
    assert all(swap.after is not None for swap in swaps), [str(swap) for swap in swaps]
    check_equivalent(model, new, given)
    check_needs_no_package(new)


@each_block
def test_other_batches_and_sizes(make: Callable[[], nn.Module], example: Callable[[], Any]) -> None:
    model, given = settled(make()), example()
    if not isinstance(given, Tensor):
        pytest.skip("sizes that belong together")
    new, _ = to_torch(model, given)
    n, channels, *space = given.shape
    sizes = [size + 4 - i for i, size in enumerate(space)]
    check_equivalent(model, new, torch.randn(n + 2, channels, *sizes))


@pytest.mark.parametrize("name", [name for name in NETWORKS if "rcnn" not in name])
def test_networks_become_torchs(name: str) -> None:
    channels = 1 if "mnist" in name else 3
    side = {"googlenet": 64, "unet": 64, "attention_unet": 64}.get(name, 32)
    if name.startswith("squeezenet"):
        side = 64
    given = torch.randn(2, channels, side, side)
    model = settled(build(name))
    new, swaps = to_torch(model, given)
    assert all(swap.after is not None for swap in swaps)
    assert isinstance(new, fx.GraphModule)
    assert new.state_dict().keys() == model.state_dict().keys()
    check_equivalent(model, new, given)


def test_trains_on() -> None:
    model = ours.MLP([4, 8, 2], norm=ours.BatchNorm, dropout=0.5)
    new, _ = to_torch(model, x(3, 4))
    assert all(part.training for part in new.modules())
    one, other = new(torch.ones(64, 4)), new(torch.ones(64, 4))
    assert not torch.equal(one, other)
    one.sum().backward()
    assert all(parameter.grad is not None for parameter in new.parameters())


def test_other_axes_are_refused() -> None:
    new, _ = to_torch(ours.MLP([4, 8, 2]), x(3, 4))
    with pytest.raises(AssertionError, match="differs in form from the example: dim must be 2"):
        new(x(3, 4, 5))


@pytest.mark.parametrize("convert", [to_conv, to_linear, to_pointwise])
def test_converted_layers_become_torchs(convert: Callable[..., Any]) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Unflatten(1, (5, 1)), nn.Conv2d(5, 3, 1))
    converted, _ = convert(model)
    new, swaps = to_torch(converted, x(2, 5, 6))
    assert all(swap.after is not None for swap in swaps)
    check_needs_no_package(new)
    check_equivalent(model, new, x(4, 5, 6))


class ByName(nn.Module):
    """Every part is called by the name of its argument."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm = ours.PointwiseConv(4, 6), ours.BatchNorm(6)
        self.mlp, self.rows = ours.MLP([6, 6, 6]), ours.LayerNorm(6)
        self.project, self.fc = ours.Projection(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(x=self.norm(input=self.enter(x=x)))
        return self.fc(input=self.rows(x=self.project(x=y)))


@pytest.mark.parametrize("convert", [to_conv, to_linear, to_pointwise])
def test_arguments_keep_their_names(convert: Callable[..., Any]) -> None:
    converted, _ = convert(settled(ByName()))
    new, swaps = to_torch(converted, x(3, 4))
    check_equivalent(converted, new, x(5, 4))
    left = {swap.path: swap.reason for swap in swaps if swap.after is None}
    stays = "its argument is given by name, and has another name in torch's layers"
    assert left == ({"enter": stays} if convert is to_pointwise else {})


def test_a_layer_of_several_ranks_is_left_alone() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = ours.PointwiseConv(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x)[..., None])[..., 0]

    new, swaps = to_torch(Twice(), x(2, 4, 5))
    assert isinstance(new.layer, ours.PointwiseConv)
    assert swaps[0].reason == "it is called with inputs of several numbers of axes"


def test_what_is_not_called_is_left_alone() -> None:
    model = nn.ModuleList([ours.PointwiseConv(4, 4), ours.MLP([4, 2])])
    model.forward = torch.relu
    _, swaps = to_torch(model, x(2, 4))
    reasons = {swap.path: swap.reason for swap in swaps if swap.after is None}
    assert reasons["0"] == (
        "it is not called with the example, so that the number of its axes is unknown"
    )
    assert reasons["1"] == "it is not called with the example"


def test_more_axes_than_torch_has_convolutions_for() -> None:
    _, swaps = to_torch(ours.PointwiseConv(4, 4), x(2, 4, 1, 2, 3, 4))
    assert swaps[0].reason == "its input has 4 position axes, torch's layers have at most 3"


def test_a_forward_that_branches_on_values_is_not_written_out() -> None:
    class Branching(ours.MLP):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else x

    model = Branching([4, 4, 4], norm=ours.BatchNorm)
    new, swaps = to_torch(model, torch.ones(2, 4))
    assert repr(new) == repr(model)  # nor are its parts replaced
    reasons = {swap.path: swap.reason for swap in swaps if swap.after is None}
    assert len(reasons) == len(swaps)
    assert reasons.pop("") == (
        "its forward cannot be written out: in its own forward: it decides by the values of a "
        "tensor, those of gt: compute both ways and choose by torch.where, or convert its parts "
        "apart"
    )
    assert set(reasons.values()) == {"it is a part of the model, which stays"}


@pytest.mark.parametrize("in_place", [True, False])
def test_what_is_beside_a_block_that_stays_is_converted(in_place: bool) -> None:
    class Looking(ours.MLP):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else x

    model = nn.Sequential(ours.MLP([4, 4]), Looking([4, 4]), ours.PointwiseConv(4, 2)).eval()
    given = torch.ones(2, 4)
    expected, before = model(given), repr(model[1])
    new, swaps = to_torch(model, given, in_place=in_place)
    assert (new is model) == in_place
    assert repr(new[1]) == before
    check_needs_no_package(new[0])
    check_needs_no_package(new[2])
    parts = {swap.reason for swap in swaps if swap.path.startswith("1.")}
    assert parts == {"it is a part of '1', which stays"}
    torch.testing.assert_close(new(given), expected)


def test_the_difference_is_told() -> None:
    _, swaps = to_torch(nn.Sequential(ours.PointwiseConv(4, 2)), x(2, 4))
    assert [(swap.path, swap.after) for swap in swaps] == [
        ("0", "Linear(4, 2)"),
        ("", "Sequential"),
    ]
    assert swaps[-1].reason.startswith("equal to ")
    _, swaps = to_torch(ours.MLP([4, 2]), x(2, 4))
    assert swaps[-1].reason.startswith("equal to ")
    assert to_torch(nn.ReLU(), x(2, 4))[1] == []


def test_too_large_a_difference_is_an_error() -> None:
    model = nn.Sequential(ours.MLP([4, 4]), ours.PointwiseConv(4, 2))
    parts = list(model.modules())
    with pytest.raises(DifferenceError, match="must agree to"):
        to_torch(model, x(2, 4), in_place=True, rtol=-1.0)
    assert all(one is other for one, other in zip(model.modules(), parts, strict=True))


def test_dropout_in_a_forward_is_told() -> None:
    given = x(2, 8, 5)
    _, swaps = to_torch(nn.Sequential(ours.MultiHeadAttention(8, 2, dropout=0.1)), given)
    reasons = {swap.path: swap.reason for swap in swaps}
    assert reasons["0"] == (
        "as in evaluation: its forward does something else in training, such as dropout"
    )
    _, swaps = to_torch(nn.Sequential(ours.MultiHeadAttention(8, 2)), given)
    assert {swap.path: swap.reason for swap in swaps}["0"] == ""


def test_constants_hold() -> None:
    class Scaling(nn.Module):
        def forward(self, x: Tensor, factor: float = 2.0, mask: Tensor | None = None) -> Tensor:
            return x * factor if mask is None else x * mask

    graph = inline(Scaling(), {"x": x(2), "factor": 3.0, "mask": None}, lambda _: True)
    assert torch.equal(graph(torch.ones(2), 3.0), 3 * torch.ones(2))
    with pytest.raises(AssertionError, match=r"factor must be 3\.0"):
        graph(torch.ones(2))
    with pytest.raises(AssertionError, match="mask must be None"):
        graph(torch.ones(2), 3.0, torch.ones(2))


CUTS: dict[str, Callable[[Tensor], Any]] = {
    "rows": lambda y: y.mT,
    "unbound": lambda y: y.unbind(-1),
    "split": lambda y: y.split(1, -1),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_numbers_of_parts_hold(cut: Callable[[Tensor], Any]) -> None:
    class Looping(ours.MLP):
        def forward(self, x: Tensor) -> Tensor:
            return sum(part for part in cut(super().forward(x)[0]))

    model = settled(Looping([4, 8, 3]))
    new, _ = to_torch(model, x(2, 4, 5))
    check_equivalent(model, new, x(7, 4, 5))
    for length in (3, 9):
        with pytest.raises(AssertionError, match=r"the example: (size|floordiv) must be 5$"):
            new(x(2, 4, length))


def test_weights_that_another_module_reads() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.to(self.fc.weight.dtype))

    converted, _ = to_conv(Reader())
    new, swaps = to_torch(converted, x(2, 4))
    assert {swap.path: swap.reason for swap in swaps if swap.path} == {
        "fc": "as it was: a module reads its weight in the old shape",
    }
    assert type(new.fc) is nn.Linear
    check_equivalent(converted, new, x(2, 4))
    assert converted.fc.on_read is None
