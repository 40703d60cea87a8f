"""Bottleneck: torch's own convolutions and norms, summed with the shortcut."""

import re
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn import LayerNorm
from pointwise.nn.bottleneck import Bottleneck
from pointwise.nn.gates import SqueezeExcite

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}


class Reference(nn.Module):
    """The block of torch's layers, in the order of our state dict."""

    def __init__(
        self, sizes: tuple[int, int, int], rank: int, strides: tuple[int, int], **conv: int
    ) -> None:
        super().__init__()
        (c_in, c_mid, c_out), make, norm = sizes, CONVS[rank], NORMS[rank]
        self.inside = nn.Sequential(
            make(c_in, c_mid, 1, strides[0], bias=False),
            norm(c_mid),
            make(c_mid, c_mid, 3, strides[1], bias=False, padding=conv.get("dilation", 1), **conv),
            norm(c_mid),
            make(c_mid, c_out, 1, bias=False),
            norm(c_out),
        )
        self.inside.insert(2, nn.SiLU())
        self.inside.insert(5, nn.SiLU())
        self.shortcut = nn.Sequential()
        if c_in != c_out or strides != (1, 1):
            self.shortcut.append(make(c_in, c_out, 1, max(strides), bias=False))
            self.shortcut.append(norm(c_out))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.inside(x) + self.shortcut(x))


def with_weights_of(block: nn.Module, reference: nn.Module) -> nn.Module:
    pairs = zip(reference.state_dict().items(), block.state_dict().values(), strict=True)
    reference.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return reference.eval()


CASES = {
    "same shape": ((8, 4, 8), {}, (1, 1)),
    "wider": ((6, 4, 8), {}, (1, 1)),
    "stride on the kernel": ((8, 4, 8), {"stride": 2}, (1, 2)),
    "stride on the reduce": ((6, 4, 8), {"stride": 2, "stride_on": "reduce"}, (2, 1)),
    "stride of three": ((6, 4, 8), {"stride": 3}, (1, 3)),
    "groups": ((8, 4, 8), {"groups": 2}, (1, 1)),
    "dilation": ((8, 4, 8), {"dilation": 2}, (1, 1)),
    "all": ((6, 4, 8), {"stride": 2, "groups": 4, "dilation": 2}, (1, 2)),
}


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize(("sizes", "options", "strides"), CASES.values(), ids=CASES.keys())
def test_a_bottleneck_is_torchs_layers(
    sizes: tuple[int, int, int], options: dict[str, int], strides: tuple[int, int], rank: int
) -> None:
    block = settled(Bottleneck(*sizes, rank=rank, activation=nn.SiLU, **options))
    conv = {name: options[name] for name in ("groups", "dilation") if name in options}
    reference = with_weights_of(block, Reference(sizes, rank, strides, **conv))
    x = torch.randn(2, sizes[0], *SPACE[rank])
    torch.testing.assert_close(block(x), reference(x), rtol=1e-4, atol=1e-5)


def test_a_wider_kernel_keeps_the_size() -> None:
    block = Bottleneck(4, 2, 4, kernel=(7, 1))
    assert block.conv.conv.weight.shape == (2, 2, 7, 1)
    assert block(torch.ones(1, 4, 5, 6)).shape == (1, 4, 5, 6)


def test_the_gate_weighs_what_is_added() -> None:
    gate = partial(SqueezeExcite, c_mid=2)
    block, plain = settled(Bottleneck(8, 4, 8, gate=gate)), Bottleneck(8, 4, 8).eval()
    plain.load_state_dict({k: v for k, v in block.state_dict().items() if k[:5] != "gate."})
    x = torch.randn(2, 8, 5, 5)
    added = plain.expand(plain.conv(plain.reduce(x)))
    torch.testing.assert_close(block(x), (x + block.gate(added)).relu())
    assert not torch.allclose(block(x), plain(x))


def test_without_norms_there_are_biases() -> None:
    names = [name for name, _ in Bottleneck(6, 4, 8, norm=None).named_parameters()]
    parts = ("reduce", "conv", "expand", "shortcut")
    assert names == [f"{part}.conv.{kind}" for part in parts for kind in ("weight", "bias")]


BLOCKS = {
    "tokens": (lambda: Bottleneck(4, 2, 4, rank=1, activation=nn.SiLU), (2, 4, 7)),
    "image": (lambda: Bottleneck(3, 4, 6, groups=2, stride=2, activation=nn.GELU), (2, 3, 5, 4)),
    "paper": (lambda: Bottleneck(3, 2, 4, stride=2, stride_on="reduce", norm=None), (2, 3, 5, 4)),
    "gate": (lambda: Bottleneck(4, 2, 4, gate=LayerNorm), (2, 4, 4, 3)),
    "volume": (lambda: Bottleneck(3, 2, 4, rank=3, stride=2, activation=nn.SiLU), (2, 3, 3, 4, 3)),
}


@pytest.mark.parametrize(("make", "shape"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(make: type, shape: tuple[int, ...]) -> None:
    check_block(make(), torch.randn(shape))


@pytest.mark.parametrize("stride_on", ["kernel", "reduce"])
def test_bfloat16_and_empty_batches(stride_on: str) -> None:
    block = settled(Bottleneck(4, 2, 6, stride=2, stride_on=stride_on, dtype=torch.bfloat16))
    y = block(torch.randn(2, 4, 5, 5, dtype=torch.bfloat16))
    assert (y.shape, y.dtype) == ((2, 6, 3, 3), torch.bfloat16)
    assert block(torch.ones(0, 4, 5, 5, dtype=torch.bfloat16)).shape == (0, 6, 3, 3)


def test_device_and_type_reach_every_parameter() -> None:
    block = Bottleneck(3, 2, 4, gate=LayerNorm, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


REFUSALS = {
    "groups": (
        lambda: Bottleneck(6, 4, 6, groups=3),
        "groups must divide c_in and c_out: got 3, 4 and 4",
    ),
    "size": (
        lambda: Bottleneck(6, 0, 6),
        "c_in, c_out and groups must be at least 1: got 6, 0 and 1",
    ),
    "stride": (lambda: Bottleneck(6, 4, 6, stride=0), "stride must be at least 1, got 0"),
    "stride_on": (
        lambda: Bottleneck(6, 4, 6, stride_on="expand"),
        "stride_on must be 'kernel' or 'reduce', got 'expand'",
    ),
    "rank": (lambda: Bottleneck(6, 4, 6, rank=4), "rank must be 1, 2 or 3, got 4"),
    "even kernel": (
        lambda: Bottleneck(6, 4, 6, kernel=2),
        "kernel must be odd where no padding is given, got 2",
    ),
    "channels": (
        lambda: Bottleneck(6, 4, 6)(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 6, H, W), got (1, 3, 5, 5)",
    ),
    "axes": (
        lambda: Bottleneck(6, 4, 6)(torch.ones(1, 6, 5)),
        "x must have shape (N, 6, H, W), got (1, 6, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: type[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
