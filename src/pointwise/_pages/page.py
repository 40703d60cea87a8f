"""The style of every page, and a whole page around what a result has to show."""

from html import escape
from importlib.resources import files


def palette() -> str:
    """The colours as CSS variables: for light screens and print, and for dark screens.

    Returns:
        The style sheet.
    """
    return _read("palette.css")


def style() -> str:
    """The style sheet of a page: its colours, text, tables and charts.

    Returns:
        The style sheet.
    """
    return palette() + _read("page.css")


def page(title: str, body: str) -> str:
    """Put a title and the style around the body of a page: one file that loads nothing.

    Args:
        title: Title of the page, as text.
        body: What stands in the page, as HTML.

    Returns:
        The file's content, to be written as UTF-8.

    Example:
        >>> page("costs < 1", "<p>None.</p>").splitlines()[6]
        '<title>costs &lt; 1</title>'
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style()}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _read(name: str) -> str:
    return files("pointwise._pages").joinpath(name).read_text(encoding="utf-8")
