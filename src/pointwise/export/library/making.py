"""The C library of each kind of model: its chain, the C around it, and how it is called."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from pointwise.data.coding import LARGEST
from pointwise.errors import DataError
from pointwise.estimators.base import TableEstimator
from pointwise.export.expected import half_widths
from pointwise.export.inputs import takes_rows
from pointwise.export.library import columns as c_columns
from pointwise.export.library.chains import table_chain
from pointwise.export.library.names import identifiers, utf8
from pointwise.export.library.sources import render
from pointwise.maps.levels import Levels
from pointwise.nn.encoding import UNSEEN
from pointwise.runtime import Chain
from pointwise.runtime.ahead import ObjectCode, compile_ahead
from pointwise.runtime.schedules import COPIED_CHANNELS, LINED_CHANNELS
from pointwise.runtime.simplify import simplify
from pointwise.runtime.stages import HALIDE_TYPES, Layout, UnsupportedError

ON_STACK = 64 * 1024
"""Bytes of a block of inputs and outputs that lie on the stack; more are asked for."""

BLOCK = 256
"""Rows or pixels of an estimator that are coded at a time."""

FARTHEST = 2**31 - 1
"""Compiled code counts in 32 bits."""

LONGEST = 1 << 22
"""Positions of one call of compiled code, of narrow networks."""


@dataclass(frozen=True)
class CType:
    """A type of numbers.

    Attributes:
        c: Its name in C.
        code: Its kind, as Halide counts them.
        bits: Its size.
    """

    c: str
    code: int
    bits: int


LABELS = CType("int64_t", 0, 64)
"""Of the output of a chain that ends in class numbers."""


def ctype(dtype: str) -> CType:
    """How C and Halide name a type of inputs.

    Args:
        dtype: NumPy's name.

    Returns:
        The type.

    Raises:
        DataError: If compiled code does not read it.

    Example:
        >>> ctype("uint16").c
        'uint16_t'
    """
    if not isinstance(dtype, str) or dtype not in HALIDE_TYPES:
        raise DataError(f"the type must be one of {', '.join(HALIDE_TYPES)}, got {dtype!r}")
    kind = np.dtype(dtype)
    name = {"float32": "float", "float64": "double"}.get(dtype, f"{dtype}_t")
    return CType(name, "iuf".index(kind.kind), 8 * kind.itemsize)


@dataclass(frozen=True)
class Sources:
    """A library that is not yet written.

    Attributes:
        files: By name what each file holds.
        declarations: What can be called.
    """

    files: dict[str, bytes]
    declarations: tuple[str, ...]


def of_chain(chain: Chain, name: str, title: str, dtype: str, target: str) -> Sources:
    """The library of a chain of 1x1s, for rows and for planar memory.

    Args:
        chain: The chain.
        name: Of its functions.
        title: What it was made of.
        dtype: Type of its inputs.
        target: What to compile for.

    Returns:
        The library.
    """
    chain = simplify(chain)
    given, made = ctype(dtype), LABELS if chain.dtype else ctype("float32")
    copied = chain.c_in >= COPIED_CHANNELS
    lined = chain.is_plain and chain.c_out >= LINED_CHANNELS
    by_rows = Layout(dtype, True, True, False, dense=True)
    planar = Layout(dtype, False, False, False, copied=copied, by_blocks=lined)
    one = Layout(dtype, False, False, False, few=True)
    layouts = {"few": one, "rows": by_rows, "planar": planar}
    code = _compiled(chain, {f"{name}_code_{key}": how for key, how in layouts.items()}, target)
    few, rows, planes = code.functions
    widest = max(chain.c_in, chain.c_out)
    step = rows.fewest * planes.fewest
    longest = max(LONGEST // widest // step, 1) * step
    declarations = (
        f"void {name}_rows(const {given.c} *x, {made.c} *out, size_t positions)",
        f"void {name}_planar(const {given.c} *x, size_t x_stride, {made.c} *out, "
        "size_t out_stride, size_t positions)",
    )
    held = few.fewest * (chain.c_in * given.bits + chain.c_out * made.bits) // 8
    facts = {
        "rows": declarations[0],
        "planar": declarations[1],
        "few": few,
        "fewest_rows": rows.fewest,
        "fewest_planar": planes.fewest,
        "whole": planes.whole,
        "longest": longest,
        "farthest": (FARTHEST - longest) // widest,
        "heap": held > ON_STACK,
        **_of_code(chain, code, given, made),
    }
    return _sources("network", name, f"{title}: {chain.describe()}", code, declarations, facts)


def of_table(
    model: TableEstimator, name: str, target: str, interval: float | None = None
) -> Sources:
    """The library of a fitted estimator of tables, for rows.

    Args:
        model: The estimator.
        name: Of its functions.
        target: What to compile for.
        interval: Coverage of the intervals whose half width it tells, or ``None``.

    Returns:
        The library.
    """
    coding = model.coding_
    used = [column for column in coding.columns if not column.ignored]
    names = dict(zip((c.name for c in used), identifiers(c.name for c in used), strict=True))
    fields, row = [c_columns.field(column, names[column.name]) for column in used], f"{name}_row"
    if takes_rows(model):
        places = {column.name: i for i, column in enumerate(coding.columns)}
        values, fields, row = {c.name: f"row[{places[c.name]}]" for c in used}, [], "double"
    else:
        values = {c.name: f"row->{names[c.name]}" for c in used}
    channels: list[str] = []
    for column in (*coding.numbers, *coding.categories):
        channels += c_columns.channels(column, values[column.name], names[column.name])
    classes = _labels(model)
    results = "double *prediction" if classes is None else "int32_t *label, float *probabilities"
    predict = f"void {name}_predict(const {row} *rows, {results}, size_t count)"
    facts = {
        "row": row,
        "fields": fields,
        "columns": len(coding.columns),
        "channels": channels,
        "texts": {names[c.name]: c_columns.texts(c) for c in coding.categories},
        "dates": any(column.kind == "date" for column in coding.numbers),
        "number": "count",
    }
    return _of_estimator(model, "table", name, predict, facts, target, interval)


def of_pixels(
    model: TableEstimator, name: str, dtype: str, target: str, interval: float | None = None
) -> Sources:
    """The library of a fitted estimator of tables, for images whose bands are its columns.

    Args:
        model: The estimator.
        name: Of its functions.
        dtype: Type of the bands.
        target: What to compile for.
        interval: Coverage of the intervals whose half width it tells, or ``None``.

    Returns:
        The library.
    """
    pixels = model.pixel_model()
    place = {band.name: i for i, band in enumerate(pixels.bands)}
    levels = {i: Levels(b.name, b.levels) for i, b in enumerate(pixels.used) if b.levels}
    used = [
        {
            "place": place[band.name],
            "offset": repr(band.offset),
            "gaps": int(band.gaps),
            "levels": f"levels_{i}" if band.levels else "",
            "count": len(levels[i].numbers) if band.levels else 0,
        }
        for i, band in enumerate(pixels.used)
    ]
    classes = _labels(model)
    results = "float *prediction" if classes is None else "int32_t *label, float *probabilities"
    predict = (
        f"void {name}_map(const {ctype(dtype).c} *bands, size_t stride, {results}, "
        "size_t out_stride, size_t pixels)"
    )
    facts = {
        "bands": [band.name for band in pixels.bands],
        "used": used,
        "in_c": ctype(dtype).c,
        "numbers": {
            i: [
                (repr(float(n)), c_columns.number(c))
                for n, c in zip(known.numbers, known.codes, strict=True)
            ]
            for i, known in levels.items()
        },
        "largest": repr(LARGEST),
        "number": "pixels",
    }
    return _of_estimator(model, "pixels", name, predict, facts, target, interval)


def _of_estimator(
    model: TableEstimator,
    template: str,
    name: str,
    predict: str,
    facts: dict[str, Any],
    target: str,
    interval: float | None,
) -> Sources:
    chain = simplify(table_chain(model))
    layout = Layout("float32", False, False, False, few=True)  # of many as fast, of one twice
    code = _compiled(chain, {f"{name}_code": layout}, target)
    fewest = code.functions[0].fewest
    block = max(fewest, BLOCK // fewest * fewest)
    while block > fewest and 4 * block * (chain.c_in + chain.c_out) > ON_STACK:
        block -= fewest
    scale = model.network_.scale
    facts = {
        "predict": predict,
        "classes": _labels(model) or [],
        "targets": getattr(model, "target_names_", None) or _target_names(model),
        "scale": [repr(float(v)) for v in scale.scale],
        "shift": [repr(float(v)) for v in scale.shift],
        "interval": interval,
        "half": [repr(half) for half in half_widths(model, interval)],
        "fewest": fewest,
        "block": block,
        "heap": 4 * block * (chain.c_in + chain.c_out) > ON_STACK,
        "unseen": c_columns.number(UNSEEN),
        **_of_code(chain, code, ctype("float32"), ctype("float32")),
        **facts,
    }
    title = f"{type(model).__name__}: {chain.describe()}"
    return _sources(template, name, title, code, (predict,), facts)


def _target_names(model: TableEstimator) -> list[str]:
    count = getattr(model, "n_targets_", 1)
    return ["the target"] if count == 1 else [f"target {i}" for i in range(count)]


def _labels(model: TableEstimator) -> list[str] | None:
    """The classes of a classifier as text."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return None
    labels = [str(label) for label in classes.tolist()]
    for label in labels:
        if "\0" in label:
            raise DataError(f"class {label!r} has a zero byte, which ends texts in C: rename it")
    return labels


def _compiled(chain: Chain, layouts: Mapping[str, Layout], target: str) -> ObjectCode:
    try:
        return compile_ahead(chain, layouts, target)
    except UnsupportedError as reason:
        raise DataError(f"there is no compiled code for this network: {reason}") from reason


def _of_code(chain: Chain, code: ObjectCode, given: CType, made: CType) -> dict[str, Any]:
    """What every template of a source needs."""
    return {
        "c_in": chain.c_in,
        "c_out": chain.c_out,
        "in_type": given,
        "out_type": made,
        "members": code.functions[0].members,
        "functions": code.functions,
    }


def _sources(
    template: str,
    name: str,
    title: str,
    code: ObjectCode,
    declarations: tuple[str, ...],
    facts: dict[str, Any],
) -> Sources:
    objects = {f"{function.name}{code.suffix}": function.code for function in code.functions}
    facts = {
        "name": name,
        "title": title,
        "version": metadata.version("pointwise"),
        "target": code.target,
        "objects": list(objects),
        "allocates": code.allocates,
        **facts,
    }
    files = {
        f"{name}.h": utf8(render(f"{template}.h", facts)),
        f"{name}.c": utf8(render(f"{template}.c", facts)),
        **objects,
    }
    return Sources(files, declarations)
