"""Statlog Landsat: the class of a pixel from the 3x3 pixels around it, in four bands, by mlpconvs.

The recipe is chosen on the 4,435 training rows, by the cross-validated error of ensembles, and the
epoch of each network on the tenth of them that it does not learn from. As those rows choose the
epoch too, cross-validated errors are a little low. This script reads the 2,000 test rows last, and
once; mlpconv_study.py scores other networks on the same rows. --tune cross-validates the recipe
beside others that differ from it in one thing each.

Run: python benchmarks/landsat.py [--tune]
"""

import argparse
import time
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from pointwise.nn.image import ImageScale
from pointwise.nn.mlpconv import MLPConv
from pointwise.nn.norm import BatchNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.pooling import GlobalAveragePool
from pointwise.training import Rows, Settings, train
from shared_data import DATA

CLASSES = (1, 2, 3, 4, 5, 7)
MEMBERS = 3
FOLDS, TUNING_FOLDS = 10, 5


@dataclass(frozen=True)
class Recipe:
    """How a network is made and trained."""

    widths: tuple[int, ...] = (256, 256, 256)
    norm: bool = True
    dropout: float = 0.0
    symmetries: bool = True
    epochs: int = 60
    learning_rate: float = 3e-3
    batch_size: int = 128
    weight_decay: float = 0.05
    label_smoothing: float = 0.0


RECIPE = Recipe()

NEIGHBOURS = (
    RECIPE,
    replace(RECIPE, widths=(128, 128, 128)),
    replace(RECIPE, widths=(512, 512, 512)),
    replace(RECIPE, widths=(256, 256, 256, 256)),
    replace(RECIPE, norm=False, learning_rate=1e-3),
    replace(RECIPE, dropout=0.2),
    replace(RECIPE, symmetries=False),
    replace(RECIPE, epochs=120),
    replace(RECIPE, label_smoothing=0.05),
    replace(RECIPE, weight_decay=0.5),
)
"""What --tune compares: each but the first differs from the chosen one in one thing."""


@dataclass(frozen=True)
class Symmetries:
    """Turn each patch into one of the eight that a square has: the class is the same."""

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        several = torch.stack(symmetric(x), 1)  # (N, 8, C, H, W)
        return several[torch.arange(len(x)), torch.randint(8, (len(x),))], y


def symmetric(x: Tensor) -> list[Tensor]:
    return [
        turned
        for one in (x, x.mT)
        for flipped in (one, one.flip(2))
        for turned in (flipped, flipped.flip(3))
    ]


class SmoothedCrossEntropy:
    """Cross-entropy that wants a little of every class; validation is judged without."""

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none", label_smoothing=self.smoothing)

    def score(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")


def read_landsat() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Patches ``(N, 4, 3, 3)`` of bytes and class numbers, to learn from and to test on."""
    return read_part("sat.trn"), read_part("sat.tst")


def read_part(name: str) -> tuple[Tensor, Tensor]:
    table = np.loadtxt(DATA / "statlog-landsat" / name, dtype=np.int64)
    patches = table[:, :36].reshape(-1, 3, 3, 4).transpose(0, 3, 1, 2)
    labels = np.searchsorted(CLASSES, table[:, 36])
    return torch.from_numpy(patches.astype(np.uint8)), torch.from_numpy(labels)


def build(recipe: Recipe, x: Tensor) -> nn.Sequential:
    """An mlpconv that reads the whole patch, with a 1x1 to the classes."""
    pixels = x.double()
    scale = ImageScale(pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).tolist())
    norm = BatchNorm if recipe.norm else None
    block = MLPConv(4, recipe.widths, kernel=3, padding=0, norm=norm)
    to_classes = PointwiseConv(recipe.widths[-1], len(CLASSES))
    return nn.Sequential(scale, block, nn.Dropout(recipe.dropout), to_classes, GlobalAveragePool())


def fit(recipe: Recipe, learn: Rows, valid: Rows, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = build(recipe, learn.x)
    settings = Settings(
        recipe.batch_size,
        recipe.learning_rate,
        "one_cycle",
        recipe.weight_decay,
        max_epochs=recipe.epochs,
        patience=recipe.epochs,
        seed=seed,
    )
    augment = Symmetries() if recipe.symmetries else None
    objective = SmoothedCrossEntropy(recipe.label_smoothing)
    for _ in train(network, objective, learn, valid, settings, augment=augment):
        pass
    return network


@torch.no_grad()
def probabilities(network: nn.Module, x: Tensor) -> Tensor:
    return network(x).softmax(1)


def error(proba: Tensor, y: Tensor) -> float:
    """Percent classified wrongly."""
    return 100 * float((proba.argmax(1) != y).double().mean())


def folds(x: Tensor, y: Tensor, number: int) -> list[tuple[Rows, Rows]]:
    split = StratifiedKFold(number, shuffle=True, random_state=0).split(x, y)
    return [(Rows(x[a], y[a]), Rows(x[b], y[b])) for a, b in split]


def cross_validated(recipe: Recipe, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Error of single networks and of ensembles on rows that none of them learnt from."""
    single, together = [], []
    for learn, valid in folds(x, y, TUNING_FOLDS):
        found = [probabilities(fit(recipe, learn, valid, s), valid.x) for s in range(MEMBERS)]
        single += [error(one, valid.y) for one in found]
        together.append(error(sum(found), valid.y))
    return float(np.mean(single)), float(np.mean(together))


def tune(x: Tensor, y: Tensor) -> None:
    print("| recipe | single network, CV error | ensemble of 3, CV error |\n| --- | --- | --- |")
    for recipe in NEIGHBOURS:
        changed = {k: v for k, v in asdict(recipe).items() if v != getattr(RECIPE, k)}
        single, together = cross_validated(recipe, x, y)
        name = ", ".join(f"{k} {v}" for k, v in changed.items()) or f"chosen: {RECIPE}"
        print(f"| {name} | {single:.2f} % | {together:.2f} % |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tune", action="store_true", help="cross-validate recipes")
    options = parser.parse_args()
    torch.set_num_threads(1)  # steps this small are slower on several
    x, y = read_part("sat.trn")
    if options.tune:
        tune(x, y)
        return
    began, members, held_out = time.perf_counter(), [], []
    for seed, (learn, valid) in enumerate(folds(x, y, FOLDS)[:MEMBERS]):
        members.append(fit(RECIPE, learn, valid, seed))
        held_out.append(error(probabilities(members[-1], valid.x), valid.y))
    seconds = time.perf_counter() - began
    x, y = read_part("sat.tst")
    found = [probabilities(member, x) for member in members]
    parameters = sum(p.numel() for p in members[0].parameters())
    print(f"{RECIPE}\n{parameters:,} parameters a network; {seconds:.0f} s for {MEMBERS}\n")
    print("| network | validation error | test error |\n| --- | --- | --- |")
    for seed, (one, chosen) in enumerate(zip(found, held_out, strict=True)):
        print(f"| seed {seed} | {chosen:.2f} % | {error(one, y):.2f} % |")
    print(f"| mean of {MEMBERS} | | {np.mean([error(one, y) for one in found]):.2f} % |")
    print(f"| **ensemble of {MEMBERS}** | | **{error(sum(found), y):.2f} %** |")


if __name__ == "__main__":
    main()
