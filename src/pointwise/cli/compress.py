"""``pointwise compress``: a network rewritten with 1x1 convolutions under a budget."""

import contextlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointwise.cli import networks, options
from pointwise.cli.calibration import Pixels, Subject, find_subject
from pointwise.cli.lessons import Lessons, find_lessons
from pointwise.cli.words import print_json, print_line
from pointwise.errors import DataError, first_line

if TYPE_CHECKING:
    from pointwise.compression.compress import Compressed
    from pointwise.compression.trade_off import TradeOff

PAGE = "report.html"
FIGURES = "compression.json"
"""The report in a model folder, whose ``report.json`` is that of the training."""


def compress(
    model: options.Network,
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
    latency: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Time to take, as a share of the network's, measured here."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|TABLE|FILE",
            help="What the network is used on, labels not needed: a folder of images, an idx file, "
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
    weights: options.Weights = None,
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
    recover: Annotated[
        int | None,
        typer.Option(
            metavar="EPOCHS",
            min=1,
            help="Learn on for so many epochs of --data: from its labels if it has those of a "
            "model folder, else from the given network's answers.",
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Inputs that are timed at once, for --latency.")
    ] = 1,
    tried: Annotated[
        bool,
        typer.Option(
            "--try",
            help="Try some candidates of each layer in the network, on the data, and correct the "
            "predicted errors by what they do: it takes minutes, and may win some accuracy.",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed; the same one gives the same network.")
    ] = 0,
    json: options.Json = False,
) -> None:
    """Rewrite a network with 1x1 convolutions under a budget, with or without training.

    Example: `pointwise compress digits-model --macs 0.5 --data digits --out small`
    """
    shares = {"--macs": macs, "--params": params, "--bytes": size, "--latency": latency}
    budget = _shares(shares)
    given = None if on is None else networks.parse_shape(on)
    pixels = _pixels(mean, std)
    if recover is not None and data is None:
        raise typer.BadParameter("give --data to learn from", param_hint="--recover")
    if tried and data is None:
        raise typer.BadParameter("give --data to try candidates on", param_hint="--try")
    _check_out(Path(model), out)
    with contextlib.redirect_stdout(sys.stderr):  # what a user's code prints is no result
        subject = find_subject(model, given, weights, data, pixels, seed)
        lessons = None
        if recover is not None and data is not None:
            lessons = find_lessons(subject, data, seed)
        left = options.split_names(exclude) or ()
        asked = _Asked(budget, left, recover or 0, batch, tried, seed)
        done, curve = _compress(subject, asked, lessons)
    _write(subject, done, curve, out)
    report = done.report
    if json:
        print_json({"model": model, "input": list(subject.shape), "out": str(out)} | _told(done))
        return
    print_line(f"{model}\n\n{report}\n")
    print_line(f"{_bytes(out):,} bytes, and {PAGE}: {out}")


@dataclass(frozen=True)
class _Asked:
    """What the options say."""

    budget: dict[str, float]
    exclude: Sequence[str]
    epochs: int
    batch: int
    tried: bool
    seed: int


def _check_out(model: Path, out: Path) -> None:
    """Refuse, before any long work, a folder that is not to be written."""
    from pointwise.compression.plans.files import check_folder
    from pointwise.modelfiles.target import check_target

    if not model.is_dir():
        check_folder(out)
        return
    if out.exists() and out.samefile(model):
        raise DataError(f"--out must be another folder than the model's, got {out}")
    check_target(out)


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
    subject: Subject, asked: _Asked, lessons: Lessons | None
) -> "tuple[Compressed, TradeOff]":
    import torch

    from pointwise.compression.budget import Budget
    from pointwise.compression.compress import compress_measured
    from pointwise.compression.statistics.measure import measure
    from pointwise.compression.trade_off import trade_off_measured

    first = next(subject.network.parameters(), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    inputs = None if subject.inputs is None else subject.inputs.to(dtype)
    try:
        drawn = torch.Generator().manual_seed(0)
        example = torch.randn(1, *subject.shape, dtype=dtype, generator=drawn)
        if inputs is not None:
            example = inputs[:1]
        example = example.expand(asked.batch, *example.shape[1:]).contiguous()
        known = measure(
            subject.network,
            example,
            data=inputs,
            logits=subject.scores,
            exclude=asked.exclude,
            seed=asked.seed,
            errors="measured" if asked.tried else "predicted",
            timed="latency" in asked.budget,
        )
        if subject.note:
            said = (subject.note if n.startswith("Errors are") else n for n in known.notes)
            known = replace(known, notes=tuple(said))
        if lessons is not None and not lessons.scores:
            known = replace(known, logits=False)
        recover = None if lessons is None else lessons.recovery(asked.epochs)
        budget = Budget(**asked.budget)
        done = compress_measured(known, budget, recover=recover, seed=asked.seed)
        of: Any = next((name for name in asked.budget if name != "latency"), "macs")
        return done, trade_off_measured(known, of=of)
    except (TypeError, ValueError, RuntimeError) as error:  # torch's are of memory
        name = type(subject.network).__name__
        raise DataError(f"{name} cannot be compressed: {first_line(error)}") from error


def _write(subject: Subject, done: "Compressed", curve: "TradeOff", out: Path) -> None:
    """A model folder of the same kind, or a plan and weights; and the report."""
    from pointwise._atomic import write_text
    from pointwise.compression.plans.files import save

    texts = {PAGE: done.report.to_html(curve)}
    if subject.estimator is None:
        save(done, out)
    else:
        from pointwise import estimators
        from pointwise.modelfiles import read_config

        assert subject.folder is not None, "an estimator comes from a folder"
        small = estimators.compressed_estimator(subject.estimator, done)
        estimators.save(small, out, targets=read_config(subject.folder)["targets"])
        texts[FIGURES] = done.report.to_json()
    for name, text in texts.items():
        try:
            write_text(out / name, text)
        except OSError as error:
            raise DataError(f"cannot write {out / name}: {error.strerror}") from error


def _told(done: "Compressed") -> dict[str, Any]:
    told = done.report.to_dict()
    told["class"] = told.pop("model")
    return told


def _bytes(out: Path) -> int:
    from pointwise.compression.plans.files import PLAN, WEIGHTS

    files = [out / name for name in (PLAN, "config.json", WEIGHTS)]
    return sum(file.stat().st_size for file in files if file.exists())
