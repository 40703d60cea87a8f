"""The parts of benchmarks/compression.py: each does its cells, then prints its table."""

import importlib.metadata
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn

import compression_peers as others
from compression_jobs import (
    Job,
    Ours,
    Result,
    code,
    first,
    lost,
    mean_worst,
    ours_at,
    table,
    whole,
)
from compression_networks import read
from compression_subjects import Subject
from pointwise.compression import Budget, allocate
from pointwise.compression.budget import count_costs, limits_of
from pointwise.compression.compress import compress_measured
from pointwise.compression.fitting.recover import Recovery
from pointwise.compression.statistics.measure import Errors, measure
from pointwise.inspection.timing import speedup, take_turns
from pointwise.surgery import respell

SHARES = (0.5, 0.4, 0.3)

DEEP = (0.5, 0.3, 0.2)
"""Shares at which errors that are predicted and measured are compared."""

ALLOWED = {"mnist": (0.3, 0.6, 1.5), "cifar": (1.0, 2.0, 5.0)}
"""Points that may be lost at ``SHARES``."""

HALF_PARAMS_ALLOWED = 3.0

TOLERANCE = 0.005
"""Share of the multiply-adds by which a tool may miss a budget: AIMET's own is 0.001."""

LATENCY_SHARES, LATENCY_BATCH, LATENCY_S = (0.75, 0.6), 64, 20.0
"""Shares of the time, images at once, and seconds to compare networks for."""

RECOVERIES = {
    "lenet": (Budget(macs=0.3, params=0.3), 1),
    "nin": (Budget(macs=0.3, params=0.3), 1),
    "resnet20": (Budget(macs=0.28), 10),
}
"""Budget and epochs."""

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


def tried(jobs: Sequence[Job]) -> None:
    """Errors that are predicted beside those that are measured, one seed."""
    rows = []
    for job in map(first, jobs):
        for errors in get_args(Errors):
            ours = Ours(job.subjects[0], errors)
            points = [lost(job, [ours_at(job, ours, Budget(macs=share))])[0] for share in DEEP]
            rows.append([job.title, errors, *(f"{one:.2f}" for one in points)])
    print("\n## Points lost where errors are predicted, and where candidates are tried")
    table(["network", "errors", *(f"{s:.2f} of the MACs" for s in DEEP)], rows)


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
    """How much faster, one thread, and what it costs; and what respelling wins for nothing."""
    rows = []
    for job in jobs:
        cells = [latency_cell(job, one) for one in job.subjects[:1]]
        for cell in cells:
            if "error" in cell:
                rows.append([job.title, cell["error"], "-", "-", "-", "-"])
                continue
            for share in LATENCY_SHARES:
                got = cell[str(share)]
                (points,) = lost(first(job), [got])
                told = [f"{got['macs']:.2f}", f"{points:.2f}", cell["respelled"]]
                rows.append([job.title, share, got["times"], *told])
    print(f"\n## Latency mode: shares of the time asked for, batch {LATENCY_BATCH}")
    print("Times as fast as the network as given, with 99 % bounds; respelled: norms folded too")
    names = ["asked for", "compressed", "share of the MACs", "points lost", "respelled alone"]
    table(["network", *names], rows)


def latency_cell(job: Job, subject: Subject) -> Result:
    def work() -> Result:
        batch = subject.images[: 8 if subject.key == "unet" else LATENCY_BATCH].contiguous()
        known = measure(
            subject.network,
            batch,
            data=subject.images,
            logits=subject.logits,
            seed=subject.draw,
            timed=True,
        )
        models = {"as given": subject.network, "respelled": respelled(subject.network, batch)}
        for share in LATENCY_SHARES:
            done = compress_measured(known, Budget(latency=share), seed=subject.draw)
            models[str(share)] = done.model
        with torch.no_grad():
            calls = {name: partial(one, batch) for name, one in models.items()}
            taken = take_turns(calls, seconds=LATENCY_S, fewest=15)
        times = {name: str(speedup(taken["as given"], taken[name])) for name in models}
        shares = {
            name: {
                "times": times[name],
                "macs": count_costs(models[name], batch).macs / known.whole.macs,
                "score": subject.score(models[name]),
            }
            for name in map(str, LATENCY_SHARES)
        }
        return {"respelled": times["respelled"], **shares}

    key = {"code": code(), "shares": LATENCY_SHARES, "threads": torch.get_num_threads()}
    return job.cell("latency", subject, key, work)


def respelled(network: nn.Module, batch: Tensor) -> nn.Module:
    """The fastest spelling here: what gains speed and loses nothing."""
    return respell(network, batch, folding=True, seconds=LATENCY_S)[0]


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
        shares = " and ".join(f"{share:g} of the {name}" for name, share in asked.given().items())
        cells = [recovery_cell(job, one, asked, epochs) for one in job.subjects]
        points = [mean_worst(lost(job, cells, when)) for when in ("unrecovered", "score")]
        rows.append([job.title, job.seeds, shares, epochs, *points])
    print("\n## Recovery: points lost, mean / worst")
    head = ["network", "trainings / draws", "budget", "epochs", "before", "after"]
    table(head, rows)


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
