"""``pointwise compress``: a network rewritten with 1x1 convolutions under a budget."""

import contextlib
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointwise.cli import networks, options
from pointwise.cli.calibration import Pixels, Subject, find_subject
from pointwise.cli.words import print_json, print_line
from pointwise.errors import DataError, first_line

if TYPE_CHECKING:
    from pointwise.compression.compress import Compressed
    from pointwise.compression.trade_off import TradeOff

PAGE = "report.html"


def compress(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A folder that `fit` wrote, a published network such as resnet50, or "
            "module:function: code of yours, here or installed, that builds the network.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Folder to write: the plan, the weights and the report."
        ),
    ],
    macs: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Multiply-adds to keep, as a share above 0 up to 1."),
    ] = None,
    params: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Parameters to keep, as a share above 0 up to 1."),
    ] = None,
    size: Annotated[
        float | None,
        typer.Option(
            "--bytes", metavar="SHARE", help="Bytes of parameters to keep, as a share up to 1."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|TABLE|FILE",
            help="What the network is used on, without labels: a folder of images, an idx file, "
            "the table of a model for tables, or an array of inputs in .npy. Default: the weights "
            "alone count, which costs accuracy.",
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="C,SIZES",
            help="Channels, then the size of every axis, of the input that costs are counted on. "
            "Default: one row or image for a folder; 3,224,224 otherwise.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights to load first: safetensors, or a checkpoint of which only weights are "
            "read. Not for a folder, which has its own.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Mean of each channel of pixels from 0 to 1 that the network was trained with, "
            "such as 0.485,0.456,0.406. Not for a folder. Default: 0.",
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(metavar="NUMBERS", help="Deviation of each channel, likewise. Default: 1."),
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(metavar="PATHS", help="Layers to leave as they are, with commas."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed; the same one gives the same network.")
    ] = 0,
    json: options.Json = False,
) -> None:
    """Rewrite a network with 1x1 convolutions under a budget, without training.

    Example: `pointwise compress digits-model --macs 0.5 --data digits --out small`
    """
    from pointwise.compression.files import check_folder

    budget = _shares({"--macs": macs, "--params": params, "--bytes": size})
    given = None if on is None else networks.parse_shape(on)
    pixels = _pixels(mean, std)
    check_folder(out)
    with contextlib.redirect_stdout(sys.stderr):  # what a user's code prints is no result
        subject = find_subject(model, given, weights, data, pixels, seed)
        done, curve = _compress(subject, budget, options.split_names(exclude) or (), seed)
    _write(done, curve, out)
    report = done.report
    if json:
        print_json({"model": model, "input": list(subject.shape), "out": str(out)} | _told(done))
        return
    print_line(f"{model}\n\n{report}\n")
    print_line(f"{_bytes(out):,} bytes, and {PAGE}: {out}")


def _shares(given: dict[str, float | None]) -> dict[str, float]:
    """The shares that are given, by the names of ``Budget``."""
    shares = {name: share for name, share in given.items() if share is not None}
    if not shares:
        raise typer.BadParameter(f"give at least one of {', '.join(given)}", param_hint="budget")
    for name, share in shares.items():
        if not 0 < share <= 1:
            raise typer.BadParameter(
                f"it must be a share above 0 up to 1, got {share:g}", param_hint=name
            )
    return {name.removeprefix("--"): share for name, share in shares.items()}


def _pixels(mean: str | None, std: str | None) -> Pixels | None:
    if mean is None and std is None:
        return None
    found = {"--mean": mean, "--std": std}
    for option, text in found.items():
        if text is None:
            raise typer.BadParameter("give --mean and --std together", param_hint=option)
    try:
        means, deviations = (tuple(map(float, text.split(","))) for text in (mean or "", std or ""))
    except ValueError:
        means, deviations = (), ()
    if not means or not all(map(math.isfinite, (*means, *deviations))) or min(deviations) <= 0:
        raise typer.BadParameter(
            "they must be numbers with commas between them, those of --std above 0, "
            f"got {mean!r} and {std!r}",
            param_hint="--mean, --std",
        )
    return Pixels(means, deviations)


def _compress(
    subject: Subject, budget: dict[str, float], exclude: Sequence[str], seed: int
) -> "tuple[Compressed, TradeOff]":
    import torch

    from pointwise.compression.budget import Budget
    from pointwise.compression.compress import compress_measured
    from pointwise.compression.measure import measure
    from pointwise.compression.trade_off import trade_off_measured

    first = next(subject.network.parameters(), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    batches = subject.batches(dtype)
    try:
        drawn = torch.Generator().manual_seed(0)
        example = torch.randn(1, *subject.shape, dtype=dtype, generator=drawn)
        if batches is not None:
            example = batches[0][:1]
        known = measure(
            subject.network,
            example,
            data=batches,
            logits=subject.scores,
            exclude=exclude,
            seed=seed,
        )
        if subject.note:
            known = replace(known, notes=(subject.note,))
        done = compress_measured(known, Budget(**budget), seed=seed)
        return done, trade_off_measured(known, of=next(iter(budget)))  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:  # torch's are of memory
        name = type(subject.network).__name__
        raise DataError(f"{name} cannot be compressed: {first_line(error)}") from error


def _write(done: "Compressed", curve: "TradeOff", out: Path) -> None:
    from pointwise._atomic import write_text
    from pointwise.compression.files import save

    save(done, out)
    try:
        write_text(out / PAGE, done.report.to_html(curve))
    except OSError as error:
        raise DataError(f"cannot write {out / PAGE}: {error.strerror}") from error


def _told(done: "Compressed") -> dict[str, Any]:
    told = done.report.to_dict()
    told["class"] = told.pop("model")
    return told


def _bytes(out: Path) -> int:
    from pointwise.compression.files import PLAN, WEIGHTS

    return sum((out / name).stat().st_size for name in (PLAN, WEIGHTS))
