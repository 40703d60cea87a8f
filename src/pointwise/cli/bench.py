"""``pointwise bench``: how fast a network runs here through PyTorch, in chunks and fused."""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pointwise.cli import networks, options
from pointwise.cli.words import figure, print_json, print_line
from pointwise.errors import DataError, DifferenceError, first_line

if TYPE_CHECKING:
    from torch import nn

    from pointwise.runtime.bench import Bench, Cut, Race


def bench(
    model: options.Network,
    on: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="C,SIZES",
            help="Channels, then the size of every axis, of one input; C alone: 1, 1,000 and "
            "1,000,000 rows. Default: the columns or the images of a folder; 3,224,224 otherwise.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Weights to load first: safetensors, or a checkpoint of which only weights are "
            "read. Not for a folder, which has its own. Without it weights are random.",
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(min=0.0, help="Time each input for so long, about; fifteen rounds at least."),
    ] = 2.0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to use. Default: as many as PyTorch uses.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Time a network through PyTorch, in cache-sized chunks, and fused, on this machine.

    Example: `pointwise bench mynet:build --input 12,1024,1024`
    """
    _check_threads(threads)
    given = None if on is None else networks.parse_shape(on)
    with contextlib.redirect_stdout(sys.stderr):  # what a user's code prints is no result
        network, shape = networks.find_network(model, given, weights, trained=False)
        found = _bench(network, shape, seconds, threads)
    if json:
        from importlib import metadata

        version = metadata.version("pointwise")
        print_json({"model": model, **found.to_dict(), "pointwise_version": version})
        return
    _print_races(f"{model} on {_count(found.threads, 'thread')}", found)
    for line in _remarks(found, seconds):
        print_line(line)
    print_line(found.description)


def _check_threads(threads: int | None) -> None:
    processors = os.cpu_count()
    if threads is not None and processors is not None and threads > processors:
        raise typer.BadParameter(
            f"this machine has {_count(processors, 'processor')}, got {threads}",
            param_hint="--threads",
        )


def _bench(
    network: "nn.Module", shape: networks.Shape, seconds: float, threads: int | None
) -> "Bench":
    from pointwise.runtime.bench import bench as run

    try:
        return run(network, shape, seconds=seconds, threads=threads)
    except DifferenceError:
        raise
    except ValueError as error:
        raise DataError(str(error)) from error
    except Exception as error:  # whatever a user's network raises when it is copied or run
        first = first_line(error)
        raise DataError(f"{type(network).__name__} cannot be timed: {first}") from error


def _print_races(title: str, found: "Bench") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for name in ("input", "run by"):
        table.add_column(name)
    for name in ("median ms", "positions/s", "times as fast"):
        table.add_column(name, justify="right")
    for race in found.races:
        for i, run in enumerate(race.runs):
            table.add_row(
                "" if i else _input(race),
                run.name,
                figure(1e3 * run.seconds),
                figure(race.positions / run.seconds),
                "" if run.speedup is None else str(run.speedup),
                end_section=i + 1 == len(race.runs),
            )
    Console(highlight=False, emoji=False).print(table)


def _input(race: "Race") -> str:
    if len(race.shape) == 2:
        return _count(race.positions, "row")
    return "x".join(map(str, race.shape))


def _remarks(found: "Bench", seconds: float) -> list[str]:
    """What a reader of the table must know: which rows and which runs it lacks."""
    lines = []
    if found.cut is not None:
        lines.append(_cut(found.cut, seconds))
    if found.missing:
        lines.append(f"nothing ran fused: {found.missing}")
    return lines


def _cut(cut: "Cut", seconds: float) -> str:
    from pointwise.runtime.bench import MEMORY, PATIENCE

    if cut.limit == "memory":
        return (
            f"at most {_count(cut.used, 'row')}, not {cut.wanted:,}: PyTorch's layers would take "
            f"more than {MEMORY >> 30} GiB"
        )
    return (
        f"at most {_count(cut.used, 'row')}, not {cut.wanted:,}: that would take more than "
        f"{PATIENCE * seconds:g} s; a larger --seconds allows it"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
