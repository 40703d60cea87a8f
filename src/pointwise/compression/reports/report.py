"""What compression did to a model: costs, errors and scores, before and after, layer by layer."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from pointwise.compression.reports.report_table import render_text
from pointwise.errors import ModelFileError

if TYPE_CHECKING:
    import pandas as pd

    from pointwise.compression.trade_off import TradeOff

FORMAT = "pointwise compression report"

UNITS = {
    "loss": "the growth of the model's own loss, per sample",
    "energy": "shares of the variance of the layer's outputs",
}
"""What errors of layers are, by the name of their unit."""


@dataclass(frozen=True)
class LayerRow:
    """What became of a layer.

    Attributes:
        path: The layer; the first path where it has several.
        before: What it was, in short.
        after: What it became, in short; ``None`` if it was left.
        form: Name of the form that it is in; ``None`` if it was left.
        rank: Rank of the form; empty if it was left.
        macs: Multiply-adds before, at all places where it is called.
        new_macs: Multiply-adds after.
        params: Weights and offsets before.
        new_params: Weights and offsets after.
        predicted_error: The error that the moments told, in the unit of the report; ``None`` where
            nothing was predicted.
        measured_error: How far its outputs in the compressed model are from those in the given
            one, on the same data and in the same unit, so that what the layers before have changed
            counts, too; ``None`` where nothing was measured.
        reason: Why it was left; empty if it was not.
    """

    path: str
    before: str
    after: str | None
    form: str | None
    rank: tuple[int, ...]
    macs: int
    new_macs: int
    params: int
    new_params: int
    predicted_error: float | None = None
    measured_error: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Latency:
    """How long a model takes for the example.

    Attributes:
        median_s: The median of all runs, in seconds.
        low_s: The quartile below it.
        high_s: The quartile above it.
    """

    median_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Totals:
    """What a whole model costs.

    Attributes:
        macs: Multiply-adds on the example.
        params: Parameters, shared ones once.
        bytes: Bytes of the parameters.
        latency: How long it takes; ``None`` if that was not measured.
    """

    macs: int
    params: int
    bytes: int
    latency: Latency | None = None


@dataclass(frozen=True)
class Target:
    """One part of the budget.

    Attributes:
        name: What it limits: macs, params, bytes or latency.
        asked: The share that was asked for.
        reached: The share that there is.
        met: Whether that is within what was asked for.
    """

    name: Literal["macs", "params", "bytes", "latency"]
    asked: float
    reached: float
    met: bool


@dataclass(frozen=True)
class CompressionReport:
    """What compression did to a model; prints itself as a table.

    Attributes:
        model: Name of the model's class.
        rows: One for each layer with weights, in the order of the model.
        before: What the given model costs.
        after: What the compressed model costs.
        targets: What was asked for, and whether it was met.
        unit: In which the errors of layers are, one of ``UNITS``.
        score_before: What the evaluation gave for the model; ``None`` without one.
        score_after: What it gave for the compressed model; ``None`` without one.
        score_unrecovered: What it gave for the compressed model before that learnt on; ``None`` if
            it did not, or without an evaluation.
        notes: What else there is to say, in whole sentences.

    Example:
        >>> row = LayerRow("0", "Linear(8, 8)", None, None, (), 64, 64, 72, 72, reason="excluded")
        >>> costs = Totals(64, 72, 288)
        >>> report = CompressionReport("Sequential", (row,), costs, costs, (), "energy")
        >>> CompressionReport.from_json(report.to_json()) == report
        True
    """

    model: str
    rows: tuple[LayerRow, ...]
    before: Totals
    after: Totals
    targets: tuple[Target, ...]
    unit: Literal["loss", "energy"]
    score_before: float | None = None
    score_after: float | None = None
    notes: tuple[str, ...] = ()
    score_unrecovered: float | None = None

    @property
    def met(self) -> bool:
        """Whether everything that was asked for was reached."""
        return all(target.met for target in self.targets)

    @property
    def changed(self) -> tuple[LayerRow, ...]:
        """The layers that became something else."""
        return tuple(row for row in self.rows if row.form is not None)

    @property
    def left(self) -> tuple[LayerRow, ...]:
        """The layers that were left as they were."""
        return tuple(row for row in self.rows if row.form is None)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        result = asdict(self)
        result["rows"] = [{**row, "rank": list(row["rank"])} for row in result["rows"]]
        for name in ("targets", "notes"):
            result[name] = list(result[name])
        return {"format": FORMAT, **result}

    def to_json(self) -> str:
        """All of it as text.

        Returns:
            JSON; errors and scores that are not finite are ``null``.
        """
        return json.dumps(_finite(self.to_dict()), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str = "the report") -> "CompressionReport":
        """Read what ``to_json`` gave.

        Args:
            text: The text.
            where: What to call it in messages.

        Returns:
            The report.

        Raises:
            ModelFileError: If it is no report of this kind, or not whole.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise ModelFileError(f"{where} is not JSON: compress again") from None
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ModelFileError(f"{where} must be of the format {FORMAT!r}, it is not")
        try:
            return _restored(found)
        except (KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f"{where} does not fit together ({type(error).__name__}: {error}): compress again"
            ) from None

    def to_dataframe(self) -> "pd.DataFrame":
        """One row per layer, in the order of the model."""
        import pandas as pd

        columns = [field.name for field in fields(LayerRow)]
        rows = [[getattr(row, column) for column in columns] for row in self.rows]
        return pd.DataFrame(rows, columns=columns)

    def to_html(self, curve: "TradeOff | None" = None) -> str:
        """A page with tables and charts, one file that loads nothing.

        Args:
            curve: What ``trade_off`` gave, for a chart over many budgets. Default: none.

        Returns:
            The page, to be written as UTF-8.
        """
        from pointwise.compression.reports.report_page import render_html

        return render_html(self, curve)

    def __str__(self) -> str:
        """A table of at most 100 columns, the totals, and the notes."""
        return render_text(self)


def _restored(found: Mapping[str, Any]) -> CompressionReport:
    known = {field.name for field in fields(CompressionReport)}
    values = {name: value for name, value in found.items() if name in known}
    rows = tuple(LayerRow(**{**row, "rank": tuple(row["rank"])}) for row in found["rows"])
    return CompressionReport(
        **{
            **values,
            "rows": rows,
            "before": _totals(found["before"]),
            "after": _totals(found["after"]),
            "targets": tuple(Target(**one) for one in found["targets"]),
            "notes": tuple(found["notes"]),
        }
    )


def _totals(found: Mapping[str, Any]) -> Totals:
    latency = found["latency"]
    return Totals(**{**found, "latency": None if latency is None else Latency(**latency)})


def _finite(value: Any) -> Any:
    """The same with ``None`` for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value
