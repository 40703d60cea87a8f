"""InvertedResidual: torch's own convolutions and norms, added to the input where shapes allow."""

import re
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS
from pointwise.nn import LayerNorm
from pointwise.nn.gates import SqueezeExcite
from pointwise.nn.inverted_residual import InvertedResidual

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}


def reference(block: nn.Module, rank: int, c_in: int, c_mid: int, stride: int) -> nn.Sequential:
    """The block without its sum, of torch's layers, with its weights."""
    make, norm = CONVS[rank], NORMS[rank]
    c_out, kernel = len(block.project.conv.weight), block.depthwise.conv.kernel_size[0]
    widen = [make(c_in, c_mid, 1, bias=False), norm(c_mid), nn.ReLU6()]
    layers = nn.Sequential(
        *(widen if c_mid != c_in else []),
        make(c_mid, c_mid, kernel, stride, kernel // 2, groups=c_mid, bias=False),
        norm(c_mid),
        nn.ReLU6(),
        make(c_mid, c_out, 1, bias=False),
        norm(c_out),
    )
    pairs = zip(layers.state_dict().items(), block.state_dict().values(), strict=True)
    layers.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return layers.eval()


CASES = {
    "residual": (4, {}, 24, True),
    "other channels": (6, {}, 24, False),
    "stride": (4, {"stride": 2}, 24, False),
    "expansion 1": (4, {"expansion": 1}, 4, True),
    "expansion of a part": (4, {"expansion": 1.4, "kernel": 5}, 6, True),
}


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize(("c_out", "options", "c_mid", "added"), CASES.values(), ids=CASES.keys())
def test_it_is_torchs_layers(
    c_out: int, options: dict[str, float], c_mid: int, added: bool, rank: int
) -> None:
    block = settled(InvertedResidual(4, c_out, rank=rank, **options))
    x = torch.randn(2, 4, *SPACE[rank])
    y = reference(block, rank, 4, c_mid, int(options.get("stride", 1)))(x)
    assert block.residual == added
    torch.testing.assert_close(block(x), x + y if added else y, rtol=1e-4, atol=1e-5)


def test_the_gate_stands_between_the_depthwise_and_the_last() -> None:
    block = settled(InvertedResidual(4, 6, expansion=3, gate=partial(SqueezeExcite, c_mid=2)))
    x = torch.randn(2, 4, 5, 5)
    inside = block.depthwise(block.expand(x))
    assert block.gate.channels == 12
    torch.testing.assert_close(block(x), block.project(block.gate(inside)))
    assert not torch.allclose(block(x), block.project(inside))


def test_without_norms_there_are_biases() -> None:
    names = [name for name, _ in InvertedResidual(4, 4, norm=None).named_parameters()]
    parts = ("expand", "depthwise", "project")
    assert names == [f"{part}.conv.{kind}" for part in parts for kind in ("weight", "bias")]


def test_it_prints_whether_the_input_is_added() -> None:
    assert repr(InvertedResidual(4, 4)).startswith("InvertedResidual(\n  residual=True")
    assert repr(InvertedResidual(4, 6)).startswith("InvertedResidual(\n  residual=False")


make_smooth = partial(InvertedResidual, expansion=2, activation=nn.SiLU)

BLOCKS = {
    "tokens": (lambda: make_smooth(3, 3, rank=1, norm=LayerNorm), (2, 3, 7)),
    "image": (lambda: make_smooth(3, 4, stride=2), (2, 3, 5, 4)),
    "gate": (lambda: make_smooth(3, 3, gate=partial(SqueezeExcite, c_mid=2)), (2, 3, 5, 4)),
    "expansion 1": (lambda: InvertedResidual(3, 3, expansion=1, norm=None), (2, 3, 4, 3)),
    "volume": (lambda: make_smooth(2, 2, rank=3), (2, 2, 3, 4, 3)),
}


@pytest.mark.parametrize(("make", "shape"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(make: type, shape: tuple[int, ...]) -> None:
    check_block(make(), torch.randn(shape))


def test_device_and_type_reach_every_parameter() -> None:
    block = InvertedResidual(3, 4, gate=LayerNorm, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


REFUSALS = {
    "expansion": (
        lambda: InvertedResidual(4, 4, expansion=0.5),
        "expansion must be finite and at least 1, got 0.5",
    ),
    "infinite expansion": (
        lambda: InvertedResidual(4, 4, expansion=float("inf")),
        "expansion must be finite and at least 1, got inf",
    ),
    "size": (
        lambda: InvertedResidual(4, 0),
        "c_in, c_out and groups must be at least 1: got 24, 0 and 1",
    ),
    "rank": (lambda: InvertedResidual(4, 4, rank=4), "rank must be 1, 2 or 3, got 4"),
    "even kernel": (
        lambda: InvertedResidual(4, 4, kernel=2),
        "kernel must be odd where no padding is given, got 2",
    ),
    "channels": (
        lambda: InvertedResidual(4, 4)(torch.ones(1, 3, 5, 5)),
        "x must have shape (N, 4, H, W), got (1, 3, 5, 5)",
    ),
    "axes": (
        lambda: InvertedResidual(4, 4, rank=3)(torch.ones(1, 4, 5, 5)),
        "x must have shape (N, 4, D, H, W), got (1, 4, 5, 5)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: type[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
