"""What is timed against what, on which inputs, and what the figures are; never how fast."""

import json
import sys
from collections.abc import Callable, Mapping

import pytest
import torch
from runtime_chains import needs_halide, network
from torch import Tensor, nn

from pointwise.inspection.timing import Speedup
from pointwise.nn import MLP, CategoryEncoder, ChannelScale, NumberEncoder, TableNetwork
from pointwise.runtime.bench import (
    Bench,
    Cut,
    bench,
    cut_rows,
    find_contenders,
    time_contenders,
)
from pointwise.runtime.bench_inputs import draw_input, largest_bytes

Taken = dict[str, list[float]]


def timer_of(**seconds: list[float]) -> Callable[..., Taken]:
    """A timer that says so much of each call, which it calls once."""

    def timer(calls: Mapping[str, Callable[[], object]], **_: float) -> Taken:
        for call in calls.values():
            call()
        return {name: seconds[name] for name in calls}

    return timer


def timer_by_rows(row_seconds: float) -> Callable[..., Taken]:
    """A timer that says so much for each row that PyTorch gives."""

    def timer(calls: Mapping[str, Callable[[], Tensor]], *, seconds: float) -> Taken:
        rows = len(calls["PyTorch"]())
        return {name: [rows * row_seconds] * 15 for name in calls}

    return timer


def mixed() -> nn.Sequential:
    """A convolution, and a chain behind it."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)
    ).eval()


def table_network() -> TableNetwork:
    """Two numbers far from one another, and categories of two and three levels."""
    numbers = NumberEncoder([5.0, -1000.0], [0.1, 10.0], [False, False], [[], []])
    categories = CategoryEncoder([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5, 0.0]])
    mlp = MLP([numbers.c_out + categories.c_out, 8, 1])
    return TableNetwork(numbers, categories, mlp, ChannelScale([1.0], [0.0])).eval()


@pytest.fixture
def no_halide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "halide", None)


# --- Contenders ---


@needs_halide
def test_a_chain_runs_three_ways_that_agree():
    model, x = network(5, 16, 3), torch.randn(40, 5)
    ways = find_contenders(model, x)
    assert (list(ways.calls), ways.missing) == (["PyTorch", "chunks", "fused"], "")
    for call in ways.calls.values():
        torch.testing.assert_close(call(x), model(x).detach(), rtol=1e-5, atol=1e-5)
    assert not ways.calls["PyTorch"](x).requires_grad
    assert set(ways.differences) == {"chunks", "fused"}
    assert ways.differences["fused"] == ways.compiled.largest_difference < 1e-5
    assert [part.engine for part in ways.compiled.parts] == ["fused"]


@needs_halide
def test_the_chains_of_a_larger_network_are_timed_within_it():
    model, x = mixed(), torch.randn(1, 3, 9, 9)
    ways = find_contenders(model, x)
    assert [part.engine for part in ways.compiled.parts] == ["PyTorch", "fused"]
    for call in ways.calls.values():
        torch.testing.assert_close(call(x), model(x).detach(), rtol=1e-5, atol=1e-5)


def test_without_halide_chunks_run_and_nobody_warns(no_halide):
    ways = find_contenders(network(5, 16, 3), torch.randn(40, 5))
    assert list(ways.calls) == ["PyTorch", "chunks"]
    assert ways.missing == "halide is not installed: pip install 'pointwise[fast]'"
    assert [str(part) for part in ways.compiled.parts] == ["network: 5 -> 16 relu -> 3: chunks"]


@needs_halide
def test_a_chain_that_the_fused_engine_refuses_says_why():
    ways = find_contenders(network(5, 16, 3).double(), torch.randn(40, 5).double())
    assert (list(ways.calls), ways.missing) == (["PyTorch", "chunks"], "computes in float64")


def test_a_network_without_chains_is_timed_through_pytorch_alone():
    ways = find_contenders(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval(), torch.randn(1, 3, 9, 9)
    )
    assert list(ways.calls) == ["PyTorch"]
    assert ways.missing == "no chain of pointwise maps was found in it"
    assert dict(ways.differences) == {}


# --- Figures ---


def test_figures_are_medians_and_ratios_within_a_round(no_halide):
    ways = find_contenders(network(5, 16, 3), torch.randn(40, 5))
    timer = timer_of(PyTorch=[2.0, 6.0] * 10, chunks=[1.0, 3.0] * 10)
    race = time_contenders(ways, torch.randn(2, 5), timer=timer)
    assert (race.shape, race.positions) == ((2, 5), 2)
    plain, chunks = race.runs
    assert (plain.name, plain.seconds, plain.speedup) == ("PyTorch", 4.0, None)
    assert (chunks.name, chunks.seconds) == ("chunks", 2.0)
    assert chunks.speedup == Speedup(2.0, 2.0, 2.0, 20)


def test_positions_are_everything_but_the_channels(no_halide):
    timer = timer_of(PyTorch=[0.5] * 15, chunks=[0.25] * 15)
    found = bench(mixed(), (3, 10, 20), timer=timer)
    assert (found.races[0].shape, found.races[0].positions) == ((1, 3, 10, 20), 200)
    told = json.loads(json.dumps(found.to_dict()))
    assert told["inputs"][0]["runs"][1] == {
        "name": "chunks",
        "seconds": 0.25,
        "positions_per_s": 800.0,
        "speedup": {"ratio": 2.0, "low": 2.0, "high": 2.0, "rounds": 15},
    }
    assert told["inputs"][0]["runs"][0]["speedup"] is None
    assert [part["engine"] for part in told["parts"]] == ["PyTorch", "chunks"]
    assert (told["cut"], told["threads"]) == (None, torch.get_num_threads())
    assert told["missing"].startswith("halide is not installed")
    assert "\n1: 8 relu -> 8 relu -> 2: chunks\nlargest difference: " in found.description


def test_positions_are_counted_where_the_network_has_its_channels(no_halide):
    timer = timer_of(PyTorch=[1.0] * 15, chunks=[1.0] * 15)
    assert bench(network(5, 16, 3), (50, 5), timer=timer).races[0].positions == 50


# --- Rows ---


def rows_of(found: Bench) -> list[int]:
    return [race.positions for race in found.races]


ROWS = {
    "all": (1e-9, [1, 1_000, 1_000_000], None),
    "fewer": (1e-6, [1, 1_000, 100_000], Cut(1_000_000, 100_000, "time")),
    "as_few_as_were": (1.0, [1, 1_000], Cut(1_000_000, 1_000, "time")),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_are_as_many_as_the_time_allows(case, no_halide):
    row_seconds, rows, cut = ROWS[case]
    found = bench(network(2, 2, 1), (2,), seconds=1.0, timer=timer_by_rows(row_seconds))
    assert rows_of(found) == rows
    assert found.cut == cut
    assert found.to_dict()["cut"] == (cut and {**vars(cut)})


CUTS = {
    "fits": ((1e-9, 16.0, 1.0), None),
    "time": ((1e-6, 16.0, 1.0), Cut(1_000_000, 100_000, "time")),
    "more_seconds": ((1e-6, 16.0, 2.0), None),
    "memory": ((1e-9, 16384.0, 1.0), Cut(1_000_000, 10_000, "memory")),
    "both": ((1e-6, 16384.0, 1.0), Cut(1_000_000, 10_000, "memory")),
    "no_time": ((1e-6, 16.0, 0.0), Cut(1_000_000, 1_000, "time")),
}


@pytest.mark.parametrize("case", CUTS)
def test_too_many_rows_are_cut_by_time_or_memory(case):
    (row_seconds, row_bytes, seconds), expected = CUTS[case]
    found = cut_rows(1_000_000, row_seconds=row_seconds, row_bytes=row_bytes, seconds=seconds)
    assert found == expected


# --- Inputs ---


def test_rows_of_a_table_are_like_its_rows():
    model = table_network()
    x = draw_input(model, (4,), batch=2000)
    torch.testing.assert_close(x.mean(0)[:2], torch.tensor([5.0, -1000.0]), rtol=0, atol=1.0)
    torch.testing.assert_close(x.std(0)[:2], torch.tensor([0.1, 10.0]), rtol=0.1, atol=0)
    assert [set(x[:, i].tolist()) for i in (2, 3)] == [{0.0, 1.0}, {0.0, 1.0, 2.0}]
    assert torch.equal(x, draw_input(model, (4,), batch=2000))
    assert draw_input(model, (4, 3, 5), batch=2).shape == (2, 4, 3, 5)


def test_a_table_is_timed_on_its_rows(no_halide):
    found = bench(table_network(), (4,), seconds=0.0, timer=timer_by_rows(1e-3))
    assert rows_of(found) == [1, 1_000]
    assert [part.engine for part in found.parts] == ["chunks"]


def test_the_largest_tensor_counts():
    assert largest_bytes(network(5, 16, 3), torch.randn(10, 5)) == 10 * 16 * 4
    assert largest_bytes(network(50, 8, 3), torch.randn(10, 50)) == 10 * 50 * 4


# --- Threads, and what is refused ---


def test_threads_are_those_asked_for_and_then_as_before(no_halide):
    before, seen = torch.get_num_threads(), []

    def timer(calls: Mapping[str, object], *, seconds: float) -> Taken:
        seen.append(torch.get_num_threads())
        return {name: [1.0] * 15 for name in calls}

    found = bench(mixed(), (3, 9, 9), threads=before + 1, timer=timer)
    assert (seen, found.threads) == ([before + 1], before + 1)
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="cannot take"):
        bench(mixed(), (4, 9, 9), threads=before + 1, timer=timer)
    assert torch.get_num_threads() == before


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


REFUSALS = {
    "shape": (mixed, (4, 9, 9), r"^Sequential cannot take x of shape \(1, 4, 9, 9\): Given groups"),
    "columns": (table_network, (1,), r"^TableNetwork cannot take x of shape \(1000, 1\): "),
    "outputs": (Pair, (3, 2), r"^Pair must give one tensor, it gives a tuple$"),
    "device": (
        lambda: nn.Linear(2, 1, device="meta"),
        (2,),
        r"^the network must be on the CPU, it is on meta$",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_timed_is_refused(case):
    make, shape, message = REFUSALS[case]
    with pytest.raises(ValueError, match=message):
        bench(make(), shape)


def test_the_network_is_left_as_it_was(no_halide):
    model = mixed()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bench(model, (3, 9, 9), timer=timer_of(PyTorch=[1.0] * 15, chunks=[1.0] * 15))
    assert [type(module) for module in model] == [type(module) for module in mixed()]
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
