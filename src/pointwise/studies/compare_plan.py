"""What a comparison trains and for how long: widths that match, and epochs that the time allows."""

import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import nn

from pointwise.errors import DataError
from pointwise.studies.cells import CellCache
from pointwise.studies.compare_data import CompareData
from pointwise.studies.compare_records import Entry
from pointwise.studies.contenders import (
    KINDS,
    REFERENCE,
    RIVALS,
    Job,
    Kind,
    build,
    count,
    stage_widths,
)
from pointwise.studies.matching import (
    MATCHINGS,
    QUICK_S,
    TITLES,
    Matching,
    Widths,
    match_count,
    match_time,
    step_seconds,
)
from pointwise.training import Augment, Rows, Settings
from pointwise.training.checkpoint import fingerprint

VERSION = 1
"""Raised when the same key would give other figures."""

WIDTHS = (32, 24, 16, 12, 8)
"""First widths of the reference: the widest whose trainings fit into the time limit."""

WISHED_EPOCHS = 10
"""Epochs that the time limit should leave, before the networks are made narrower."""

PLANNED_SHARE = 0.8
"""Share of the time left that is planned for: machines slow down, and networks are scored too."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is done now, how many trainings are finished, and of how many."""


@dataclass(frozen=True)
class CompareOptions:
    """How to compare.

    Attributes:
        kernel: Size of the KxK kernels.
        width: Channels of the reference's first stage. Default: the widest of 32, 24, 16, 12 and 8
            that the time limit leaves ten epochs for; 32 without a limit.
        matchings: What is made equal: ``"parameters"``, ``"macs"``, ``"time"``.
        seeds: Trainings of every network, with seeds from 0.
        epochs: Epochs of each, or the most where there is a time limit.
        time_limit_s: Seconds for everything, matching included; all trainings get the number of
            epochs that this leaves.
        batch_size: Images of one step.
        learning_rate: Largest step size of AdamW in its one cycle.
        weight_decay: Decay of weight matrices.
        augment: Changes every training batch at random.
        bfloat16: Whether matrix products run in that type.

    Raises:
        ValueError: If a number is below 1, or nothing known is to be equal.
    """

    kernel: int = 3
    width: int | None = None
    matchings: tuple[Matching, ...] = MATCHINGS
    seeds: int = 3
    epochs: int = 20
    time_limit_s: float | None = None
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    augment: Augment | None = None
    bfloat16: bool = False

    def __post_init__(self) -> None:
        numbers = {"seeds": self.seeds, "epochs": self.epochs, "batch_size": self.batch_size}
        for name, number in {**numbers, "width": self.width}.items():
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if not self.matchings or not set(self.matchings) <= set(MATCHINGS):
            raise ValueError(f"matchings must be some of {MATCHINGS}, got {self.matchings}")

    def settings(self, epochs: int, seed: int) -> Settings:
        """How one network is trained."""
        return Settings(
            self.batch_size,
            self.learning_rate,
            "one_cycle",
            self.weight_decay,
            max_epochs=epochs,
            patience=epochs,
            evaluation_rows=256,
            seed=seed,
            autocast=torch.bfloat16 if self.bfloat16 else None,
        )


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes:
        epochs: Epochs of every training.
        entries: A contender per matching, the reference in all of them.
    """

    epochs: int
    entries: tuple[Entry, ...]

    def networks(self) -> list[tuple[Kind, Widths]]:
        """The networks to train, each once."""
        return _networks(self.entries)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Plan":
        """A plan as ``asdict`` wrote it."""
        return cls(int(kept["epochs"]), tuple(map(Entry.from_dict, kept["entries"])))


class Planner:
    """Matches the contenders and shares the time among them.

    What it finds is kept like the trainings: seconds differ from run to run, and a comparison that
    goes on has to train the same networks for as many epochs.

    Args:
        data: The images.
        options: How to compare.
        cache: Where plans are kept.
        progress: Told what is matched.
    """

    def __init__(
        self, data: CompareData, options: CompareOptions, cache: CellCache, progress: Progress
    ) -> None:
        self.data, self.options, self.cache, self.progress = data, options, cache, progress
        self.job: Job = data.job(options.kernel)
        self.began = time.monotonic()
        self.basis = _basis(data, options)

    def left(self) -> float:
        """Seconds until the time limit."""
        limit = self.options.time_limit_s
        return math.inf if limit is None else limit - (time.monotonic() - self.began)

    def plan(self) -> Plan:
        """Match the rivals and share the time, unless an earlier run of the same comparison did.

        Returns:
            The plan.

        Raises:
            DataError: If the time limit leaves less than one epoch.
        """
        asked = asdict(replace(self.options, augment=None))
        key = {**self.basis, "plan": asked, "machine": platform.machine()}
        label = f"{slug(self.data.name)}-plan"
        if (found := self.cache.read(label, key, Plan.from_dict)) is not None:
            return found
        base = stage_widths(self.job.shape, self.options.width or self._width())
        entries = tuple(self._entries(base))
        made = Plan(self._epochs(entries), entries)
        self.cache.write(label, key, asdict(made))
        return made

    def build(self, kind: Kind, widths: Widths, seed: int) -> nn.Module:
        """Make a contender with the random weights of a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return build(kind, widths, self.job).to(self.data.learn.x.device)

    def _width(self) -> int:
        """The widest first stage that the time limit leaves enough epochs for."""
        if self.options.time_limit_s is None:
            return WIDTHS[0]
        trainings = self.options.seeds * (1 + len(RIVALS) * len(self.options.matchings))
        epochs = trainings * min(WISHED_EPOCHS, self.options.epochs)
        for width in WIDTHS:
            [seconds] = self._seconds([(REFERENCE, stage_widths(self.job.shape, width))], QUICK_S)
            if seconds * self._steps() * epochs <= PLANNED_SHARE * self.left():
                break
        return width

    def _entries(self, base: Widths) -> Iterator[Entry]:
        for matching in self.options.matchings:
            for kind in KINDS:
                widths, ratio = base, 1.0
                if kind != REFERENCE:
                    self.progress(f"matching {kind} at {TITLES[matching]}", 0, 0)
                    widths, ratio = self._matched(matching, kind, base)
                total = count(kind, widths, self.job)
                yield Entry(matching, kind, widths, total.params, total.macs, ratio)

    def _matched(self, matching: Matching, kind: Kind, base: Widths) -> tuple[Widths, float]:
        """Widths and ratio; those of equal time are kept, for they would not come out the same."""
        if matching != "time":
            return self._counted("params" if matching == "parameters" else "macs", kind, base)
        settings = repr(self.options.settings(1, 0))
        network = repr(self.build(REFERENCE, base, 0))
        key = {
            **self.basis,
            "time": kind,
            "network": network,
            "settings": settings,
            "machine": platform.machine(),
        }
        label = f"{slug(self.data.name)}-{kind}-time"
        if (found := self.cache.read(label, key, _widths_and_ratio)) is not None:
            return found

        def ratio(widths: Widths, seconds: float) -> float:
            theirs, ours = self._seconds([(kind, widths), (REFERENCE, base)], seconds)
            return theirs / ours

        widths, reached = match_time(base, ratio)
        self.cache.write(label, key, {"widths": widths, "ratio": reached})
        return widths, reached

    def _counted(self, field: str, kind: Kind, base: Widths) -> tuple[Widths, float]:
        target = getattr(count(REFERENCE, base, self.job), field)

        def ratio(widths: Widths) -> float:
            return float(getattr(count(kind, widths, self.job), field) / target)

        widths = match_count(base, ratio)
        return widths, ratio(widths)

    def _seconds(self, networks: list[tuple[Kind, Widths]], seconds: float) -> list[float]:
        """Seconds of a training step of each network."""
        return step_seconds(
            [self.build(kind, widths, seed=0) for kind, widths in networks],
            self.data.learn,
            self.options.settings(1, 0),
            augment=self.options.augment,
            seconds=seconds,
        )

    def _steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.data.learn) // self.options.batch_size)

    def _epochs(self, entries: tuple[Entry, ...]) -> int:
        """Epochs for every training: all of them get the same, whatever they cost."""
        limit = self.options.time_limit_s
        if limit is None:
            return self.options.epochs
        networks = _networks(entries)
        each = sum(self._seconds(networks, QUICK_S)) * self._steps() * self.options.seeds
        epochs = int(PLANNED_SHARE * self.left() / each)
        if epochs < 1:
            raise DataError(
                f"the time limit of {limit:g} s does not suffice: matching took "
                f"{limit - self.left():.0f} s, and one epoch of each of the "
                f"{len(networks) * self.options.seeds} trainings takes about {each:.0f} s"
            )
        return min(epochs, self.options.epochs)


def slug(name: str) -> str:
    """A name as it may stand in a file's name.

    Args:
        name: Any name.

    Returns:
        Its letters and digits, in lower case.

    Example:
        >>> slug("My photos/2024")
        'my-photos-2024'
    """
    return "".join(c if c.isalnum() else "-" for c in name.lower())[:40] or "images"


def _basis(data: CompareData, options: CompareOptions) -> Mapping[str, Any]:
    """What decides every cell of a comparison."""

    def tensors(name: str, rows: Rows) -> dict[str, torch.Tensor]:
        return {f"{name}.x": rows.x, f"{name}.y": rows.y}

    parts = tensors("learn", data.learn) | tensors("valid", data.valid) | tensors("test", data.test)
    return {
        "version": VERSION,
        "data": fingerprint(parts, data.classes),
        "augment": repr(options.augment),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _networks(entries: tuple[Entry, ...]) -> list[tuple[Kind, Widths]]:
    return list(dict.fromkeys((one.kind, one.widths) for one in entries))


def _widths_and_ratio(kept: dict[str, Any]) -> tuple[Widths, float]:
    return tuple(map(int, kept["widths"])), float(kept["ratio"])
