"""The commands, and what becomes of their errors."""

import sys
from importlib import metadata
from typing import Annotated

import typer

from pointwise.cli.bench import bench
from pointwise.cli.compare import compare
from pointwise.cli.compress import compress
from pointwise.cli.convert import convert
from pointwise.cli.cost import cost
from pointwise.cli.evaluate import evaluate
from pointwise.cli.export import export
from pointwise.cli.fit import fit
from pointwise.cli.predict import predict
from pointwise.cli.report import report
from pointwise.cli.whatif import whatif
from pointwise.cli.words import print_line, say
from pointwise.errors import PointwiseError

app = typer.Typer(
    name="pointwise",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback(invoke_without_command=True)
def pointwise(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Fit accurate MLPs to tables, and use them: one network of 1x1 convolutions."""
    if version:
        print_line(metadata.version("pointwise"))
        raise typer.Exit


COMMANDS = fit, predict, evaluate, report, cost, whatif, compare, convert, compress, export, bench

for command in COMMANDS:
    app.command(no_args_is_help=True)(command)


def main() -> None:
    """Run the command line: exit code 0, 1 where a command failed, 2 where it was used wrongly."""
    try:
        app()
    except (PointwiseError, OSError) as error:
        say(f"[bold red]error:[/] {' '.join(str(error).splitlines())}", error=True)
        sys.exit(1)
