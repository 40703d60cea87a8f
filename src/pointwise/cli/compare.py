"""``pointwise compare``: when does an mlpconv pay, on a user's own images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pointwise.cli import options
from pointwise.cli.image_sets import read, refuse_one_class
from pointwise.cli.pages import check_page, write_page
from pointwise.cli.words import print_json, print_line, say

if TYPE_CHECKING:
    from pointwise.studies.compare_data import CompareData


def compare(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Folder with a folder per class, or an idx file."),
    ],
    labels: Annotated[
        Path | None, typer.Option(help="Labels of an idx file. Default: found by its name.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=3, help="Scale images to so many rows and columns. Default: as they are."),
    ] = None,
    kernel: Annotated[int, typer.Option(min=3, help="Size of the KxK kernels, an odd number.")] = 3,
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Channels of the mlpconv's first stage. Default: 32, or as few as 8 where the "
            "time limit is short.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of every network.")] = 3,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of each; the most, with a time limit.")
    ] = 20,
    time_limit: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds for everything; all networks get as many epochs."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that keeps finished trainings: the same command goes on with them. "
            "Default: NAME-compare here.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            callback=check_page,
            help="Write table and picture to a page, too.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare KxK, KxK + 1x1 (mlpconv) and KxK + KxK on images, at equal cost.

    The networks are matched at equal parameters, equal multiply-adds and equal training time.

    Example: `pointwise compare photos --time-limit 1800 --out photos.html`
    """
    from pointwise.studies.cells import CellCache
    from pointwise.studies.compare import compare as run
    from pointwise.studies.compare_plan import CompareOptions

    if kernel % 2 == 0:
        raise typer.BadParameter(f"must be odd, got {kernel}", param_hint="--kernel")
    asked = CompareOptions(
        kernel=kernel, width=width, seeds=seeds, epochs=epochs, time_limit_s=time_limit
    )
    images = _read(data, labels, size)
    kept = CellCache(cache or Path(f"{images.name}-compare"), say=say)
    kept.make_folder()
    with _progress() as progress:
        found = run(images, asked, cache=kept, say=say, progress=progress)
    if out is not None:
        write_page(out, found.to_html())
    if json:
        print_json(found.to_dict())
    else:
        print_line(str(found))
    if out is not None:
        say(f"page: {out}")


def _read(path: str, labels: Path | None, size: int | None) -> "CompareData":
    from pointwise.studies.compare_data import split_images

    found = read(path, labels=labels, size=size)
    refuse_one_class(path, found.classes)
    name = Path(path).resolve().name.split(".")[0]
    return split_images(name, found.images, found.labels, found.classes)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, emoji=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("compare", total=None)

        def show(now: str, done: int, of: int) -> None:
            bar.update(task, description=now, completed=done, total=of or None)

        yield show
