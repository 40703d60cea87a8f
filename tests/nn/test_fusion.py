"""Fusion of maps: equal to torch's own convolutions, sums and concatenations."""

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from blocks import check_block, settled
from cases import CONVS, channels_last
from pointwise.functional.layout import is_channels_last
from pointwise.nn import BatchNorm
from pointwise.nn.fusion import ConcatFusion, GatedFusion, SumFusion

SPACE = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
C_INS = (3, 5, 2)

assert_near = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)


def filled(target: nn.Module, source: nn.Module) -> nn.Module:
    """Torch's layer with the values of ours."""
    pairs = zip(target.state_dict().items(), source.state_dict().values(), strict=True)
    target.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    return target.eval()


def torchs(ours: nn.Module, rank: int, norm: bool) -> nn.Module:
    """A 1x1 convolution of the rank, and a norm, with the weights of a projection."""
    c_out, c_in = ours.conv.weight.shape
    conv = CONVS[rank](c_in, c_out, 1, bias=not norm)
    return filled(nn.Sequential(conv, *([NORMS[rank](c_out)] if norm else [])), ours)


def maps_of(rank: int, c_ins: tuple[int, ...] = C_INS) -> list[Tensor]:
    return [torch.randn(2, c_in, *SPACE[rank]) for c_in in c_ins]


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("norm", [True, False], ids=["norm", "no_norm"])
class TestEachIsTorchs:
    def test_sum(self, rank: int, norm: bool) -> None:
        make_norm = BatchNorm if norm else None
        block = settled(SumFusion(C_INS, 4, norm=make_norm, activation=nn.ReLU))
        maps = maps_of(rank)
        projected = [
            torchs(ours, rank, norm)(x) for ours, x in zip(block.projections, maps, strict=True)
        ]
        assert_near(block(*maps), torch.stack(projected).sum(0).relu())

    def test_concatenation(self, rank: int, norm: bool) -> None:
        make_norm = BatchNorm if norm else None
        block = settled(ConcatFusion(C_INS, 4, norm=make_norm, activation=nn.ReLU))
        maps = maps_of(rank)
        assert_near(block(*maps), torchs(block.projection, rank, norm)(torch.cat(maps, 1)).relu())

    def test_gates(self, rank: int, norm: bool) -> None:
        make_norm = BatchNorm if norm else None
        block = settled(GatedFusion(C_INS, 4, norm=make_norm, activation=nn.ReLU))
        maps = maps_of(rank)
        gate = filled(CONVS[rank](sum(C_INS), len(C_INS), 1), block.gate)
        weights = gate(torch.cat(maps, 1)).softmax(1)
        expected = sum(
            weights[:, number : number + 1] * torchs(ours, rank, norm)(x)
            for number, (ours, x) in enumerate(zip(block.projections, maps, strict=True))
        )
        assert_near(block(*maps), expected.relu())


def test_a_sum_without_projections_is_plain() -> None:
    block, maps = SumFusion((4, 4, 4), 4, project=False), maps_of(2, (4, 4, 4))
    assert not list(block.parameters())
    assert torch.equal(block(*maps), maps[0] + maps[1] + maps[2])


def test_gates_without_projections_weigh_the_maps_themselves() -> None:
    block, maps = GatedFusion((4, 4), 4, project=False), maps_of(2, (4, 4))
    block.gate.weight.data.zero_()
    block.gate.bias.data.copy_(torch.tensor([0.25, 0.75]).log())
    assert_near(block(*maps), 0.25 * maps[0] + 0.75 * maps[1])


def test_a_concatenation_and_a_sum_are_one_matrix() -> None:
    """Side by side the columns of all 1x1s are the 1x1 of all channels."""
    both, apart, maps = ConcatFusion(C_INS, 4), SumFusion(C_INS, 4), maps_of(2)
    weights = torch.cat([projection.conv.weight for projection in apart.projections], 1)
    both.projection.conv.weight.data = weights
    both.projection.conv.bias.data = sum(p.conv.bias for p in apart.projections)
    assert_near(both(*maps), apart(*maps))


FUSIONS = {"sum": SumFusion, "concatenation": ConcatFusion, "gates": GatedFusion}
each_fusion = pytest.mark.parametrize("make", FUSIONS.values(), ids=FUSIONS.keys())


@each_fusion
@pytest.mark.parametrize("shape", [(), (5,), (3, 2), (2, 3, 2), (2, 1, 2, 2)], ids=str)
def test_the_number_of_position_axes_does_not_matter(make: Callable, shape: tuple) -> None:
    block, maps = make(C_INS, 4), [torch.randn(2, c_in, *shape) for c_in in C_INS]
    rows = [x.movedim(1, -1).reshape(-1, x.shape[1]) for x in maps]
    expected = block(*rows).reshape(2, *shape, 4).movedim(-1, 1)
    assert_near(block(*maps), expected)


@each_fusion
@pytest.mark.parametrize("rank", SPACE)
def test_the_first_map_decides_the_memory_order(make: Callable, rank: int) -> None:
    block, (first, *others) = make(C_INS, 4), maps_of(rank)
    found = block(channels_last(first), *others)
    assert is_channels_last(found)
    assert_near(found, block(first, *others))


@each_fusion
def test_one_map_and_an_empty_batch(make: Callable) -> None:
    assert make([3], 4)(torch.ones(0, 3, 5, 5)).shape == (0, 4, 5, 5)


def test_an_exported_block_takes_batches_and_maps_of_other_sizes() -> None:
    anything = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    for block, c_ins in [(make(C_INS, 4), C_INS) for make in FUSIONS.values()]:
        sizes = tuple(torch.randn(2, c_in, 6, 5) for c_in in c_ins)
        program = torch.export.export(block, sizes, dynamic_shapes=((anything,) * len(c_ins),))
        others = tuple(torch.randn(3, c_in, 4, 7) for c_in in c_ins)
        assert_near(program.module()(*others), block(*others))


BLOCKS = {
    f"{name} {rank}": (make, shape)
    for name, make in {
        "sum": partial(SumFusion, norm=BatchNorm),
        "concatenation": partial(ConcatFusion, norm=BatchNorm, activation=nn.SiLU),
        "gates": GatedFusion,
    }.items()
    for rank, shape in {"rows": (), "tokens": (4,), "image": (3, 2), "volume": (2, 3, 2)}.items()
}
BLOCKS["plain sum"] = (partial(SumFusion, project=False), (3, 2))
BLOCKS["plain gates"] = (partial(GatedFusion, project=False), (3, 2))


@pytest.mark.parametrize(("make", "shape"), BLOCKS.values(), ids=BLOCKS.keys())
def test_the_block_contract(make: Callable, shape: tuple[int, ...]) -> None:
    c_ins = (4, 2) if getattr(make, "keywords", {}).get("project", True) else (3, 3)
    check_block(make(c_ins, 3), *(torch.randn(2, c_in, *shape) for c_in in c_ins))


@each_fusion
def test_device_and_type_reach_every_parameter(make: Callable) -> None:
    block = make(C_INS, 4, norm=BatchNorm, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


@each_fusion
def test_bfloat16_is_near_float32(make: Callable) -> None:
    block, maps = make(C_INS, 4), maps_of(2)
    expected = block(*maps)
    found = block.to(torch.bfloat16)(*(x.bfloat16() for x in maps))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


REFUSALS = {
    "no maps": (lambda make: make([], 4), "c_ins must name at least one map, got none"),
    "no channels": (
        lambda make: make([3, 0], 4),
        "c_in, c_out and groups must be at least 1: got 0, 4 and 1",
    ),
    "no output": (
        lambda make: make([3], 0),
        "c_in, c_out and groups must be at least 1: got 3, 0 and 1",
    ),
    "too few": (
        lambda make: make([3, 2], 4)(torch.ones(1, 3)),
        "the number of maps must be 2, got 1",
    ),
    "too many": (
        lambda make: make([3], 4)(torch.ones(1, 3), torch.ones(1, 3)),
        "the number of maps must be 1, got 2",
    ),
    "channels": (
        lambda make: make([3, 2], 4)(torch.ones(1, 3, 5), torch.ones(1, 3, 5)),
        "maps[1] must have shape (N, 2, *S), got (1, 3, 5)",
    ),
    "no axes": (
        lambda make: make([3, 2], 4)(torch.ones(3), torch.ones(2)),
        "maps[0] must have shape (N, 3, *S), got (3,)",
    ),
    "sizes": (
        lambda make: make([3, 2], 4)(torch.ones(1, 3, 5, 4), torch.ones(1, 2, 5, 1)),
        "maps must have equal batches and positions, got shapes (1, 3, 5, 4), (1, 2, 5, 1)",
    ),
    "axes": (
        lambda make: make([3, 2], 4)(torch.ones(1, 3, 5), torch.ones(1, 2, 5, 5)),
        "maps must have equal batches and positions, got shapes (1, 3, 5), (1, 2, 5, 5)",
    ),
    "batches": (
        lambda make: make([3, 2], 4)(torch.ones(2, 3, 5), torch.ones(1, 2, 5)),
        "maps must have equal batches and positions, got shapes (2, 3, 5), (1, 2, 5)",
    ),
}


@each_fusion
@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(make: Callable, call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(make)


@pytest.mark.parametrize("make", [SumFusion, GatedFusion])
def test_without_projections_channels_must_fit(make: Callable) -> None:
    message = "c_ins must all be c_out where nothing is projected: got (4, 8) and 4"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make([4, 8], 4, project=False)
    message = "norm must be None where nothing is projected"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make([4, 4], 4, project=False, norm=BatchNorm)
