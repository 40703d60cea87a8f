"""JSON objects to bytes and back; what JSON cannot hold is refused, and its place named."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pointwise.errors import ModelFileError


def decode_object(data: bytes, where: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        data: Bytes of the file, UTF-8 with or without a byte order mark.
        where: Name of the file for messages.

    Returns:
        The object.

    Raises:
        ModelFileError: If the bytes are empty, no JSON, or JSON but not an object.

    Example:
        >>> decode_object(b'{"format": "pointwise"}', "config.json")
        {'format': 'pointwise'}
    """
    remedy = "copy the model folder again from its source, or fit again"
    if not data.strip():
        raise ModelFileError(f"{where} is empty: {remedy}")
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ModelFileError(f"{where} is nested too deeply to be read: {remedy}") from None
    except ValueError as error:
        raise ModelFileError(
            f"{where} is not JSON, it was cut short or edited ({error}): {remedy}"
        ) from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{where} must hold a JSON object, got {json_type(value)}: {remedy}")
    return value


def encode_object(value: Mapping[str, Any], where: str) -> bytes:
    """Write a JSON object so that people can read it and compare it: one entry of an entry a line.

    Args:
        value: What ``plain`` takes.
        where: Name of the file for messages.

    Returns:
        UTF-8 bytes that end in a line end.

    Raises:
        ModelFileError: If something in ``value`` is not for JSON; the message has its place.

    Example:
        >>> print(encode_object({"task": "regression", "columns": [{"name": "a"}]}, "x").decode())
        {
          "task": "regression",
          "columns": [
            {"name": "a"}
          ]
        }
    """
    entries = [f"{_dump(key)}: {_spread(item)}" for key, item in plain(value, where).items()]
    text = "{\n  " + ",\n  ".join(entries) + "\n}\n"
    # Half a surrogate pair has no UTF-8, but its backslash form is just what JSON writes for it.
    return text.encode("utf-8", errors="backslashreplace")


def plain(value: Any, where: str) -> Any:
    """Copy a value into what JSON has: tuples become lists, NumPy numbers Python's.

    Args:
        value: Mappings with text keys, lists, tuples, texts, finite numbers, booleans and ``None``.
        where: Name of the place for messages, extended on the way down.

    Returns:
        The copy.

    Raises:
        ModelFileError: If something else is met.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ModelFileError(f"{where}: a key must be text, got {key!r}; give str({key!r})")
        return {str(key): plain(item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, np.bool_ | np.integer | np.floating):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ModelFileError(f"{where} is {value}, which JSON cannot hold; give None instead")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ModelFileError(
        f"{where} is of type {type(value).__name__}, which JSON cannot hold; "
        "give text, numbers, booleans, None, or lists and mappings of them"
    )


def json_type(value: Any) -> str:
    """Name a decoded value's type in JSON's words.

    Args:
        value: What ``json.loads`` gave.

    Returns:
        The words, with an article.

    Example:
        >>> json_type([1]), json_type(True), json_type(None)
        ('a list', 'a boolean', 'null')
    """
    names = {bool: "a boolean", int: "an integer", float: "a number with a fraction"}
    names |= {str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return names[type(value)]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _spread(value: Any) -> str:
    """Spell an entry in one line, or one line per item where its items are many things in one."""
    if isinstance(value, dict) and value:
        lines = [f"{_dump(key)}: {_dump(item)}" for key, item in value.items()]
        return "{\n    " + ",\n    ".join(lines) + "\n  }"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n    " + ",\n    ".join(map(_dump, value)) + "\n  ]"
    return _dump(value)
