"""The class of each image of a folder, from a table of files and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pointwise.data.idx import is_idx
from pointwise.data.names import shorten
from pointwise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_FILE, _CLASS = "file", "class"
_WIDTH = 60


@dataclass(frozen=True)
class LabelledPictures:
    """Images and the class that a table gives them.

    Args:
        classes: Names of the classes, sorted: as numbers where all are.
        pictures: The images, sorted by class and name.
        labels: The class of each, an index.
    """

    classes: tuple[str, ...]
    pictures: tuple[str, ...]
    labels: tuple[int, ...]


def label_pictures(folder: Path, pictures: Sequence[str], path: Path) -> LabelledPictures:
    r"""Give the images of a folder the classes of a table.

    The table has the columns ``file`` and ``class``, or two columns of any names, or of none, in
    this order. A file is named relative to the folder, with its suffix or without.

    Args:
        folder: The folder.
        pictures: Its images, relative to it.
        path: The table: CSV or Parquet.

    Returns:
        The images and their classes.

    Raises:
        DataError: If there is no such table, an image is not in it or is in it twice, or an entry
            has no image or no class.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as home:
        ...     table = Path(home) / "labels.csv"
        ...     _ = table.write_text("id,breed\na,terrier\nb,poodle\n")
        ...     label_pictures(Path(home), ["a.jpg", "b.jpg"], table)
        LabelledPictures(classes=('poodle', 'terrier'), pictures=('b.jpg', 'a.jpg'), labels=(0, 1))
    """
    if path.is_file() and is_idx(path):
        raise DataError(
            f"{path}: this is an idx file of labels, {folder} is a folder: its labels are a table "
            "of files and classes, such as a CSV"
        )
    by_name = _names(pictures)
    found = _match(path, _rows(path, by_name), by_name)
    without = [name for name in pictures if name not in found]
    if without:
        raise DataError(
            f"{path}: labels and images do not match: {len(without)} of {len(pictures)} images in "
            f"{folder} have no label ({shorten(without, 3, _WIDTH)})"
        )
    classes = sorted(set(found.values()))
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    index = {name: number for number, name in enumerate(classes)}
    ordered = sorted(pictures, key=lambda name: (index[found[name]], name))
    return LabelledPictures(
        tuple(classes), tuple(ordered), tuple(index[found[name]] for name in ordered)
    )


def _names(pictures: Sequence[str]) -> dict[str, str]:
    """Each image by its name, and by its name without suffix where no other has it."""
    stems = [str(PurePosixPath(name).with_suffix("")) for name in pictures]
    often = Counter(stems)
    alone = {stem: name for stem, name in zip(stems, pictures, strict=True) if often[stem] == 1}
    return {**alone, **{name: name for name in pictures}}


def _rows(path: Path, by_name: Mapping[str, str]) -> pd.DataFrame:
    """Read the table; a first row that names an image is no header."""
    from pointwise.data.files import read_table

    try:
        names = [str(name) for name in read_table(path).frame.columns]
    except DataError as error:
        try:
            return _read_texts(path, (_FILE, _CLASS), headless=True)
        except DataError:
            raise error from None
    if {_FILE, _CLASS} <= set(names):
        return _read_texts(path, names)[[_FILE, _CLASS]]
    if len(names) != 2:
        raise DataError(
            f"{path}: labels are a table with the columns {_FILE} and {_CLASS}, or with two "
            f"columns, got {shorten(names, 10, _WIDTH)}"
        )
    if names[0] in by_name:
        return _read_texts(path, (_FILE, _CLASS), headless=True)
    return _read_texts(path, names).set_axis([_FILE, _CLASS], axis=1)


def _read_texts(path: Path, names: Sequence[str], *, headless: bool = False) -> pd.DataFrame:
    """Read the table as it is spelt: "1.10" is not the class "1.1", nor 2024-01-31 a moment."""
    from pointwise.data.files import read_table

    return read_table(path, columns=names if headless else None, texts=names).frame


def _match(path: Path, rows: pd.DataFrame, by_name: Mapping[str, str]) -> dict[str, str]:
    """The class of each image that the table names."""
    found: dict[str, str] = {}
    strange: list[str] = []
    unlabelled = rows[_CLASS].isna() | rows[_FILE].isna()
    if unlabelled.any():
        row = int(unlabelled.to_numpy().argmax())
        raise DataError(
            f"{path}: {int(unlabelled.sum())} of {len(rows)} rows lack a file or a class, the "
            f"first is row {row + 1}: {list(map(str, rows.iloc[row]))}"
        )
    for file, label in zip(rows[_FILE], rows[_CLASS], strict=True):
        given = str(file).replace("\\", "/").removeprefix("./")
        name = by_name.get(given)
        if name is None:
            strange.append(given)
        elif name in found:
            raise DataError(f"{path}: {name} is here twice")
        else:
            found[name] = str(label)
    if strange:
        raise DataError(
            f"{path}: labels and images do not match: {len(strange)} of {len(rows)} labels have no "
            f"image ({shorten(strange, 3, _WIDTH)})"
        )
    return found
