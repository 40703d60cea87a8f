"""The report of a fit as data: always valid, plain JSON, and at most 200 kB of it."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn, Self

import numpy as np

from pointwise.errors import DataError, ModelFileError
from pointwise.reports.rules import BrokenRuleError
from pointwise.reports.schema import FIELDS, LATER, SCHEMA

MOST_BYTES = 200_000

# Entries that a report keeps of each table; `left_out` says how many it dropped.
MOST_ENTRIES = {
    "history": 300,
    "columns": 200,
    "importance": 200,
    "layers": 200,
    "target": 100,
    "metrics": 50,
    "warnings": 50,
    "figures": 20,
    "baselines": 20,
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the HTML report of a fit shows, without a single row of a table.

    Making one checks it: numbers are rounded to six digits, what is not finite becomes ``None``,
    long texts are cut, and long tables are shortened until the JSON fits ``MOST_BYTES``.

    Args:
        title: Headline, such as the name of the data.
        task: ``"regression"`` or ``"classification"``.
        target: Names of the target columns.
        created: When the fit ended, in ISO 8601.
        seconds: Wall time of the fit.
        history: Per epoch ``epoch``, ``train_loss``, ``valid_loss`` and, if known,
            ``learning_rate`` and ``seconds``. Thinned to 300, the best epoch always kept.
        best_epoch: Value of ``epoch`` whose weights were kept.
        metrics: Metric by name; the first is the one in the headline.
        metrics_rows: Which rows ``metrics`` come from, such as ``"4,128 held-out rows"``.
        baselines: Other models on the same rows: ``name``, ``metrics`` and, if known, ``seconds``.
        figures: By target, what ``regression_figures`` or ``classification_figures`` returned.
        importance: What ``permutation_importance`` returned.
        columns: Per column of the table ``name`` and ``kind`` and, if known, ``missing`` and
            ``distinct`` counts, ``note``, ``minimum``, ``median``, ``maximum`` (numbers or texts)
            and ``levels``: at most ten, each a ``level`` and its ``rows``.
        layers: Per layer ``name``, ``kind``, ``shape`` (sizes or text) and ``parameters``.
        rows: Counts of ``train``, ``valid`` and ``test`` rows.
        warnings: What the reader should look at, a sentence each.
        members: Number of networks in the model.
        parameters: Number of trained parameters in all of it.
        left_out: Entries already dropped, by table. Filled in by the report itself.
        images: Of a classifier of images: their ``channels``, ``height`` and ``width``; per class
            its ``name`` and number of ``images``, at most 100 of them, and ``more_classes`` not
            listed; how many test images were ``wrong``, and of those what ``worst_mistakes``
            returned, as ``mistakes``: the only data in a report.

    Raises:
        DataError: If a field does not hold what it must; the message says which and what came.

    Example:
        >>> report = Report(
        ...     title="houses", task="regression", target=["price"], seconds=12.3456789,
        ...     created="2026-01-31T12:00:00", metrics={"rmse": float("nan")},
        ...     metrics_rows="10 held-out rows", rows={"train": 90, "valid": 10, "test": 0},
        ... )
        >>> report.seconds, report.metrics
        (12.3457, {'rmse': None})
        >>> Report.from_json(report.to_json()) == report
        True
    """

    title: str
    task: str
    target: list[str]
    created: str
    seconds: float | None
    metrics: dict[str, float | None]
    metrics_rows: str
    rows: dict[str, int]
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    baselines: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    importance: list[dict[str, Any]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    members: int = 1
    parameters: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    images: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        try:
            clean = {name: rule(getattr(self, name), name) for name, rule in FIELDS.items()}
        except BrokenRuleError as broken:
            raise DataError(f"the report's {broken}") from None
        for name, value in _shortened(clean).items():
            object.__setattr__(self, name, value)  # frozen for everyone else

    def to_json(self) -> str:
        """Write the report as one line of JSON, at most 200 kB in UTF-8."""
        return _dump(asdict(self))

    @classmethod
    def from_json(cls, content: str, name: str = "report.json") -> Self:
        """Read what ``to_json`` wrote.

        Args:
            content: The JSON.
            name: Name of the file it came from, for messages.

        Returns:
            The report.

        Raises:
            ModelFileError: If the content is not JSON, not a report, or of a newer version.
        """
        fields = _load(content, name)
        try:
            return cls(**fields)
        except DataError as broken:
            _refuse(name, f"is damaged or was edited: {broken}")


def _shortened(fields: dict[str, Any]) -> dict[str, Any]:
    """Shorten the tables to ``MOST_ENTRIES``, then halve the largest until all fits."""
    for name, most in MOST_ENTRIES.items():
        fields = _cut(fields, name, most)
    # This ends: the rules bound what one entry of each table holds, and those fit.
    while len(_dump(fields).encode()) > MOST_BYTES:
        largest = max(MOST_ENTRIES, key=lambda name: (len(fields[name]) > 1, _size(fields[name])))
        fields = _cut(fields, largest, max(len(fields[largest]) // 2, 1))
    return fields


def _cut(fields: dict[str, Any], name: str, most: int) -> dict[str, Any]:
    table, short = fields[name], fields[name]
    if len(table) <= most:
        return fields
    if name == "history":
        short = _thinned(table, most, fields["best_epoch"])
    else:
        short = dict(list(table.items())[:most]) if isinstance(table, dict) else table[:most]
    dropped = fields["left_out"].get(name, 0) + len(table) - len(short)
    return {**fields, name: short, "left_out": {**fields["left_out"], name: dropped}}


def _thinned(
    history: list[dict[str, Any]], most: int, best_epoch: int | None
) -> list[dict[str, Any]]:
    """Keep epochs at even steps, the first and the last among them, and the best one."""
    best = [place for place, one in enumerate(history) if one["epoch"] == best_epoch][:1]
    even = np.linspace(0, len(history) - 1, max(most - len(best), 1)).astype(int).tolist()
    return [history[place] for place in sorted({*even, *best})]


def _dump(fields: dict[str, Any]) -> str:
    whole = {"schema": SCHEMA, **fields}
    for name in LATER:
        if whole.get(name) is None:
            whole.pop(name, None)  # the report of a table stays as older versions read it
    return json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _size(value: Any) -> int:
    return len(json.dumps(value))


def _load(content: str, name: str) -> dict[str, Any]:
    """Read the JSON and its version, and leave a report's fields."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as broken:
        _refuse(name, f"is not JSON ({broken})")
    if not isinstance(fields, dict) or "schema" not in fields:
        _refuse(name, "is not a report of pointwise: it has no 'schema'")
    schema = fields.pop("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ModelFileError(
            f"{name} has schema {schema}, this version of pointwise reads up to {SCHEMA}; "
            "upgrade pointwise to read it"
        )
    if schema != SCHEMA:
        _refuse(name, f"is not a report of pointwise: its schema is {schema!r}")
    lacking = set(FIELDS) - LATER - set(fields)
    for kind, found in (("lacks", lacking), ("has", set(fields) - set(FIELDS))):
        if found:
            unknown = " unknown" if kind == "has" else ""
            _refuse(name, f"is damaged or was edited: it {kind}{unknown} {sorted(found)}")
    return fields


def _refuse(name: str, why: str) -> NoReturn:
    raise ModelFileError(f"{name} {why}; fit the model again to get a new one")
