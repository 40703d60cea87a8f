"""One training: network, average, optimiser and progress, one epoch at a time."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.training.average import WeightAverage
from pointwise.training.checkpoint import fingerprint
from pointwise.training.objective import Objective
from pointwise.training.rows import Augment, Rows
from pointwise.training.settings import Epoch, Settings

WARM_UP = 0.2
"""Share of a cycle's steps in which the step size rises."""

FIRST_STEPS = 5
"""Steps whose pace says whether the first epoch will end in time."""

CLEARING_STEPS = 100
"""Steps between two clearings of the optimiser's moments."""

NEGLIGIBLE = 1e-30
"""Moments below this change no weight: AdamW adds 1e-8 to what it divides by."""


@dataclass
class Progress:
    """Where a run stands, apart from its tensors."""

    step: int = 0
    best_epoch: int = 0
    planned_epochs: int = 0
    history: list[Epoch] = field(default_factory=list)

    def next_epoch(self) -> int:
        """Number of the epoch to come, from 1."""
        return len(self.history) + 1

    def best_loss(self) -> float:
        """Lowest validation loss so far."""
        return self.history[self.best_epoch - 1].valid_loss if self.best_epoch else math.inf


class Run:
    """One training: network, average, optimiser and progress, and how they are kept."""

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        rows: Rows,
        valid: Rows,
        settings: Settings,
        forward: str | None,
        augment: Augment | None,
    ) -> None:
        self.network, self.objective, self.settings = network, objective, settings
        self.rows, self.valid, self.forward, self.augment = rows, valid, forward, augment
        self.average = WeightAverage(network) if settings.schedule == "average" else None
        self.optimizer = _optimizer(network, settings)
        self.best = _snapshot(network)
        self.progress = Progress(planned_epochs=settings.max_epochs)
        self.before_s, self.began = 0.0, time.monotonic()

    def seconds(self) -> float:
        """Seconds since training began, those before a resume included."""
        return self.before_s + time.monotonic() - self.began

    def finished(self) -> bool:
        """Whether there is no epoch to come."""
        done = len(self.progress.history)
        return (
            done >= self.progress.planned_epochs
            or done - self.progress.best_epoch >= self.settings.patience
            or (done > 0 and not math.isfinite(self.progress.history[-1].train_loss))
            or (done > 0 and self._out_of_time())
        )

    def epoch(self) -> Epoch:
        """Take every training row once, validate, and keep the weights if they are the best."""
        number = self.progress.next_epoch()
        seed = self.settings.seed + 7919 * number
        with _own_randomness(seed, self.rows.x.device):
            train_loss = self._learn(torch.Generator().manual_seed(seed))
        valid_loss = self._validate()
        best = valid_loss < self.progress.best_loss()
        rate = self.optimizer.param_groups[0]["lr"]
        record = Epoch(number, train_loss, valid_loss, rate, self.seconds(), best)
        if best:  # one assignment, so that Ctrl-C leaves the old best or the new one
            self.best = _snapshot(self._judged())
            self.progress.best_epoch = number
        self.progress.history.append(record)
        self._plan()
        return record

    def _judged(self) -> nn.Module:
        """The network whose weights count."""
        return self.network if self.average is None else self.average.network

    def _plan(self) -> None:
        """Let a cycle end where the time does: plan the epochs that fit at the pace so far."""
        limit, done = self.settings.time_limit_s, len(self.progress.history)
        if limit is None or self.average is not None:
            return
        fit = int((limit - self.seconds()) * done / self.seconds())
        self.progress.planned_epochs = min(self.settings.max_epochs, done + max(fit, 0))

    def _out_of_time(self) -> bool:
        limit = self.settings.time_limit_s
        return limit is not None and self.seconds() >= limit

    def _steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.rows) // self.settings.batch_size)

    def _planned_steps(self) -> float:
        """Steps of the cycle; in the first epoch, where that alone is too long, those that fit."""
        limit, steps = self.settings.time_limit_s, self._steps()
        planned = steps * self.progress.planned_epochs
        if limit is None or self.progress.history or self.progress.step < FIRST_STEPS:
            return planned
        taken, seconds = self.progress.step, self.seconds()
        return limit * taken / seconds if limit * taken < steps * seconds else planned

    def _rate(self) -> float:
        """Step size of the step at hand."""
        peak = self.settings.learning_rate
        if self.average is not None:
            return peak * min(1.0, self.progress.step / self._steps())
        done = (self.progress.step - 0.5) / self._planned_steps()
        if done < WARM_UP:
            return peak * done / WARM_UP
        return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP))))

    def _learn(self, generator: torch.Generator) -> float:
        self.network.train()
        total: Tensor | float = 0.0
        seen = 0
        for batch in self.rows.batches(self.settings.batch_size, generator):
            self.progress.step += 1
            rate = self._rate()
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            x, y = self.augment(batch.x, batch.y) if self.augment else (batch.x, batch.y)
            loss = batch.mean(self.objective.loss(self._output(self.network, x), y))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.progress.step % CLEARING_STEPS == 0:
                _clear_moments(self.optimizer)
            if self.average is not None:
                self.average.update(self.progress.step)
            total, seen = total + loss.detach() * len(batch), seen + len(batch)
            if self._out_of_time():
                break  # one epoch of a large table may be longer than all the time there is
        return float(total) / seen

    @torch.no_grad()
    def _validate(self) -> float:
        network, rows = self._judged().eval(), self.settings.evaluation_rows
        losses = [
            self.objective.score(self._output(network, x), y)
            for x, y in zip(self.valid.x.split(rows), self.valid.y.split(rows), strict=True)
        ]
        return float(self.valid.mean(torch.cat(losses)))

    def _output(self, network: nn.Module, x: Tensor) -> Tensor:
        call = getattr(network, self.forward) if self.forward else network
        autocast, device = self.settings.autocast, x.device.type
        with torch.autocast(device, autocast, enabled=autocast is not None):
            output: Tensor = call(x)
        return output if autocast is None else output.float()

    def load_best(self) -> None:
        """Put the best epoch's weights into the network, or the initial ones if none was good."""
        self.network.load_state_dict(self.best)
        self.optimizer.zero_grad()
        self.network.eval()

    def fingerprint(self) -> str:
        """Digest of what decides this run's end; time limits do not."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for name, rows in (("rows", self.rows), ("valid", self.valid)):
            parts = {"x": rows.x, "y": rows.y, "weight": rows.weight}
            tensors |= {f"{name}.{k}": v for k, v in parts.items() if v is not None}
        settings = replace(self.settings, time_limit_s=None)
        structure = (
            repr(self.network),
            self.forward,
            repr(self.objective),
            repr(self.augment),
        )
        return fingerprint(tensors, (settings, structure))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that ``restore`` needs, as tensors and as JSON."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.network.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for i, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in slots.items()}
        return tensors, {**asdict(self.progress), "seconds": self.seconds()}

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take up a run where ``state`` left it."""
        self.network.load_state_dict(_part(tensors, "network."))
        if self.average is not None:
            self.average.network.load_state_dict(_part(tensors, "average."))
        self.best = _part(tensors, "best.")
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            slots.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        for parameter, kept in self.optimizer.state.items():  # in the parameter's memory order:
            for name, value in kept.items():  # the fused step goes by memory, not by index
                if value.shape == parameter.shape:
                    kept[name] = torch.empty_like(parameter).copy_(value)
        history = [Epoch(**record) for record in state["history"]]
        self.progress = Progress(
            state["step"], state["best_epoch"], state["planned_epochs"], history
        )
        self.before_s = state["seconds"]


def _optimizer(network: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW that decays matrices and spares biases and norms."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in trained)
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], settings.learning_rate, fused=fused
    )


@torch.no_grad()
def _clear_moments(optimizer: torch.optim.Optimizer) -> None:
    """Set negligible moments to zero, before they reach the denormal numbers.

    Where gradients stay zero (dead channels, pieces that few rows reach), a first moment shrinks by
    a tenth a step and is denormal after some 700, for good: CPUs then take several times as long
    for the optimiser's step.
    """
    for slots in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            slots[name].copy_(torch.hardshrink(slots[name], NEGLIGIBLE))


def _snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


@contextlib.contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what dropout draws from, for a while; ``torch.manual_seed`` would seed every device."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        elif device.type != "cpu":
            getattr(torch, device.type).manual_seed(seed)
        yield


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
