"""The commands, and what becomes of their errors."""

import sys

import typer

from pointwise.cli.evaluate import evaluate
from pointwise.cli.fit import fit
from pointwise.cli.predict import predict
from pointwise.cli.report import report
from pointwise.cli.words import say
from pointwise.errors import PointwiseError

app = typer.Typer(
    name="pointwise",
    help="Fit accurate MLPs to tables, and use them: one network of 1x1 convolutions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (fit, predict, evaluate, report):
    app.command(no_args_is_help=True)(command)


def main() -> None:
    """Run the command line: exit code 0, 1 where a command failed, 2 where it was used wrongly."""
    try:
        app()
    except (PointwiseError, OSError) as error:
        say(f"[bold red]error:[/] {' '.join(str(error).splitlines())}", error=True)
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
