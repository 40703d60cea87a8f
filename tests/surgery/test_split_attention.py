"""Attention with its linear maps as layers: torch's own is the oracle, there and back."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pointwise.surgery.attention import SplitAttention, merge, split
from pointwise.surgery.axes import InPlaceOf
from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.equivalence import check_equivalent
from pointwise.surgery.restoring import restore
from pointwise.surgery.stock import to_torch
from torchvision_models import torchvision

E, HEADS, N, L, S = 8, 2, 3, 5, 7
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def attention(**options: Any) -> nn.MultiheadAttention:
    """With offsets that are not zero, in float64."""
    made = nn.MultiheadAttention(E, HEADS, **options).double()
    for name, parameter in made.named_parameters():
        if "bias" in name:
            nn.init.normal_(parameter)
    return made


def given(module: nn.MultiheadAttention, *, single: bool = False) -> list[Tensor]:
    """Queries, keys and values as the module wants them."""
    sizes = ((L, E), (S, module.kdim), (S, module.vdim))
    inputs = [torch.randn(N, *size, dtype=torch.float64) for size in sizes]
    if single:
        return [x[0] for x in inputs]
    return inputs if module.batch_first else [x.transpose(0, 1) for x in inputs]


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch_first": {"batch_first": True},
    "no_bias": {"bias": False},
    "other_channels": {"kdim": 6, "vdim": 4, "batch_first": True},
    "appended_biases": {"add_bias_kv": True},
    "appended_zeros": {"add_zero_attn": True, "batch_first": True},
    "all_appended": {"add_bias_kv": True, "add_zero_attn": True},
}


def hidden(*size: int) -> Tensor:
    """Pairs that may not attend; a query that may attend to nothing gives nan, in torch too."""
    pairs = torch.rand(*size, generator=torch.Generator().manual_seed(0)) > 0.7
    pairs[..., 0] = False
    return pairs


PAIRS = hidden(L, S)
PADDING = torch.arange(S) >= torch.tensor([[S], [S - 2], [S - 3]])
CAUSAL = nn.Transformer.generate_square_subsequent_mask(L, dtype=torch.float64)
CALLS: dict[str, dict[str, Any]] = {
    "weights": {},
    "weights_of_heads": {"average_attn_weights": False},
    "no_weights": {"need_weights": False},
    "pairs": {"attn_mask": PAIRS},
    "pairs_without_weights": {"attn_mask": PAIRS, "need_weights": False},
    "numbers": {"attn_mask": torch.randn(L, S, dtype=torch.float64), "need_weights": False},
    "pairs_of_heads": {"attn_mask": hidden(N * HEADS, L, S)},
    "padding": {"key_padding_mask": PADDING},
    "padding_without_weights": {"key_padding_mask": PADDING, "need_weights": False},
    "padding_in_numbers": {"key_padding_mask": torch.randn(N, S, dtype=torch.float64)},
    "both": {"key_padding_mask": PADDING, "attn_mask": PAIRS},
    "both_without_weights": {
        "key_padding_mask": PADDING,
        "attn_mask": PAIRS,
        "need_weights": False,
    },
}
CONVERTS: dict[str, Callable[..., Any]] = {
    "pointwise": to_pointwise,
    "conv1d": lambda model: to_conv(model, rank=1),
    "conv2d": to_conv,
}


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_takes_and_gives_what_torchs_does(options: dict[str, Any], call: dict[str, Any]) -> None:
    module = attention(**options)
    inputs = given(module)
    expected, weights = module(*inputs, **call)
    for convert in CONVERTS.values():
        new, swaps = convert(module)
        assert [swap.after is None for swap in swaps] == [False]
        found, found_weights = new(*inputs, **call)
        torch.testing.assert_close(found, expected, **EXACT)
        torch.testing.assert_close(found_weights, weights, **EXACT)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_one_sample(options: dict[str, Any], need_weights: bool) -> None:
    module = attention(**options)
    inputs = given(module, single=True)
    call = {"key_padding_mask": torch.arange(S) > 4, "need_weights": need_weights}
    expected, new = module(*inputs, **call), to_conv(module)[0]
    torch.testing.assert_close(new(*inputs, **call), expected, **EXACT)


@pytest.mark.parametrize("need_weights", [True, False])
def test_self_attention_with_a_causal_mask(need_weights: bool) -> None:
    module = attention(batch_first=True)
    x, _, _ = given(module)
    call = {"attn_mask": CAUSAL, "is_causal": True, "need_weights": need_weights}
    expected, new = module(x, x, x, **call), to_conv(module)[0]
    torch.testing.assert_close(new(x, x, x, **call), expected, **EXACT)


@pytest.mark.parametrize("evaluates", [True, False])
def test_torchs_fused_operator_gives_the_same(evaluates: bool) -> None:
    module = attention(batch_first=True).train(not evaluates)
    x, _, _ = given(module)
    with torch.no_grad():
        expected = module(x, x, x)
        torch.testing.assert_close(to_conv(module)[0](x, x, x), expected, **EXACT)


@pytest.mark.parametrize("need_weights", [True, False])
def test_gradients_are_torchs(need_weights: bool) -> None:
    module = attention(batch_first=True)
    inputs = given(module)
    new = to_conv(module)[0]
    for one in (module, new):
        one(*inputs, need_weights=need_weights)[0].sin().sum().backward()
    layers = [new.q_proj, new.k_proj, new.v_proj]
    found = torch.cat([layer.layer.weight.grad.flatten(1) for layer in layers])
    torch.testing.assert_close(found, module.in_proj_weight.grad, **EXACT)
    found = new.out_proj.layer.weight.grad.flatten(1)
    torch.testing.assert_close(found, module.out_proj.weight.grad, **EXACT)


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_is_drawn_in_training(need_weights: bool) -> None:
    new = to_conv(attention(dropout=0.5, batch_first=True))[0]
    x = torch.randn(N, L, E, dtype=torch.float64)
    one, other = (new(x, x, x, need_weights=need_weights)[0] for _ in range(2))
    assert not torch.equal(one, other)
    new.eval()
    one, other = (new(x, x, x, need_weights=need_weights)[0] for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("back", [restore, to_linear])
@pytest.mark.parametrize("convert", CONVERTS.values(), ids=CONVERTS)
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_there_and_back(
    options: dict[str, Any], convert: Callable[..., Any], back: Callable[..., Any]
) -> None:
    module = attention(dropout=0.25, **options).eval().requires_grad_(False)
    again, _ = back(convert(module)[0])
    assert type(again) is nn.MultiheadAttention
    assert (again.dropout, again.batch_first) == (0.25, module.batch_first)
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    state = module.state_dict()
    assert again.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_state_of_torchs_loads(options: dict[str, Any]) -> None:
    module, other = attention(**options), attention(**options)
    new = to_conv(other)[0]
    new.load_state_dict(module.state_dict())
    inputs = given(module)
    torch.testing.assert_close(new(*inputs), module(*inputs), **EXACT)


def test_who_reads_the_matrices_finds_them() -> None:
    module = attention()
    new = to_conv(module)[0]
    assert torch.equal(new.in_proj_weight, module.in_proj_weight)
    assert torch.equal(new.in_proj_bias, module.in_proj_bias)
    assert to_conv(attention(kdim=6))[0].in_proj_weight is None
    assert to_conv(attention(bias=False))[0].in_proj_bias is None


def test_in_place_stands_over_the_memory_of_the_matrices() -> None:
    model = nn.ModuleList([attention()])
    matrix = model[0].in_proj_weight
    to_conv(model, in_place=True)
    assert model[0].q_proj.layer.weight.data_ptr() == matrix.data_ptr()
    assert repr(model[0]).startswith("SplitAttention(\n  heads=2, dropout=0.0, batch_first=False")


def test_linear_leaves_torchs_own() -> None:
    new, swaps = to_linear(attention())
    assert type(new) is nn.MultiheadAttention
    assert [str(swap) for swap in swaps] == [
        "out_proj: NonDynamicallyQuantizableLinear(8, 8) left alone: "
        "it is never called: nn.MultiheadAttention reads its weights"
    ]


def test_what_is_said() -> None:
    new, swaps = to_conv(nn.Sequential(attention()))
    assert [str(swap) for swap in swaps] == [
        "0: MultiheadAttention(8, heads 2) -> SplitAttention(8, heads 2) of Conv2d"
    ]
    assert isinstance(new[0].v_proj, InPlaceOf)
    _, swaps = restore(new)
    assert [str(swap) for swap in swaps] == [
        "0: SplitAttention(8, heads 2) of Conv2d -> MultiheadAttention(8, heads 2)"
    ]


def test_torch_gets_its_own_back() -> None:
    model = nn.TransformerEncoderLayer(E, HEADS, 16, batch_first=True).eval()
    x = torch.randn(N, L, E)
    converted, _ = to_pointwise(model, example=x)
    new, swaps = to_torch(converted, x)
    assert type(new.self_attn) is nn.MultiheadAttention
    assert not [swap for swap in swaps if swap.after is None]
    assert type(new.linear1) is type(new.linear2) is nn.Linear
    assert torch.equal(new.self_attn.in_proj_weight, model.self_attn.in_proj_weight)
    check_equivalent(model, new, x)


class Odd(nn.MultiheadAttention):
    pass


def changed(change: Callable[[nn.MultiheadAttention], Any]) -> nn.MultiheadAttention:
    made = nn.MultiheadAttention(E, HEADS)
    change(made)
    return made


REFUSED = {
    "subclass": (
        lambda: Odd(E, HEADS),
        "Odd is a subclass of MultiheadAttention: its forward may differ",
    ),
    "more": (
        lambda: changed(lambda one: one.register_buffer("mask", torch.ones(2))),
        "it holds more than the weights of attention: mask",
    ),
    "hook_of_the_part": (
        lambda: changed(lambda one: one.out_proj.register_forward_hook(print)),
        "its part 'out_proj': has forward hooks: remove them first",
    ),
    "other_part": (
        lambda: changed(lambda one: setattr(one, "out_proj", nn.Identity())),
        "its part 'out_proj' is Identity, not a linear layer",
    ),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_left_alone(make: Callable[[], nn.MultiheadAttention], reason: str) -> None:
    new, swaps = to_conv(make())
    assert swaps[0].reason == reason
    assert isinstance(new, nn.MultiheadAttention)


def test_an_encoder_that_hands_out_nested_tensors() -> None:
    layer = nn.TransformerEncoderLayer(E, HEADS, 16, batch_first=True)
    _, swaps = to_conv(nn.TransformerEncoder(layer, 1))
    assert swaps[0].reason == (
        "nn.TransformerEncoder may hand it nested tensors: set the encoder's use_nested_tensor "
        "to False"
    )
    _, swaps = to_linear(nn.TransformerEncoder(layer, 1))
    assert all("nested" not in swap.reason for swap in swaps)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    new, _ = to_conv(encoder)
    assert isinstance(new.layers[1].self_attn, SplitAttention)
    x, padding = torch.randn(N, S, E), PADDING
    torch.testing.assert_close(
        new(x, src_key_padding_mask=padding), encoder(x, src_key_padding_mask=padding)
    )


def test_parts_that_were_changed_are_not_merged() -> None:
    part = split(attention())
    assert isinstance(part, SplitAttention)
    frozen = copy.deepcopy(part)
    frozen.q_proj.requires_grad_(False)
    assert merge(frozen) == (
        "of queries, keys and values some are frozen, and they become one parameter"
    )
    part.k_proj = nn.Identity()
    assert merge(part) == "its layers are of a kind that is not known"


WRONG: dict[str, tuple[list[tuple[int, ...]], dict[str, Any], str]] = {
    "axes": (
        [(L,), (S,), (S,)],
        {},
        "query, key and value must have two axes or three, and key and value as many positions: "
        "got (5,), (7,), (7,)",
    ),
    "positions": (
        [(N, L, E), (N, S, E), (N, L, E)],
        {},
        "query, key and value must have two axes or three, and key and value as many positions: "
        "got (3, 5, 8), (3, 7, 8), (3, 5, 8)",
    ),
    "mask": (
        [(N, L, E), (N, S, E), (N, S, E)],
        {"attn_mask": torch.ones(1, S, dtype=torch.bool)},
        "attn_mask must have shape (5, 7), got (1, 7)",
    ),
    "mask_of_heads": (
        [(N, L, E), (N, S, E), (N, S, E)],
        {"attn_mask": torch.ones(N, L, S, dtype=torch.bool)},
        "attn_mask must have shape (6, 5, 7), got (3, 5, 7)",
    ),
    "padding": (
        [(N, L, E), (N, S, E), (N, S, E)],
        {"key_padding_mask": torch.ones(1, S, dtype=torch.bool)},
        "key_padding_mask must have shape (3, 7), got (1, 7)",
    ),
    "integers": (
        [(N, L, E), (N, S, E), (N, S, E)],
        {"attn_mask": torch.ones(L, S, dtype=torch.long)},
        "a mask must be of booleans or real numbers, got torch.int64",
    ),
    "causal": (
        [(N, L, E), (N, S, E), (N, S, E)],
        {"is_causal": True},
        "is_causal tells what attn_mask is, and needs it: got None",
    ),
}


@pytest.mark.parametrize(("shapes", "call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(shapes: list[tuple[int, ...]], call: dict[str, Any], message: str) -> None:
    new = to_conv(nn.MultiheadAttention(E, HEADS, batch_first=True))[0]
    with pytest.raises(ValueError, match=r"must have|must be|needs it") as error:
        new(*map(torch.ones, shapes), **call)
    assert str(error.value) == message


def test_a_vision_transformer_of_torchvision() -> None:
    options = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    model = torchvision.models.VisionTransformer(image_size=32, **options).double().eval()
    nn.init.normal_(model.heads.head.weight)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    new, swaps = to_conv(model, example=x)
    assert all(swap.after for swap in swaps if swap.path != "conv_proj")
    assert check_equivalent(model, new, x).max_relative <= 1e-12
