"""Pages that commands write: one option, one writer."""

from pathlib import Path

import typer

from pointwise.errors import DataError


def check_page(path: Path | None) -> Path | None:
    """Refuse a page whose name is not one's: of a slip it would replace a table or a model's part.

    Args:
        path: What was asked for, if anything was.

    Returns:
        The same.

    Raises:
        BadParameter: If it ends in neither .html nor .htm.

    Example:
        >>> check_page(Path("houses.html")).name
        'houses.html'
    """
    if path is not None and path.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"a page ends in .html, got {str(path)!r}")
    return path


def write_page(path: Path, html: str) -> None:
    """Write a page as one step.

    Args:
        path: The file.
        html: What it will hold.

    Raises:
        DataError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_page(Path(folder) / "a.html", "<!doctype html>")
        ...     (Path(folder) / "a.html").read_text()
        '<!doctype html>'
    """
    from pointwise._atomic import write_text

    try:
        write_text(path, html)
    except OSError as error:
        raise DataError(f"cannot write the page {path}: {error.strerror}") from error
