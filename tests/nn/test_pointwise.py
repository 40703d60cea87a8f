"""``PointwiseConv``: copies from and to torch's layers, refusals, state dicts, export."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from cases import CONVS, LayerCase, channels_last, each_layer, each_rank
from pointwise.functional import pointwise
from pointwise.nn import PointwiseConv

DTYPES = (torch.float64, torch.float32, torch.bfloat16)


def exactly(actual: Tensor, expected: Tensor) -> None:
    assert_close(actual, expected, rtol=0, atol=0)


@each_layer
def test_forward_is_the_functional_map(case: LayerCase) -> None:
    layer = PointwiseConv(
        case.c_in, case.c_out, groups=case.groups, bias=case.bias, dtype=case.dtype
    )
    x = case.x()
    exactly(layer(x), pointwise(x, layer.weight, layer.bias, case.groups))
    assert layer.weight.dtype == case.dtype


@each_rank
def test_layer_keeps_channels_last(rank: int) -> None:
    x = channels_last(LayerCase(rank).x())
    assert PointwiseConv(6, 4)(x).movedim(1, -1).is_contiguous()


def test_draws_weights_as_linear_does() -> None:
    layer, bound = PointwiseConv(64, 256, groups=4), 1 / 4
    for parameter in layer.parameters():
        assert 0.95 * bound < parameter.abs().max() <= bound
        assert_close(parameter.std(), torch.tensor(bound / 3**0.5), rtol=0.1, atol=0)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_linear_round_trip(dtype: torch.dtype, bias: bool) -> None:
    linear = nn.Linear(5, 3, bias=bias, dtype=dtype).eval()
    linear.weight.requires_grad_(False)
    layer = PointwiseConv.from_linear(linear)
    for made in (layer, layer.to_linear()):
        assert list(made.state_dict()) == list(linear.state_dict())
        for name, parameter in made.named_parameters():
            original = linear.get_parameter(name)
            exactly(parameter, original)
            assert parameter.dtype == dtype
            assert parameter.requires_grad == original.requires_grad
            assert parameter.data_ptr() != original.data_ptr()
        assert not made.training
    assert type(layer.to_linear()) is nn.Linear


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("rank", CONVS)
def test_conv_round_trip(rank: int, groups: int, dtype: torch.dtype, bias: bool) -> None:
    conv = CONVS[rank](4, 6, 1, groups=groups, bias=bias, dtype=dtype).eval()
    conv.weight.requires_grad_(False)
    layer = PointwiseConv.from_conv(conv)
    back = layer.to_conv(rank)
    assert (type(back), back.groups, layer.groups) == (type(conv), groups, groups)
    for made in (layer, back):
        for name, parameter in made.named_parameters():
            original = conv.get_parameter(name)
            exactly(parameter.reshape(original.shape), original)
            assert parameter.dtype == dtype
            assert parameter.requires_grad == original.requires_grad
            assert parameter.data_ptr() != original.data_ptr()
        assert not made.training
    x = torch.randn(2, 4, *(3,) * rank, dtype=dtype)
    assert_close(layer(x), conv(x))
    exactly(back(x), conv(x))


def test_layers_round_trip_from_here() -> None:
    layer = PointwiseConv(4, 6, groups=2)
    exactly(PointwiseConv.from_conv(layer.to_conv(1)).weight, layer.weight)
    dense = PointwiseConv(4, 6)
    exactly(PointwiseConv.from_linear(dense.to_linear()).bias, dense.bias)


def test_channels_last_weights_are_copied_in_order() -> None:
    conv = nn.Conv2d(4, 6, 1).to(memory_format=torch.channels_last)
    layer = PointwiseConv.from_conv(conv)
    exactly(layer.weight, conv.weight.flatten(1))
    assert layer.weight.is_contiguous()


def test_meta_layers_convert() -> None:
    layer = PointwiseConv.from_linear(nn.Linear(3, 2, device="meta"))
    assert (layer.weight.device.type, layer.weight.shape) == ("meta", (2, 3))


ACCEPTED: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(4, 6, 1),
    "dilation": lambda: nn.Conv2d(4, 6, 1, dilation=2),
    "padding_same": lambda: nn.Conv2d(4, 6, 1, padding="same"),
    "padding_valid": lambda: nn.Conv2d(4, 6, 1, padding="valid"),
    "padding_same_reflected": lambda: nn.Conv2d(4, 6, 1, padding="same", padding_mode="reflect"),
    "padding_mode_unused": lambda: nn.Conv2d(4, 6, 1, padding_mode="circular"),
    "depthwise": lambda: nn.Conv2d(4, 4, 1, groups=4),
    "lazy_after_a_call": lambda: called(nn.LazyConv2d(6, 1)),
}


def called(layer: nn.Module) -> nn.Module:
    layer(torch.ones(1, 4, 5, 5))
    return layer


@pytest.mark.parametrize("make", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts(make: Callable[[], nn.Conv2d]) -> None:
    conv, x = make(), torch.randn(2, 4, 5, 5)
    assert_close(PointwiseConv.from_conv(conv)(x), conv(x))


class Standardised(nn.Conv2d):
    """A subclass that computes something else than its weights say."""


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda module, given, output: 2 * output)
    return layer


CONV = "conv must be nn.Conv1d or nn.Conv2d or nn.Conv3d itself, got "
HOOKS = "must have no forward hooks (old weight norm is one): remove them first"
REFUSED: dict[str, tuple[Callable[[], nn.Module], type[Exception], str]] = {
    "kernel": (
        lambda: nn.Conv2d(4, 6, 3),
        ValueError,
        "conv must have kernel size 1, got (3, 3)",
    ),
    "kernel_one_axis": (
        lambda: nn.Conv2d(4, 6, (1, 3)),
        ValueError,
        "conv must have kernel size 1, got (1, 3)",
    ),
    "stride": (
        lambda: nn.Conv2d(4, 6, 1, stride=2),
        ValueError,
        "conv must have stride 1, got (2, 2): it drops positions",
    ),
    "stride_one_axis": (
        lambda: nn.Conv3d(4, 6, 1, stride=(1, 1, 2)),
        ValueError,
        "conv must have stride 1, got (1, 1, 2): it drops positions",
    ),
    "padding": (
        lambda: nn.Conv1d(4, 6, 1, padding=1),
        ValueError,
        "conv must have no padding, got (1,): it adds positions",
    ),
    "padding_one_axis": (
        lambda: nn.Conv2d(4, 6, 1, padding=(0, 1)),
        ValueError,
        "conv must have no padding, got (0, 1): it adds positions",
    ),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 1), TypeError, CONV + "ConvTranspose2d"),
    "linear": (lambda: nn.Linear(4, 6), TypeError, CONV + "Linear"),
    "subclass": (lambda: Standardised(4, 6, 1), TypeError, CONV + "Standardised"),
    "lazy": (lambda: nn.LazyConv2d(6, 1), TypeError, CONV + "LazyConv2d"),
    "weight_norm": (
        lambda: parametrizations.weight_norm(nn.Conv2d(4, 6, 1)),
        TypeError,
        CONV + "ParametrizedConv2d",
    ),
    "spectral_norm_by_hook": (
        lambda: nn.utils.spectral_norm(nn.Conv2d(4, 6, 1)),
        TypeError,
        "conv " + HOOKS,
    ),
    "hook": (lambda: hooked(nn.Conv2d(4, 6, 1)), TypeError, "conv " + HOOKS),
}


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_from_conv_refuses(
    make: Callable[[], nn.Conv2d], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        PointwiseConv.from_conv(make())
    assert str(error.value) == message


LINEAR = "linear must be nn.Linear itself, got "
LINEAR_REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "conv": (lambda: nn.Conv1d(4, 6, 1), LINEAR + "Conv1d"),
    "lazy": (lambda: nn.LazyLinear(6), LINEAR + "LazyLinear"),
    "bilinear": (lambda: nn.Bilinear(4, 4, 6), LINEAR + "Bilinear"),
    "hook": (lambda: hooked(nn.Linear(4, 6)), "linear " + HOOKS),
}


@pytest.mark.parametrize(("make", "message"), LINEAR_REFUSED.values(), ids=LINEAR_REFUSED.keys())
def test_from_linear_refuses(make: Callable[[], nn.Linear], message: str) -> None:
    with pytest.raises(TypeError) as error:
        PointwiseConv.from_linear(make())
    assert str(error.value) == message


ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "groups_in": (
        lambda: PointwiseConv(3, 4, groups=2),
        "groups must divide c_in and c_out: got 2, 3 and 4",
    ),
    "groups_out": (
        lambda: PointwiseConv(4, 3, groups=2),
        "groups must divide c_in and c_out: got 2, 4 and 3",
    ),
    "no_channels": (
        lambda: PointwiseConv(0, 4),
        "c_in, c_out and groups must be at least 1: got 0, 4 and 1",
    ),
    "no_groups": (
        lambda: PointwiseConv(4, 4, groups=0),
        "c_in, c_out and groups must be at least 1: got 4, 4 and 0",
    ),
    "linear_of_groups": (
        lambda: PointwiseConv(4, 4, groups=2).to_linear(),
        "groups must be 1 for nn.Linear, got 2",
    ),
    "rank": (lambda: PointwiseConv(4, 4).to_conv(4), "rank must be 1, 2 or 3, got 4"),
    "input": (
        lambda: PointwiseConv(4, 4)(torch.ones(2, 3, 5)),
        "x must have shape (N, 4, *S), got (2, 3, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        call()
    assert str(error.value) == message


@pytest.mark.parametrize("rank", [0, *CONVS])
@pytest.mark.parametrize("assign", [False, True])
def test_state_dicts_of_convolutions_load(rank: int, assign: bool) -> None:
    source = CONVS[rank](4, 6, 1) if rank else nn.Linear(4, 6)
    network = nn.Sequential(nn.Identity(), PointwiseConv(4, 6))
    state = {f"1.{name}": value for name, value in source.state_dict().items()}
    shapes = {name: value.shape for name, value in state.items()}
    network.load_state_dict(state, assign=assign)
    exactly(network[1].weight, source.weight.flatten(1))
    exactly(network[1].bias, source.bias)
    assert {name: value.shape for name, value in state.items()} == shapes  # theirs is left alone


@pytest.mark.parametrize("shape", [(6, 4, 3), (6, 4, 1, 3), (6, 5), (6, 5, 1), (24,)])
def test_other_shapes_give_torchs_error(shape: tuple[int, ...]) -> None:
    state = {"weight": torch.ones(shape), "bias": torch.ones(6)}
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        PointwiseConv(4, 6).load_state_dict(state)


def test_missing_weights_give_torchs_error() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        PointwiseConv(4, 6).load_state_dict({"bias": torch.ones(6)})


def test_copies_and_pickles() -> None:
    layer, x = PointwiseConv(4, 6, groups=2), torch.randn(3, 4, 5)
    for made in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        exactly(made(x), layer(x))
        with torch.no_grad():
            made.weight.zero_()
        assert layer.weight.abs().sum() > 0


def test_affine_shares_the_parameters() -> None:
    layer, x = PointwiseConv(4, 6, groups=2), torch.randn(3, 4, 5)
    affine = layer.affine()
    assert affine.weight is layer.weight
    exactly(affine(x), layer(x))


def test_prints_its_sizes() -> None:
    printed = repr(PointwiseConv(4, 6, groups=2, bias=False))
    assert printed == "PointwiseConv(4, 6, groups=2, bias=False)"


@pytest.mark.parametrize("space", [(), (7, 9)], ids=["rank0", "rank2"])
@pytest.mark.parametrize("groups", [1, 2])
def test_exports_with_any_batch_and_size(space: tuple[int, ...], groups: int) -> None:
    layer = PointwiseConv(4, 6, groups=groups).eval()
    sizes = {0: torch.export.Dim("batch")}
    sizes |= {2: torch.export.Dim("height"), 3: torch.export.Dim("width")} if space else {}
    program = torch.export.export(
        layer, (torch.randn(3, 4, *space),), dynamic_shapes={"x": sizes}
    ).module()
    for n, *other in ((3, *space), (8, *(s + 4 for s in space)), (2, *(2 for s in space))):
        x = torch.randn(n, 4, *other)
        assert_close(program(x), layer(x))
