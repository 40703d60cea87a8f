"""Attention at any rank: equal to torch's own layers on the positions in a row."""

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS, channels_last
from pointwise.nn import BatchNorm, LayerNorm
from pointwise.nn.attention import MultiHeadAttention, NonLocalBlock

SPACE = {1: (9,), 2: (4, 5), 3: (2, 3, 4)}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

assert_near = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)


def filled(target: nn.Module, source: nn.Module) -> nn.Module:
    """Torch's layer with the values of ours."""
    pairs = zip(target.state_dict().items(), source.state_dict().values(), strict=True)
    target.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return target.eval()


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("norm", [True, False], ids=["norm", "no_norm"])
def test_a_non_local_block_is_the_papers_equation(rank: int, norm: bool) -> None:
    block = NonLocalBlock(6, 4, norm=BatchNorm if norm else None, zero_init=False)
    settled(block)
    x = torch.randn(2, 6, *SPACE[rank])
    theta, phi, g = (
        filled(CONVS[rank](6, 4, 1), ours)(x).flatten(2)
        for ours in (block.query, block.key, block.value)
    )
    alike = torch.einsum("ncl,ncm->nlm", theta, phi).softmax(2)
    seen = torch.einsum("nlm,ncm->ncl", alike, g).reshape(2, 4, *SPACE[rank])
    last = nn.Sequential(CONVS[rank](4, 6, 1, bias=not norm), *([NORMS[rank](6)] if norm else []))
    assert_near(block(x), x + filled(last, block.out)(seen))


@pytest.mark.parametrize("norm", [BatchNorm, LayerNorm, None], ids=["batch", "layer", "none"])
def test_a_non_local_block_starts_as_the_identity(norm: Callable | None) -> None:
    x = torch.randn(2, 6, 4, 5)
    assert torch.equal(NonLocalBlock(6, 3, norm=norm)(x), x)
    assert not torch.equal(NonLocalBlock(6, 3, norm=norm, zero_init=False)(x), x)


def reference(
    ours: MultiHeadAttention, x: Tensor, context: Tensor, mask: Tensor | None = None
) -> Tensor:
    """``nn.MultiheadAttention`` with the same weights, on the positions in a row."""
    theirs = nn.MultiheadAttention(
        ours.channels,
        ours.heads,
        bias=ours.query.bias is not None,
        kdim=ours.c_context,
        vdim=ours.c_context,
        batch_first=True,
    ).eval()
    layers = (ours.query, ours.key, ours.value)
    state = {"out_proj." + name: value for name, value in ours.out.state_dict().items()}
    if ours.c_context == ours.channels:
        state["in_proj_weight"] = torch.cat([layer.weight for layer in layers])
    else:
        state |= {f"{p}_proj_weight": layer.weight for p, layer in zip("qkv", layers, strict=True)}
    if ours.query.bias is not None:
        state["in_proj_bias"] = torch.cat([layer.bias for layer in layers])
    theirs.load_state_dict(state)
    tokens, other = x.flatten(2).mT, context.flatten(2).mT
    ignored = None if mask is None else ~mask
    y, _ = theirs(tokens, other, other, attn_mask=ignored, need_weights=False)
    return y.mT.reshape(x.shape)


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_self_attention_is_torchs(rank: int, heads: int, bias: bool) -> None:
    attention, x = MultiHeadAttention(8, heads, bias=bias), torch.randn(2, 8, *SPACE[rank])
    assert_near(attention(x), reference(attention, x, x))
    assert_near(attention(channels_last(x)), attention(x))


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("c_context", [8, 5])
def test_cross_attention_is_torchs_and_ranks_may_differ(rank: int, c_context: int) -> None:
    attention = MultiHeadAttention(8, 2, c_context=c_context)
    x = torch.randn(2, 8, *SPACE[rank])
    for other in SPACE.values():
        context = torch.randn(2, c_context, *other)
        assert_near(attention(x, context), reference(attention, x, context))


def test_a_mask_says_where_attention_is_allowed() -> None:
    attention, x = MultiHeadAttention(8, 2), torch.randn(2, 8, 6)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    masked = attention(x, mask=causal)
    assert_near(masked, reference(attention, x, x, causal))
    assert_near(masked[..., :4], attention(x[..., :4], mask=causal[:4, :4]))
    zero = torch.zeros(6, 6)
    assert_near(attention(x, mask=zero.masked_fill(~causal, -torch.inf)), masked)


def test_weights_are_dropped_in_training_only() -> None:
    attention, x = MultiHeadAttention(8, 2, dropout=0.5), torch.randn(2, 8, 6)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert_near(attention(x), reference(attention, x, x))


TORCHS = {
    "plain": {},
    "no_bias": {"bias": False},
    "batch_first": {"batch_first": True},
    "other_channels": {"kdim": 5, "vdim": 5},
    "other_channels_no_bias": {"kdim": 5, "vdim": 5, "bias": False},
    "dropout": {"dropout": 0.25},
    "float64": {"dtype": torch.float64},
}


@pytest.mark.parametrize("options", TORCHS.values(), ids=TORCHS.keys())
def test_torchs_attention_is_copied_exactly(options: dict) -> None:
    theirs = nn.MultiheadAttention(8, 4, **options)
    if theirs.in_proj_bias is not None:
        nn.init.normal_(theirs.in_proj_bias)
        nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention.from_torch(theirs.eval())
    dtype = theirs.out_proj.weight.dtype
    x = torch.randn(2, 8, 6, dtype=dtype)
    context = torch.randn(2, theirs.kdim, 7, dtype=dtype)
    queries, keys = (t.movedim(*((1, 2) if theirs.batch_first else (2, 0))) for t in (x, context))
    y, _ = theirs(queries, keys, keys, need_weights=False)
    assert_near(ours(x, context), y.movedim(*((2, 1) if theirs.batch_first else (0, 2))))
    assert ours.dropout == theirs.dropout
    assert not ours.training
    assert torch.equal(ours.out.weight, theirs.out_proj.weight)
    weights = [ours.query.weight, ours.key.weight, ours.value.weight]
    if theirs.in_proj_weight is not None:
        assert torch.equal(torch.cat(weights), theirs.in_proj_weight)
    else:
        assert torch.equal(weights[1], theirs.k_proj_weight)


def test_a_copy_of_torchs_attention_is_its_own() -> None:
    theirs = nn.MultiheadAttention(8, 4)
    ours = MultiHeadAttention.from_torch(theirs)
    with torch.no_grad():
        theirs.in_proj_weight.zero_()
    assert ours.query.weight.all()
    assert all(parameter.requires_grad for parameter in ours.parameters())


@pytest.mark.parametrize("kdim", [None, 5], ids=["stacked", "apart"])
def test_a_copy_of_torchs_attention_is_frozen_where_it_is(kdim: int | None) -> None:
    theirs = nn.MultiheadAttention(8, 4, kdim=kdim, vdim=kdim).requires_grad_(False)
    assert not any(p.requires_grad for p in MultiHeadAttention.from_torch(theirs).parameters())
    theirs.out_proj.weight.requires_grad_()
    with torch.no_grad():
        ours = MultiHeadAttention.from_torch(theirs)
    assert [n for n, p in ours.named_parameters() if p.requires_grad] == ["out.weight"]


def test_an_exported_block_takes_batches_and_maps_of_other_sizes() -> None:
    anything = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    for block, c_ins in ((settled(NonLocalBlock(8, 3)), [8]), (MultiHeadAttention(8, 2), [8])):
        sizes = tuple(torch.randn(2, c_in, 6, 5) for c_in in c_ins)
        program = torch.export.export(block, sizes, dynamic_shapes=(anything,))
        others = tuple(torch.randn(3, c_in, 4, 7) for c_in in c_ins)
        assert_near(program.module()(*others), block(*others))


BLOCKS = {
    "non_local tokens": (lambda: NonLocalBlock(4, 2), (2, 4, 5)),
    "non_local image": (lambda: NonLocalBlock(4, 2, zero_init=False), (2, 4, 3, 2)),
    "non_local volume": (lambda: NonLocalBlock(4, 2, norm=None, zero_init=False), (2, 4, 2, 3, 2)),
    "attention tokens": (lambda: MultiHeadAttention(4, 2), (2, 4, 5)),
    "attention image": (lambda: MultiHeadAttention(4, 2, bias=False), (2, 4, 3, 2)),
    "attention volume": (lambda: MultiHeadAttention(4, 1), (2, 4, 2, 3, 2)),
    "cross": (lambda: MultiHeadAttention(4, 2, c_context=3), (2, 4, 3, 2), (2, 3, 5)),
}


@pytest.mark.parametrize("case", BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(case: tuple) -> None:
    make, *shapes = case
    check_block(make(), *(torch.randn(shape) for shape in shapes))


@pytest.mark.parametrize("shape", [(0, 8, 5), (2, 8, 0), (1, 8, 1)], ids=str)
def test_batches_and_maps_may_be_empty(shape: tuple[int, ...]) -> None:
    for block in (NonLocalBlock(8, 4), MultiHeadAttention(8, 2)):
        assert block.eval()(torch.randn(shape)).shape == shape


def test_bfloat16_is_near_float32() -> None:
    x = torch.randn(2, 8, 6, 5)
    for block in (settled(NonLocalBlock(8, 4)), MultiHeadAttention(8, 2)):
        expected = block(x)
        found = block.to(torch.bfloat16)(x.bfloat16())
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


def test_device_and_type_reach_every_parameter() -> None:
    for make in (partial(NonLocalBlock, 8, 3), partial(MultiHeadAttention, 8, 2, c_context=3)):
        block = make(device="meta", dtype=torch.float64)
        assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


REFUSALS = {
    "non_local channels": (
        lambda: NonLocalBlock(8, 2)(torch.ones(1, 4, 3)),
        "x must have shape (N, 8, *S) with one position axis or more, got (1, 4, 3)",
    ),
    "non_local rows": (
        lambda: NonLocalBlock(8, 2)(torch.ones(1, 8)),
        "x must have shape (N, 8, *S) with one position axis or more, got (1, 8)",
    ),
    "non_local size": (
        lambda: NonLocalBlock(8, 0),
        "c_in, c_out and groups must be at least 1: got 8, 0 and 1",
    ),
    "non_local norm": (
        lambda: NonLocalBlock(8, 2, norm=lambda channels: nn.Identity()),
        "norm must have a weight to start at zero, got Identity: pass zero_init=False",
    ),
    "heads": (lambda: MultiHeadAttention(8, 3), "heads must divide channels: got 3 and 8"),
    "no heads": (lambda: MultiHeadAttention(8, 0), "heads must divide channels: got 0 and 8"),
    "no channels": (lambda: MultiHeadAttention(0, 1), "heads must divide channels: got 1 and 0"),
    "dropout": (
        lambda: MultiHeadAttention(8, 2, dropout=1.0),
        "dropout must be at least 0 and below 1, got 1.0",
    ),
    "context size": (
        lambda: MultiHeadAttention(8, 2, c_context=0),
        "c_in, c_out and groups must be at least 1: got 0, 8 and 1",
    ),
    "attention channels": (
        lambda: MultiHeadAttention(8, 2)(torch.ones(1, 4, 3)),
        "x must have shape (N, 8, *S) with one position axis or more, got (1, 4, 3)",
    ),
    "attention rows": (
        lambda: MultiHeadAttention(8, 2)(torch.ones(1, 8)),
        "x must have shape (N, 8, *S) with one position axis or more, got (1, 8)",
    ),
    "no context": (
        lambda: MultiHeadAttention(8, 2, c_context=3)(torch.ones(1, 8, 3)),
        "context must be given: it has 3 channels, x has 8",
    ),
    "context channels": (
        lambda: MultiHeadAttention(8, 2, c_context=3)(torch.ones(1, 8, 3), torch.ones(1, 4, 3)),
        "context must have shape (N, 3, *S) with one position axis or more, got (1, 4, 3)",
    ),
    "context batch": (
        lambda: MultiHeadAttention(8, 2)(torch.ones(1, 8, 3), torch.ones(2, 8, 3)),
        "context must have as many samples as x, got 2 and 1",
    ),
    "torch's keys and values differ": (
        lambda: MultiHeadAttention.from_torch(nn.MultiheadAttention(8, 2, kdim=3, vdim=4)),
        "keys and values must have equally many channels: got kdim 3 and vdim 4",
    ),
    "torch's extra key": (
        lambda: MultiHeadAttention.from_torch(nn.MultiheadAttention(8, 2, add_bias_kv=True)),
        "attention must append no key or value: it has add_bias_kv or add_zero_attn",
    ),
    "torch's zero key": (
        lambda: MultiHeadAttention.from_torch(nn.MultiheadAttention(8, 2, add_zero_attn=True)),
        "attention must append no key or value: it has add_bias_kv or add_zero_attn",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


class Special(nn.MultiheadAttention):
    """Might compute anything."""


def test_what_is_not_plainly_torchs_is_refused() -> None:
    hooked, normed, bounded = (nn.MultiheadAttention(8, 2) for _ in range(3))
    hooked.register_forward_hook(lambda *given: None)
    nn.utils.parametrizations.weight_norm(normed.out_proj)
    nn.utils.spectral_norm(bounded.out_proj)
    kept_elsewhere = (
        "attention must keep the weight of out_proj itself: remove its weight norm, spectral norm "
        "or other parametrization first"
    )
    for layer, message in (
        (Special(8, 2), "attention must be nn.MultiheadAttention itself, got Special"),
        (nn.Linear(8, 2), "attention must be nn.MultiheadAttention itself, got Linear"),
        (hooked, "attention must have no forward hooks: remove them first"),
        (normed, kept_elsewhere),
        (bounded, kept_elsewhere),
    ):
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            MultiHeadAttention.from_torch(layer)
