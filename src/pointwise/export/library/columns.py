"""Columns of a table and bands of an image as C reads them."""

from dataclasses import dataclass

from pointwise.data.coding import ColumnCoding
from pointwise.errors import DataError
from pointwise.export.library.names import utf8

SHOWN_LEVELS = 12
"""Levels of a category that a comment tells."""


@dataclass(frozen=True)
class Field:
    """A column as part of a row in C.

    Attributes:
        id: Its name.
        type: Its type, with what stands between that and the name.
        meaning: What it holds, for people.
    """

    id: str
    type: str
    meaning: str


def field(column: ColumnCoding, name: str) -> Field:
    """A column as part of a row.

    Args:
        column: How it is coded.
        name: Its name in C.

    Returns:
        The part.

    Example:
        >>> field(ColumnCoding("age (years)", "number", low=1, high=99), "age_years").meaning
        '"age (years)": a number, 1 to 99 in training; NAN if missing'
    """
    if column.kind == "category":
        shown = ", ".join(f'"{level}"' for level in column.levels[:SHOWN_LEVELS])
        more = ", ..." if len(column.levels) > SHOWN_LEVELS else ""
        told = f"text in UTF-8: {shown}{more}; NULL if missing"
        return Field(name, "const char *", f'"{column.name}": {told}')
    if column.kind == "date":
        told = f"microseconds since 1970, {column.span} in training; INT64_MIN if missing"
        return Field(name, "int64_t ", f'"{column.name}": {told}')
    what = "1 or 0" if column.kind == "boolean" else f"a number, {column.span} in training"
    return Field(name, "double ", f'"{column.name}": {what}; NAN if missing')


def channels(column: ColumnCoding, value: str, name: str) -> list[str]:
    """What the network takes of a column.

    Args:
        column: How it is coded.
        value: The value of a row, in C.
        name: The column's name in C.

    Returns:
        An expression of C for each channel.

    Example:
        >>> channels(ColumnCoding("t", "number", offset=300.5), "row->t", "t")
        ['(float)(row->t - 300.5)']
    """
    if column.kind == "category":
        return [f"code_of({value}, {name}_levels, {len(column.levels)})"]
    if column.kind == "date":
        parts = (f"part_of({value}, {part.upper()})" for part in column.parts)
        return [
            _less(code, column.offset if part == "elapsed" else 0.0)
            for code, part in zip(parts, column.parts, strict=True)
        ]
    return [_less(value, column.offset)]


def texts(column: ColumnCoding) -> list[tuple[str, str]]:
    """The levels of a category in the order of their bytes, and their codes.

    Args:
        column: The category.

    Returns:
        Text and code of each.

    Raises:
        DataError: If a level holds what ends a text in C.

    Example:
        >>> texts(ColumnCoding("job", "category", levels=("smith", "baker")))
        [('baker', '1.0f'), ('smith', '0.0f')]
    """
    if any("\0" in level for level in column.levels):
        raise DataError(
            f"column {column.name!r} has a level with a zero byte, which ends texts in C"
        )
    coded = [(level, number(i)) for i, level in enumerate(column.levels)]
    return sorted(coded, key=lambda pair: utf8(pair[0]))


def number(value: float) -> str:
    """A number of float32 in C.

    Args:
        value: The number.

    Returns:
        Its digits.

    Example:
        >>> number(-1)
        '-1.0f'
    """
    return f"{float(value)!r}f"


def _less(value: str, offset: float) -> str:
    return f"(float)({value} - {offset!r})" if offset else f"(float){value}"
