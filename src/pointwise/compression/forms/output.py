"""The layer with few outputs, then a 1x1: the best there is for what it puts out."""

from dataclasses import dataclass

from pointwise.compression.forms.form import Fit, Problem, Rank
from pointwise.compression.forms.stages import Stage
from pointwise.functional.factor import OutputFactors, output_factors


@dataclass(frozen=True)
class OutputForm:
    """KxK to R channels, then a 1x1: principal components of the outputs.

    Exact at full rank for every linear layer with a channel axis, whatever its stride, padding,
    dilation or groups: all of that stays in the first stage. A linear layer becomes two.

    Reference:
        Zhang et al., Accelerating Very Deep Convolutional Networks for Classification and
        Detection, 2015, section 3.1.

    Example:
        >>> from torch import nn
        >>> OutputForm().full_rank(Stage.of(nn.Conv2d(16, 32, 3)))
        (32,)
    """

    name: str = "output"

    def refusal(self, stage: Stage) -> str | None:
        """Nothing speaks against it but a single output."""
        return "a group has one output only" if stage.outputs == 1 else None

    def full_rank(self, stage: Stage) -> Rank:
        """As many as outputs, or as numbers that the layer reads."""
        return (min(stage.outputs, stage.inputs * stage.taps),)

    def stages(self, stage: Stage, rank: Rank) -> tuple[Stage, ...]:
        """The layer with other outputs, and a 1x1."""
        return stage.resized(stage.inputs, rank[0]), stage.mix(rank[0], stage.outputs)

    def solve(self, problem: Problem) -> "OutputSolution":
        """Principal components of the outputs, in their metric."""
        weight = problem.weight.flatten(2)
        factors = output_factors(weight, problem.moments.output, metric=problem.metric)
        return OutputSolution(problem.stage, factors, factors.errors.sum(0).tolist())


@dataclass(frozen=True)
class OutputSolution:
    """The chains of every rank; see ``Solution``."""

    stage: Stage
    factors: OutputFactors
    errors: list[float]

    def error(self, rank: Rank) -> float:
        """The error at a rank."""
        return self.errors[rank[0]]

    def fit(self, rank: Rank) -> Fit:
        """The values at a rank."""
        chain = self.factors.at(rank[0])
        taps = (self.stage.inputs, *self.stage.kernel)
        first, last = chain.factors
        ones = (1,) * len(self.stage.kernel)
        weights = (first.unflatten(-1, taps), last.reshape(*last.shape, *ones))
        return Fit(weights, chain.matrix.unflatten(-1, taps), self.errors[rank[0]])
