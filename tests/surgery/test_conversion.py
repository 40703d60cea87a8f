"""Linear layers, 1x1 convolutions and ``PointwiseConv`` in each other's place."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.axes import InPlaceOf
from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.over_values import over
from pointwise.surgery.restoring import restore

Convert = Callable[[nn.Module], Any]

TARGETS: dict[str, Convert] = {
    "pointwise": to_pointwise,
    "linear": to_linear,
    "conv1d": lambda model: to_conv(model, rank=1),
    "conv2d": to_conv,
    "conv3d": lambda model: to_conv(model, rank=3),
}
each_target = pytest.mark.parametrize("convert", TARGETS.values(), ids=TARGETS)

CHANNELS = 6

SHAPES: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "linear": (
        lambda: nn.Linear(6, 4),
        [(6,), (3, 6), (2, 5, 6), (2, 3, 5, 6), (2, 2, 3, 5, 6), (1, 2, 3, 2, 5, 6), (2, 0, 6)],
    ),
    "conv1d": (lambda: nn.Conv1d(6, 4, 1), [(6, 5), (2, 6, 5), (6, 6), (0, 6, 5)]),
    "conv2d": (lambda: nn.Conv2d(6, 4, 1), [(6, 5, 7), (2, 6, 5, 7), (6, 6, 6), (0, 6, 5, 7)]),
    "conv3d": (lambda: nn.Conv3d(6, 4, 1), [(6, 5, 2, 3), (2, 6, 5, 2, 3), (6, 6, 6, 6)]),
    "pointwise": (
        lambda: PointwiseConv(6, 4),
        [(3, 6), (3, 6, 5), (3, 6, 5, 7), (2, 6, 5, 2, 3), (2, 6, 2, 3, 2, 3), (0, 6), (2, 6, 0)],
    ),
}
CASES = [
    pytest.param(make, shape, id=f"{kind}-{'x'.join(map(str, shape))}")
    for kind, (make, shapes) in SHAPES.items()
    for shape in shapes
]


@each_target
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_takes_and_gives_what_the_old_layer_did(
    make: Callable[[], nn.Module], shape: tuple[int, ...], convert: Convert
) -> None:
    layer = make().double()
    new, _ = convert(layer)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    expected, found = layer(x), new(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found.is_contiguous() == expected.is_contiguous()
    slopes = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, [x, *layer.parameters()], slopes)
    given = torch.autograd.grad(found, [x, *new.parameters()], slopes)
    for one, other in zip(wanted, given, strict=True):
        torch.testing.assert_close(other.reshape(one.shape), one, rtol=1e-12, atol=1e-12)


class ByName(nn.Module):
    """Layers called by the names of their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.conv = nn.Linear(6, 6), nn.Conv1d(6, 6, 1)
        self.pointwise = PointwiseConv(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(input=self.linear(input=x).transpose(1, 2))
        return self.pointwise(x=y)


@each_target
@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
def test_arguments_keep_their_names(convert: Convert) -> None:
    model, x = ByName(), torch.randn(2, 5, 6)
    new, _ = convert(model)
    expected = model(x)
    torch.testing.assert_close(new(x), expected)
    torch.testing.assert_close(torch.jit.trace(new, x)(x), expected)
    torch.testing.assert_close(torch.export.export(new, (x,)).module()(x), expected)


def test_an_argument_must_be_given() -> None:
    message = "^forward must be given x, or input by name, got neither$"
    with pytest.raises(TypeError, match=message):
        InPlaceOf(nn.Linear(6, 4), "conv1d")()


@pytest.mark.parametrize("layer", [PointwiseConv(6, 4), nn.Linear(6, 4)], ids=repr)
def test_channels_last_images_stay_so(layer: nn.Module) -> None:
    x = torch.randn(2, 6, 5, 7).contiguous(memory_format=torch.channels_last)
    assert InPlaceOf(layer, "conv2d")(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(6,), (2, 6), (2, 6, 5), (1, 2, 6, 5, 5)], ids=str)
def test_refuses_the_axes_that_the_convolution_refused(shape: tuple[int, ...]) -> None:
    if len(shape) == 3:
        pytest.skip("a sample without a batch axis")
    with pytest.raises(ValueError, match="position axes") as error:
        InPlaceOf(PointwiseConv(6, 4), "conv2d")(torch.ones(shape))
    assert str(error.value) == (
        f"x must have shape (N, C, *S) or (C, *S) with 2 position axes, got {shape}"
    )


def test_refuses_what_pointwise_refused() -> None:
    with pytest.raises(ValueError, match="must have shape") as error:
        InPlaceOf(nn.Linear(6, 4), "pointwise")(torch.ones(6))
    assert str(error.value) == "x must have shape (N, 6, *S), got (6,)"


def test_unknown_kind_and_layer() -> None:
    with pytest.raises(ValueError, match="kind must be") as error:
        InPlaceOf(nn.Linear(6, 4), "conv4d")  # type: ignore[arg-type]
    assert str(error.value) == (
        "kind must be one of linear, transposed, conv1d, conv2d, conv3d, pointwise, got 'conv4d'"
    )
    with pytest.raises(TypeError, match="layer must be") as error:
        InPlaceOf(nn.ReLU(), "linear")
    assert str(error.value) == ("layer must be nn.Linear, a convolution or PointwiseConv, got ReLU")


def test_rank_is_checked() -> None:
    with pytest.raises(ValueError, match=r"^rank must be 1, 2 or 3, got 4$"):
        to_conv(nn.Linear(2, 2), rank=4)


def test_tokens_run_as_images_of_one_row() -> None:
    layer = nn.Linear(6, 4)
    new, _ = to_conv(layer)
    seen: list[tuple[int, ...]] = []
    new.layer.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    new(torch.ones(2, 5, 6))
    assert seen == [(2, 6, 1, 5)]


def test_who_reads_the_old_layer_finds_it() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            weight = self.fc.weight
            assert weight.shape == (self.fc.out_features, self.fc.in_features)
            return nn.functional.linear(x, weight, self.fc.bias)

    model = Reader()
    new, _ = to_conv(model)
    x = torch.randn(3, 6)
    torch.testing.assert_close(new(x), model(x))


@pytest.mark.parametrize("strict", [True, False])
def test_state_of_the_given_model_loads(strict: bool) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    new, _ = to_conv(model)
    other = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    new.load_state_dict(other.state_dict(), strict=strict)
    x = torch.randn(3, 6)
    torch.testing.assert_close(new(x), other(x))
    new.load_state_dict(to_conv(model)[0].state_dict())
    torch.testing.assert_close(new(x), model(x))


def test_state_of_another_shape_is_refused() -> None:
    new, _ = to_conv(nn.Linear(6, 4))
    with pytest.raises(RuntimeError, match=r"size mismatch for layer\.weight"):
        new.load_state_dict(nn.Linear(4, 6).state_dict())


def test_over_keeps_parameters_of_equal_shape() -> None:
    linear = nn.Linear(3, 2)
    assert over(linear, "pointwise").weight is linear.weight
    assert over(linear, "conv2d").bias is linear.bias


LAYERS = st.one_of(
    st.builds(nn.Linear, st.integers(1, 9), st.integers(1, 9), bias=st.booleans()),
    st.builds(
        lambda rank, group_in, group_out, groups, bias: (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank](
            group_in * groups, group_out * groups, 1, groups=groups, bias=bias
        ),
        st.integers(0, 2),
        st.integers(1, 4),
        st.integers(1, 4),
        st.integers(1, 3),
        st.booleans(),
    ),
    st.builds(PointwiseConv, st.integers(1, 9), st.integers(1, 9), bias=st.booleans()),
)


@given(st.lists(LAYERS, min_size=1, max_size=3), st.lists(st.sampled_from(sorted(TARGETS))))
def test_any_way_there_leads_back(layers: list[nn.Module], route: list[str]) -> None:
    model: nn.Module = nn.Sequential(*layers)
    new = model
    for target in route:
        new, _ = TARGETS[target](new)
    back, _ = restore(new)
    assert repr(back) == repr(model)
    state = model.state_dict()
    assert back.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in back.state_dict().items())


@given(st.lists(st.builds(nn.Linear, st.just(4), st.just(4)), min_size=1, max_size=3))
def test_linear_to_conv_to_linear_is_the_identity(layers: list[nn.Linear]) -> None:
    model = nn.Sequential(*layers)
    back, swaps = to_linear(to_conv(model)[0])
    assert all(swap.after == "Linear(4, 4)" for swap in swaps)
    assert repr(back) == repr(model)
    for name, value in back.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_a_converted_layer_with_hooks_is_left_whole() -> None:
    new, _ = to_conv(nn.Sequential(nn.Linear(4, 4)))
    new[0].register_forward_hook(lambda *_: None)
    again, swaps = to_linear(new)
    assert swaps[0].reason == "has forward hooks: remove them first"
    assert isinstance(again[0].layer, nn.Conv2d)


def test_transformer_encoder_in_both_of_its_ways() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    new, swaps = to_conv(layer)
    assert [swap.path for swap in swaps if swap.after] == ["self_attn", "linear1", "linear2"]
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(new(x), layer(x))  # with gradients: the layers are called
    with torch.no_grad():  # without: one operator reads the given layers' weights
        torch.testing.assert_close(new(x), layer(x))
    new(x).sum().backward()
    assert new.linear1.layer.weight.grad is not None


@pytest.fixture
def gpt2_linear(monkeypatch: pytest.MonkeyPatch) -> type[nn.Module]:
    """GPT-2's linear layer, as transformers has it."""

    class Conv1D(nn.Module):
        def __init__(self, nf: int, nx: int) -> None:
            super().__init__()
            self.nf, self.nx = nf, nx
            self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.ones(nf))

        def forward(self, x: Tensor) -> Tensor:
            rows = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
            return rows.view(*x.size()[:-1], self.nf)

    Conv1D.__module__, Conv1D.__qualname__ = "transformers.pytorch_utils", "Conv1D"
    library = types.ModuleType("transformers.pytorch_utils")
    library.Conv1D = Conv1D
    monkeypatch.setitem(sys.modules, "transformers", types.ModuleType("transformers"))
    monkeypatch.setitem(sys.modules, "transformers.pytorch_utils", library)
    return Conv1D


@each_target
def test_the_linear_layer_of_gpt2(gpt2_linear: type[nn.Module], convert: Convert) -> None:
    model = nn.Sequential(gpt2_linear(4, 6)).double()
    model[0].bias.requires_grad_(False)
    new, swaps = convert(model)
    assert swaps[0].before == "Conv1D(6, 4)"
    assert swaps[0].after.endswith(" in place of transposed")
    for shape in ((2, 5, 6), (3, 6), (6,), (0, 6)):
        x = torch.randn(shape, dtype=torch.float64)
        torch.testing.assert_close(new(x), model(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(new[0].weight, model[0].weight)
    assert (new[0].nx, new[0].nf) == (6, 4)
    back, _ = restore(new)
    assert type(back[0]) is gpt2_linear
    assert torch.equal(back[0].weight, model[0].weight)
    assert back[0].weight.is_contiguous()
    assert [one.requires_grad for one in back[0].parameters()] == [True, False]
    other = nn.Sequential(gpt2_linear(4, 6)).double()
    new.load_state_dict(other.state_dict())
    torch.testing.assert_close(new(x), other(x), rtol=1e-12, atol=1e-12)
