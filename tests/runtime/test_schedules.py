"""How chains are cut for a machine, and that what is compiled for another one is right too."""

import itertools
import platform
from dataclasses import replace
from typing import Any

import pytest
import torch
from runtime_chains import chain_of, needs_halide, network

from pointwise.functional import Affine
from pointwise.nn import MLP, LayerNorm
from pointwise.runtime.chain import Activation, Chain, Softmax, Spread, Step
from pointwise.runtime.reference import evaluate
from pointwise.runtime.row_placement import runs_across
from pointwise.runtime.schedules import (
    COPIED_POSITIONS,
    STACK_BYTES,
    Block,
    Machine,
    Schedule,
    choose_schedule,
    is_copied,
    tiles_together,
)
from pointwise.runtime.stages import Layout

AVX2 = "x86-64-linux-avx-avx2-f16c-fma-sse41"
SSE = "x86-64-linux-sse41"


def affine(c_in: int, c_out: int, groups: int = 1) -> Affine:
    return Affine(torch.ones(c_out, c_in // groups), None, groups)


MACHINES = {"wide": Machine(16, 32), "avx2": Machine(8, 16), "arm": Machine(4, 32)}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
@pytest.mark.parametrize("c_out", [1, 2, 3, 7, 10, 16, 64, 100, 127, 256, 1000])
def test_blocks_fit_the_registers(c_out: int, machine: Machine) -> None:
    schedule = choose_schedule([c_out, c_out], machine)
    block = schedule.block(c_out)
    assert block.outputs * block.vectors + block.vectors + 1 < machine.registers
    assert schedule.vectors % block.vectors == 0
    padded = -(-c_out // block.outputs) * block.outputs
    assert padded - c_out <= max(1, c_out // 8)


def test_few_outputs_take_many_vectors() -> None:
    assert Schedule(16, 4, 32).block(1) == Block(1, 4)


@pytest.mark.parametrize(
    ("machine", "widths", "tile"),
    [
        ("wide", [4, 16, 1], 32),
        ("wide", [64, 4096], 32),
        ("avx2", [64, 64], 32),
        ("avx2", [64, 4096], 16),
        ("arm", [64, 64], 16),
    ],
)
def test_wide_layers_take_short_tiles(machine: str, widths: list[int], tile: int) -> None:
    assert choose_schedule(widths, MACHINES[machine]).tile == tile


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
@pytest.mark.parametrize("c_out", [16, 32, 48, 64, 256])
def test_blocks_across_channels_fit_the_registers(c_out: int, machine: Machine) -> None:
    schedule = choose_schedule([c_out, c_out], machine, across=True)
    assert schedule.tile == 16
    block = schedule.block(c_out)
    vectors = block.outputs // machine.lanes
    assert c_out % block.outputs == 0
    assert block.outputs % machine.lanes == 0
    assert vectors * block.vectors + vectors + 1 < machine.registers
    assert schedule.tile % block.vectors == 0


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("channels", [32, 1000])
def test_what_is_copied_fills_the_tiles(lanes: int, channels: int) -> None:
    schedule = choose_schedule([channels, 64], Machine(lanes, 32))
    assert schedule.tile * tiles_together(channels, schedule.tile, rows=False) <= COPIED_POSITIONS


@pytest.mark.parametrize(
    ("channels", "positions", "apart", "expected"),
    [
        (47, 10_000, 40_000, False),
        (48, 10_000, 40_000, True),
        (23, 10_240, 40_960, False),
        (24, 10_240, 40_960, True),
        (160, 256, 4096, True),
        (160, 255, 4096, False),
    ],
)
def test_wide_planar_memory_is_copied_first(
    channels: int, positions: int, apart: int, expected: bool
) -> None:
    assert is_copied(channels, positions, apart) is expected


@pytest.mark.parametrize("channels", [1, 64, 200, 256, 1000, 16_384])
def test_what_is_copied_fits_the_stack(channels: int) -> None:
    tiles = tiles_together(channels, 32, rows=False)
    assert tiles == 1 or 4 * channels * 32 * tiles < STACK_BYTES


def layout(**changes: Any) -> Layout:
    return replace(Layout("float32", True, True, False, True), **changes)


ACROSS: dict[str, tuple[list[Step], Layout, bool]] = {
    "one": ([affine(5, 32)], layout(), True),
    "two": ([affine(5, 32), Activation("relu"), affine(32, 16)], layout(), True),
    "odd": ([affine(5, 32), Activation("relu"), affine(32, 10)], layout(), False),
    "first_on_values": ([Activation("relu"), affine(5, 32)], layout(), False),
    "softmax": ([affine(5, 32), Softmax()], layout(), False),
    "groups": ([affine(5, 32), affine(32, 32, 2)], layout(), False),
    "nothing": ([], layout(), False),
    "gaps": ([affine(5, 32)], layout(dense=False), False),
    "planar": ([affine(5, 32)], layout(rows_in=False, rows_out=False, dense=False), False),
    "to_planar": ([affine(5, 32)], layout(rows_out=False), False),
    "integers": ([affine(5, 32)], layout(dtype="uint8"), False),
}


@pytest.mark.parametrize("name", ACROSS)
def test_rows_that_fill_vectors_are_not_turned(name: str) -> None:
    steps, lies, expected = ACROSS[name]
    assert runs_across(Chain(5, steps), lies, MACHINES["wide"]) is expected


@needs_halide
@pytest.mark.parametrize(
    ("target", "machine"),
    [
        (AVX2, Machine(8, 16)),
        (SSE, Machine(4, 16)),
        ("x86-64-linux-avx-avx2-avx512-avx512_skylake-f16c-fma-sse41", Machine(16, 32)),
        ("arm-64-linux", Machine(4, 32)),
        ("arm-64-osx", Machine(4, 32)),
    ],
)
def test_vectors_and_registers_come_from_the_target(target: str, machine: Machine) -> None:
    import halide as hl

    assert Machine.of(hl.Target(target)) == machine


CHAINS = {
    "plain": lambda: chain_of(network(5, 33, 17, 10, activation=torch.nn.GELU)),
    "filling": lambda: chain_of(network(5, 32, 80, 16, activation=torch.nn.GELU)),
    "members": lambda: chain_of(MLP([5, 20, 3], members=3, norm=LayerNorm)).then(
        Softmax(3), Spread(3)
    ),
}


@needs_halide
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="targets x86")
@pytest.mark.parametrize("target", [AVX2, SSE], ids=["avx2", "sse"])
@pytest.mark.parametrize("name", CHAINS)
def test_other_targets_are_right(name: str, target: str) -> None:
    from pointwise.runtime.fused import Fused

    chain = CHAINS[name]()
    fused = Fused(chain, target=target)
    rows = torch.randn(1001, 5)
    expected = evaluate(chain, rows).float()
    for x, out in itertools.product(
        (rows, rows.T.contiguous().T),
        (torch.empty(1001, chain.c_out), torch.empty(chain.c_out, 1001).T),
    ):
        fused.run(x.T[None], out.fill_(torch.nan).T[None])
        torch.testing.assert_close(out, expected, atol=2e-6, rtol=2e-6)
