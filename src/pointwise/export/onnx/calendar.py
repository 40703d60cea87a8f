"""Parts of dates in whole numbers, as a graph of tensors can compute them."""

import torch
from torch import Tensor

from pointwise.data.days import DatePart

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
"""Microseconds of a day and of an hour."""

MISSING = -(2**63)
"""The number of no date: NumPy's NaT as an integer."""

CYCLE_DAYS = 146_097
"""Days of 400 years, after which the calendar repeats."""

BEFORE = 1000 * CYCLE_DAYS
"""Added to days so that they are positive: the microseconds of an integer go back 292,000 years."""

MARCH_0000 = 719_468
"""Days from 1 March of the year 0, where a year that ends with its leap day begins, to 1970."""


def date_part(dates: Tensor, part: DatePart) -> Tensor:
    """Tell one part of dates, as ``data.days.date_part`` does for arrays.

    Args:
        dates: Microseconds since 1970, int64 of any shape; the lowest number stands for no date.
        part: Which part.

    Returns:
        Months and days of the month from 1, weekdays from 0 (Monday), hours with fractions, or days
        since 1970, in float64; NaN for no date.

    Reference:
        Richards, Mapping Time, 1998, chapter 25 (months in a year that begins in March).

    Example:
        >>> date_part(torch.tensor([86_400_000_000 * 59]), "month")
        tensor([3.], dtype=torch.float64)
    """
    of_day = dates % DAY_US
    days = (dates - of_day) // DAY_US  # exact in ONNX, where a rounded quotient is of floats
    if part == "elapsed":
        values = dates.double() / DAY_US
    elif part == "hour":
        values = of_day.double() / HOUR_US
    elif part == "weekday":
        values = ((days + BEFORE + 3) % 7).double()  # 1970 began on a Thursday
    else:
        values = _month_and_day(days)[part == "day"].double()
    return torch.where(dates == MISSING, float("nan"), values)


def _month_and_day(days: Tensor) -> tuple[Tensor, Tensor]:
    """Month and day of the month, both from 1, of days since 1970."""
    of_cycle = (days + MARCH_0000 + BEFORE) % CYCLE_DAYS
    leap_days = of_cycle // 1460 - of_cycle // 36_524 + of_cycle // 146_096
    year = (of_cycle - leap_days) // 365
    of_year = of_cycle - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153  # 0 is March: from there on lengths repeat after five months
    day = of_year - (153 * month + 2) // 5 + 1
    return (month + 2) % 12 + 1, day
