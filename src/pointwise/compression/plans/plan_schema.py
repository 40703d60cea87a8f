"""What a plan file must hold; each thing that is not as it must be is named with its place."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from pointwise.compression.forms.stages import Stage
from pointwise.errors import ModelFileError

FORMAT = "pointwise compression plan"
VERSION = 3
"""Of the plan file; a newer one may hold what this version cannot build."""

SINCE: dict[int, dict[str, Any]] = {
    2: {"channels_last": False},
    3: {"folded": [], "offsets": []},
}
"""Entries that plans of older versions lack, and what that means there."""

REMEDY = "copy the folder again from its source, or compress again"

LARGEST = 2**31
"""Sizes below this: torch's own limit for a channel axis is far away."""


def decode_plan(text: str, where: str) -> dict[str, Any]:
    """Read the text of a plan and check all of it.

    Args:
        text: JSON.
        where: What to call it in messages.

    Returns:
        Its entries, all of the kind that they must be.

    Raises:
        ModelFileError: If it is no plan, a newer one, or anything in it is not as it must be.

    Example:
        >>> decode_plan("[]", "plan.json")
        Traceback (most recent call last):
            ...
        pointwise.errors.ModelFileError: plan.json must hold a JSON object; copy the folder ...
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ModelFileError(f"{where} is not JSON ({reason}); {REMEDY}") from None
    if not isinstance(found, dict):
        raise ModelFileError(f"{where} must hold a JSON object; {REMEDY}")
    if found.get("format") != FORMAT:
        got = f"got {found['format']!r}" if "format" in found else "it has none"
        raise ModelFileError(f"{where} must have the format {FORMAT!r}, {got}")
    version = found.get("version")
    if type(version) is int and version > VERSION:
        package = found.get("package")
        raise ModelFileError(
            f"{where} has version {version}, this pointwise reads up to {VERSION}: install "
            f"pointwise {package if isinstance(package, str) else version} or newer"
        )
    if type(version) is int:
        for since, entries in SINCE.items():
            found = {**entries, **found} if version < since else found
    _check(found, PLAN, where)
    for place, layer in enumerate(found["layers"]):
        _check_layer(layer, f"{where}: layers[{place}]")
    paths = [layer["path"] for layer in found["layers"]]
    for path in {path for path in paths if paths.count(path) > 1}:
        raise ModelFileError(f"{where}: every layer must be there once, {path!r} is there twice")
    return found


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value < LARGEST


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_size, value))


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _one_of(*names: str) -> tuple[str, Callable[[Any], bool]]:
    return f"be one of {', '.join(names)}", lambda value: value in names


Rules = Mapping[str, tuple[str, Callable[[Any], bool]]]

SIZE = ("be a whole number above 0", _is_size)
SIZES = ("be a list of whole numbers above 0", _is_sizes)
COUNTS = ("be a list of whole numbers, none below 0", _is_counts)
TEXT = ("be a text", _is_text)
PATHS = (
    "be a list of texts",
    lambda value: isinstance(value, list) and all(map(_is_text, value)),
)
FLAG = ("be true or false", lambda value: isinstance(value, bool))

PLAN: Rules = {
    "format": TEXT,
    "version": SIZE,
    "package": TEXT,
    "model": TEXT,
    "channels_last": FLAG,
    "folded": PATHS,
    "offsets": PATHS,
    "layers": ("be a list", lambda value: isinstance(value, list)),
}
LAYER: Rules = {
    "path": TEXT,
    "form": TEXT,
    "rank": SIZES,
    "bias": FLAG,
    "stages": ("be a list of one or more", lambda value: isinstance(value, list) and bool(value)),
}
STAGE: Rules = {
    "kind": _one_of("linear", "pointwise", "conv", "transposed"),
    "c_in": SIZE,
    "c_out": SIZE,
    "groups": SIZE,
    "kernel": SIZES,
    "stride": SIZES,
    "padding": (
        "be 'same', 'valid' or a list of whole numbers, none below 0",
        lambda value: value in ("same", "valid") or _is_counts(value),
    ),
    "dilation": SIZES,
    "output_padding": COUNTS,
    "padding_mode": _one_of("zeros", "reflect", "replicate", "circular"),
}
assert tuple(STAGE) == tuple(field.name for field in fields(Stage)), "a rule for every entry"


def _check(value: Any, rules: Rules, where: str) -> None:
    """All entries there, none besides, each as it must be."""
    if not isinstance(value, dict):
        raise ModelFileError(f"{where} must be an object, got {json.dumps(value)[:40]}; {REMEDY}")
    lacking = [name for name in rules if name not in value]
    others = [name for name in value if name not in rules]
    for fault, names in (("lacks", lacking), ("has also", others)):
        if names:
            raise ModelFileError(f"{where} {fault} {', '.join(map(repr, names))}; {REMEDY}")
    for name, (rule, holds) in rules.items():
        if not holds(value[name]):
            got = json.dumps(value[name])
            got = got if len(got) <= 40 else f"{got[:40]}..."
            raise ModelFileError(f"{where}: {name} must {rule}, got {got}; {REMEDY}")


def _check_layer(layer: Any, where: str) -> None:
    _check(layer, LAYER, where)
    channels = None
    for place, stage in enumerate(layer["stages"]):
        here = f"{where}: stages[{place}]"
        _check(stage, STAGE, here)
        axes = len(stage["kernel"])
        if axes > 3 or (axes == 0) != (stage["kind"] in ("linear", "pointwise")):
            raise ModelFileError(
                f"{here}: kernel must have 1 to 3 axes, none where kind is linear or pointwise, "
                f"got {axes} where it is {stage['kind']}; {REMEDY}"
            )
        for name in ("stride", "padding", "dilation", "output_padding"):
            if isinstance(stage[name], list) and len(stage[name]) != axes:
                raise ModelFileError(
                    f"{here}: {name} must have a number for each axis of the kernel ({axes}), "
                    f"got {len(stage[name])}; {REMEDY}"
                )
        if stage["c_in"] % stage["groups"] or stage["c_out"] % stage["groups"]:
            raise ModelFileError(
                f"{here}: groups must divide c_in and c_out, got {stage['groups']} for "
                f"{stage['c_in']} and {stage['c_out']}; {REMEDY}"
            )
        if channels is not None and stage["c_in"] != channels:
            raise ModelFileError(
                f"{here}: c_in must be the {channels} outputs of the stage before, "
                f"got {stage['c_in']}; {REMEDY}"
            )
        channels = stage["c_out"]
