"""What the cells of a text column say: missing values, numbers, truth values, dates, or text.

pandas has read the plain numbers already; what comes here is what it left as text. Work is done
once per different value, so that long columns with few of them cost little.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pointwise.data.dates import looks_like_date, read_dates

if TYPE_CHECKING:
    import pandas as pd

MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "Null", "n/a", "nan", "null",
)  # fmt: skip
"""Missing in every column."""
UNUSUAL = ("?", "-")
"""Missing in every column too, and reported."""
WORDS = (
    "None", "none", "NONE", "na", "Na", "n.a.", "N.A.", "NaT", "nil", ".", "..", "--",
    "#DIV/0!", "#NAME?", "#NUM!", "#REF!", "#VALUE!", "0000-00-00", "0000-00-00 00:00:00",
)  # fmt: skip
"""Missing among numbers, dates and truth values; a category like any other among words."""

_CODE = re.compile(r"0\d+", re.ASCII)
_DIGITS = re.compile(r"\d+", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBERS = {
    mark: re.compile(
        rf"[+-]?((\d+([{mark}]\d*)?|[{mark}]\d+)(e[+-]?\d+)?|inf(inity)?)", re.ASCII | re.I
    )
    for mark in ".,"
}
_FOREIGN_NUMBER = re.compile(
    r"[$€£]?\s?[+-]?(\d{1,3}([.,' ]\d{3})+([.,]\d+)?|\d+([.,]\d+)?)\s?[%$€£]?", re.ASCII
)
_GROUPED = re.compile(r"[+-]?\d{1,3}(\.\d{3})?", re.ASCII)
_TRUTH = {"true": True, "false": False}
_MOSTLY = 0.9
_FEW = 1000
_NO_VALUES = frozenset((*MISSING, *UNUSUAL))

_Typed = tuple["pd.Series[Any] | None", str]


def is_number(text: str, decimal: str = ".") -> bool:
    """Tell whether a cell is a plain number.

    Args:
        text: The cell, without blanks around it.
        decimal: The decimal mark.

    Returns:
        Whether it is.

    Example:
        >>> is_number("3,14", decimal=","), is_number("1.234,5", decimal=",")
        (True, False)
    """
    return _NUMBERS[decimal].fullmatch(text) is not None


def are_codes(texts: Sequence[str]) -> bool:
    """Tell whether values are codes that lose a zero when read as numbers.

    Args:
        texts: The values of a column, missing ones left out.

    Returns:
        Whether all consist of digits and one begins with a needless zero.

    Example:
        >>> are_codes(["01234", "98765"]), are_codes(["0", "10"])
        (True, False)
    """
    return all(map(_DIGITS.fullmatch, texts)) and any(map(_CODE.fullmatch, texts))


def are_grouped(texts: Sequence[str]) -> bool:
    """Tell whether points stand between thousands: behind each are three digits, and none need be.

    Args:
        texts: The values of a column, missing ones left out.

    Returns:
        Whether all have a point before their last three digits, or none and at most three digits;
        and there are some of both.

    Example:
        >>> are_grouped(["76.586", "980"]), are_grouped(["76.586", "98.1"])
        (True, False)
    """
    points = ["." in text for text in texts]
    return any(points) and not all(points) and all(map(_GROUPED.fullmatch, texts))


def understand_column(
    column: pd.Series[Any],
    decimal: str = ".",
    missing: Sequence[str] = (),
    *,
    text: bool = False,
    grouped: bool = False,
    day_first: bool | None = None,
) -> tuple[pd.Series[Any], list[str]]:
    """Give a column of text the type that its values have.

    Numbers become int64 or float64; true and false ``bool``, or pandas' ``boolean`` where values
    are missing; dates and timestamps ``datetime64[us]`` in UTC without a zone; the rest stays text.

    Args:
        column: Texts and missing values, as pandas read them.
        decimal: The decimal mark.
        missing: What stands for no value beside the usual.
        text: Whether the values stay text, whatever they look like.
        grouped: Whether points may stand between thousands.
        day_first: Whether the day comes first in dates that do not tell.

    Returns:
        The column, and what there is to say of it.

    Example:
        >>> import pandas as pd
        >>> column, findings = understand_column(pd.Series(["1", " ?", "3"]))
        >>> column.tolist(), findings
        ([1.0, nan, 3.0], ["'?' read as missing"])
    """
    import pandas as pd

    codes, raw = pd.factorize(column)
    levels = [str(level).strip() for level in raw.to_numpy(dtype=object)]
    distinct = dict.fromkeys(levels)
    findings = [f"{mark!r} read as missing" for mark in (*UNUSUAL, *missing) if mark in distinct]
    words = [word for word in WORDS if word in distinct and word not in missing and not text]
    present = [one for one in distinct if one not in _NO_VALUES and one not in missing]
    values = [one for one in present if one not in WORDS] if words else present
    complete = bool((codes >= 0).all()) and len(values) == len(distinct)

    typed, finding = None, ""
    if grouped and are_grouped(values):
        finding = f"numbers such as {next(one for one in values if '.' in one)!r} left as text"
    elif not text:
        typed, finding = _read_values(values, decimal, day_first, complete=complete)
    findings += [finding] if finding else []
    if typed is not None and (values or not words):
        findings += [f"{word!r} read as missing" for word in words]
    else:
        findings += [f"{word!r} kept as text" for word in words]
        if present == raw.tolist():
            return column, findings
        values, typed = present, pd.Series(present)
    if complete and len(levels) == len(values):
        places = codes  # the levels are the values, in the same order
    else:
        place = {one: position for position, one in enumerate(values)}
        places = np.array([*(place.get(one, -1) for one in levels), -1])[codes]
    return typed.reindex(places).set_axis(column.index), findings


def _read_values(
    values: list[str], decimal: str, day_first: bool | None, *, complete: bool
) -> _Typed:
    """Read different values as one type; ``None`` leaves them text. The text is a finding."""
    import pandas as pd

    if not values:
        return pd.Series([], dtype="float64"), ""
    if all(is_number(text, decimal) for text in values):
        return _read_numbers(values, decimal, complete=complete)
    if all(text.lower() in _TRUTH for text in values):
        dtype = "bool" if complete else "boolean"
        return pd.Series([_TRUTH[text.lower()] for text in values], dtype=dtype), ""
    dates, finding = read_dates(values, day_first)
    if dates is not None or finding:
        return dates, finding
    if all(map(_FOREIGN_NUMBER.fullmatch, values)):
        return None, f"numbers such as {values[0]!r} left as text"
    few = values[:_FEW]
    for what, is_one in (
        ("numbers", partial(is_number, decimal=decimal)),
        ("dates", looks_like_date),
    ):
        if len(few) >= 10 and sum(map(is_one, few)) >= _MOSTLY * len(few):
            word = next(text for text in values if not is_one(text))
            return None, f"{what} left as text because of {word!r}"
    return None, ""


def _read_numbers(values: list[str], decimal: str, *, complete: bool) -> _Typed:
    import pandas as pd

    if are_codes(values):
        return None, "leading zeros kept, read as text"
    whole = [int(text) for text in values if _WHOLE.fullmatch(text)]
    largest = max(map(abs, whole), default=0)
    # float64 holds whole numbers up to 2**53, and a column with gaps becomes float64
    if len(whole) == len(values) and largest > (2**63 - 1 if complete else 2**53):
        return None, "whole numbers too long to be exact, read as text"
    return pd.to_numeric(pd.Series(values).str.replace(decimal, ".", regex=False)), ""
