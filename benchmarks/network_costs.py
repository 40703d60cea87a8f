"""What 1x1 convolutions hold of published networks: counted, not measured.

Prints the table of docs/costs.md, ours first and then torchvision's, and with --plot also draws it:

    python benchmarks/network_costs.py [--plot docs/network_shares.svg]
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn

from pointwise.inspection import Cost, cost, plot_shares
from pointwise.networks import build
from torchvision_models import torchvision  # with or without its compiled operators

OURS = {
    "nin_cifar": 32,
    "nin_mnist": 28,
    "googlenet": 224,
    "squeezenet1_0": 224,
    "squeezenet1_1": 224,
    "resnet50": 224,
    "resnet101": 224,
    "mobilenet_v1": 224,
    "mobilenet_v2": 224,
    "unet": 256,
    "attention_unet": 256,
}
"""Our networks and the rows and columns of their input."""

THEIRS = {
    "alexnet": 224,
    "vgg16": 224,
    "resnet18": 224,
    "resnext50_32x4d": 224,
    "wide_resnet50_2": 224,
    "densenet121": 224,
    "inception_v3": 299,
    "mnasnet1_0": 224,
    "shufflenet_v2_x1_0": 224,
    "mobilenet_v3_large": 224,
    "efficientnet_b0": 224,
    "efficientnet_v2_s": 384,
    "convnext_tiny": 224,
    "vit_b_32": 224,
    "swin_t": 224,
}
"""torchvision's that we do not build."""


def counted(make: Callable[[], nn.Module], size: int) -> Cost:
    """Count a network without any arithmetic: neither weights nor images hold values."""
    with torch.device("meta"):
        network = make().eval()
        channels = getattr(network, "channels", 3)
        return cost(network, torch.empty(1, channels, size, size))


def networks() -> Iterator[tuple[str, int, Cost]]:
    """Name, input size and cost of every network."""
    for name, size in OURS.items():
        yield name, size, counted(partial(build, name), size)
    for name, size in THEIRS.items():
        init = {"init_weights": False} if name == "inception_v3" else {}  # it warns without
        make = partial(torchvision.models.get_model, name, weights=None, **init)
        yield f"{name} (torchvision)", size, counted(make, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--plot", type=Path, help="SVG file to draw the shares to")
    options = parser.parse_args()
    print(
        "| network | input | parameters, M | MACs, M | 1x1 share of MACs | with Linear "
        "| 1x1 share of parameters | with Linear |\n" + "| --- " * 8 + "|"
    )
    names, costs = [], []
    for name, size, one in networks():
        total = one.total
        shares = (
            total.pointwise_macs_share,
            total.channel_macs_share,
            total.pointwise_params_share,
            total.channel_params_share,
        )
        cells = [name, f"{size} x {size}", f"{total.params / 1e6:.2f}", f"{total.macs / 1e6:,.1f}"]
        print("| " + " | ".join(cells + [f"{share:.2%}" for share in shares]) + " |", flush=True)
        names.append(name.removesuffix(" (torchvision)"))
        costs.append(one)
    if options.plot:
        options.plot.write_text(plot_shares(names, costs), encoding="utf-8")


if __name__ == "__main__":
    main()
