"""What a comparison found: a row per network and matching, and an answer that the figures carry."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pointwise.inspection.plots import short
from pointwise.studies.compare_plot import Line, plot_errors
from pointwise.studies.compare_records import Cell, Entry
from pointwise.studies.contenders import REFERENCE, RIVALS, Kind, name_of
from pointwise.studies.matching import TITLES, TOLERANCE, Matching, Widths
from pointwise.studies.uncertainty import Difference, paired_difference

if TYPE_CHECKING:
    import pandas as pd

HEADS = (
    "matched at",
    "stage",
    "widths",
    "parameters",
    "MACs",
    "seconds",
    "error",
    "difference, points",
)
RULE = (
    "Error: share of test images classified wrongly, mean and standard deviation over the seeds. "
    "Seconds: the fastest training. Difference: the error less that of the mlpconv. "
    "It counts if it is larger than its uncertainty, half a 95 % interval that covers "
    "both other seeds (Student's t over the seeds' paired differences) and other test images."
)

OUTCOMES = {
    "pays": "it pays",
    "costs": "it does worse",
    "no difference shown": "no difference is shown",
    "not matched": "it cannot be told",
}
"""What a comparison with a rival can come to, and how the answer says so."""

FAR = 0.1
"""How far a matched figure may be from the reference's for errors to be compared, as a share."""


@dataclass(frozen=True)
class Row:
    """A contender in one of the matchings, with the errors of its trainings.

    Attributes:
        matching: What is equal.
        kind: The contender.
        name: The convolutions of its stages.
        widths: Channels of its stages.
        params: Its parameters.
        macs: Multiply-adds of one image.
        ratio: What is matched, divided by the reference's.
        seconds: Seconds of the fastest training: what else the machine did slows down the others.
        errors: Test error of every seed, as a share.
    """

    matching: Matching
    kind: Kind
    name: str
    widths: Widths
    params: int
    macs: int
    ratio: float
    seconds: float
    errors: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean error over the seeds."""
        return statistics.fmean(self.errors)

    @property
    def deviation(self) -> float:
        """Standard deviation of the error over the seeds; nan for one seed."""
        return statistics.stdev(self.errors) if len(self.errors) > 1 else math.nan


@dataclass(frozen=True)
class Verdict:
    """The mlpconv beside a rival, matched one way.

    Attributes:
        matching: What is equal.
        rival: The other contender.
        name: The convolutions of its stages.
        difference: The rival's error less the mlpconv's, with its uncertainty.
        ratio: What is matched, divided by the reference's.
    """

    matching: Matching
    rival: Kind
    name: str
    difference: Difference
    ratio: float

    @property
    def outcome(self) -> str:
        """``"pays"``, ``"costs"``, ``"no difference shown"`` or ``"not matched"``."""
        if abs(self.ratio - 1) > FAR:
            return "not matched"
        if not abs(self.difference.value) > self.difference.uncertainty:
            return "no difference shown"
        return "pays" if self.difference.value > 0 else "costs"


@dataclass(frozen=True)
class Comparison:
    """A finished comparison; prints itself as a table with its answer.

    Attributes:
        name: What the images are called.
        kernel: Size of the KxK kernels.
        epochs: Epochs of every training.
        entries: A contender per matching.
        cells: Every training of every network.
        images: How many images were learnt from, chose the epoch, and were scored on.
    """

    name: str
    kernel: int
    epochs: int
    entries: tuple[Entry, ...]
    cells: tuple[Cell, ...]
    images: tuple[int, int, int]

    @property
    def seeds(self) -> int:
        """Trainings of every network."""
        return len({cell.seed for cell in self.cells})

    @property
    def rows(self) -> list[Row]:
        """A row per contender and matching; the reference stands in every matching."""
        return [self._row(entry) for entry in self.entries]

    @property
    def verdicts(self) -> list[Verdict]:
        """The mlpconv beside each rival, per matching."""
        ours = {one.matching: one for one in self.entries if one.kind == REFERENCE}
        return [
            Verdict(
                one.matching,
                one.kind,
                name_of(one.kind, self.kernel),
                paired_difference(
                    [cell.wrong for cell in self._cells(ours[one.matching])],
                    [cell.wrong for cell in self._cells(one)],
                    self.images[2],
                ),
                one.ratio,
            )
            for one in self.entries
            if one.kind != REFERENCE
        ]

    def answer(self) -> str:
        """The answer in words, as far as the figures carry it.

        Returns:
            A sentence per rival.
        """
        parts = []
        for rival in RIVALS:
            name = name_of(rival, self.kernel)
            found: dict[str, list[str]] = {}
            for one in self.verdicts:
                if one.rival == rival:
                    found.setdefault(one.outcome, []).append(TITLES[one.matching])
            said = [f"{OUTCOMES[one]} at {_listed(found[one])}" for one in OUTCOMES if one in found]
            parts.append(f"Against {name}: {'; '.join(said)}.")
        ours = name_of(REFERENCE, self.kernel)
        return f"On {self.name}, does an mlpconv ({ours}) pay? {' '.join(parts)}"

    def sentences(self) -> list[str]:
        """Every difference with its uncertainty, and what to know of the figures.

        Returns:
            Sentences; the answer is not among them.
        """
        ours = name_of(REFERENCE, self.kernel)
        said = []
        for one in self.verdicts:
            points, half = 100 * one.difference.value, 100 * one.difference.uncertainty
            size = f"{abs(points):.2f} \N{PLUS-MINUS SIGN} {half:.2f} points"
            what = {
                "pays": f"{ours} makes {size} fewer errors than {one.name}",
                "costs": f"{ours} makes {size} more errors than {one.name}",
                "not matched": f"{one.name} is too far from it for a comparison",
                "no difference shown": f"no difference shown between {ours} and {one.name}"
                + (
                    f" ({points:+.2f} \N{PLUS-MINUS SIGN} {half:.2f} points)"
                    if self.seeds > 1
                    else ""
                ),
            }[one.outcome]
            said.append(f"At {TITLES[one.matching]}, {what}.")
        if self.seeds == 1:
            said.append("One seed alone shows no difference: train three at least.")
        if lost := sum(cell.best_epoch == 0 for cell in self.cells):
            said.append(f"{lost} of {len(self.cells)} trainings diverged in their first epoch.")
        said += [
            f"At {TITLES[row.matching]}, {row.name} has {row.ratio:.3f} times the reference's: "
            f"no width was found within {100 * TOLERANCE:.0f} %."
            for row in self.rows
            if abs(row.ratio - 1) > TOLERANCE
        ]
        return said

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data.

        Returns:
            The answer, its rule, the rows with the errors of every seed, and the differences.
        """
        learn, valid, test = self.images
        return {
            "data": self.name,
            "kernel": self.kernel,
            "seeds": self.seeds,
            "epochs": self.epochs,
            "images": {"learn": learn, "valid": valid, "test": test},
            "answer": self.answer(),
            "sentences": self.sentences(),
            "rule": RULE,
            "rows": [
                {**asdict(row), "error": row.mean, "deviation": row.deviation} for row in self.rows
            ],
            "differences": [
                {
                    "matching": one.matching,
                    "rival": one.rival,
                    "difference": one.difference.value,
                    "uncertainty": one.difference.uncertainty,
                    "outcome": one.outcome,
                }
                for one in self.verdicts
            ],
        }

    def to_dataframe(self) -> "pd.DataFrame":
        """The figures as a table.

        Returns:
            A row per contender and matching.
        """
        import pandas as pd

        return pd.DataFrame(self.to_dict()["rows"])

    def to_markdown(self) -> str:
        """The table for a document.

        Returns:
            Lines of Markdown.
        """
        lines = [f"| {' | '.join(HEADS)} |", "| --- " * len(HEADS) + "|"]
        lines += [f"| {' | '.join(cells)} |" for cells in self.cells_of_rows()]
        return "\n".join(lines)

    def plot(self, *, key: str | None = None) -> str:
        """Draw every training's error, with mean and standard deviation.

        Args:
            key: Prefix of the ids, unique in the page that the chart goes into. Default: the chart
                is a file of its own.

        Returns:
            SVG text.
        """
        groups: dict[str, list[Line]] = {}
        for row in self.rows:
            line = row.name, row.errors, row.kind == REFERENCE
            groups.setdefault(TITLES[row.matching], []).append(line)
        return plot_errors(list(groups.items()), label=f"Test errors on {self.name}", key=key)

    def to_html(self) -> str:
        """Show answer, picture and figures in one page that loads nothing.

        Returns:
            The file's content, to be written as UTF-8.
        """
        from pointwise.studies.compare_page import render_page

        return render_page(self)

    def __str__(self) -> str:
        """The table, and what it says."""
        cells = [HEADS, *self.cells_of_rows()]
        wide = [max(len(row[i]) for row in cells) for i in range(len(HEADS))]
        lines, before = [_line(HEADS, wide)], ""
        for row in cells[1:]:
            lines.append(_line(("" if row[0] == before else row[0], *row[1:]), wide))
            before = row[0]
        learn, valid, test = self.images
        count = (
            f"{learn:,} images to learn from, {valid:,} to choose the epoch, {test:,} to test on"
        )
        setting = f"{self.name}: {count}; {self.seeds} seeds, {self.epochs} epochs"
        return "\n".join([setting, "", *lines, "", RULE, "", *self.sentences(), "", self.answer()])

    def _cells(self, entry: Entry) -> list[Cell]:
        mine = (c for c in self.cells if (c.kind, c.widths) == (entry.kind, entry.widths))
        return sorted(mine, key=lambda cell: cell.seed)

    def _row(self, entry: Entry) -> Row:
        cells = self._cells(entry)
        return Row(
            entry.matching,
            entry.kind,
            name_of(entry.kind, self.kernel),
            entry.widths,
            entry.params,
            entry.macs,
            entry.ratio,
            min(cell.seconds for cell in cells),
            tuple(cell.error for cell in cells),
        )

    def cells_of_rows(self) -> list[tuple[str, ...]]:
        """The rows as text.

        Returns:
            A cell per heading of ``HEADS``.
        """
        differences = {(one.matching, one.rival): one.difference for one in self.verdicts}
        return [
            (
                TITLES[row.matching],
                row.name,
                "-".join(map(str, row.widths)),
                f"{row.params:,}",
                short(row.macs),
                f"{row.seconds:.0f}" if row.seconds >= 100 else f"{row.seconds:.1f}",
                _percent(row),
                str(differences.get((row.matching, row.kind), "")),
            )
            for row in self.rows
        ]


def _percent(row: Row) -> str:
    spread = "" if math.isnan(row.deviation) else f" \N{PLUS-MINUS SIGN} {100 * row.deviation:.2f}"
    return f"{100 * row.mean:.2f}{spread} %"


def _listed(words: Sequence[str]) -> str:
    """``equal parameters``, ``equal MACs and training time``: the adjective once."""
    *most, last = (word.removeprefix("equal ") for word in words)
    return f"equal {', '.join(most)} and {last}" if most else f"equal {last}"


def _line(cells: Sequence[str], wide: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:3], wide[:3], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[3:], wide[3:], strict=True)]
    return "  ".join([*left, *right]).rstrip()
