"""Rules for the values of a report: each takes a value, and returns it clean or says what is wrong.

A rule is a function of the value and of where it stands. What it returns is plain JSON: numbers of
a few digits, ``None`` where a number is not finite, texts of bounded length. The same rules serve
what the package computes and what comes from a file.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Rule = Callable[[Any, str], Any]


class BrokenRuleError(ValueError):
    """A value that does not follow its rule; the message says where, the rule, and what came."""

    def __init__(self, where: str, rule: str, value: object) -> None:
        came = repr(value)
        super().__init__(
            f"{where} must be {rule}, got {came if len(came) <= 60 else came[:59] + '…'}"
        )


def text(longest: int = 120) -> Rule:
    """Make a rule for a string; one longer than ``longest`` characters loses its middle.

    Names of many columns often share a long beginning and differ at the end.

    Args:
        longest: Most characters kept.

    Returns:
        The rule.

    Example:
        >>> text(longest=9)("sensor_reading_17", "columns[0].name")
        'senso…_17'
    """
    tail = longest // 3

    def rule(value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise BrokenRuleError(where, "a text", value)
        clean: str = value.encode("utf-8", "replace").decode("utf-8")  # halves of surrogate pairs
        if len(clean) <= longest:
            return clean
        return f"{clean[: longest - tail - 1]}…{clean[len(clean) - tail :]}"

    return rule


def integer(value: Any, where: str) -> int:
    """Accept a whole number of Python or NumPy, from zero to what 63 bits hold."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise BrokenRuleError(where, "a whole number of at least 0", value)
    return int(value)


def number(value: Any, where: str, digits: int = 6) -> float | int | None:
    """Accept a number and keep six digits of it; what is missing or not finite becomes ``None``."""
    if value is None:
        return None
    if not isinstance(value, int | float | np.number) or isinstance(
        value, bool | np.complexfloating
    ):
        raise BrokenRuleError(where, "a number or null", value)
    try:
        as_float = float(value)
    except OverflowError:
        return None
    if not math.isfinite(as_float):
        return None
    return int(value) if isinstance(value, int | np.integer) else float(f"{as_float:.{digits}g}")


def finite(value: Any, where: str) -> float | int:
    """Accept a finite number that says where something stands on an axis.

    Twelve digits are kept: six would make one point of a narrow range far from zero.

    Args:
        value: The number.
        where: Where it stands in the report.

    Returns:
        The number, rounded.

    Raises:
        BrokenRuleError: If it is not a number, or not finite.
    """
    clean = number(value, where, digits=12)
    if clean is None:
        raise BrokenRuleError(where, "a finite number", value)
    return clean


def one_of(*choices: Any) -> Rule:
    """Make a rule for one of a few values."""

    def rule(value: Any, where: str) -> Any:
        if value not in choices:
            raise BrokenRuleError(where, " or ".join(map(repr, choices)), value)
        return value

    return rule


def maybe(inner: Rule) -> Rule:
    """Make a rule that also takes ``None``."""
    return lambda value, where: None if value is None else inner(value, where)


def either(*rules: Rule) -> Rule:
    """Make a rule that takes what the first fitting one of ``rules`` takes."""

    def rule(value: Any, where: str) -> Any:
        for one in rules[:-1]:
            try:
                return one(value, where)
            except BrokenRuleError:
                continue
        return rules[-1](value, where)

    return rule


def array(item: Rule, *, least: int = 0, most: int | None = None) -> Rule:
    """Make a rule for a list whose items all follow ``item``, of ``least`` to ``most`` items."""

    def rule(value: Any, where: str) -> list[Any]:
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise BrokenRuleError(where, "a list", value)
        if len(value) < least or (most is not None and len(value) > most):
            bounds = f"at least {least}" if most is None else f"{least} to {most}"
            raise BrokenRuleError(where, f"a list of {bounds} items", value)
        return [item(one, f"{where}[{place}]") for place, one in enumerate(value)]

    return rule


def table(item: Rule, *, most: int | None = None) -> Rule:
    """Make a rule for an object of any names, ``most`` of them, whose values follow ``item``."""
    name = text()

    def rule(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise BrokenRuleError(where, "an object", value)
        if most is not None and len(value) > most:
            raise BrokenRuleError(where, f"an object of at most {most} names", value)
        return {
            name(key, f"a name in {where}"): item(one, f"{where}.{key}")
            for key, one in value.items()
        }

    return rule


def record(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    """Make a rule for an object of known names; an ``optional`` one left out becomes ``None``."""
    known = {**required, **{name: maybe(one) for name, one in (optional or {}).items()}}

    def rule(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise BrokenRuleError(where, "an object", value)
        for name in required:
            if name not in value:
                raise BrokenRuleError(where, f"an object with {name!r}", sorted(map(str, value)))
        for name in value:
            if name not in known:
                raise BrokenRuleError(where, f"an object of {', '.join(known)}", str(name))
        return {
            name: one(value[name], f"{where}.{name}") if name in value else None
            for name, one in known.items()
        }

    return rule


def checked(inner: Rule, holds: Callable[[Any], bool], rule_in_words: str) -> Rule:
    """Make a rule for what follows ``inner`` and for which ``holds`` is true."""

    def rule(value: Any, where: str) -> Any:
        clean = inner(value, where)
        if not holds(clean):
            raise BrokenRuleError(where, rule_in_words, clean)
        return clean

    return rule
