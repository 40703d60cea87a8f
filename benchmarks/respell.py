"""How much faster is a network in the spelling that ``respell`` keeps?

For each network and batch, several take turns in one run: as given, with channels-last weights (the
usual advice), respelled, respelled with norms folded, and with ``--fused`` also respelled with
norms folded and chains through the fused runtime. Ratios are medians over the rounds, with
bounds at 99 percent. "The better" is the faster of as given and channels-last, which are given
their input in the order that suits them. The lines below the table say whether the convolutional
networks gain a fifth, and whether any is more than 2 percent behind the better. Networks are random
with calibrated norms. Run it on a quiet machine, for about half an hour:

    python benchmarks/respell.py [--only TEXT] [--batch 1 8] [--threads 2] [--size 224]
                                 [--seconds 60] [--rounds-s 40] [--layers] [--fused] [--cpu-time]
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pointwise.inspection.timing import Speedup, Timer, speedup, take_turns
from pointwise.surgery.respell import respell
from pointwise.surgery.swap import Swap
from torchvision_models import torchvision

GIVEN, LAST, OURS, FOLDED = "as given", "channels-last", "respelled", "respelled, folded"
FUSED = "respelled, folded, fused"


def from_timm(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name)
        return network

    return build


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-50": lambda: torchvision.models.resnet50(),
    "MobileNetV2": lambda: torchvision.models.mobilenet_v2(),
    "ConvNeXt-atto": from_timm("convnext_atto"),
    "ViT-Ti/16": from_timm("vit_tiny_patch16_224"),
    "MLP-Mixer-S/16": from_timm("mixer_s16_224"),
}
CONVOLUTIONAL = ("ResNet-50", "MobileNetV2", "ConvNeXt-atto")

GAIN = 1.2
"""Times as fast as given that the median over the convolutional networks should be."""

BEHIND = 0.98
"""Times as fast as the better of the two that every network should be at least."""


def prepared(build: Callable[[], nn.Module], x: Tensor) -> nn.Module:
    """A random network that carries signal: nothing is constant, norms fit what they are given."""
    torch.manual_seed(0)
    network = build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(x[:1].repeat(2, 1, 1, 1) + 0.1 * torch.randn(2, *x.shape[1:]))
    return network.eval()


Method = Callable[..., tuple[nn.Module, list[Swap]]]


def chosen(swaps: list[Swap]) -> str:
    return swaps[0].after or "stays"


def methods(options: argparse.Namespace, timer: Timer) -> dict[str, Method]:
    """What to do to a network, by the names of the columns."""
    alone: Method = partial(respell, seconds=options.seconds, timer=timer)
    found: dict[str, Method] = {OURS: alone, FOLDED: partial(alone, folding=True)}
    return found | ({FUSED: partial(alone, folding=True, fused=True)} if options.fused else {})


@dataclass(frozen=True)
class Ratios:
    """How many times faster the columns are, by their names: than as given, than the better."""

    over_given: dict[str, Speedup]
    over_better: dict[str, Speedup]


def rows_of(name: str, batch: int, options: argparse.Namespace, timer: Timer) -> Ratios:
    """Print the lines of one network and batch.

    Returns:
        Its ratios.
    """
    torch.manual_seed(1)
    x = torch.randn(batch, 3, options.size, options.size)
    given = prepared(NETWORKS[name], x)
    last = copy.deepcopy(given).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x_last = x.contiguous(memory_format=torch.channels_last)
    found = {name: method(given, x) for name, method in methods(options, timer).items()}
    made = {name: network for name, (network, _) in found.items()}
    calls = {GIVEN: lambda: given(x), LAST: lambda: last(x_last)}
    calls |= {name: partial(network, x) for name, network in made.items()}
    with torch.no_grad():
        difference = max(float((given(x) - one(x)).abs().max()) for one in made.values())
        difference /= float(given(x).abs().max())
        taken = timer(calls, seconds=options.rounds_s)
    better = min((taken[GIVEN], taken[LAST]), key=statistics.median)
    ratios = {one: speedup(taken[GIVEN], taken[one]) for one in calls}
    over = {one: speedup(better, taken[one]) for one in made}
    low, _, high = statistics.quantiles(taken[GIVEN], n=4)
    spread = (high - low) / statistics.median(taken[GIVEN])
    cells = [
        f"{name}, batch {batch}",
        f"{1e3 * statistics.median(taken[GIVEN]):.1f} ({spread:.0%})",
        *(str(ratios[one]) for one in (LAST, *made)),
        *(str(one) for one in over.values()),
        f"{difference:.0e}",
        *(chosen(swaps) for _, swaps in found.values()),
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    if options.layers:
        for _, swaps in found.values():
            print(*(f"    {swap}" for swap in swaps), sep="\n", flush=True)
    return Ratios({one: ratios[one] for one in (LAST, *made)}, over)


def verdicts(found: dict[str, Ratios]) -> Iterator[str]:
    """The medians, and what falls short."""
    columns = next(iter(found.values())).over_given
    for title, kinds in (("convolutional", CONVOLUTIONAL), ("all", tuple(NETWORKS))):
        rows = [ratios for key, ratios in found.items() if key.startswith(kinds)]
        for column in columns if rows else ():
            median = statistics.median(one.over_given[column].ratio for one in rows)
            line = f"{column}, median of the {len(rows)} {title} rows over {GIVEN}: {median:.2f}"
            if title == "convolutional" and column != LAST:
                line += f" (at least {GAIN:.2f}: {'holds' if median >= GAIN else 'DOES NOT HOLD'})"
            yield line
    for column in columns:
        over = {key: one.over_better.get(column) for key, one in found.items()}
        short = [f"{key}: {won}" for key, won in over.items() if won and won.ratio < BEHIND]
        if column != LAST:
            words = "; ".join(short) or "none"
            yield f"{column}, more than {1 - BEHIND:.0%} behind the better: {words}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--size", type=int, default=224, help="of the images; ViT and Mixer: 224")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0, help="for respell to measure")
    parser.add_argument("--rounds-s", type=float, default=40.0, help="for the turns of the table")
    parser.add_argument(
        "--fused", action="store_true", help="with chains through the fused runtime too"
    )
    parser.add_argument("--layers", action="store_true", help="list every layer too")
    parser.add_argument(
        "--cpu-time", action="store_true", help="time the processor, not the clock: one thread only"
    )
    options = parser.parse_args()
    torch.set_num_threads(1 if options.cpu_time else options.threads)
    timer: Timer = partial(take_turns, clock=time.process_time) if options.cpu_time else take_turns
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, milliseconds\n")
    names = list(methods(options, timer))
    header = ["network", f"{GIVEN} (spread)", LAST, *names]
    header += [f"{name} over the better" for name in names]
    header += ["difference", *(f"kept: {name}" for name in names)]
    print("| " + " | ".join(header) + " |")
    print("| " + " | ".join(["---"] * len(header)) + " |")
    found: dict[str, Ratios] = {}
    for name in NETWORKS:
        if options.only.lower() in name.lower():
            for batch in options.batch:
                found[f"{name}, batch {batch}"] = rows_of(name, batch, options, timer)
    if found:
        print("", *verdicts(found), sep="\n")


if __name__ == "__main__":
    main()
