"""A weight that is read runs its layer where it is multiplied, and is a tensor in all else."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.axes import InPlaceOf

LAYERS = {
    "conv1d": nn.Conv1d(6, 4, 1),
    "conv2d": nn.Conv2d(6, 4, 1),
    "conv3d": nn.Conv3d(6, 4, 1),
    "pointwise": PointwiseConv(6, 4),
}
SHAPES = ((6,), (3, 6), (2, 5, 6), (2, 3, 5, 6), (0, 6))


class Reader(nn.Module):
    """Reads its layer's weight, and a bias as asked."""

    def __init__(self, layer: nn.Module, bias: str = "own") -> None:
        super().__init__()
        self.layer, self.bias = layer, bias

    def forward(self, x: Tensor) -> Tensor:
        bias = {"own": self.layer.bias, "other": self.layer.bias.clone() * 2, "none": None}
        return F.linear(x, weight=self.layer.weight, bias=bias[self.bias])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def in_place_of_linear(layer: nn.Module) -> tuple[InPlaceOf, Tensor]:
    return InPlaceOf(layer, "linear"), layer.weight.detach().flatten(1)


@pytest.mark.parametrize("bias", ["own", "other", "none"])
@pytest.mark.parametrize("case", LAYERS)
def test_linear_with_the_weight_runs_the_layer(case, bias):
    layer, matrix = in_place_of_linear(LAYERS[case])
    expected_bias = {"own": layer.bias, "other": 2 * layer.bias, "none": None}[bias]
    for shape in SHAPES:
        x = torch.randn(shape)
        torch.testing.assert_close(Reader(layer, bias)(x), F.linear(x, matrix, expected_bias))


@pytest.mark.parametrize("bias", ["own", "other", "none"])
@pytest.mark.parametrize("case", LAYERS)
def test_an_exported_program_has_the_layer_and_no_linear(case, bias):
    reader = Reader(in_place_of_linear(LAYERS[case])[0], bias).eval()
    x = torch.randn(2, 5, 6)
    program = torch.export.export(reader, (x,), strict=False)
    torch.testing.assert_close(program.module()(x), reader(x))
    made = {str(node.target) for node in program.graph.nodes}
    if case != "pointwise":  # that one computes with F.linear itself
        assert f"aten.{case}.default" in made
        assert not any("linear" in target for target in made)


def test_gradients_reach_the_layer():
    layer, matrix = in_place_of_linear(nn.Conv2d(6, 4, 1))
    x = torch.randn(3, 6)
    Reader(layer)(x).square().sum().backward()
    matrix = matrix.requires_grad_()
    F.linear(x, matrix, layer.bias.detach()).square().sum().backward()
    torch.testing.assert_close(layer.layer.weight.grad.flatten(1), matrix.grad)


OTHER_USES = {
    "product": lambda w: torch.ones(3, 6) @ w.T,
    "sum": lambda w: w + 1,
    "element": lambda w: w[0, 1] * 2 - w[1, 0] / 3,
    "norm": lambda w: torch.linalg.norm(w),
    "rows": lambda w: torch.stack(list(w)),
    "negative": lambda w: 1 - -w,
}


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("use", OTHER_USES)
def test_all_else_sees_a_plain_tensor(use, traced):
    class User(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.matrix = in_place_of_linear(nn.Conv2d(6, 4, 1))

        def forward(self, x: Tensor) -> Tensor:
            return OTHER_USES[use](self.layer.weight) * x

    user = User()
    run = torch.export.export(user, (torch.ones(()),), strict=False).module() if traced else user
    torch.testing.assert_close(run(torch.ones(())), OTHER_USES[use](user.matrix))
    assert type(OTHER_USES[use](user.layer.weight)) is Tensor
