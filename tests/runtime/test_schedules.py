"""How chains are cut for a machine, and that what is compiled for another one is right too."""

import platform

import pytest
import torch
from runtime_chains import needs_halide, network

from pointwise.nn import MLP, LayerNorm
from pointwise.runtime.chain import Chain, Softmax, Spread
from pointwise.runtime.lowering import read_chain
from pointwise.runtime.reference import evaluate
from pointwise.runtime.schedules import Block, Machine, Schedule, choose_schedule

AVX2 = "x86-64-linux-avx-avx2-f16c-fma-sse41"
SSE = "x86-64-linux-sse41"

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


def test_wide_layers_take_short_tiles() -> None:
    machine = MACHINES["wide"]
    assert choose_schedule([64, 64], machine).tile == 64
    assert choose_schedule([64, 4096], machine).tile == 32


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


def chain_of(net: torch.nn.Module) -> Chain:
    chain = read_chain(net.eval())
    assert isinstance(chain, Chain)
    return chain


CHAINS = {
    "plain": lambda: chain_of(network(5, 33, 17, 10, activation=torch.nn.GELU)),
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
    for x in (rows, rows.T.contiguous().T):
        out = torch.empty(1001, chain.c_out)
        fused.run(x.T[None], out.T[None])
        torch.testing.assert_close(out, expected, atol=2e-6, rtol=2e-6)
