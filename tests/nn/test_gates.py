"""Gates: equal to torch's own layers put together as the papers' equations say."""

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn import BatchNorm
from pointwise.nn.gates import CBAM, AttentionGate, ChannelGate, SpatialGate, SqueezeExcite

SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}
COARSE = {1: (4,), 2: (3, 3), 3: (2, 2, 2)}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MEANS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
MAXIMA = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}

assert_near = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)


def with_weights(layers: nn.Module, block: nn.Module) -> nn.Module:
    """Torch's layers with the values of a block whose state lies in the same order."""
    targets = layers.state_dict()
    pairs = zip(targets.items(), block.state_dict().values(), strict=True)
    layers.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return layers.eval()


def squeeze_excite(block: SqueezeExcite, x: Tensor) -> Tensor:
    rank = x.ndim - 2
    layers = nn.Sequential(
        MEANS[rank](1),
        CONVS[rank](8, 3, 1),
        nn.SiLU(),
        CONVS[rank](3, 8, 1),
        nn.Hardsigmoid(),
    )
    return x * with_weights(layers, block)(x)


def channel_gate(block: ChannelGate, x: Tensor) -> Tensor:
    rank = x.ndim - 2
    mlp = nn.Sequential(CONVS[rank](8, 3, 1), nn.SiLU(), CONVS[rank](3, 8, 1))
    with_weights(mlp, block)
    return x * torch.sigmoid(mlp(MEANS[rank](1)(x)) + mlp(MAXIMA[rank](1)(x)))


def spatial_gate(block: SpatialGate, x: Tensor) -> Tensor:
    rank = x.ndim - 2
    layers = nn.Sequential(CONVS[rank](2, 1, 3, padding=1, bias=False), NORMS[rank](1))
    pooled = torch.stack([x.mean(1), x.max(1).values], 1)
    return x * with_weights(layers, block)(pooled).sigmoid()


def cbam(block: CBAM, x: Tensor) -> Tensor:
    return spatial_gate(block.spatial, channel_gate(block.channel, x))


ONE_MAP = {
    "squeeze_excite": (
        lambda rank: SqueezeExcite(8, 3, activation=nn.SiLU, gate=nn.Hardsigmoid),
        squeeze_excite,
    ),
    "channel_gate": (lambda rank: ChannelGate(8, 3, activation=nn.SiLU), channel_gate),
    "spatial_gate": (lambda rank: SpatialGate(kernel=3, rank=rank, norm=BatchNorm), spatial_gate),
    "cbam": (
        lambda rank: CBAM(8, 3, kernel=3, rank=rank, norm=BatchNorm, activation=nn.SiLU),
        cbam,
    ),
}


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize(("make", "reference"), ONE_MAP.values(), ids=ONE_MAP.keys())
def test_a_gate_is_the_papers_equation(make: Callable, reference: Callable, rank: int) -> None:
    block, x = settled(make(rank)), torch.randn(2, 8, *SPACE[rank])
    assert_near(block(x), reference(block, x))


def test_a_spatial_gate_by_default_is_a_7x7_without_a_norm() -> None:
    block, x = SpatialGate(), torch.randn(2, 5, 6, 7)
    conv = with_weights(nn.Conv2d(2, 1, 7, padding=3), block)
    pooled = torch.stack([x.mean(1), x.max(1).values], 1)
    assert_near(block(x), x * conv(pooled).sigmoid())


def attention_gate(
    block: AttentionGate, skip: Tensor, gate: Tensor, norm: bool = True
) -> tuple[Tensor, Tensor]:
    """The weighted skip and the weights, the gating map enlarged before its 1x1."""
    rank = skip.ndim - 2

    def projection(c_in: int, ours: nn.Module) -> nn.Module:
        conv = CONVS[rank](c_in, 4, 1, bias=not norm)
        return with_weights(nn.Sequential(conv, *([NORMS[rank](4)] if norm else [])), ours)

    enlarged = F.interpolate(gate, skip.shape[2:], mode=LINEAR[rank])
    mixed = projection(6, block.skip)(skip) + projection(8, block.gate)(enlarged)
    weights = with_weights(CONVS[rank](4, 1, 1), block.weigh)(mixed.relu()).sigmoid()
    return weights * skip, weights


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("norm", [True, False], ids=["norm", "no_norm"])
def test_an_attention_gate_is_the_papers_equation(rank: int, norm: bool) -> None:
    block = settled(AttentionGate(6, 8, 4, norm=BatchNorm if norm else None))
    skip, gate = torch.randn(2, 6, *SPACE[rank]), torch.randn(2, 8, *COARSE[rank])
    expected, weights = attention_gate(block, skip, gate, norm)
    assert_near(block(skip, gate), expected)
    assert 0 < weights.min() < weights.max() < 1


@pytest.mark.parametrize("shape", [(), (5,), (3, 2, 1, 2)], ids=["rows", "tokens", "rank4"])
def test_an_attention_gate_of_equal_sizes_takes_any_rank(shape: tuple[int, ...]) -> None:
    block = settled(AttentionGate(6, 8, 4))
    skip, gate = torch.randn(2, 6, *shape), torch.randn(2, 8, *shape)
    flat = (x.flatten(2) if shape else x[..., None] for x in (skip, gate))
    assert_near(block(skip, gate), attention_gate(block, *flat)[0].reshape(skip.shape))


@pytest.mark.parametrize("make", [SqueezeExcite, ChannelGate], ids=lambda make: make.__name__)
def test_channels_of_rows_are_weighed_as_those_of_one_position(make: Callable) -> None:
    block, rows = make(8, 3), torch.randn(4, 8)
    assert_near(block(rows), block(rows[..., None, None])[..., 0, 0])


@pytest.mark.parametrize("samples", [0, 1])
def test_batches_may_be_empty_or_of_one(samples: int) -> None:
    x = torch.randn(samples, 8, 9, 7)
    for block in (SqueezeExcite(8, 3), CBAM(8, 3), SpatialGate()):
        assert block(x).shape == x.shape
    assert AttentionGate(8, 8, 3).eval()(x, x[..., ::2, ::2]).shape == x.shape


def test_an_exported_block_takes_batches_and_maps_of_other_sizes() -> None:
    anything = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    for block, c_ins in ((CBAM(8, 3), [8]), (settled(AttentionGate(8, 4, 3)), [8, 4])):
        sizes = tuple(torch.randn(2, c_in, 6, 5) for c_in in c_ins)
        program = torch.export.export(block, sizes, dynamic_shapes=(anything,) * len(c_ins))
        others = tuple(torch.randn(3, c_in, 4, 7) for c_in in c_ins)
        assert_near(program.module()(*others), block(*others))


BLOCKS = {
    "squeeze_excite rows": (lambda: SqueezeExcite(4, 2), (3, 4)),
    "squeeze_excite tokens": (lambda: SqueezeExcite(4, 2), (2, 4, 5)),
    "squeeze_excite image": (lambda: SqueezeExcite(4, 2, gate=nn.Hardsigmoid), (2, 4, 3, 2)),
    "squeeze_excite volume": (lambda: SqueezeExcite(4, 2), (2, 4, 2, 3, 2)),
    "channel_gate rows": (lambda: ChannelGate(4, 2), (3, 4)),
    "channel_gate image": (lambda: ChannelGate(4, 2), (2, 4, 3, 2)),
    "spatial_gate tokens": (lambda: SpatialGate(kernel=3, rank=1, norm=BatchNorm), (2, 4, 5)),
    "spatial_gate image": (lambda: SpatialGate(), (2, 4, 3, 2)),
    "spatial_gate volume": (lambda: SpatialGate(kernel=3, rank=3), (2, 4, 2, 3, 2)),
    "cbam tokens": (lambda: CBAM(4, 2, kernel=3, rank=1), (2, 4, 5)),
    "cbam image": (lambda: CBAM(4, 2, norm=BatchNorm), (2, 4, 3, 2)),
    "cbam volume": (lambda: CBAM(4, 2, kernel=3, rank=3), (2, 4, 2, 3, 2)),
    "attention_gate tokens": (lambda: AttentionGate(4, 3, 2), (2, 4, 6), (2, 3, 3)),
    "attention_gate image": (lambda: AttentionGate(4, 3, 2), (2, 4, 6, 4), (2, 3, 3, 2)),
    "attention_gate equal": (lambda: AttentionGate(4, 3, 2, norm=None), (2, 4, 3), (2, 3, 3)),
    "attention_gate volume": (
        lambda: AttentionGate(4, 3, 2),
        (2, 4, 4, 2, 5),
        (2, 3, 2, 1, 3),
    ),
}


@pytest.mark.parametrize("case", BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(case: tuple) -> None:
    make, *shapes = case
    check_block(make(), *(torch.randn(shape) for shape in shapes))


def test_device_and_type_reach_every_parameter() -> None:
    for make in (
        partial(SqueezeExcite, 8, 3),
        partial(ChannelGate, 8, 3),
        partial(SpatialGate, norm=BatchNorm),
        partial(CBAM, 8, 3),
        partial(AttentionGate, 8, 8, 3),
    ):
        block = make(device="meta", dtype=torch.float64)
        assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


def test_bfloat16_is_near_float32() -> None:
    skip, gate = torch.randn(2, 8, 6, 5), torch.randn(2, 4, 3, 2)
    for block, xs in (
        (SqueezeExcite(8, 3), (skip,)),
        (CBAM(8, 3), (skip,)),
        (settled(AttentionGate(8, 4, 3)), (skip, gate)),
    ):
        expected = block(*xs)
        found = block.to(torch.bfloat16)(*(x.bfloat16() for x in xs))
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


REFUSALS = {
    "squeeze_excite channels": (
        lambda: SqueezeExcite(8, 2)(torch.ones(1, 4, 3, 3)),
        "x must have shape (N, 8, *S), got (1, 4, 3, 3)",
    ),
    "squeeze_excite size": (
        lambda: SqueezeExcite(8, 0),
        "c_in, c_out and groups must be at least 1: got 8, 0 and 1",
    ),
    "channel_gate channels": (
        lambda: ChannelGate(8, 2)(torch.ones(1, 4)),
        "x must have shape (N, 8, *S), got (1, 4)",
    ),
    "spatial_gate axes": (
        lambda: SpatialGate()(torch.ones(1, 4, 3)),
        "x must have shape (N, C, H, W), got (1, 4, 3)",
    ),
    "spatial_gate kernel": (
        lambda: SpatialGate(kernel=4),
        "kernel must be odd where no padding is given, got 4",
    ),
    "spatial_gate rank": (lambda: SpatialGate(rank=0), "rank must be 1, 2 or 3, got 0"),
    "cbam channels": (
        lambda: CBAM(8, 2)(torch.ones(1, 4, 3, 3)),
        "x must have shape (N, 8, H, W), got (1, 4, 3, 3)",
    ),
    "cbam axes": (
        lambda: CBAM(8, 2, rank=3)(torch.ones(1, 8, 3, 3)),
        "x must have shape (N, 8, D, H, W), got (1, 8, 3, 3)",
    ),
    "attention_gate skip channels": (
        lambda: AttentionGate(8, 4, 2)(torch.ones(1, 4, 6), torch.ones(1, 4, 3)),
        "skip must have shape (N, 8, *S), got (1, 4, 6)",
    ),
    "attention_gate gate channels": (
        lambda: AttentionGate(8, 4, 2)(torch.ones(1, 8, 6, 6), torch.ones(1, 8, 3, 3)),
        "gate must have shape (1, 4, H, W) beside a skip of shape (1, 8, 6, 6), got (1, 8, 3, 3)",
    ),
    "attention_gate axes": (
        lambda: AttentionGate(8, 4, 2)(torch.ones(1, 8, 6), torch.ones(1, 4, 3, 3)),
        "gate must have shape (1, 4, L) beside a skip of shape (1, 8, 6), got (1, 4, 3, 3)",
    ),
    "attention_gate batch": (
        lambda: AttentionGate(8, 4, 2)(torch.ones(2, 8, 6), torch.ones(1, 4, 3)),
        "gate must have shape (2, 4, L) beside a skip of shape (2, 8, 6), got (1, 4, 3)",
    ),
    "attention_gate rows": (
        lambda: AttentionGate(8, 4, 2)(torch.ones(2, 8), torch.ones(2, 4, 3)),
        "gate must have shape (2, 4) beside a skip of shape (2, 8), got (2, 4, 3)",
    ),
    "attention_gate sizes at four axes": (
        lambda: AttentionGate(8, 4, 2)(torch.ones(2, 8, 2, 2, 2, 2), torch.ones(2, 4, 1, 1, 1, 1)),
        "x must have 1 to 3 position axes, got shape (2, 2, 1, 1, 1, 1)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
