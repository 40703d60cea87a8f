"""The parts of benchmarks/compression.py: each does its cells, then prints its table."""

import hashlib
import importlib.metadata
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import compression_peers as others
import pointwise.compression
from compression_networks import read
from compression_subjects import SETS, Subject
from pointwise.compression import Budget, Compressed, allocate
from pointwise.compression.allocation.latency import time_models
from pointwise.compression.budget import count_costs, limits_of
from pointwise.compression.compress import compress_measured
from pointwise.compression.fitting.recover import Recovery
from pointwise.compression.statistics.measure import Measured, measure
from pointwise.inspection.timing import speedup
from pointwise.studies.cells import CellCache

SHARES = (0.5, 0.4, 0.3)

ALLOWED = {"mnist": (0.3, 0.6, 1.5), "cifar": (1.0, 2.0, 5.0)}
"""Points that may be lost at ``SHARES``."""

HALF_PARAMS_ALLOWED = 3.0

TOLERANCE = 0.005
"""Share of the multiply-adds by which a tool may miss a budget: AIMET's own is 0.001."""

LATENCY_SHARE, LATENCY_BATCH = 0.7, 64

RECOVERIES = {
    "lenet": (Budget(macs=0.3, params=0.3), 1),
    "nin": (Budget(macs=0.3, params=0.3), 1),
    "resnet20": (Budget(macs=0.28), 10),
}
"""Budget and epochs."""

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

    @cached_property
    def known(self) -> Measured:
        one = self.subject
        return measure(one.network, one.example, data=one.images, logits=one.logits, seed=one.draw)

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

    return job.cell("oneshot", ours.subject, {"code": code(), **budget.given()}, work)


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


# --- Our compression ---


def oneshot(jobs: Sequence[Job]) -> None:
    """Mean and worst loss at the shares of the multiply-adds."""
    rows, more = [], []
    for job in jobs:
        every = [Ours(subject) for subject in job.subjects]
        row: list[object] = [job.title, job.seeds, score_range(job)]
        for place, share in enumerate(SHARES):
            points = lost(job, [ours_at(job, one, Budget(macs=share)) for one in every])
            allowed = ALLOWED.get(job.data)
            row.append(mean_worst(points) + verdict(points, allowed and allowed[place]))
        rows.append(row)
        if job.key == "resnet20":
            points = lost(job, [ours_at(job, one, Budget(params=0.5)) for one in every])
            told = mean_worst(points) + verdict(points, HALF_PARAMS_ALLOWED)
            more.append(f"{job.title}, half the parameters: {told} points lost.")
    print("\n## One shot: points lost, mean / worst, without a step of training")
    head = ["network", "trainings / draws", "score, %", *(f"{s:.2f} of the MACs" for s in SHARES)]
    table(head, rows)
    print(*more, sep="\n", flush=True)


def score_range(job: Job) -> str:
    scores = sorted({whole(job, one)["score"] for one in job.subjects})
    return " to ".join(f"{score:.2f}" for score in {scores[0]: 0, scores[-1]: 0})


def verdict(points: Sequence[float], allowed: float | None) -> str:
    if allowed is None or statistics.mean(points) <= allowed:
        return ""
    return f" (more than {allowed:g})"


# --- Other tools ---


def peers(jobs: Sequence[Job]) -> None:
    """Head to head: every tool at the same shares, as shipped and recalibrated by us."""
    tools = {tool: others.installed(tool) for tool in others.PACKAGES}
    for tool, there in tools.items():
        if not there:
            print(f"{tool} is left out: {others.PACKAGES[tool]} is not installed")
    for job in jobs:
        rows, behind = [], []
        found = {"pointwise": [[] for _ in SHARES]}
        for place, share in enumerate(SHARES):
            cells = [ours_at(job, Ours(one), Budget(macs=share)) for one in job.subjects]
            found["pointwise"][place] = lost(job, cells)
        rows.append(["**pointwise**", *map(mean_worst, found["pointwise"]), "", ""])
        assert job.cache.folder is not None
        for name, (tool, compress) in others.peers(job.cache.folder).items():
            if not tools[tool]:
                continue
            row, notes, seconds = [], [], []
            for place, share in enumerate(SHARES):
                cells = [peer_at(job, one, name, tool, compress, share) for one in job.subjects]
                shipped, added = lost(job, cells), lost(job, cells, "recalibrated")
                told = mean_worst(shipped)
                if any(cell.get("normed") for cell in cells):
                    told = f"{told}, {mean_worst(added)}"
                row.append(missed(job, cells, share) or told)
                notes += [cell["error"] for cell in cells if "error" in cell]
                seconds += [cell["cpu_s"] for cell in cells]
                if not missed(job, cells, share):
                    behind += compared(name, share, found["pointwise"][place], shipped, added)
            spent = f"{statistics.mean(seconds):.0f}"
            rows.append([name, *row, spent, notes[0] if notes else ""])
        print(f"\n## {job.title}: points lost, mean / worst; after the comma with norms of ours")
        print(f"\n{job.seeds} trainings / draws of calibration images")
        head = ["tool", *(f"{s:.2f} of the MACs" for s in SHARES), "CPU seconds", "remark"]
        table(head, rows)
        print(*(behind or ["Behind no peer, and at most half of every loss above 1."]), sep="\n")


def missed(job: Job, cells: Sequence[Result], share: float) -> str:
    """What a tool reached instead of the budget; empty if it kept to it with every seed."""
    all_macs = [whole(job, one)["macs"] for one in job.subjects]
    reached = [
        cell["macs"] / of for cell, of in zip(cells, all_macs, strict=True) if "macs" in cell
    ]
    return f"missed: {max(reached):.2f}" if max(reached, default=0) > share + TOLERANCE else ""


def compared(
    name: str, share: float, ours: list[float], shipped: list[float], added: list[float]
) -> Iterator[str]:
    """What ours must not be: behind a peer, or above half of what a peer loses above 1 point."""
    mine = statistics.mean(ours)
    for kind, values in (("as shipped", shipped), ("with our norms", added)):
        theirs = statistics.mean(values)
        if mine > theirs + 1e-9:
            yield f"BEHIND {name}, {kind}, at {share:.2f}: {mine:.2f} against {theirs:.2f}"
        elif 1 < theirs < 2 * mine:
            yield f"More than half of {name}, {kind}, at {share:.2f}: {mine:.2f} / {theirs:.2f}"


def peer_at(
    job: Job, subject: Subject, name: str, tool: str, compress: others.Compress, share: float
) -> Result:
    def work() -> Result:
        with others.quiet():
            network = compress(subject, share).eval()
            again = others.recalibrated(network, subject)
        score = subject.score(network)
        return {
            "macs": others.macs(network, subject),
            "score": score,
            "recalibrated": score if again is None else subject.score(again),
            "normed": again is not None,
        }

    package = {"fasterai": "fasterai", "AIMET": "aimet-torch"}.get(tool, tool.lower())
    version = importlib.metadata.version(package)
    return job.cell("peer", subject, {"peer": name, "version": version, "macs": share}, work)


# --- Time, budgets, recovery ---


def latency(jobs: Sequence[Job]) -> None:
    """How much faster, one thread, and what it costs."""
    rows = []
    for job in jobs:
        cells = [latency_cell(job, one) for one in job.subjects[:1]]
        for cell, points in zip(cells, lost(first(job), cells), strict=True):
            row = [cell.get(name, "-") for name in ("ratio", "low", "high", "macs")]
            told = [f"{value:.2f}" if isinstance(value, float) else value for value in row]
            rows.append([job.title, told[0], f"{told[1]} to {told[2]}", told[3], f"{points:.2f}"])
    print(f"\n## Latency mode: {LATENCY_SHARE} of the time asked for, batch {LATENCY_BATCH}")
    table(["network", "times faster", "99 % bounds", "share of the MACs", "points lost"], rows)


def first(job: Job) -> Job:
    return Job(job.key, job.subjects[:1], job.cache, job.say)


def latency_cell(job: Job, subject: Subject) -> Result:
    def work() -> Result:
        batch = subject.images[: 8 if subject.key == "unet" else LATENCY_BATCH]
        known = measure(
            subject.network,
            batch,
            data=subject.images,
            logits=subject.logits,
            seed=subject.draw,
            timed=True,
        )
        done = compress_measured(known, Budget(latency=LATENCY_SHARE), seed=subject.draw)
        found = speedup(*time_models(subject.network, done.model, batch))
        macs = count_costs(done.model, batch).macs / known.whole.macs
        return {
            "ratio": found.ratio,
            "low": found.low,
            "high": found.high,
            "macs": macs,
            "score": subject.score(done.model),
        }

    key = {"code": code(), "share": LATENCY_SHARE, "threads": torch.get_num_threads()}
    return job.cell("latency", subject, key, work)


@contextmanager
def timed(seconds: Result, name: str) -> Iterator[None]:
    began, spent = time.perf_counter(), time.process_time()
    yield
    seconds[name] = time.perf_counter() - began
    seconds[f"{name}, CPU"] = time.process_time() - spent


def cost(jobs: Sequence[Job]) -> None:
    """Seconds from statistics to network."""
    rows = []
    for job in jobs:
        cell = cost_cell(job, job.subjects[0])
        names = ("statistics", "allocation", "network")
        told = [f"{cell[name]:.2f} ({cell[f'{name}, CPU']:.2f})" for name in names]
        rows.append([job.title, len(job.subjects[0].images), *told])
    print("\n## Seconds (of them on the CPU), to half of the MACs")
    table(["network", "images", "statistics", "allocation", "building and refitting"], rows)


def cost_cell(job: Job, subject: Subject) -> Result:
    def work() -> Result:
        seconds: Result = {}
        one, budget = Ours(subject), Budget(macs=0.5)
        with timed(seconds, "statistics"):
            known = one.known
        with timed(seconds, "allocation"):
            allocate(known.layers, limits_of(budget, known.whole, known.layers))
        with timed(seconds, "network"):
            one.at(budget)
        return seconds

    key = {"code": code(), "threads": torch.get_num_threads()}
    return job.cell("cost", subject, key, work)


def budget(jobs: Sequence[Job]) -> None:
    """What was asked for and what there is, as we count and as torch does."""
    rows = []
    for job in jobs:
        for share in SHARES:
            cells = [ours_at(job, Ours(one), Budget(macs=share)) for one in job.subjects]
            ends = [cell["macs"] / whole(job, job.subjects[0])["macs"] for cell in cells]
            apart = [100 * (end / share - 1) for end in ends]
            same = all(cell["macs"] == cell["flop_macs"] for cell in cells)
            told = f"{min(apart):+.2f} to {max(apart):+.2f}"
            rows.append([job.title, f"{share:.2f}", told, "equal" if same else "DIFFERENT"])
    print("\n## Multiply-adds against what was asked for")
    table(["network", "asked", "reached, % of it", "FlopCounterMode"], rows)


def recovery(jobs: Sequence[Job]) -> None:
    """Learning on, from labels of the training part."""
    rows = []
    for job in jobs:
        if job.key not in RECOVERIES:
            continue
        asked, epochs = RECOVERIES[job.key]
        cells = [recovery_cell(job, one, asked, epochs) for one in job.subjects]
        shares = " and ".join(f"{share:g} of the {name}" for name, share in asked.given().items())
        before, after = lost(job, cells, "unrecovered"), lost(job, cells)
        rows.append([job.title, job.seeds, shares, epochs, mean_worst(before), mean_worst(after)])
    print("\n## Recovery: points lost, mean / worst")
    table(["network", "trainings / draws", "budget", "epochs", "before", "after"], rows)


def recovery_cell(job: Job, subject: Subject, asked: Budget, epochs: int) -> Result:
    def work() -> Result:
        assert job.cache.folder is not None
        learn = read(subject.data, job.cache.folder).learn
        scale = subject.scale
        data = [(scale(x), y) for x, y in zip(learn.x.split(500), learn.y.split(500), strict=True)]
        ours = Ours(subject)
        plain = subject.score(ours.at(asked).model)
        how = Recovery(epochs=epochs, data=data)
        done = ours.at(asked, how)
        costs = count_costs(done.model, subject.example)
        return {
            "macs": costs.macs,
            "params": costs.params,
            "unrecovered": plain,
            "score": subject.score(done.model),
        }

    key = {"code": code(), "epochs": epochs, **asked.given()}
    return job.cell("recovery", subject, key, work)
