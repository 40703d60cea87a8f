"""What the commands print: results on standard output, everything else on standard error."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def say(sentence: str, *, error: bool = False) -> None:
    """Tell a person something on standard error; only an error's text may carry markup."""
    head, _, rest = sentence.partition("[/] ") if error else ("", "", sentence)
    text = f"{head}[/] {escape(rest)}" if error else escape(sentence)
    Console(stderr=True, soft_wrap=True, highlight=False, emoji=False).print(text)


def print_json(result: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output; what is not finite becomes null."""
    print(json.dumps(_finite(result), ensure_ascii=False))  # noqa: T201  (the one place)


def print_scores(title: str, rows: Sequence[tuple[str, Mapping[str, float], float | None]]) -> None:
    """Print figures of models side by side on standard output.

    Args:
        title: What the figures are of.
        rows: Per model its name, its metrics and the seconds it took; the first is ours.
    """
    names = list(rows[0][1])
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name in names:
        table.add_column(name, justify="right")
    if any(seconds is not None for _, _, seconds in rows):
        table.add_column("seconds", justify="right")
    for i, (model, metrics, seconds) in enumerate(rows):
        cells = [figure(metrics[name]) for name in names]
        took = [] if seconds is None else [f"{seconds:.1f}"]
        table.add_row(escape(model), *cells, *took, style="bold" if i == 0 else None)
    Console(highlight=False, emoji=False).print(table)


def print_line(line: str) -> None:
    """Print one line of a result on standard output."""
    Console(soft_wrap=True, highlight=False, markup=False, emoji=False).print(line)


def figure(value: float) -> str:
    """A figure with four digits that count; all before the point, where a table has room."""
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
