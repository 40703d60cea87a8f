"""Dates and timestamps in text: recognised by their spelling, never guessed from numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_MINUTES = r":\d{2}(?P<seconds>:\d{2}(?P<part>\.\d{1,9})?)?"
_TIME = rf"(?P<time>[T ]\d{{1,2}}{_MINUTES})"
_ISO = re.compile(
    rf"\d{{4}}-\d{{2}}-\d{{2}}([T ]\d{{2}}{_MINUTES}\s?(Z|[+-]\d{{2}}(:?\d{{2}})?)?)?", re.ASCII
)
_OTHER = re.compile(
    rf"(?P<first>\d{{1,2}})(?P<mark>[./-])(?P<second>\d{{1,2}})(?P=mark)\d{{4}}{_TIME}?", re.ASCII
)

DATES = "dates read"
DAY_FIRST, MONTH_FIRST = "dates read, the day first", "dates read, the month first"
AMBIGUOUS = "dates left as text, since day and month cannot be told apart"
MIXED = "dates left as text, since they are not all spelt alike"


def looks_like_date(text: str) -> bool:
    """Tell whether a cell is spelt like a date.

    Args:
        text: The cell, without blanks around it.

    Returns:
        Whether it is; the day may still not exist.

    Example:
        >>> looks_like_date("2024-02-30"), looks_like_date("20240230")
        (True, False)
    """
    return bool(_ISO.fullmatch(text) or _OTHER.fullmatch(text))


def read_dates(
    texts: Sequence[str], day_first: bool | None = None
) -> tuple[pd.Series[Any] | None, str]:
    """Read dates where every text is one.

    Args:
        texts: The different values of a column: ``2024-01-31``, with ``T`` or a blank and a time,
            with ``Z`` or an offset; ``31.01.2024``; ``1/31/2024`` or ``31/1/2024`` where some value
            tells which of the two is the month.
        day_first: Which of the two came first in a file like this one, where no value tells.

    Returns:
        ``datetime64[us]`` in UTC without a zone, or ``None`` where they are no dates; and what
        there is to say of them.

    Example:
        >>> read_dates(["2024-01-31T23:30-01:00"])[0].iloc[0]
        Timestamp('2024-02-01 00:30:00')
    """
    import pandas as pd

    style, finding = _format(texts, day_first)
    if not style:
        return None, finding
    spelt = pd.Series(texts)
    dates = pd.to_datetime(spelt, format=style, errors="coerce", utc=True)
    if bool(dates.isna().any()):
        return None, f"dates left as text because of {texts[int(dates.isna().argmax())]!r}"
    return dates.dt.tz_localize(None).dt.as_unit("us"), finding


def _format(texts: Sequence[str], day_first: bool | None) -> tuple[str, str]:
    """Find the one format of all texts, in the spelling of ``strptime``; empty where none is."""
    if all(map(_ISO.fullmatch, texts)):
        return "ISO8601", DATES
    if not all(map(_OTHER.fullmatch, texts)):
        return "", ""
    found = [match for text in texts if (match := _OTHER.fullmatch(text))]
    days_first = any(int(match["first"]) > 12 for match in found)
    months_first = any(int(match["second"]) > 12 for match in found)
    marks = {match["mark"] for match in found}
    times = {_time_format(match) for match in found}
    if len(marks) > 1 or len(times) > 1 or (days_first and months_first):
        return "", MIXED
    mark = marks.pop()
    if not days_first and not months_first:
        if day_first is None and mark != ".":
            return "", AMBIGUOUS
        days_first = day_first is not False  # who writes dots writes the day first
    order = ("%d", "%m") if days_first else ("%m", "%d")
    style = mark.join((*order, "%Y")) + times.pop()
    return style, DAY_FIRST if days_first else MONTH_FIRST


def _time_format(match: re.Match[str]) -> str:
    if not match["time"]:
        return ""
    seconds = ":%S" if match["seconds"] else ""
    return f"{match['time'][0]}%H:%M{seconds}{'.%f' if match['part'] else ''}"
