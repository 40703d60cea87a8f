"""The kernel along one axis, then along the others: Kx1, then 1xK."""

from dataclasses import dataclass

from torch import Tensor

from pointwise.compression.forms.form import Fit, Problem, Rank
from pointwise.compression.forms.stages import Stage
from pointwise.functional.factor import SplitFactors


@dataclass(frozen=True)
class AxisForm:
    """A kernel along one axis to R channels, then one along the other axes.

    Exact at full rank in every padding mode: each stage pads its own axes, and padding one axis
    commutes with a kernel along another.

    Args:
        axis: Along which position axis the first stage works.

    Reference:
        Jaderberg, Vedaldi and Zisserman, Speeding up Convolutional Neural Networks with Low Rank
        Expansions, 2014, section 2.2 (scheme 2).

    Example:
        >>> from torch import nn
        >>> [part.kernel for part in AxisForm(0).stages(Stage.of(nn.Conv2d(16, 32, 3)), (5,))]
        [(3, 1), (1, 3)]
    """

    axis: int

    @property
    def name(self) -> str:
        """What plans and reports call it."""
        return f"axis {self.axis}"

    def refusal(self, stage: Stage) -> str | None:
        """It needs taps along the axis, and along another."""
        if self.axis >= len(stage.kernel) or stage.kernel[self.axis] == 1:
            return f"its kernel has no taps along axis {self.axis}"
        if stage.taps == stage.kernel[self.axis]:
            return f"its kernel has taps along axis {self.axis} only"
        return None

    def full_rank(self, stage: Stage) -> Rank:
        """As many as numbers on the smaller side of the cut."""
        along = stage.kernel[self.axis]
        return (min(stage.inputs * along, stage.outputs * (stage.taps // along)),)

    def stages(self, stage: Stage, rank: Rank) -> tuple[Stage, ...]:
        """The layer along the axis, and along the others."""
        first = stage.along((self.axis,)).resized(stage.inputs, rank[0])
        return first, stage.along(self._others(stage)).resized(rank[0], stage.outputs)

    def solve(self, problem: Problem) -> "AxisSolution":
        """The patches along the axis that matter most, and the best that can follow them."""
        stage, seen = problem.stage, problem.moments.seen
        assert seen is not None, "moments of what the layer reads"
        along = stage.kernel[self.axis]
        moved = problem.weight.movedim(3 + self.axis, 3)  # (G, O, C, K_a, *K_others)
        weight = moved.flatten(4).flatten(2, 3)
        factors = problem.split(self.name, weight, self._moment(stage, seen))
        others = tuple(stage.kernel[axis] for axis in self._others(stage))
        return AxisSolution(
            self.axis, stage, along, others, factors, factors.errors.sum(0).tolist()
        )

    def _others(self, stage: Stage) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(stage.kernel)) if axis != self.axis)

    def _moment(self, stage: Stage, seen: Tensor) -> Tensor:
        """The moment with the taps along the axis next to the channels."""
        along = stage.kernel[self.axis]
        if seen.shape[-1] == stage.inputs:  # of channels: the same at every tap
            one = seen.new_ones(along).diag()
            wide: Tensor = seen[..., :, None, :, None] * one[:, None, :]
            return wide.flatten(-2).flatten(-3, -2)
        sizes = (stage.inputs, *stage.kernel)
        rank = len(stage.kernel)
        grid: Tensor = seen.unflatten(-1, sizes).unflatten(-2 - rank, sizes)  # (G, C, *K, C, *K)
        grid = grid.movedim(2 + self.axis, 2).movedim(3 + rank + self.axis, 3 + rank)
        return grid.reshape(seen.shape)


@dataclass(frozen=True)
class AxisSolution:
    """The chains of every rank; see ``Solution``."""

    axis: int
    stage: Stage
    along: int
    others: tuple[int, ...]
    factors: SplitFactors
    errors: list[float]

    def error(self, rank: Rank) -> float:
        """The error at a rank."""
        return self.errors[rank[0]]

    def fit(self, rank: Rank) -> Fit:
        """The values at a rank."""
        chain = self.factors.at(rank[0])
        first, last = chain.factors  # (G, R, C * K_a), (G, O, R, J)
        place = 3 + self.axis
        ones = (1,) * len(self.others)
        first = first.unflatten(-1, (self.stage.inputs, self.along))
        first = first.reshape(*first.shape, *ones).movedim(3, place)
        last = last.unflatten(-1, self.others).unsqueeze(place)
        matrix = chain.matrix.unflatten(-1, self.others)
        matrix = matrix.unflatten(2, (self.stage.inputs, self.along)).movedim(3, place)
        return Fit((first, last), matrix, self.errors[rank[0]])
