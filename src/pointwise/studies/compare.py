"""When does an mlpconv pay? KxK, KxK + 1x1 and KxK + KxK, matched three ways, on the same images.

The mlpconv network is the reference. Each rival gets the widths with which it has as many
parameters, takes as many multiply-adds, or trains for as long; all else is equal. Every network is
trained once per seed, and every finished training is kept.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeAlias

import torch
from torch import nn

from pointwise.errors import CheckpointError, DataError
from pointwise.estimators.threads import threads_for
from pointwise.studies.cells import CellCache
from pointwise.studies.compare_data import CompareData
from pointwise.studies.compare_plan import WIDTHS, CompareOptions, Planner, Progress, slug
from pointwise.studies.compare_records import Cell
from pointwise.studies.comparison import Comparison
from pointwise.studies.contenders import REFERENCE, Kind, count, stage_widths
from pointwise.studies.matching import Widths
from pointwise.training import Checkpoint, CrossEntropy, Rows, Settings, train

CHECKPOINT_S = 60.0
"""Seconds between two checkpoints of a training: a long one that is stopped goes on, too."""

Trained: TypeAlias = dict[tuple[Kind, Widths, int], Cell]


def compare(
    data: CompareData,
    options: CompareOptions | None = None,
    *,
    cache: CellCache | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Comparison:
    """Compare the contenders on images.

    Args:
        data: The images.
        options: How to compare. Default: ``CompareOptions()``.
        cache: Where finished trainings are kept, so that a stopped comparison goes on.
        say: Told sentences, one per training.
        progress: Told how far the comparison is.

    Returns:
        The errors of all trainings, and what they say.

    Raises:
        DataError: If the time limit does not suffice, or the cache's folder cannot be written.
        ValueError: If the kernel is even or below 3.

    Example:
        >>> import numpy as np
        >>> from pointwise.studies.compare_data import split_images
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(60) % 2
        >>> images = rng.integers(0, 99, (60, 1, 6, 6)) + 99 * labels[:, None, None, None]
        >>> data = split_images("bright", images.astype(np.uint8), labels, ("dark", "light"))
        >>> options = CompareOptions(width=16, matchings=("macs",), seeds=2, epochs=1)
        >>> found = compare(data, options)
        >>> [(row.name, row.widths, row.macs) for row in found.rows]
        [('3x3', (44,), 14344), ('3x3 + 1x1', (16,), 14432), ('3x3 + 3x3', (6,), 13620)]
    """
    options, cache = options or CompareOptions(), cache or CellCache()
    job = data.job(options.kernel)
    widths = stage_widths(job.shape, options.width or WIDTHS[-1])
    macs = options.batch_size * count(REFERENCE, widths, job).macs
    with threads_for(macs, layers=2 * len(widths) + 1):  # two a stage, and the classes
        study = _Study(data, options, cache, say, progress)
        plan = study.planner.plan()
        cells = study.train_all(plan.networks(), plan.epochs)
    seeds = [
        seed
        for seed in range(options.seeds)
        if all((*network, seed) in cells for network in plan.networks())
    ]
    if not seeds:
        raise DataError(
            "the time limit ran out before every network was trained once: give more time; "
            "where cells are kept, the same command goes on with those that are finished"
        )
    if len(seeds) < options.seeds:
        say(f"the time limit left {len(seeds)} of {options.seeds} seeds: the others do not count")
    return Comparison(
        data.name,
        options.kernel,
        plan.epochs,
        plan.entries,
        tuple(cells[(*network, seed)] for network in plan.networks() for seed in seeds),
        (len(data.learn), len(data.valid), len(data.test)),
    )


class _Study:
    """One comparison under way."""

    def __init__(
        self,
        data: CompareData,
        options: CompareOptions,
        cache: CellCache,
        say: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self.data, self.options, self.cache = data, options, cache
        self.say, self.progress = say, progress
        self.planner = Planner(data, options, cache, progress)

    def train_all(self, networks: list[tuple[Kind, Widths]], epochs: int) -> Trained:
        """Train every network with every seed, seed by seed, until the time limit."""
        done: Trained = {}
        number = len(networks) * self.options.seeds
        for seed in range(self.options.seeds):
            for kind, widths in networks:
                now = f"{kind} {'-'.join(map(str, widths))}, seed {seed}"
                self.progress(now, len(done), number)
                cell = self._cell(kind, widths, seed, epochs)
                if cell is None:
                    return done
                done[kind, widths, seed] = cell
        self.progress("done", len(done), number)
        return done

    def _cell(self, kind: Kind, widths: Widths, seed: int, epochs: int) -> Cell | None:
        """One training, from the cache where it is there; ``None`` if the time limit came first."""
        network = self.planner.build(kind, widths, seed)
        settings = self.options.settings(epochs, seed)
        key = {**self.planner.basis, "network": repr(network), "settings": repr(settings)}
        label = f"{slug(self.data.name)}-{kind}-{'-'.join(map(str, widths))}-seed{seed}"
        if (found := self.cache.read(label, key, Cell.from_dict)) is not None:
            return found
        path = self.cache.path(label, key, ".ckpt")
        checkpoint = None if path is None else Checkpoint(path, every_s=CHECKPOINT_S)
        try:
            ended = self._train(network, settings, checkpoint)
        except CheckpointError as error:
            if checkpoint is None or not checkpoint.path.is_file():
                raise
            self.say(f"{error}: the training starts afresh")
            checkpoint.remove()
            network = self.planner.build(kind, widths, seed)
            ended = self._train(network, settings, checkpoint)
        if ended is None:
            return None
        seconds, best_epoch = ended
        wrong, loss = _score(network, self.data.test, settings)
        cell = Cell(kind, widths, seed, wrong, loss, len(self.data.test), seconds, best_epoch)
        self.cache.write(label, key, asdict(cell))
        if checkpoint is not None:
            checkpoint.remove()
        self.say(f"{label}: {100 * cell.error:.2f} % wrong after {seconds:.0f} s")
        return cell

    def _train(
        self, network: nn.Module, settings: Settings, checkpoint: Checkpoint | None
    ) -> tuple[float, int] | None:
        """Train to the end: seconds and best epoch; ``None`` if the time limit came first."""
        run = train(
            network,
            CrossEntropy(1),
            self.data.learn,
            self.data.valid,
            settings,
            augment=self.options.augment,
            checkpoint=checkpoint,
        )
        seconds, best = 0.0, 0
        for epoch in run:
            seconds = epoch.seconds
            best = epoch.epoch if epoch.best else best
            if self.planner.left() < 0 and epoch.epoch < settings.max_epochs:
                run.close()
                return None
        return seconds, best


@torch.no_grad()
def _score(network: nn.Module, rows: Rows, settings: Settings) -> tuple[tuple[int, ...], float]:
    """Numbers of the images that are classified wrongly, and the mean loss."""
    network.eval()
    size, device = settings.evaluation_rows, rows.x.device.type
    with torch.autocast(device, settings.autocast, enabled=settings.autocast is not None):
        outputs = torch.cat([network(x).float() for x in rows.x.split(size)])
    wrong = (outputs.argmax(1) != rows.y).nonzero().flatten().tolist()
    return tuple(wrong), float(CrossEntropy(1).score(outputs, rows.y).mean())
