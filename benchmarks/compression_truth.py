"""Are all forms of compression exact where they must be? A grid of convolutions of every kind.

    python benchmarks/compression_truth.py

Every form is fitted to every convolution at full rank, where it must give what the convolution
gives, and the form ``output`` at half of it, where its error must be the one that was predicted.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.compression.forms.form import Problem, factor_layer
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.statistics.moments import Moments, gather_moments

CHANNELS = {1: (8, 12), 2: (4, 8), 3: (4, 6)}
"""Inputs and outputs, by the number of axes."""

KERNELS = {1: (4,), 2: (3, 2), 3: (2, 3, 2)}
SPACES = {1: (13,), 2: (7, 8), 3: (5, 6, 5)}
SAMPLES = 5

LIMITS = {torch.float32: 1e-5, torch.float64: 1e-12}
"""The largest difference of outputs at full rank, over the largest output."""

NEAR = 1e-3
"""How far the predicted error may be from the measured one, as a share of it."""


@dataclass(frozen=True)
class Case:
    """A convolution: how many axes it has, its options as torch takes them, and its type."""

    axes: int
    transposed: bool
    options: tuple[tuple[str, Any], ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        words = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"Conv{'Transpose' * self.transposed}{self.axes}d({words}), {self.dtype}"

    def build(self) -> tuple[nn.Module, Tensor]:
        """The layer with random values, and an input with correlated channels, off centre."""
        torch.manual_seed(0)
        name = f"Conv{'Transpose' * self.transposed}{self.axes}d"
        c_in, c_out = CHANNELS[self.axes]
        layer = getattr(nn, name)(c_in, c_out, KERNELS[self.axes], **dict(self.options))
        x = torch.randn(SAMPLES, c_in, *SPACES[self.axes], dtype=torch.float64)
        x = x + 0.5 * x.cumsum(1) + 0.5 * x.cumsum(-1) + 0.7
        return layer.to(self.dtype).eval(), x.to(self.dtype)


@dataclass(frozen=True)
class Finding:
    """What became of a convolution in one form.

    Attributes:
        form: Its name.
        exact: The difference at full rank, as a share of the largest output.
        predicted: The error that was told at half the rank, as a share of the variance of the
            outputs; only of the form ``output``.
        measured: The error that was measured there, on the same data.
    """

    form: str
    exact: float
    predicted: float | None = None
    measured: float | None = None

    def is_right(self, dtype: torch.dtype) -> bool:
        near = (
            self.predicted is None
            or self.measured is None
            or abs(self.predicted - self.measured) <= NEAR * self.measured
        )
        return self.exact <= LIMITS[dtype] and near


def cases() -> Iterator[Case]:
    """Every convolution of the grid; biases come and go in turns."""
    number = 0
    for axes, transposed in product((1, 2, 3), (False, True)):
        for options in _transposed(axes) if transposed else _plain(axes):
            for groups, dilation in product((1, 2), (1, 2)):
                number += 1
                shared = {"groups": groups, "dilation": dilation, "bias": number % 3 > 0}
                given = tuple({**options, **shared}.items())
                for dtype in LIMITS:
                    yield Case(axes, transposed, given, dtype)


def _plain(axes: int) -> Iterator[dict[str, Any]]:
    uneven = tuple(range(1, axes + 1))  # another padding along every axis
    for mode, padding in product(("zeros", "reflect", "replicate", "circular"), (2, uneven)):
        for stride in (1, 2, (2, *(1,) * (axes - 1))):
            yield {"stride": stride, "padding": padding, "padding_mode": mode}
    for mode in ("zeros", "reflect", "replicate", "circular"):
        yield {"padding": "same", "padding_mode": mode}
    for stride, padding in product((1, 2), (0, "valid")):
        yield {"stride": stride, "padding": padding}


def _transposed(axes: int) -> Iterator[dict[str, Any]]:
    uneven = tuple(range(axes))
    for padding in (0, 1, uneven):
        for stride, more in ((1, 0), (2, 0), (2, 1), (3, 2), ((2, *(1,) * (axes - 1)), 0)):
            yield {"stride": stride, "padding": padding, "output_padding": more}


def check(case: Case) -> list[Finding]:
    """Fit every form that makes sense for a convolution.

    Args:
        case: The convolution.

    Returns:
        One finding for each form.
    """
    layer, x = case.build()
    stage = Stage.of(layer)
    moments = gather_moments(nn.Sequential(layer), ["0"], [x])["0"]
    found = []
    with torch.no_grad():
        for name, form in FORMS.items():
            if form.refusal(stage) is not None:
                continue
            full = form.full_rank(stage)
            exact = max(
                _distance(layer, factor_layer(layer, form, full, moments=known), x)
                for known in (None, moments)
            )
            half = _half(layer, stage, moments, x) if name == "output" else ()
            found.append(Finding(name, exact, *half))
    return found


def _distance(layer: nn.Module, new: nn.Module, x: Tensor) -> float:
    """The largest difference of outputs over the largest output, on the data and on others."""
    apart = 0.0
    for given in (x, x.flip(0, -1) - 1.3):
        wanted, found = layer(given), new(given)
        if wanted.shape != found.shape:
            return float("inf")
        apart = max(apart, float((wanted - found).abs().max() / wanted.abs().max()))
    return apart


def _half(layer: nn.Module, stage: Stage, moments: Moments, x: Tensor) -> tuple[float, float]:
    """The predicted and the measured error of the form ``output`` at half its rank."""
    form = FORMS["output"]
    rank = tuple(max(1, n // 2) for n in form.full_rank(stage))
    predicted = form.solve(Problem(stage, stage.read(layer)[0], moments)).error(rank)
    wanted, found = (
        model(x).double().movedim(1, -1).flatten(0, -2)
        for model in (layer, factor_layer(layer, form, rank, moments=moments))
    )
    energy = wanted.var(0, correction=0).sum()
    return predicted / moments.energy, float((wanted - found).square().sum(1).mean() / energy)


def main() -> None:
    warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")
    findings = [(case, finding) for case in cases() for finding in check(case)]
    kinds = {(case.axes, case.transposed): None for case, _ in findings}
    print("| convolutions | cases | with a form | float32 | float64 | prediction off | wrong |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind in [*kinds, None]:
        mine = [one for one in findings if kind in (None, (one[0].axes, one[0].transposed))]
        worst = [
            max(finding.exact for case, finding in mine if case.dtype == dtype) for dtype in LIMITS
        ]
        off = max(
            abs(finding.predicted / finding.measured - 1)
            for _, finding in mine
            if finding.predicted is not None and finding.measured
        )
        wrong = sum(not finding.is_right(case.dtype) for case, finding in mine)
        title = "all" if kind is None else f"Conv{'Transpose' * kind[1]}{kind[0]}d"
        count = len({case for case, _ in mine})
        print(
            f"| {title} | {count} | {len(mine)} | {worst[0]:.1e} | {worst[1]:.1e} | {off:.1e} "
            f"| {wrong} |"
        )


if __name__ == "__main__":
    main()
