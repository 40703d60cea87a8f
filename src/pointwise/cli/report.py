"""``pointwise report``: a model's figures as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from pointwise.cli import options
from pointwise.cli.pages import check_page, write_page
from pointwise.cli.words import print_json, print_line


def report(
    model: options.Model,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            callback=check_page,
            help="Page to write. Default: report.html in MODEL.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw a model's report: one HTML file that needs no network.

    Example: `pointwise report houses-model`
    """
    import json as json_module

    from pointwise.modelfiles import read_report
    from pointwise.reports import Report, render_html

    figures = Report.from_json(json_module.dumps(read_report(model)), str(model / "report.json"))
    out = out or model / "report.html"
    write_page(out, render_html(figures))
    if json:
        print_json({"report": str(out)})
    else:
        print_line(f"report: {out}")
