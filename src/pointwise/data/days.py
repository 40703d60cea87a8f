"""Dates as numbers: days since 1970 and the parts of a calendar that repeat."""

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

DatePart: TypeAlias = Literal["elapsed", "month", "day", "weekday", "hour"]
"""``elapsed`` is days since 1970; the others repeat."""


def days_since_1970(dates: NDArray[Any]) -> NDArray[np.float64]:
    """Count days, with fractions.

    Args:
        dates: Dates ``(N,)`` of any datetime64.

    Returns:
        Days ``(N,)``, NaN for NaT.

    Example:
        >>> days_since_1970(np.array(["1970-01-02T12", "NaT"], dtype="datetime64[h]"))
        array([1.5, nan])
    """
    days = dates.astype("datetime64[us]").astype(np.int64) / 86_400e6
    return np.where(np.isnat(dates), np.nan, days)


def date_part(dates: NDArray[Any], part: DatePart) -> NDArray[np.float64]:
    """Tell one part of dates.

    Args:
        dates: Dates ``(N,)`` of any datetime64.
        part: Which part.

    Returns:
        Months and days of the month from 1, weekdays from 0 (Monday), hours with fractions, or days
        since 1970; NaN for NaT.

    Example:
        >>> date_part(np.array(["2026-11-21"], dtype="datetime64[D]"), "weekday")
        array([5.])
    """
    day, month = dates.astype("datetime64[D]"), dates.astype("datetime64[M]")
    values: NDArray[Any]
    if part == "elapsed":
        return days_since_1970(dates)
    if part == "month":
        values = month.astype(np.int64) % 12 + 1
    elif part == "day":
        values = (day - month.astype("datetime64[D]")).astype(np.int64) + 1
    elif part == "weekday":
        values = (day.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    else:
        values = (dates.astype("datetime64[us]") - day).astype(np.int64) / 3600e6
    return np.where(np.isnat(dates), np.nan, values)


def day_text(days: float) -> str:
    """Write a number of days since 1970 as a date.

    Args:
        days: Days; a fraction is cut off.

    Returns:
        Such as ``2026-11-21``.

    Example:
        >>> day_text(0.5)
        '1970-01-01'
    """
    return str(np.datetime64("1970-01-01") + np.timedelta64(math.floor(days), "D"))
