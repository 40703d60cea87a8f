"""What is in the columns of a table, in a few numbers each, and which of them look wrong."""

from typing import Any

import numpy as np

from pointwise.data.coding import TableCoding
from pointwise.data.table import Column, Table

TOP_LEVELS = 5


def summarize(table: Table, coding: TableCoding) -> list[dict[str, Any]]:
    """Describe every column of a table.

    Args:
        table: The table.
        coding: How its columns are coded, which tells the ones left out.

    Returns:
        Per column ``name``, ``kind``, ``missing`` and ``distinct`` counts and a ``note``; for
        numbers and dates ``minimum``, ``median`` and ``maximum``, for categories the most frequent
        ``levels`` with their ``rows``.

    Example:
        >>> from pointwise.data.coding import code_table
        >>> from pointwise.data.table import as_table
        >>> table = as_table(np.array([[1.0], [3.0], [np.nan]]), ["age"])
        >>> summarize(table, code_table(table))[0]["missing"]
        1
    """
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "missing": int(column.missing().sum()),
            **_describe(column),
            "note": f"left out: {coded.ignored}" if coded.ignored else "",
        }
        for column, coded in zip(table.columns, coding.columns, strict=True)
    ]


def _describe(column: Column) -> dict[str, Any]:
    present = column.values[~column.missing()]
    if column.kind == "category":
        levels, counts = np.unique(present.astype(str), return_counts=True)
        top = np.argsort(-counts, kind="stable")[:TOP_LEVELS]
        rare = len(levels) > len(present) / 2  # texts of single rows are nobody's business
        shown = [] if rare else [{"level": str(levels[i]), "rows": int(counts[i])} for i in top]
        return {"distinct": len(levels), "levels": shown}
    distinct = len(np.unique(present))
    if len(present) == 0:
        return {"distinct": 0}
    if column.kind == "date":
        middle = np.sort(present)[len(present) // 2]
        low, median, high = (str(v)[:19] for v in (present.min(), middle, present.max()))
        return {"distinct": distinct, "minimum": low, "median": median, "maximum": high}
    low, median, high = np.quantile(present, [0, 0.5, 1])
    return {
        "distinct": distinct,
        "minimum": float(low),
        "median": float(median),
        "maximum": float(high),
    }


def suspicious_columns(table: Table, target: Column) -> dict[str, str]:
    """Find columns that look like row numbers or like copies of the target.

    Args:
        table: The columns to predict from.
        target: The column to predict.

    Returns:
        The reason per suspicious column.

    Example:
        >>> from pointwise.data.table import as_table
        >>> x = as_table(np.stack([np.arange(30.0), np.sin(np.arange(30.0))], 1), ["id", "a"])
        >>> y = as_table(np.cos(np.arange(30.0))[:, None], ["y"])
        >>> suspicious_columns(x, y.columns[0])
        {'id': 'looks like a row number (0, 1, 2, ... in order)'}
    """
    found = {}
    for column in table.columns:
        if _is_row_number(column):
            first = ", ".join(f"{v:g}" for v in column.values[:3])
            found[column.name] = f"looks like a row number ({first}, ... in order)"
        elif _copies(column, target):
            found[column.name] = f"looks like a copy of the target {target.name!r}"
    return found


def _is_row_number(column: Column) -> bool:
    if column.kind != "number" or len(column.values) < 20 or column.missing().any():
        return False
    return bool(np.all(np.diff(column.values) == 1))


def _copies(column: Column, target: Column) -> bool:
    """Whether one tells the other: by value or rank for numbers, level by level for categories."""
    both = ~column.missing() & ~target.missing()
    if both.sum() < 20:
        return False
    a, b = column.values[both], target.values[both]
    if column.kind == "number" and target.kind == "number":
        if len(np.unique(a)) < 3 or len(np.unique(b)) < 3:
            return bool(len(np.unique(a)) == len(np.unique(b)) > 1 and _one_to_one(a, b))
        return max(_correlation(a, b), _correlation(_ranks(a), _ranks(b))) > 0.99999
    if "date" in (column.kind, target.kind) or len(np.unique(b.astype(str))) < 2:
        return False
    few = len(np.unique(a.astype(str))) <= max(20, len(a) // 20)
    return few and _one_to_one(a.astype(str), b.astype(str))


def _correlation(a: Any, b: Any) -> float:
    return float(abs(np.corrcoef(a, b)[0, 1]))


def _ranks(values: Any) -> Any:
    return np.unique(values, return_inverse=True)[1]


def _one_to_one(a: Any, b: Any) -> bool:
    pairs = len(set(zip(a.tolist(), b.tolist(), strict=True)))
    return pairs == len(set(a.tolist())) == len(set(b.tolist()))
