"""The progress bar of a fit, on standard error."""

from collections.abc import Iterable, Iterator

from pointwise.training import Epoch


def with_progress(epochs: Iterable[Epoch], most: int, unit: str) -> Iterator[Epoch]:
    """Show a bar while epochs go by.

    Args:
        epochs: The epochs of a training.
        most: Most epochs that there can be.
        unit: What the validation loss is, as the bar names it.

    Yields:
        The same epochs.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn(f"{unit} {{task.fields[now]:.4g}}, best {{task.fields[best]:.4g}}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True, emoji=False)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("fit", total=most, now=float("nan"), best=float("nan"))
        best = float("inf")
        for epoch in epochs:
            best = min(best, epoch.valid_loss)
            bar.update(task, completed=epoch.epoch, now=epoch.valid_loss, best=best)
            yield epoch
