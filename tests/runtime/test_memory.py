"""Members with mean and spread take the memory of input and output, however many there are."""

import re
import sys
from pathlib import Path

import pytest
import torch
from runtime_chains import chain_of, each_engine

from pointwise.nn import MLP
from pointwise.runtime.chain import Chain, Spread
from pointwise.runtime.compiled import CompiledChain, Engine

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

MIB = 1 << 20

POSITIONS = 1 << 17


def peak_bytes() -> int:
    """The most memory that this process held since the peak was cleared."""
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    assert found is not None
    return int(found[1]) * 1024


def growth(run: CompiledChain, positions: int) -> int:
    """By how many bytes memory grows in a call that is given its output."""
    x = torch.zeros(1, run.chain.c_in, positions)
    out = torch.zeros(1, run.chain.c_out, positions)
    run(x[:, :, :5000])  # compile, and make buffers
    CLEAR.write_text("5")
    before = peak_bytes()
    run(x, out=out)
    return peak_bytes() - before


def ensemble(members: int) -> Chain:
    return chain_of(MLP([12, 64, 64, 1], members=members)).then(Spread(members))


@each_engine
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("members", [2, 16])
def test_members_are_never_written_to_memory(members: int, engine: Engine) -> None:
    if not CLEAR.exists():
        pytest.skip("this system does not clear peaks")
    hidden = 4 * 64 * members * POSITIONS
    grown = growth(CompiledChain(ensemble(members), engine=engine), POSITIONS)
    assert grown < min(hidden / 2, 24 * MIB)
