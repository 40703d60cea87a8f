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
_MACROS = """
    CONST DELETE EOF ERROR EXIT_FAILURE EXIT_SUCCESS FALSE FILE I IN INFINITY NAN NO_ERROR NULL
    OPTIONAL OUT RAND_MAX TRUE VOID alloca complex errno far hyper i386 imaginary interface linux
    near offsetof small stderr stdin stdout unix
"""  # of the headers of C, of compilers and of Windows
TAKEN = frozenset(f"{_TAKEN} {_MACROS}".split())
"""Words of C and C++, and what headers, compilers and systems put in the place of a name."""

_FAMILIES = re.compile(
    r"(DBL|FLT|FP|HUGE|LDBL|M)_[A-Z0-9_]+"
    r"|(CHAR|LLONG|LONG|PTRDIFF|SCHAR|SHRT|SIZE|UCHAR|U?INT\w*|ULLONG|ULONG|USHRT|WCHAR)_(MAX|MIN)"
    r"|U?INT\w*_C|(ptrdiff|size|u?int\w*|wchar)_t"
)
"""The same where a header has many of a kind."""

_HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
    stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time
    uchar wchar wctype
"""
KNOWN_FILES = frozenset([*_HEADERS.split(), "main"])
"""Headers of C, and a program's own file, which those of a library must not be taken for."""


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
    return f"{name}_" if name in TAKEN or _FAMILIES.fullmatch(name) else name


def library_name(text: str) -> str:
    """The name of a library, of its files and of what is in them.

    Args:
        text: Its name elsewhere.

    Returns:
        A name that no header of C has, nor a program.

    Example:
        >>> library_name("my-net"), library_name("string")
        ('my_net', 'string_')
    """
    name = identifier(text)
    return f"{name}_" if name.lower() in KNOWN_FILES else name


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
    data = utf8(text)
    return '"' + "".join(chr(b) if b in plain else quoted.get(b, f"\\{b:03o}") for b in data) + '"'


def utf8(text: str) -> bytes:
    r"""A text as C holds it.

    Args:
        text: The text.

    Returns:
        Its bytes in UTF-8; half a surrogate pair stands for the byte that it was read from, if any.

    Example:
        >>> utf8("ü"), utf8("\udc80"), utf8("\ud800")
        (b'\xc3\xbc', b'\x80', b'\xed\xa0\x80')
    """
    try:
        return text.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", errors="surrogatepass")


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
