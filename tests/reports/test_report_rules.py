import re

import numpy as np
import pytest

from pointwise.reports import rules
from pointwise.reports.rules import BrokenRuleError

KEPT = {
    "six digits": (rules.number, 123.456789, 123.457),
    "an integer whole": (rules.number, 123456789, 123456789),
    "numpy float": (rules.number, np.float32(0.5), 0.5),
    "numpy integer": (rules.integer, np.int16(7), 7),
    "not a number": (rules.number, float("nan"), None),
    "infinite": (rules.number, -np.inf, None),
    "more than a float holds": (rules.number, 10**400, None),
    "nothing": (rules.number, None, None),
    "twelve digits on an axis": (rules.finite, 1700000000.123456, 1700000000.12),
    "short text": (rules.text(5), "abcde", "abcde"),
    "long text": (rules.text(6), "abcdefghi", "abc…hi"),
    "one letter": (rules.text(1), "abc", "…"),
    "half a surrogate pair": (rules.text(), "a\ud800b", "a?b"),
    "first that fits": (rules.either(rules.number, rules.text()), "x", "x"),
    "tuple": (rules.array(rules.integer), (1, 2), [1, 2]),
    "optional left out": (
        rules.record({"a": rules.integer}, {"b": rules.integer}),
        {"a": 1},
        {"a": 1, "b": None},
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_kept(case):
    rule, value, expected = KEPT[case]
    kept = rule(value, "x")
    assert kept == expected
    assert type(kept) is type(expected)
    assert rule(kept, "x") == kept  # what was cleaned once stays as it is


RECORD = rules.record({"a": rules.integer})

BROKEN = {
    "text for a number": (rules.number, "1", "x must be a number or null, got '1'"),
    "bool for a number": (rules.number, True, "x must be a number or null, got True"),
    "complex": (rules.number, 1j, "x must be a number or null, got 1j"),
    "negative": (rules.integer, -1, "x must be a whole number of at least 0, got -1"),
    "float for an integer": (rules.integer, 2.0, "x must be a whole number of at least 0, got 2.0"),
    "bool for an integer": (
        rules.integer,
        True,
        "x must be a whole number of at least 0, got True",
    ),
    "huge": (rules.integer, 2**63, f"x must be a whole number of at least 0, got {2**63}"),
    "not finite": (rules.finite, float("inf"), "x must be a finite number, got inf"),
    "number for a text": (rules.text(), 3, "x must be a text, got 3"),
    "no choice": (rules.one_of("a", "b"), "c", "x must be 'a' or 'b', got 'c'"),
    "text for a list": (rules.array(rules.text()), "ab", "x must be a list, got 'ab'"),
    "in a list": (
        rules.array(rules.integer),
        [1, "b"],
        "x[1] must be a whole number of at least 0, got 'b'",
    ),
    "too few": (
        rules.array(rules.integer, least=1),
        [],
        "x must be a list of at least 1 items, got []",
    ),
    "too many": (
        rules.array(rules.integer, most=1),
        [1, 2],
        "x must be a list of 0 to 1 items, got [1, 2]",
    ),
    "list for an object": (RECORD, [1], "x must be an object, got [1]"),
    "list for a table": (rules.table(rules.integer), [1], "x must be an object, got [1]"),
    "in a table": (rules.table(rules.number), {"b": "c"}, "x.b must be a number or null, got 'c'"),
    "name of a table": (rules.table(rules.number), {1: 2}, "a name in x must be a text, got 1"),
    "too many names": (
        rules.table(rules.number, most=1),
        {"a": 1, "b": 2},
        "x must be an object of at most 1 names, got {'a': 1, 'b': 2}",
    ),
    "missing": (RECORD, {"b": 1}, "x must be an object with 'a', got ['b']"),
    "unknown": (RECORD, {"a": 1, "b": 1}, "x must be an object of a, got 'b'"),
    "in a record": (RECORD, {"a": -1}, "x.a must be a whole number of at least 0, got -1"),
    "long values": (rules.number, "y" * 99, "x must be a number or null, got '" + "y" * 58 + "…"),
    "not what holds": (
        rules.checked(rules.integer, lambda v: v > 2, "above 2"),
        1,
        "x must be above 2, got 1",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_refused(case):
    rule, value, message = BROKEN[case]
    with pytest.raises(BrokenRuleError, match=f"^{re.escape(message)}$"):
        rule(value, "x")
