"""What a 1x1 convolution costs beside a dense layer: parameters, MACs and times of the same map.

Prints the tables of docs/what_a_1x1_is.md. Within a table every line computes the same numbers with
the same weights, all lines take turns in one run, and times are ratios to the first line.

Run: python benchmarks/what_a_1x1_is.py [--rounds 41] [--threads 2]
"""

import argparse
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pointwise.inspection.timing import take_turns
from pointwise.nn import PointwiseConv

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Line:
    """One way to compute a map: its layers, its own input, and how to call it."""

    name: str
    layers: nn.Module
    x: Tensor
    call: Map

    def forward(self) -> Tensor:
        return self.call(self.x)

    def train(self) -> Tensor:
        y = self.call(self.x)
        y.backward(torch.ones_like(y))
        self.x.grad = None
        for parameter in self.layers.parameters():
            parameter.grad = None
        return y


def line(name: str, layers: nn.Module, x: Tensor, call: Map | None = None) -> Line:
    return Line(name, layers, x.detach().clone(memory_format=torch.preserve_format), call or layers)


def channels_last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last)


# --- The maps ---


def one_position() -> list[Line]:
    layer, x = PointwiseConv(256, 256), torch.randn(4096, 256)
    linear, pixel = layer.to_linear(), x[..., None, None]
    return [
        line("`nn.Linear` on `(N, C)`", linear, x),
        line("`nn.Conv2d(…, 1)` on `(N, C, 1, 1)`", layer.to_conv(2), pixel),
        line("`PointwiseConv` on `(N, C)`", layer, x),
        line("`PointwiseConv` on `(N, C, 1, 1)`", layer, pixel),
    ]


def images() -> list[Line]:
    layer, planar = PointwiseConv(128, 128), torch.randn(8, 128, 56, 56)
    linear, conv, last = layer.to_linear(), layer.to_conv(2), channels_last(planar)

    def on_rows(x: Tensor) -> Tensor:
        return linear(x.movedim(1, -1)).movedim(-1, 1)

    return [
        line("`nn.Conv2d(…, 1)`, planar", conv, planar),
        line("`nn.Linear`, planar, moved to rows and back", linear, planar, _planar(on_rows)),
        line("`PointwiseConv`, planar", layer, planar),
        line("`nn.Conv2d(…, 1)`, channels-last", conv, last),
        line("`nn.Linear`, channels-last, a view of rows", linear, last, on_rows),
        line("`PointwiseConv`, channels-last", layer, last),
    ]


def _planar(call: Map) -> Map:
    return lambda x: call(x).contiguous()


def groups() -> list[Line]:
    layer, x = PointwiseConv(16 * 64, 16 * 64, groups=16), torch.randn(1024, 16 * 64)
    weight, bias = layer.weight, layer.bias
    alone = nn.ModuleList(nn.Linear(64, 64) for _ in range(16))
    for linear, w, b in zip(alone, weight.chunk(16), bias.chunk(16), strict=True):
        linear.load_state_dict({"weight": w, "bias": b})

    def batched(x: Tensor) -> Tensor:
        w, b = weight.unflatten(0, (16, 64)).mT, bias.reshape(16, 1, 64)
        y = torch.baddbmm(b, x.unflatten(1, (16, 64)).transpose(0, 1), w)  # (G, N, C / G)
        return y.transpose(0, 1).flatten(1)

    def one_by_one(x: Tensor) -> Tensor:
        parts = zip(alone, x.chunk(16, 1), strict=True)
        return torch.cat([linear(part) for linear, part in parts], 1)

    return [
        line("`torch.baddbmm`, by hand", layer, x, batched),
        line("`PointwiseConv(…, groups=16)`", layer, x),
        line("`nn.Conv1d(…, 1, groups=16)` on `(N, C, 1)`", layer.to_conv(1), x[..., None]),
        line("16 of `nn.Linear`, one by one", alone, x, one_by_one),
    ]


MAPS = {
    "One position: 4,096 rows, 256 to 256 channels": one_position,
    "Many positions: 8 images of 56 x 56, 128 to 128 channels": images,
    "Groups: 1,024 rows, 16 groups of 64 to 64 channels": groups,
}


# --- Figures ---


def parameters(layers: nn.Module) -> int:
    return sum(p.numel() for p in layers.parameters())


def macs(one: Line) -> int:
    """Multiply-adds of the map, as torch counts them: two FLOPs each, the bias left out."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        one.forward()
    return counter.get_total_flops() // 2


def largest_difference(lines: list[Line]) -> float:
    """Between the first line's output and any other's."""
    with torch.no_grad():
        first, *others = (one.forward().flatten() for one in lines)
    return max(float((first - other).abs().max()) for other in others)


def seconds(calls: list[Callable[[], Tensor]], rounds: int) -> list[list[float]]:
    """Seconds of every call in every round; the calls take turns."""
    named = {str(i): call for i, call in enumerate(calls)}
    return list(take_turns(named, fewest=rounds, most=rounds).values())


def over_first(times: list[list[float]], i: int) -> float:
    """Median over rounds of a line's time over the first line's in the same round."""
    return statistics.median(a / b for a, b in zip(times[i], times[0], strict=True))


def table(lines: list[Line], rounds: int) -> None:
    with torch.no_grad():
        forward = seconds([one.forward for one in lines], rounds)
    for one in lines:
        one.x.requires_grad_()
    training = seconds([one.train for one in lines], rounds)
    for one in lines:
        one.x.requires_grad_(False)
    print("| | parameters | MACs | forward | forward and backward |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for i, one in enumerate(lines):
        ratios = [over_first(times, i) for times in (forward, training)]
        cells = (one.name, f"{parameters(one.layers):,}", f"{macs(one):,}")
        print("| " + " | ".join([*cells, *(f"{ratio:.2f}" for ratio in ratios)]) + " |")
    took = (f"{1e3 * statistics.median(times[0]):.2f} ms" for times in (forward, training))
    print(f"\nThe first line took {' and '.join(took)} (median of {rounds} rounds). ", end="")
    print(f"Outputs differ by {largest_difference(lines):.1e} at most.")


def machine(threads: int) -> str:
    level = torch.backends.cpu.get_cpu_capability().replace("AVX512", "AVX-512")
    version = torch.__version__.partition("+")[0]
    kind = platform.machine().replace("_", "-")
    return f"{kind} with {level}, torch {version}, {threads} threads, float32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"Machine: {machine(options.threads)}.")
    for title, make in MAPS.items():
        print(f"\n**{title}**\n")
        table(make(), options.rounds)


if __name__ == "__main__":
    main()
