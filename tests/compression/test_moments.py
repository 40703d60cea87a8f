"""One streaming pass against moments of all rows at once, and gradients against autograd."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from layer_cases import LAYERS, Case, make
from torch import Tensor, nn
from torch.testing import assert_close

from pointwise.compression.forms.stages import Stage
from pointwise.compression.statistics.fisher import EnergyLoss, LabelLoss
from pointwise.compression.statistics.moments import Moments, gather_moments
from pointwise.compression.statistics.patches import output_rows, patch_rows
from pointwise.errors import DataError

each_layer = pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS.keys())


def covariance(rows: Tensor) -> Tensor:
    """Two passes: the mean first."""
    centred = rows - rows.mean(1, keepdim=True)
    return centred.mT @ centred / rows.shape[1]


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    ).double()


def images(count: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, 7, 6, generator=generator, dtype=torch.float64) * 3


@each_layer
def test_streaming_equals_two_passes(case: Case) -> None:
    layer, x = make(case)
    stage = Stage.of(layer)
    found = gather_moments(nn.Sequential(layer), ["0"], [x])["0"]
    with torch.no_grad():
        outputs = output_rows(stage, layer(x))
    patches = torch.cat(list(patch_rows(stage, x)), 1)
    assert_close(found.output, covariance(outputs))
    assert_close(found.output_mean, outputs.mean(1))
    assert_close(found.patch_mean, patches.mean(1))
    if stage.taps > 1:
        assert_close(found.seen, covariance(patches))
    else:
        assert found.seen is None
    assert found.positions == outputs.shape[1]
    assert found.gradient is None


@pytest.mark.parametrize("loss", [LabelLoss, EnergyLoss])
@pytest.mark.parametrize("largest_patch", [2304, 0], ids=["patches", "channels"])
def test_batches_do_not_matter(loss: Any, largest_patch: int) -> None:
    model, x = classifier(), images()
    found = []
    for batches in ([x], list(x.split(1)), list(x.split([5, 3, 4]))):
        drawn = loss(lambda y: y) if loss is LabelLoss else loss()
        found.append(
            gather_moments(model, ["0", "2", "6"], batches, loss=drawn, largest_patch=largest_patch)
        )
    for other in found[1:]:
        for path, moments in found[0].items():
            for name, value in vars(moments).items():
                assert_close(getattr(other[path], name), value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["stride", "transposed2d", "groups", "conv1d", "linear_3d"])
def test_some_positions_only(name: str) -> None:
    layer, x = make(LAYERS[name])
    model = nn.Sequential(layer)
    whole = gather_moments(model, ["0"], [x])["0"]
    some = gather_moments(model, ["0"], list(x.split(1)), most_positions=3)["0"]
    for part in ("output", "output_mean", "patch_mean", "positions"):
        assert_close(getattr(some, part), getattr(whole, part))
    if whole.seen is not None:
        rows = torch.cat(list(patch_rows(Stage.of(layer), x, most=3)), 1)
        assert rows.shape[1] == 3 * len(x)
        assert_close(some.seen, covariance(rows))
        every = torch.cat(list(patch_rows(Stage.of(layer), x)), 1)
        assert set(map(tuple, rows[0].tolist())) <= set(map(tuple, every[0].tolist()))
    all_of_them = gather_moments(model, ["0"], [x], most_positions=10_000)["0"]
    assert_close(all_of_them.seen, whole.seen)


def test_a_large_mean_costs_no_digits() -> None:
    layer = nn.Linear(3, 2, bias=False).double()
    x = torch.randn(500, 3, dtype=torch.float64)
    near = gather_moments(nn.Sequential(layer), ["0"], list(x.split(50)))["0"]
    far = gather_moments(nn.Sequential(layer), ["0"], list((x + 1e6).split(50)))["0"]
    assert_close(far.output, near.output, rtol=1e-6, atol=0)


class Twice(nn.Module):
    """One layer at two places, and another beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv1d(3, 3, 3, padding=1)
        self.again = self.shared

    def forward(self, x: Tensor) -> Tensor:
        return self.again(torch.relu(self.shared(x)) + 1)


def test_shared_layers_are_pooled() -> None:
    torch.manual_seed(0)
    model = Twice().double()
    x = torch.randn(4, 3, 8, dtype=torch.float64)
    found = gather_moments(model, ["shared"], [x])["shared"]
    with torch.no_grad():
        one = model.shared(x)
        second = torch.relu(one) + 1
        two = model.shared(second)
    stage = Stage.of(model.shared)
    rows = torch.cat([output_rows(stage, one), output_rows(stage, two)], 1)
    patches = torch.cat([*patch_rows(stage, x), *patch_rows(stage, second)], 1)
    assert found.positions == 2 * 4 * 8
    assert_close(found.output, covariance(rows))
    assert_close(found.seen, covariance(patches))


# --- what outputs are worth ---


def expected_gradients(model: nn.Module, x: Tensor, heads: Callable[[Tensor], Tensor]) -> Tensor:
    """The second moment of gradients at the first layer, from the Fisher matrix of each sample."""
    layer, rest = model[0], model[1:]
    total = torch.zeros(layer.out_channels, layer.out_channels, dtype=torch.float64)
    positions = 0
    for one in x:
        y = layer(one[None]).detach()
        jacobian = torch.autograd.functional.jacobian(lambda t: rest(t.clone()), y)[0, :, 0]
        fisher = heads(rest(y.clone())[0].detach())
        flat = jacobian.flatten(2)  # (K, O, S)
        total += torch.einsum("kos,kl,lps->op", flat, fisher, flat)
        positions += flat.shape[2]
    return total / positions


def test_gradients_are_the_fisher_matrix_of_the_labels() -> None:
    """On average over the labels that are drawn."""
    model, x = classifier(), images(2)

    def fisher(logits: Tensor) -> Tensor:
        p = logits.softmax(0)
        return p.diag() - p[:, None] * p

    exact = expected_gradients(model, x, fisher)
    draws = 600
    loss = LabelLoss(lambda y: y)
    found = gather_moments(model, ["0"], [x.repeat(draws, 1, 1, 1)], loss=loss)["0"]
    assert found.gradient is not None
    error = (found.gradient[0] - exact).norm() / exact.norm()
    assert error < 0.1


def test_energy_is_that_of_the_outputs() -> None:
    model, x = classifier(), images(2)
    exact = expected_gradients(model, x, lambda y: torch.eye(len(y)).double())
    with torch.no_grad():
        variance = model(x).var(0, unbiased=False).sum()
    found = gather_moments(model, ["0"], [x.repeat(600, 1, 1, 1)], loss=EnergyLoss())["0"]
    assert found.gradient is not None
    error = (found.gradient[0] * variance - exact).norm() / exact.norm()
    assert error < 0.1


def test_gradients_are_those_of_autograd() -> None:
    """The same labels, and the gradients of plain autograd."""
    model, x = classifier(), images()
    found = gather_moments(model, ["2"], [x], loss=LabelLoss(lambda y: y, seed=3))["2"]
    middle = model[:3](x).detach().requires_grad_()
    logits = model[3:](middle.clone())
    loss = LabelLoss(lambda y: y, seed=3)(logits)
    (gradient,) = torch.autograd.grad(loss, middle)
    rows = gradient.movedim(1, -1).flatten(0, 2)
    assert_close(found.gradient, (rows.T @ rows / len(rows))[None])


def test_predicted_loss_is_that_of_small_changes() -> None:
    """Half the positions times tr(G D S D^T): of a pointwise layer with one position, K-FAC."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = torch.randn(4000, 5, dtype=torch.float64)
    moments = gather_moments(model, ["0"], [x], loss=LabelLoss(lambda y: y))["0"]
    change = 0.02 * torch.randn(4, 5, dtype=torch.float64)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight += change
        p, q = model(x).log_softmax(1), other(x).log_softmax(1)
        grown = (p.exp() * (p - q)).sum(1).mean()
    assert moments.gradient is not None
    predicted = 0.5 * torch.trace(moments.gradient[0] @ change @ torch.cov(x.T) @ change.T)
    assert_close(predicted, grown, rtol=0.2, atol=0)


def test_scores_at_many_positions_count_as_their_mean() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Conv2d(2, 3, 1)).double()
    x = torch.randn(300, 2, 1, 1, dtype=torch.float64)
    tiled = x.expand(-1, -1, 4, 4)
    few = gather_moments(one, ["0"], [x], loss=LabelLoss(lambda y: y))["0"]
    many = gather_moments(one, ["0"], [tiled], loss=LabelLoss(lambda y: y))["0"]
    assert few.gradient is not None
    assert many.gradient is not None
    worth = [m.gradient * m.positions / m.samples for m in (few, many)]
    assert (worth[0] - worth[1]).norm() < 0.2 * worth[0].norm()


def test_one_score_is_that_of_two_classes() -> None:
    loss = LabelLoss(lambda y: y)
    assert loss(torch.tensor([[40.0], [-40.0]])).item() < 1e-6


def test_no_gradient_comes_through_no_grad() -> None:
    class Still(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.still, self.live = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.still(x)
            return self.live(x)

    found = gather_moments(
        Still(), ["still", "live"], [torch.randn(5, 3)], loss=LabelLoss(lambda y: y)
    )
    assert found["still"].gradient is None
    assert found["live"].gradient is not None


def test_the_model_is_left_as_it_was() -> None:
    model = classifier()
    model[0].weight.requires_grad_(False)
    model[1].train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gather_moments(model, ["0", "2"], [images()], loss=LabelLoss(lambda y: y))
    assert all(parameter.grad is None for parameter in model.parameters())
    learns = [parameter.requires_grad for parameter in model.parameters()]
    assert learns == [False, True, True, True, True, True]
    assert model[1].training
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_arguments_by_name_and_several() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.layer(input=a + b)

    x = torch.randn(4, 2)
    plain = gather_moments(Sum(), ["layer"], [(x, x)])["layer"]
    named = gather_moments(Sum(), ["layer"], [{"a": x, "b": x}])["layer"]
    assert plain.samples == named.samples == 4
    assert_close(plain.patch_mean, named.patch_mean)


def test_moments_of_weights_take_inputs_for_white() -> None:
    layer, _ = make(LAYERS["groups"])
    stage = Stage.of(layer)
    weight, _ = stage.read(layer)
    found = Moments.of_weights(stage, weight)
    flat = weight.flatten(2)
    assert_close(found.output, flat @ flat.mT)
    assert_close(found.seen, torch.eye(3).double().expand(2, -1, -1))
    assert_close(found.energy, layer.weight.square().sum().item())
    assert found.samples == 0


# --- what goes wrong ---


def bad(make_model: Callable[[], nn.Module], data: list[Any], message: str, **options: Any) -> Any:
    return make_model, data, message, options


NAN = torch.full((2, 2, 7, 6), float("nan"), dtype=torch.float64)
ERRORS = {
    "no_data": bad(classifier, [], "data must hold at least one sample, got none"),
    "empty_batch": bad(classifier, [images(0)], "data must hold at least one sample, got none"),
    "nan": bad(
        classifier, [images(), NAN], "the outputs of '0' must be finite on the data, they are not"
    ),
    "wrong_shape": bad(
        classifier,
        [images(), images()[:, :1]],
        "data must be inputs of the model, which fails on batch 1: Given groups=1, weight of size "
        "[4, 2, 3, 3], expected input[12, 1, 7, 6] to have 2 channels, but got 1 channels instead",
    ),
    "no_scores": bad(
        classifier,
        [images()],
        "logits must pick class scores of shape (N, K, *S), got shape (12,)",
        loss=LabelLoss(lambda y: y.argmax(1)),
    ),
    "no_outputs": bad(
        lambda: nn.Sequential(classifier(), Nothing()),
        [images()],
        "the model must put out at least one tensor of numbers, got none",
        loss=EnergyLoss(),
    ),
}


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> None:
        return None


@pytest.mark.parametrize(
    ("make_model", "data", "message", "options"), ERRORS.values(), ids=ERRORS.keys()
)
def test_errors(
    make_model: Callable[[], nn.Module], data: list[Any], message: str, options: dict[str, Any]
) -> None:
    model = make_model()
    path = "0" if isinstance(model[0], nn.Conv2d) else "0.0"
    with pytest.raises(DataError, match=re.escape(message) + "$"):
        gather_moments(model, [path], data, **options)


def test_a_layer_that_gets_no_data() -> None:
    model = Twice()
    model.idle = nn.Linear(2, 2)
    message = "data must reach every layer, none of it reaches 'idle'"
    with pytest.raises(DataError, match=re.escape(message)):
        gather_moments(model, ["idle"], [torch.ones(1, 3, 5)])


def test_positions_may_hang_on_the_layer() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 2))
    x = torch.randn(4, 2, 9, 9)
    seen: list[Stage] = []

    def most(stage: Stage) -> int:
        seen.append(stage)
        return 5 if stage.taps == 9 else 10_000

    found = gather_moments(model, ["0", "1", "2"], [x], most_positions=most)
    assert [stage.taps for stage in seen] == [9, 1, 4]
    few = gather_moments(model, ["0"], [x], most_positions=5)
    every = gather_moments(model, ["2"], [x])
    assert torch.equal(found["0"].seen, few["0"].seen)
    assert_close(found["2"].seen, every["2"].seen)
