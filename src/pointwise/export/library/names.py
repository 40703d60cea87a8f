"""Names and texts as C spells them."""

import re
from collections.abc import Iterable

_TAKEN = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept
    const consteval constexpr constinit continue co_await co_return co_yield decltype default delete
    do double dynamic_cast else enum explicit export extern false float for friend goto if inline
    int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
    public register reinterpret_cast requires restrict return short signed sizeof static
    static_assert static_cast struct switch template this thread_local throw true try typedef typeid
    typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_MACROS = "far hyper i386 interface linux near small unix"  # of compilers and of Windows
TAKEN = frozenset(f"{_TAKEN} {_MACROS}".split())
"""Words of C and C++, and what compilers and systems put in the place of a name."""


def identifier(text: str) -> str:
    """The name of something in C.

    Args:
        text: Its name elsewhere.

    Returns:
        The name with an underscore for what no name has, and behind words of the language.

    Example:
        >>> identifier("sepal length (cm)"), identifier("2nd"), identifier("class")
        ('sepal_length_cm', '_2nd', 'class_')
    """
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "_"
    if name[0].isdigit():
        return f"_{name}"
    return f"{name}_" if name in TAKEN else name


def identifiers(texts: Iterable[str]) -> list[str]:
    """Names in C that differ from one another.

    Args:
        texts: The names elsewhere.

    Returns:
        A name each; those that would come twice end in a number.

    Example:
        >>> identifiers(["a b", "a-b", "c"])
        ['a_b', 'a_b_2', 'c']
    """
    names: list[str] = []
    for text in texts:
        name, number = identifier(text), 1
        while name in names:
            number += 1
            name = f"{identifier(text)}_{number}"
        names.append(name)
    return names


def string(text: str) -> str:
    r"""A text as a constant of C, in UTF-8.

    Args:
        text: The text.

    Returns:
        It in quotes; what is no plain letter of ASCII is spelt by its bytes.

    Example:
        >>> string('a "Zürich"')
        '"a \\"Z\\303\\274rich\\""'
    """
    plain = set(range(32, 127)) - set(b'"\\?')  # ??/ is a backslash to old compilers
    quoted = {ord('"'): '\\"', ord("\\"): "\\\\"}
    data = text.encode("utf-8", errors="surrogateescape")
    return '"' + "".join(chr(b) if b in plain else quoted.get(b, f"\\{b:03o}") for b in data) + '"'


def comment(text: str) -> str:
    r"""A text as part of a comment of C.

    Args:
        text: The text.

    Returns:
        It in one line that does not end the comment.

    Example:
        >>> comment("in m*/s\nor so")
        'in m* /s or so'
    """
    return " ".join(text.replace("*/", "* /").replace("/*", "/ *").split())
