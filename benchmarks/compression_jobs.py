"""The jobs of benchmarks/compression.py: a network with its seeds, and cells that are kept."""

import hashlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import pointwise.compression
from compression_subjects import SETS, Subject
from pointwise.compression import Budget, Compressed
from pointwise.compression.budget import count_costs
from pointwise.compression.compress import compress_measured
from pointwise.compression.fitting.recover import Recovery
from pointwise.compression.statistics.measure import Errors, Measured, measure
from pointwise.studies.cells import CellCache

Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A network that is compressed with as many seeds as there are, and where cells are kept."""

    key: str
    subjects: tuple[Subject, ...]
    cache: CellCache
    say: Callable[[str], None]

    @property
    def data(self) -> str:
        return self.subjects[0].data

    @property
    def title(self) -> str:
        return f"{self.subjects[0].title}, {SETS[self.data]}"

    @property
    def seeds(self) -> str:
        """How many trainings and how many draws of calibration images there are."""
        trainings = len({one.training for one in self.subjects})
        draws = len({one.draw for one in self.subjects})
        return f"{trainings} / {draws}"

    def cell(self, part: str, subject: Subject, key: Result, work: Callable[[], Result]) -> Result:
        """A finished cell, or a new one; what a tool refuses or breaks on is kept as an error."""
        key = {"part": part, **subject.name, **key}
        if part == "whole":
            del key["draw"]
        label = f"{part}-{subject.key}-{key.get('draw', '')}"
        found = self.cache.read(label, key, dict)
        if found is not None:
            return found
        began, spent = time.perf_counter(), time.process_time()
        try:
            result = work()
        except Exception as error:  # other people's code may raise anything
            text = str(error).strip().split("\n")[0]
            result = {"error": f"{type(error).__name__}: {text}"[:200]}
        result["seconds"] = time.perf_counter() - began
        result["cpu_s"] = time.process_time() - spent
        self.cache.write(label, key, result)
        self.say(f"{label}: {key}: {result}")
        return result


@dataclass
class Ours:
    """Our compression of a subject, for any number of budgets from one set of statistics."""

    subject: Subject
    errors: Errors = "predicted"

    @cached_property
    def known(self) -> Measured:
        one = self.subject
        return measure(
            one.network,
            one.example,
            data=one.images,
            logits=one.logits,
            seed=one.draw,
            errors=self.errors,
        )

    def at(self, budget: Budget, recover: Recovery | None = None) -> Compressed:
        if recover is None:
            return compress_measured(self.known, budget, seed=self.subject.draw)
        return compress_measured(self.known, budget, recover=recover, seed=self.subject.draw)


@cache
def code() -> str:
    """Digest of the code that decides our results, as it was when first asked for."""
    home = Path(pointwise.compression.__file__).parents[1]
    files = sorted([*home.glob("compression/**/*.py"), *home.glob("functional/*.py")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def flop_macs(network: nn.Module, subject: Subject) -> int:
    """The multiply-adds that torch counts."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(subject.example)
    return counter.get_total_flops() // 2


def whole(job: Job, subject: Subject) -> Result:
    """What the trained network costs and scores."""

    def work() -> Result:
        costs = count_costs(subject.network, subject.example)
        score = subject.score(subject.network)
        return {"macs": costs.macs, "params": costs.params, "score": score}

    return job.cell("whole", subject, {}, work)


def ours_at(job: Job, ours: Ours, budget: Budget) -> Result:
    def work() -> Result:
        network = ours.at(budget).model
        costs = count_costs(network, ours.subject.example)
        return {
            "macs": costs.macs,
            "params": costs.params,
            "flop_macs": flop_macs(network, ours.subject),
            "score": ours.subject.score(network),
        }

    key = {"code": code(), **budget.given()}
    if ours.errors != "predicted":
        key["errors"] = ours.errors
    return job.cell("oneshot", ours.subject, key, work)


def first(job: Job) -> Job:
    """The job with one seed."""
    return Job(job.key, job.subjects[:1], job.cache, job.say)


def lost(job: Job, cells: Sequence[Result], name: str = "score") -> list[float]:
    """Points lost with each seed; infinite where nothing came out."""
    before = [whole(job, one)["score"] for one in job.subjects]
    return [a - b.get(name, -math.inf) for a, b in zip(before, cells, strict=True)]


def mean_worst(values: Sequence[float]) -> str:
    if not all(map(math.isfinite, values)):
        return "-"
    return f"{statistics.mean(values):.2f} / {max(values):.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    print(flush=True)
