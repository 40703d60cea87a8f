"""How fast is ``pointwise`` against every other way to write a 1x1 convolution in PyTorch?

For each case, every spelling does the same job (same numbers, same memory order out as in), all of
them take turns in one run, and the table shows ``pointwise`` over the fastest of the others, by the
fastest and by the middle round. Run it on a quiet machine:

    python benchmarks/spellings.py [--quick] [--only TEXT] [--all] [--threads 2]
"""

import argparse
import gc
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional import pointwise
from pointwise.inspection.timing import take_turns
from pointwise.nn import MLP

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
OURS = "pointwise"

Call = Callable[[], Tensor]
Spelling = Callable[[Tensor, Tensor, Tensor, int], Tensor]


# --- Spellings: (x, weight, bias, groups) to y, in the memory order of x ---


def keep_order(y: Tensor, x: Tensor) -> Tensor:
    if x.ndim == 2 or x.is_contiguous():
        return y.contiguous()
    return y.movedim(1, -1).contiguous().movedim(-1, 1)


def linear(x: Tensor, weight: Tensor, bias: Tensor, _groups: int) -> Tensor:
    return keep_order(F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1), x)


def conv(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    kernel = (1,) * max(x.ndim - 2, 1)
    w = weight.reshape(*weight.shape, *kernel)
    if x.ndim == 2:
        return F.conv1d(x[..., None], w, bias, groups=groups)[..., 0]
    return keep_order(CONV[x.ndim - 2](x, w, bias, groups=groups), x)


def flat_conv(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    y = F.conv1d(x.flatten(2), weight[..., None], bias, groups=groups)
    return keep_order(y.unflatten(2, x.shape[2:]), x)


def matmul(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    n, _, *space = x.shape
    w = weight.unflatten(0, (groups, -1))
    y = (w @ x.reshape(n, groups, w.shape[2], -1)).reshape(n, -1, *space)
    return keep_order(y + bias.reshape(-1, *(1,) * len(space)), x)


def einsum(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    n, _, *space = x.shape
    w = weight.unflatten(0, (groups, -1))
    y = torch.einsum("goc,ngcl->ngol", w, x.reshape(n, groups, w.shape[2], -1))
    y = y.reshape(n, -1, *space) + bias.reshape(-1, *(1,) * len(space))
    return keep_order(y, x)


def baddbmm_samples(x: Tensor, weight: Tensor, bias: Tensor, _groups: int) -> Tensor:
    """One product per sample, the weights expanded."""
    w = weight.expand(len(x), -1, -1)
    return keep_order(torch.baddbmm(bias[:, None], w, x.flatten(2)).unflatten(2, x.shape[2:]), x)


def addmm(x: Tensor, weight: Tensor, bias: Tensor, _groups: int) -> Tensor:
    return torch.addmm(bias[:, None], weight, x[0].flatten(1)).reshape(1, -1, *x.shape[2:])


def baddbmm_rows(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """One product per group on rows (G, P, C / G)."""
    rows = x.movedim(1, -1)
    split = rows.reshape(-1, groups, weight.shape[1]).transpose(0, 1)
    w = weight.unflatten(0, (groups, -1)).transpose(1, 2)
    y = torch.baddbmm(bias.reshape(groups, 1, -1), split, w)
    return keep_order(y.transpose(0, 1).reshape(*rows.shape[:-1], -1).movedim(-1, 1), x)


def baddbmm_columns(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """One product per group on columns (G, C / G, P)."""
    columns = x.movedim(1, 0).reshape(groups, weight.shape[1], -1)
    w = weight.unflatten(0, (groups, -1))
    y = torch.baddbmm(bias.reshape(groups, -1, 1), w, columns)
    return keep_order(y.reshape(-1, len(x), *x.shape[2:]).movedim(0, 1), x)


def linear_loop(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """One ``F.linear`` per group, concatenated."""
    rows = x.movedim(1, -1).chunk(groups, -1)
    parts = zip(rows, weight.chunk(groups), bias.chunk(groups), strict=True)
    return keep_order(torch.cat([F.linear(*part) for part in parts], -1).movedim(-1, 1), x)


def spellings(x: Tensor, groups: int) -> dict[str, Spelling]:
    """The spellings that make sense for this input."""
    found: dict[str, Spelling] = {OURS: pointwise, "conv": conv, "einsum": einsum}
    if x.ndim > 3:
        found["flat_conv"] = flat_conv
    if x.ndim > 2:
        found["matmul"] = matmul  # on rows it copies the weights for each: 20 times slower
    if groups > 1:
        found |= {"baddbmm_rows": baddbmm_rows, "baddbmm_columns": baddbmm_columns}
        if groups <= 16:
            found["linear_loop"] = linear_loop
        return found
    found["linear"] = linear
    if x.ndim > 2:
        found["baddbmm_samples"] = baddbmm_samples
    if x.ndim > 2 and len(x) == 1 and x.is_contiguous():
        found["addmm"] = addmm
    return found


# --- Networks of members: the whole forward and backward ---


class HandWritten(nn.Module):
    """Members in memory order (M, N, C), weights as (M, C_in, C_out): what one writes by hand."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        m = self.members = mlp.members
        layers = [(p.weight.detach(), p.bias.detach()) for p in mlp.layers]
        self.weights = nn.ParameterList(
            w.unflatten(0, (m, -1)).transpose(1, 2).contiguous() for w, _ in layers
        )
        self.biases = nn.ParameterList(b.reshape(m, 1, -1).clone() for _, b in layers)

    def forward(self, x: Tensor) -> Tensor:
        h = x.expand(self.members, -1, -1)
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(b, F.relu(h) if i else h, w)
        return h.transpose(0, 1).flatten(1)


class Separate(nn.Module):
    """M networks of ``nn.Linear``, one after the other."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        members = [mlp.member(i) for i in range(mlp.members)]
        self.networks = nn.ModuleList(
            nn.Sequential(*(m for p in alone.layers for m in (p.to_linear(), nn.ReLU())))[:-1]
            for alone in members
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([network(x) for network in self.networks], 1)


class GroupedConv(nn.Module):
    """The same grouped network of ``nn.Conv1d`` on rows of one position."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        layers = [m for p in mlp.layers for m in (p.to_conv(1), nn.ReLU())]
        self.network = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x[..., None])[..., 0]
        return out


# --- Cases ---


@dataclass(frozen=True)
class Case:
    """One layer on one input."""

    name: str
    shape: tuple[int, ...]
    c_out: int
    groups: int = 1
    channels_last: bool = False

    def calls(self) -> tuple[dict[str, Call], list[Tensor]]:
        """Every spelling, ready to be called, and the tensors that training differentiates."""
        torch.manual_seed(0)
        x = torch.randn(self.shape)
        if self.channels_last:
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        x.requires_grad_()
        weight = torch.randn(self.c_out, self.shape[1] // self.groups, requires_grad=True)
        bias = torch.randn(self.c_out, requires_grad=True)

        def bind(spelling: Spelling) -> Call:
            return lambda: spelling(x, weight, bias, self.groups)

        named = spellings(x, self.groups)
        return {name: bind(s) for name, s in named.items()}, [x, weight, bias]


@dataclass(frozen=True)
class Members:
    """One network of members on rows."""

    name: str
    rows: int
    channels: tuple[int, ...]
    members: int

    def calls(self) -> tuple[dict[str, Call], list[Tensor]]:
        """Every spelling, ready to be called, and the tensors that training differentiates."""
        torch.manual_seed(0)
        x, mlp = torch.randn(self.rows, self.channels[0]), MLP(self.channels, members=self.members)
        networks: dict[str, nn.Module] = {
            OURS: mlp,
            "hand_written": HandWritten(mlp),
            "separate": Separate(mlp),
            "grouped_conv": GroupedConv(mlp),
        }

        def bind(network: nn.Module) -> Call:
            return lambda: network(x)

        parameters = [p for network in networks.values() for p in network.parameters()]
        return {name: bind(network) for name, network in networks.items()}, parameters


CASES: list[Case | Members] = [
    Case("rows small", (32, 16), 16),
    Case("rows", (256, 128), 128),
    Case("rows large", (16384, 256), 256),
    Case("rows widening", (256, 8), 2048),
    Case("rows grouped small", (64, 256), 256, 4),
    Case("rows grouped", (256, 2048), 2048, 16),
    Case("rows grouped large", (16384, 256), 256, 4),
    Members("members small", 64, (8, 64, 64, 1), 4),
    Members("members", 256, (8, 128, 128, 1), 16),
    Members("members large", 256, (40, 256, 256, 1), 16),
    Members("members deep", 256, (100, 128, 128, 128, 3), 16),
    Case("tokens small", (4, 16, 64), 16),
    Case("tokens", (16, 128, 256), 128),
    Case("tokens large", (8, 512, 1024), 512),
    Case("tokens few positions", (256, 128, 4), 128),
    Case("tokens fewer than channels", (64, 512, 32), 512),
    Case("tokens grouped", (16, 128, 256), 128, 4),
    Case("tokens last", (16, 128, 256), 128, channels_last=True),
    Case("tokens last grouped", (16, 128, 256), 128, 4, channels_last=True),
    Case("image small", (1, 16, 16, 16), 16),
    Case("image", (1, 64, 128, 128), 64),
    Case("image large", (1, 32, 512, 512), 32),
    Case("image widening", (1, 8, 256, 256), 64),
    Case("image to one", (1, 64, 256, 256), 1),
    Case("image grouped", (1, 64, 128, 128), 64, 4),
    Case("image last", (1, 64, 128, 128), 64, channels_last=True),
    Case("image last grouped", (1, 64, 128, 128), 64, 4, channels_last=True),
    Case("images small", (32, 16, 8, 8), 16),
    Case("images", (16, 64, 32, 32), 64),
    Case("images deep", (16, 256, 14, 14), 1024),
    Case("images grouped", (16, 64, 32, 32), 64, 4),
    Case("images last", (16, 64, 32, 32), 64, channels_last=True),
    Case("images last grouped", (16, 64, 32, 32), 64, 4, channels_last=True),
    Case("volume", (1, 32, 32, 32, 32), 32),
    Case("volume last", (1, 32, 32, 32, 32), 32, channels_last=True),
    Case("volumes small", (8, 16, 8, 8, 8), 16),
    Case("volumes", (4, 32, 24, 24, 24), 32),
    Case("volumes grouped", (4, 32, 24, 24, 24), 32, 4),
    Case("volumes last", (4, 32, 24, 24, 24), 32, channels_last=True),
    Case("volumes last grouped", (4, 32, 24, 24, 24), 32, 4, channels_last=True),
]


# --- Timing ---


def train_calls(calls: dict[str, Call], leaves: list[Tensor]) -> dict[str, Call]:
    """Forward and backward of every spelling, with one and the same output gradient."""
    with torch.no_grad():
        grad = torch.randn_like(calls[OURS]())

    def bind(call: Call) -> Call:
        def train() -> Tensor:
            y = call()
            y.backward(grad)
            for leaf in leaves:
                leaf.grad = None
            return y

        return train

    return {name: bind(call) for name, call in calls.items()}


def check_same(calls: dict[str, Call]) -> None:
    """Every spelling must compute the same map."""
    with torch.no_grad():
        expected = calls[OURS]()
        for call in calls.values():
            torch.testing.assert_close(call(), expected, rtol=1e-3, atol=1e-3)


def lines_of(case: Case | Members, budget_s: float, every: bool) -> Iterator[tuple[str, float]]:
    """Lines of the table and the ratio that each shows."""
    calls, leaves = case.calls()
    check_same(calls)
    for job in ("forward", "training"):
        with torch.set_grad_enabled(job == "training"):
            timed = calls if job == "forward" else train_calls(calls, leaves)
            gc.collect()
            seconds = take_turns(timed, seconds=budget_s, fewest=9)
        ours = seconds.pop(OURS)
        best = min(seconds, key=lambda name: min(seconds[name]))
        ratio = min(ours) / min(seconds[best])
        middle = statistics.median(ours) / min(statistics.median(s) for s in seconds.values())
        low, _, high = statistics.quantiles(ours, n=4)
        spread = (high - low) / statistics.median(ours)
        cells = (
            case.name,
            job,
            f"{1e3 * min(ours):.3f}",
            f"{1e3 * statistics.median(ours):.3f}",
            f"{spread:.0%}",
            best,
            f"{1e3 * min(seconds[best]):.3f}",
            f"{ratio:.2f}",
            f"{middle:.2f}",
        )
        line = "| " + " | ".join(cells) + " |"
        if every:
            others = sorted(seconds, key=lambda name: min(seconds[name]))
            times = ", ".join(f"{name} {min(seconds[name]) / min(ours):.2f}" for name in others)
            line += f" {times} |"
        yield line, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--all", action="store_true", help="show every spelling over pointwise")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    budget_s = 0.8 if options.quick else 5.0
    print(f"torch {torch.__version__}, {options.threads} threads, milliseconds\n")
    header = "case, job, fastest, median, spread, best other, its fastest, ratio, ratio of medians"
    columns = header.split(", ") + ["every other / pointwise"] * options.all
    print("| " + " | ".join(columns) + " |")
    print("| " + " | ".join(["---"] * len(columns)) + " |")
    ratios: dict[type, list[float]] = {Case: [], Members: []}
    for case in CASES:
        if options.only in case.name:
            for line, ratio in lines_of(case, budget_s, options.all):
                print(line, flush=True)
                ratios[type(case)].append(ratio)
    print()
    for kind, what in ((Case, "pointwise"), (Members, "networks of members")):
        found = ratios[kind]
        if found:
            above = sum(ratio > 1.1 for ratio in found)
            print(f"{what}: worst ratio {max(found):.2f}; above 1.1: {above} of {len(found)}")


if __name__ == "__main__":
    main()
