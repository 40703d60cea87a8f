"""A 1x1, then the layer with few inputs."""

from dataclasses import dataclass

from pointwise.compression.forms.form import Fit, Problem, Rank
from pointwise.compression.forms.stages import Stage
from pointwise.functional.factor import SplitFactors


@dataclass(frozen=True)
class InputForm:
    """A 1x1 to R channels, then KxK: the layer of few mixtures of its inputs.

    Exact at full rank whatever the stride, padding or dilation: zeros mix to zeros, and padding
    that repeats the input commutes with mixing it.

    Reference:
        Zhang et al., Accelerating Very Deep Convolutional Networks for Classification and
        Detection, 2015, section 3.3 (the fit of the last factor).

    Example:
        >>> from torch import nn
        >>> InputForm().full_rank(Stage.of(nn.Conv2d(16, 32, 3)))
        (16,)
    """

    name: str = "input"

    def refusal(self, stage: Stage) -> str | None:
        """It needs several inputs, and a kernel."""
        if stage.taps == 1:
            return "its kernel has one tap: the form 'output' is the same or better"
        return "a group has one input only" if stage.inputs == 1 else None

    def full_rank(self, stage: Stage) -> Rank:
        """As many as inputs, or as numbers that an input goes into."""
        return (min(stage.inputs, stage.outputs * stage.taps),)

    def stages(self, stage: Stage, rank: Rank) -> tuple[Stage, ...]:
        """A 1x1, and the layer with other inputs."""
        return stage.mix(stage.inputs, rank[0]), stage.resized(rank[0], stage.outputs)

    def solve(self, problem: Problem) -> "InputSolution":
        """The mixtures that matter most to the outputs, and the best that can follow them."""
        factors = problem.before_taps()
        return InputSolution(problem.stage, factors, factors.errors.sum(0).tolist())


@dataclass(frozen=True)
class InputSolution:
    """The chains of every rank; see ``Solution``."""

    stage: Stage
    factors: SplitFactors
    errors: list[float]

    def error(self, rank: Rank) -> float:
        """The error at a rank."""
        return self.errors[rank[0]]

    def fit(self, rank: Rank) -> Fit:
        """The values at a rank."""
        chain = self.factors.at(rank[0])
        kernel = self.stage.kernel
        first, last = chain.factors
        weights = (first.reshape(*first.shape, *(1,) * len(kernel)), last.unflatten(-1, kernel))
        return Fit(weights, chain.matrix.unflatten(-1, kernel), self.errors[rank[0]])
