"""What a report holds: the rule of every field, and of every figure."""

import re
from typing import Any

from pointwise.reports.binning import MOST_BINS
from pointwise.reports.classification import CALIBRATION_BINS, MOST_CLASSES, ROC_POINTS
from pointwise.reports.overlays import MOST_CHARACTERS, TYPICAL, WORST
from pointwise.reports.regression import MOST_BANDS, QUANTILES
from pointwise.reports.rules import (
    BrokenRuleError,
    Rule,
    array,
    checked,
    either,
    finite,
    integer,
    maybe,
    number,
    one_of,
    record,
    table,
    text,
)
from pointwise.reports.segmentation import MOST_LISTED as MOST_LISTED
from pointwise.reports.thumbnails import MOST_IMAGES

SCHEMA = 1

LATER = frozenset({"images"})
"""Fields that the first reports did not have: a file may lack them."""

_PNG = re.compile("iVBORw0KGgo[A-Za-z0-9+/]{1,5980}={0,2}")
_JPEG = re.compile("/9j/[A-Za-z0-9+/]+={0,2}")

_QUANTILES = array(number, least=len(QUANTILES), most=len(QUANTILES))


def _square(most: int) -> Rule:
    """Make a rule for a list of equally many lists of counts."""
    rows = array(array(integer, least=1, most=most), least=1, most=most)
    return checked(rows, lambda v: {len(row) for row in v} == {len(v)}, "as many rows as columns")


def _ranged(**more: Rule) -> Rule:
    """Make a rule for counts over a range."""
    inner = record({"low": finite, "high": finite, "beyond": integer, **more})
    return checked(inner, lambda v: bool(v["low"] < v["high"]), "a range with low below high")


def _equally_long(names: tuple[str, ...], inner: Rule) -> Rule:
    return checked(
        inner, lambda v: len({len(v[name]) for name in names}) == 1, "an object of equal lists"
    )


_BAND = record(
    {"low": finite, "high": finite, "middle": finite, "rows": integer, "quantiles": _QUANTILES}
)
_CURVE = array(finite, least=1, most=ROC_POINTS)
_PER_BIN = ("probability", "frequency", "rows")


def _short(pattern: re.Pattern[str], longest: int, what: str) -> Rule:
    """Make a rule for an image in base64, which nothing can leave."""

    def rule(value: Any, where: str) -> str:
        fits = isinstance(value, str) and len(value) <= longest and pattern.fullmatch(value)
        if not fits:
            raise BrokenRuleError(where, f"a {what} in base64 of at most {longest} letters", value)
        return str(value)

    return rule


_MASK = _short(re.compile("iVBORw0KGgo[A-Za-z0-9+/]+={0,2}"), MOST_CHARACTERS["mask"], "PNG")

_OVERLAY = record(
    {
        "name": text(80),
        "kind": one_of("worst", "typical"),
        "iou": number,
        "right": number,
        "mistake": maybe(text(130)),
        "image": _short(_JPEG, MOST_CHARACTERS["image"], "JPEG"),
        "actual": _MASK,
        "predicted": _MASK,
    }
)

_CONFUSION = checked(
    record(
        {
            "labels": array(text(60), most=MOST_CLASSES + 1),
            "counts": _square(MOST_CLASSES + 1),
            "lumped": integer,
        }
    ),
    lambda v: len(v["labels"]) == len(v["counts"]),
    "an object with a label per row of counts",
)

_FIGURES: dict[str, Rule] = {
    "regression": record(
        {
            "kind": one_of("regression"),
            "rows": integer,
            "not_finite": integer,
            "density": _ranged(counts=_square(MOST_BINS)),
            "residuals": _ranged(
                counts=array(integer, least=1, most=MOST_BINS),
                mean=number,
                sd=number,
                quantiles=_QUANTILES,
            ),
            "bands": array(_BAND, most=MOST_BANDS),
        }
    ),
    "classification": record(
        {
            "kind": one_of("classification"),
            "rows": integer,
            "not_finite": integer,
            "confusion": _CONFUSION,
            "calibration": _equally_long(
                _PER_BIN,
                record(
                    {
                        "probability": array(finite, most=CALIBRATION_BINS),
                        "frequency": array(finite, most=CALIBRATION_BINS),
                        "rows": array(integer, most=CALIBRATION_BINS),
                        "error": number,
                        "positive": maybe(text(60)),
                    }
                ),
            ),
            "roc": maybe(
                _equally_long(
                    ("false_positive", "true_positive"),
                    record({"false_positive": _CURVE, "true_positive": _CURVE, "area": number}),
                )
            ),
        }
    ),
    "segmentation": record(
        {
            "kind": one_of("segmentation"),
            "rows": integer,
            "not_finite": integer,
            "pixels": integer,
            "classes": array(
                record(
                    {"name": text(60), "share": number, "iou": number, "found": number}
                    | {"right": number}
                ),
                most=MOST_LISTED,
            ),
            "more_classes": integer,
            "confusion": _CONFUSION,
            "examples": array(_OVERLAY, most=WORST + TYPICAL),
        }
    ),
}


def _figures(value: Any, where: str) -> Any:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _FIGURES:
        kinds = " or ".join(_FIGURES)
        raise BrokenRuleError(where, f"an object with the kind {kinds}", value)
    return _FIGURES[kind](value, where)


def _shape(value: Any, where: str) -> str:
    """Accept a layer's shape as text or as sizes."""
    if isinstance(value, str):
        return str(text()(value, where))
    return " x ".join(str(size) for size in array(integer)(value, where))


def _png(value: Any, where: str) -> str:
    """Accept a small PNG in base64, and nothing that could leave its place in a page."""
    if not isinstance(value, str) or not _PNG.fullmatch(value):
        raise BrokenRuleError(where, "a PNG of at most 4 kB in base64", value)
    return value


_ANY = either(number, text(60))

_IMAGES = record(
    {
        "channels": integer,
        "height": integer,
        "width": integer,
        "classes": array(record({"name": text(60), "images": integer}), most=MOST_LISTED),
        "more_classes": integer,
        "wrong": integer,
        "mistakes": array(
            record(
                {
                    "name": text(80),
                    "actual": text(60),
                    "predicted": text(60),
                    "probability": number,
                    "png": _png,
                }
            ),
            most=MOST_IMAGES,
        ),
    }
)

FIELDS: dict[str, Rule] = {
    "title": text(),
    "task": one_of("regression", "classification", "segmentation"),
    "target": array(text(), least=1),
    "created": text(40),
    "seconds": number,
    "history": array(
        record(
            {"epoch": integer, "train_loss": number, "valid_loss": number},
            {"learning_rate": number, "seconds": number},
        )
    ),
    "best_epoch": maybe(integer),
    "metrics": table(number),
    "metrics_rows": text(),
    "baselines": array(
        record({"name": text(), "metrics": table(number, most=50)}, {"seconds": number})
    ),
    "figures": table(_figures),
    "importance": array(record({"name": text(), "mean": number, "sd": number})),
    "columns": array(
        record(
            {"name": text(), "kind": text(40)},
            {
                "missing": integer,
                "distinct": integer,
                "note": text(200),
                "minimum": _ANY,
                "median": _ANY,
                "maximum": _ANY,
                "levels": array(record({"level": text(60), "rows": integer}), most=10),
            },
        )
    ),
    "layers": array(
        record({"name": text(), "kind": text(60), "shape": _shape, "parameters": integer})
    ),
    "rows": record({"train": integer, "valid": integer, "test": integer}),
    "warnings": array(text(500)),
    "members": integer,
    "parameters": integer,
    "left_out": table(integer, most=20),
    "images": maybe(_IMAGES),
}
