"""A 1x1, the layer with few inputs and outputs, and a 1x1."""

from dataclasses import dataclass, field

from torch import Tensor

from pointwise.compression.forms.form import Fit, Problem, Rank
from pointwise.compression.forms.stages import Stage
from pointwise.functional.factor import SplitFactors
from pointwise.functional.tucker import TuckerFactors, tucker_outputs


@dataclass(frozen=True)
class TuckerForm:
    """A 1x1 to R1 channels, KxK to R2, a 1x1: narrow on both sides of the kernel.

    Reference:
        Kim et al., Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
        Applications, 2016, section 3.1.

    Example:
        >>> from torch import nn
        >>> TuckerForm().full_rank(Stage.of(nn.Conv2d(16, 32, 3)))
        (16, 32)
    """

    name: str = "tucker"

    def refusal(self, stage: Stage) -> str | None:
        """It needs several inputs and outputs, and a kernel."""
        if stage.taps == 1:
            return "its kernel has one tap: the form 'output' is the same or better"
        if 1 in (stage.inputs, stage.outputs):
            return "a group has one input or one output only"
        return None

    def full_rank(self, stage: Stage) -> Rank:
        """As many as inputs and outputs, or as the kernel can tell apart."""
        first = min(stage.inputs, stage.outputs * stage.taps)
        return first, min(stage.outputs, first * stage.taps)

    def stages(self, stage: Stage, rank: Rank) -> tuple[Stage, ...]:
        """A 1x1, the layer between, and a 1x1."""
        one, two = rank
        return stage.mix(stage.inputs, one), stage.resized(one, two), stage.mix(two, stage.outputs)

    def solve(self, problem: Problem) -> "TuckerSolution":
        """Mixtures of the inputs, the best that can follow, and its principal components."""
        return TuckerSolution(problem.stage, problem.before_taps(), problem.metric)


@dataclass(frozen=True)
class TuckerSolution:
    """The chains of every pair of ranks; see ``Solution``."""

    stage: Stage
    split: SplitFactors
    metric: Tensor | None
    _known: dict[int, TuckerFactors] = field(default_factory=dict)

    def error(self, rank: Rank) -> float:
        """The error at a pair of ranks; infinite where the second is out of the first's reach."""
        errors = self._outputs(rank[0]).errors
        return float(errors[..., rank[1]].sum()) if rank[1] < errors.shape[-1] else float("inf")

    def fit(self, rank: Rank) -> Fit:
        """The values at a pair of ranks."""
        outputs = self._outputs(rank[0])
        most = outputs.errors.shape[-1] - 1
        if rank[1] > most:
            raise ValueError(f"rank must be at most {(rank[0], most)}, got {rank}")
        chain = outputs.at(rank[1])
        kernel = self.stage.kernel
        first, core, last = chain.factors
        ones = (1,) * len(kernel)
        weights = (
            first.reshape(*first.shape, *ones),
            core.unflatten(-1, kernel),
            last.reshape(*last.shape, *ones),
        )
        return Fit(weights, chain.matrix.unflatten(-1, kernel), float(chain.error.sum()))

    def _outputs(self, rank: int) -> TuckerFactors:
        if rank not in self._known:
            self._known[rank] = tucker_outputs(self.split, rank, metric=self.metric)
        return self._known[rank]
