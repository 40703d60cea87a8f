"""The U-Net decoder and its parts: torch's own layers in a row, at any rank and size."""

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn.gates import AttentionGate
from pointwise.nn.norm import BatchNorm
from pointwise.nn.resample import UpProjection
from pointwise.nn.unet import DoubleConvolution, UNetDecoder, UNetStage

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
SPACE = {1: (12,), 2: (8, 12), 3: (4, 8, 4)}

each_rank = pytest.mark.parametrize("rank", SPACE)


def with_values(layers: nn.Module, block: nn.Module) -> nn.Module:
    """Torch's layers with the block's values: both have them in the same order."""
    pairs = zip(layers.state_dict().items(), block.state_dict().values(), strict=True)
    layers.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return layers.eval()


def two_convs(rank: int, c_in: int, c_out: int, padding: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (c_in, c_out):
        conv = CONVS[rank](channels, c_out, 3, padding=padding, bias=False)
        layers += [conv, NORMS[rank](c_out), nn.ReLU()]
    return nn.Sequential(*layers)


def pyramid(*channels: int, space: tuple[int, ...], up: bool = True) -> list[Tensor]:
    """Maps of which each has half the positions of the one before, rounded up or down."""
    maps = []
    for c in channels:
        maps.append(torch.randn(2, c, *space))
        space = tuple((positions + up) // 2 for positions in space)
    return maps


@each_rank
@pytest.mark.parametrize("padded", [True, False])
def test_a_double_convolution_is_torchs_layers(rank: int, padded: bool) -> None:
    block = settled(DoubleConvolution(3, 4, rank=rank, padded=padded))
    layers = with_values(two_convs(rank, 3, 4, int(padded)), block)
    x = torch.randn(2, 3, *(7,) * rank)
    torch.testing.assert_close(block(x), layers(x), rtol=1e-4, atol=1e-5)


@each_rank
def test_a_decoder_is_torchs_layers(rank: int) -> None:
    decoder = settled(UNetDecoder((3, 4, 6), rank=rank))
    parts = []
    for c_skip, c_in in ((3, 4), (4, 6)):
        parts += [TRANSPOSED[rank](c_in, c_skip, 2, 2), two_convs(rank, 2 * c_skip, c_skip)]
    up_fine, fine, up_middle, middle = with_values(nn.ModuleList(parts), decoder)
    x, y, z = pyramid(3, 4, 6, space=SPACE[rank])
    between = middle(torch.cat([y, up_middle(z)], 1))
    expected = fine(torch.cat([x, up_fine(between)], 1))
    torch.testing.assert_close(decoder([x, y, z]), expected, rtol=1e-4, atol=1e-5)


@each_rank
def test_unpadded_skips_are_cut_in_the_middle(rank: int) -> None:
    stage = settled(UNetStage(4, 3, 5, rank=rank, padded=False))
    parts = [TRANSPOSED[rank](4, 5, 2, 2), two_convs(rank, 8, 5, padding=0)]
    up, convs = with_values(nn.ModuleList(parts), stage)
    x, skip = torch.randn(2, 4, *(4,) * rank), torch.randn(2, 3, *(13,) * rank)
    middle = skip[(slice(None), slice(None), *(slice(2, 10),) * rank)]  # 5 over: 2 and 3
    expected = convs(torch.cat([middle, up(x)], 1))
    assert expected.shape == (2, 5, *(4,) * rank)
    torch.testing.assert_close(stage(x, skip), expected, rtol=1e-4, atol=1e-5)


def test_a_gate_sees_the_skip_and_the_coarser_map() -> None:
    stage = settled(UNetStage(4, 6, 5, gate=AttentionGate))
    assert (stage.gate.c_skip, stage.gate.c_gate, stage.gate.weigh.conv.c_in) == (6, 4, 6)
    x, skip = torch.randn(2, 4, 3, 4), torch.randn(2, 6, 6, 8)
    plain = UNetStage(4, 6, 5)
    rest = {k: v for k, v in stage.state_dict().items() if not k.startswith("gate.")}
    plain.load_state_dict(rest)
    expected = plain.eval()(x, stage.gate(skip, x))
    torch.testing.assert_close(stage(x, skip), expected)
    assert (stage(x, skip) - plain(x, skip)).abs().max() > 1e-3


@pytest.mark.parametrize(("gate_finest", "gated"), [(False, [False, True]), (True, [True, True])])
def test_which_skips_have_a_gate(gate_finest: bool, gated: list[bool]) -> None:
    decoder = UNetDecoder((3, 4, 6), gate=AttentionGate, gate_finest=gate_finest)
    assert [stage.gate is not None for stage in decoder.stages] == gated


@each_rank
@pytest.mark.parametrize("up", [True, False], ids=["rounded up", "rounded down"])
@pytest.mark.parametrize("first", range(4, 12))
def test_any_size(rank: int, up: bool, first: int) -> None:
    maps = pyramid(2, 3, 4, space=(first, *SPACE[rank][1:]), up=up)
    for parts in ({}, {"gate": AttentionGate}, {"upsample": UpProjection}):
        decoder = UNetDecoder((2, 3, 4), rank=rank, **parts).eval()
        assert decoder(maps).shape == maps[0].shape


def test_widths_need_not_be_those_of_the_maps() -> None:
    decoder = UNetDecoder((8, 16, 32), widths=(5, 7)).eval()
    assert decoder(pyramid(8, 16, 32, space=SPACE[2])).shape == (2, 5, *SPACE[2])
    assert [stage.upsample.conv.in_channels for stage in decoder.stages] == [7, 32]


def test_a_strided_encoder_needs_interpolation() -> None:
    maps = [torch.ones(1, 2, 20, 20), torch.ones(1, 3, 5, 5)]
    decoder = UNetDecoder((2, 3), upsample=UpProjection).eval()
    assert decoder(maps).shape == (1, 2, 20, 20)
    message = (
        "size must be that of the enlarged map, (10, 10), give or take 1 along every axis, "
        "got (20, 20)"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        UNetDecoder((2, 3))(maps)


class OnMaps(nn.Module):
    """A decoder that takes its maps one by one, as ``check_block`` gives them."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *maps: Tensor) -> Tensor:
        return self.decoder(maps)


PARTS = {
    "plain": {"norm": None, "activation": nn.SiLU},
    "gated": {"gate": partial(AttentionGate, norm=None), "gate_finest": True},
}


@each_rank
@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS.keys())
def test_the_block_contract(rank: int, parts: dict[str, Callable[..., nn.Module]]) -> None:
    decoder = UNetDecoder((2, 3), rank=rank, **parts)
    space = {1: (7,), 2: (5, 4), 3: (3, 2, 3)}[rank]
    half = tuple(-(-positions // 2) for positions in space)
    check_block(OnMaps(decoder), torch.randn(2, 2, *space), torch.randn(2, 3, *half))


def test_the_block_contract_unpadded() -> None:
    stage = UNetStage(2, 2, 2, padded=False, gate=AttentionGate)
    check_block(stage, torch.randn(2, 2, 4, 3), torch.randn(2, 2, 9, 7))


@each_rank
def test_bfloat16(rank: int) -> None:
    decoder = UNetDecoder((2, 3, 4), rank=rank, gate=AttentionGate, dtype=torch.bfloat16).eval()
    assert (
        decoder([x.bfloat16() for x in pyramid(2, 3, 4, space=SPACE[rank])]).dtype == torch.bfloat16
    )


def test_device_and_type_reach_every_parameter() -> None:
    decoder = UNetDecoder(
        (3, 4, 5),
        gate=AttentionGate,
        norm=partial(BatchNorm, eps=1e-3),
        device="meta",
        dtype=torch.float64,
    )
    assert {(p.device.type, p.dtype) for p in decoder.parameters()} == {("meta", torch.float64)}


def maps_of(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.ones(shape) for shape in shapes]


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "one map": (lambda: UNetDecoder((3,)), "c_maps must name at least 2 maps, got 1"),
    "widths": (
        lambda: UNetDecoder((3, 4, 5), widths=(3, 4, 5)),
        "widths must be 2, one per map but the coarsest, got 3",
    ),
    "rank": (lambda: UNetDecoder((3, 4), rank=4), "rank must be 1, 2 or 3, got 4"),
    "no channels": (
        lambda: UNetDecoder((0, 4), widths=(2,), norm=None, upsample=UpProjection, rank=1)(
            maps_of((1, 1, 4), (1, 4, 2))
        ),
        "x must have shape (N, 0, L), got (1, 1, 4)",
    ),
    "no width": (
        lambda: UNetDecoder((3, 4), widths=(0,)),
        "c_in and c_out must be at least 1: got 4 and 0",
    ),
    "number of maps": (
        lambda: UNetDecoder((3, 4, 5))(maps_of((1, 3, 8, 8), (1, 4, 4, 4))),
        "maps must be 3, one per size, got 2",
    ),
    "batches": (
        lambda: UNetDecoder((3, 4))(maps_of((2, 3, 8, 8), (1, 4, 4, 4))),
        "maps must have equally many samples, got [2, 1]",
    ),
    "coarsest first": (
        lambda: UNetDecoder((3, 4))(maps_of((1, 4, 4, 4), (1, 3, 8, 8))),
        "x must have shape (N, 3, H, W), got (1, 4, 4, 4)",
    ),
    "coarsest first, of equal channels": (
        lambda: UNetDecoder((3, 3), upsample=UpProjection)(maps_of((1, 3, 4, 4), (1, 3, 8, 8))),
        "maps must stand with the finest first, got sizes (4, 4), (8, 8)",
    ),
    "axes": (
        lambda: UNetDecoder((3, 4))(maps_of((1, 3, 8), (1, 4, 4))),
        "x must have shape (N, 3, H, W), got (1, 3, 8)",
    ),
    "skip": (
        lambda: UNetStage(4, 3, 3)(torch.ones(1, 4, 4, 4), torch.ones(1, 4, 8, 8)),
        "skip must have shape (N, 3, H, W), got (1, 4, 8, 8)",
    ),
    "small skip": (
        lambda: UNetStage(4, 3, 3, padded=False)(torch.ones(1, 4, 5, 5), torch.ones(1, 3, 11, 9)),
        "skip must be at least as large as the enlarged map, (10, 10), got (11, 9)",
    ),
    "channels of a convolution": (
        lambda: DoubleConvolution(3, 4)(torch.ones(1, 2, 5, 5)),
        "x must have shape (N, 3, H, W), got (1, 2, 5, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        call()
