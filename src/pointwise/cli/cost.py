"""``pointwise cost``: what a network costs, and what its 1x1 convolutions hold of it."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pointwise.cli import networks, options
from pointwise.cli.pages import check_page, write_page
from pointwise.cli.words import print_json, print_line, say

if TYPE_CHECKING:
    from torch import nn

    from pointwise.inspection.cost import Cost
    from pointwise.inspection.machine import Machine


def cost(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NAME|MODEL",
            help="A published network such as resnet50, or a folder that `fit` wrote.",
        ),
    ],
    on: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="C,SIZES",
            help="Channels, then the size of every axis. Default: 3,224,224; one row or image for "
            "a MODEL.",
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Classes of a NAME. Default: those of its paper.")
    ] = None,
    machine: Annotated[
        bool, typer.Option("--machine", help="Measure this machine: which layers wait for memory.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", callback=check_page, help="Write the table to a page, too."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Count parameters, multiply-adds, activations and bytes, layer by layer.

    Example: `pointwise cost resnet50 --input 3,224,224`
    """
    from pointwise.errors import DataError

    shape = None if on is None else networks.parse_shape(on)
    folder = Path(network)
    if folder.is_dir():
        if classes is not None:
            raise typer.BadParameter("a fitted model has its classes", param_hint="--classes")
        model, usual = networks.fitted(folder)
        shape = shape or usual
    else:
        shape = shape or networks.IMAGE
        model = _published(network, shape[0], classes)
    try:
        counted = _count(model, shape)
    except ValueError as error:
        raise DataError(str(error)) from error
    measured = _measured() if machine else None
    title = f"{network} on {'x'.join(map(str, shape))}"
    if html is not None:
        _write_page(html, title, counted, measured)
    if json:
        print_json(_with_machine(counted, measured))
    else:
        print_line(f"{title}\n\n{counted.to_text(measured)}")
    if html is not None:
        say(f"page: {html}")


def _published(name: str, channels: int, classes: int | None) -> "nn.Module":
    import torch

    from pointwise.errors import DataError
    from pointwise.networks import build

    try:
        with torch.device("meta"):
            return build(name, channels=channels, classes=classes)
    except ValueError as error:
        raise DataError(str(error)) from error


def _count(model: "nn.Module", shape: tuple[int, ...]) -> "Cost":
    import torch

    from pointwise.inspection.cost import cost as count

    return count(model, torch.empty(1, *shape, device=next(model.parameters()).device))


def _measured() -> "Machine":
    from pointwise.inspection.machine import measure_machine

    return measure_machine()


def _with_machine(counted: "Cost", machine: "Machine | None") -> dict[str, object]:
    """The counts; with a machine what it does in a second, and on each layer what it waits for."""
    result = counted.to_dict()
    if machine is None:
        return result
    bound = {id(one) for one in counted.memory_bound(machine)}
    for layer, one in zip(result["layers"], counted.layers, strict=True):
        layer["memory_bound"] = id(one) in bound
    figures = {
        "macs_per_s": machine.macs_per_s,
        "bytes_per_s": machine.bytes_per_s,
        "ridge": machine.ridge,
    }
    return {**result, "machine": figures}


def _write_page(path: Path, title: str, counted: "Cost", machine: "Machine | None") -> None:
    from pointwise._pages.page import page
    from pointwise.inspection.plots import plot_cost

    head = f'<header>\n<p class="eyebrow">What it costs</p>\n<h1>{escape(title)}</h1>\n</header>\n'
    if counted.total.macs:
        chart = plot_cost(counted, key="cost")
        head += f'<section>\n<figure class="chart">\n{chart}</figure>\n</section>\n'
    write_page(path, page(f"{title}: cost", head + counted.to_html(machine)))
