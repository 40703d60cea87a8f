"""``pointwise whatif``: what a 1x1 saves beside a KxK convolution."""

from pathlib import Path
from typing import Annotated

import typer

from pointwise.cli import options
from pointwise.cli.pages import check_page, write_page
from pointwise.cli.words import print_json, print_line, say


def whatif(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="KERNEL[/STRIDE]:C_IN-C_OUT@SIZE of the input, such as 3x3/2:64-128@56x56. "
            "'512->64' and '512to64' say the same as '512-64'; quote the one with '>', which the "
            "shell takes for itself otherwise.",
        ),
    ],
    reduce: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Channels that the 1x1 leaves. Default: a quarter of those that come in, at most "
            "as many as go out.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            callback=check_page,
            help="Write table and picture to a page, too.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare a convolution with a 1x1 reduce, a bottleneck and a depthwise separable one.

    Example: `pointwise whatif 7x7:512-64@28x28 --reduce 64`
    """
    from pointwise.inspection.whatif import whatif as compare

    try:
        found = compare(spec, reduce=reduce)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if html is not None:
        write_page(html, found.to_html())
    if json:
        print_json(found.to_dict())
    else:
        print_line(str(found))
    if html is not None:
        say(f"page: {html}")
