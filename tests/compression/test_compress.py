"""The whole way from a model and a budget to a smaller model."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from compress_models import MODELS, Model, block, made
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from pointwise.compression.budget import Budget
from pointwise.compression.compress import Compressed, compress
from pointwise.compression.plans.files import load, save
from pointwise.inspection.outputs import outputs_of
from pointwise.surgery.equivalence import call

each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def count_by_torch(network: nn.Module, example: Any) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call(network, example)
    return counter.get_total_flops() // 2


def bytes_of(network: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in network.parameters())


@each_model
@pytest.mark.parametrize("with_data", [True, False], ids=["data", "weights_alone"])
def test_budget_of_macs_is_kept(model: Model, with_data: bool) -> None:
    network, example, batches = made(model)
    done = compress(
        network,
        Budget(macs=model.least),
        example,
        data=batches if with_data else None,
        logits=model.logits,
    )
    reached = count_by_torch(done.model, example)
    assert reached == done.report.after.macs
    assert count_by_torch(network, example) == done.report.before.macs
    tight = 0.97 if len(done.report.changed) > 2 else 0.89  # one layer has few ranks
    assert model.least * tight <= reached / done.report.before.macs <= model.least
    assert done.report.met
    check_sane(done, network, example)


@each_model
def test_several_budgets_at_once(model: Model) -> None:
    network, example, batches = made(model)
    budget = Budget(macs=model.least + 0.1, params=model.least + 0.12, bytes=model.least + 0.13)
    done = compress(network, budget, example, data=batches, logits=model.logits)
    before, after = done.report.before, done.report.after
    assert after.macs <= budget.macs * before.macs  # type: ignore[operator]
    assert after.params <= budget.params * before.params  # type: ignore[operator]
    assert after.bytes == bytes_of(done.model) <= budget.bytes * before.bytes  # type: ignore[operator]
    assert [target.name for target in done.report.targets] == ["macs", "params", "bytes"]
    check_sane(done, network, example)


def check_sane(done: Compressed, network: nn.Module, example: Any) -> None:
    """Same outputs in kind, nothing grown, a plan that builds the same."""
    before, after = (outputs_of(call(one, example)) for one in (network, done.model))
    assert before.keys() == after.keys()
    for name, old in before.items():
        assert after[name].shape == old.shape
        assert after[name].dtype == old.dtype
        assert after[name].isfinite().all()
    report = done.report
    assert report.changed
    for row in report.rows:
        assert row.new_macs <= row.macs
        assert row.new_params <= row.params
        assert (row.form is None) == bool(row.reason) == (row.after is None)
        if isinstance(network.get_submodule(row.path), nn.Linear | nn.Conv2d | nn.Conv1d):
            parameters = network.get_submodule(row.path).parameters()
            assert row.params == sum(p.numel() for p in parameters)
    assert report.after.params <= sum(p.numel() for p in done.model.parameters())
    again = done.plan.apply(network)
    again.load_state_dict(done.model.state_dict())
    assert_close(outputs_of(call(again, example)), after)
    assert str(report)


@each_model
def test_the_given_model_and_the_random_state_are_untouched(model: Model) -> None:
    network, example, batches = made(model)
    network.train()
    next(iter(network.children())).eval()
    flags = [m.training for m in network.modules()]
    state = copy.deepcopy(network.state_dict())
    random = torch.get_rng_state()
    done = compress(
        network, Budget(macs=0.9), example, data=batches, logits=model.logits, evaluate=draws
    )
    assert torch.equal(torch.get_rng_state(), random)
    assert_close(network.state_dict(), state, rtol=0, atol=0)
    assert [m.training for m in network.modules()] == flags
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in done.model.modules())
    paths = dict(network.named_modules(remove_duplicate=False))
    for path, module in done.model.named_modules(remove_duplicate=False):
        if path in paths:
            assert module.training == paths[path].training


def draws(network: nn.Module) -> float:
    assert not network.training
    return float(torch.rand(()) * 0)


@each_model
def test_the_same_seed_gives_the_same(model: Model) -> None:
    network, example, batches = made(model)
    one, other = (
        compress(network, Budget(macs=0.9), example, data=batches, logits=model.logits, seed=3)
        for _ in range(2)
    )
    assert one.plan == other.plan
    assert_close(one.model.state_dict(), other.model.state_dict(), rtol=0, atol=0)


def test_shared_layers_stay_shared() -> None:
    network, example, batches = made(MODELS["twice"])
    done = compress(network, Budget(macs=0.5, params=0.6), example, data=batches)
    assert isinstance(done.model.inner, nn.Sequential)
    assert done.model.same is done.model.last
    names = {name.split(".")[0] for name, _ in done.model.named_parameters()}
    assert names == {"inner", "last"}
    (inner,) = (row for row in done.report.rows if row.path == "inner")
    assert inner.macs == 2 * 2 * 20 * 16 * 16 * 5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])
def test_types_are_kept(dtype: torch.dtype) -> None:
    network, example, batches = made(MODELS["residual"])
    network, example = network.to(dtype), example.to(dtype)
    done = compress(network, Budget(bytes=0.6), example, data=[x.to(dtype) for x in batches])
    assert {p.dtype for p in done.model.parameters()} == {dtype}
    assert bytes_of(done.model) == done.report.after.bytes
    assert done.report.targets[0].reached <= 0.6


def low_rank(network: nn.Module) -> nn.Module:
    """Every inner convolution with weights of rank 4."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.in_channels > 3:
                u, s, v = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
                flat = u[:, :4] * s[:4] @ v[:4]
                layer.weight.copy_(flat.view_as(layer.weight))
    return network


def test_what_is_not_needed_is_cut_without_loss() -> None:
    network, example, batches = made(MODELS["residual"])
    low_rank(network)
    done = compress(network, Budget(macs=0.6), example, data=batches)
    assert_close(done.model(example), network(example), rtol=0, atol=2e-4)
    for row in done.report.changed:
        assert row.measured_error is not None
        assert row.measured_error < 1e-6
        assert row.predicted_error < 1e-6  # type: ignore[operator]


def test_predicted_errors_are_the_measured_ones_where_inputs_are_the_same() -> None:
    network, example, batches = made(MODELS["cnn"])
    network[3] = nn.Conv2d(16, 24, 1)
    done = compress(network, Budget(macs=0.9), example, data=batches, forms=["output"])
    (row,) = done.report.changed
    assert row.path == "3"
    # a sample of positions, and the pull towards the weights before the refit
    assert row.measured_error == pytest.approx(row.predicted_error, rel=0.05)


def test_data_help() -> None:
    network, example, batches = made(MODELS["cnn"])
    x = torch.cat(batches)
    errors = []
    for data in (batches, None):
        done = compress(network, Budget(macs=0.5), example, data=data, exclude=["0"])
        errors.append((done.model(x) - network(x)).square().mean())
    assert errors[0] < 0.5 * errors[1]
    assert "No data were given, so the weights alone decide" in done.report.notes[0]
    assert all(row.measured_error is None for row in done.report.rows)


def test_excluded_and_chosen_forms() -> None:
    network, example, batches = made(MODELS["residual"])
    done = compress(
        network, Budget(macs=0.8), example, data=batches, exclude=["body.0"], forms="output"
    )
    rows = {row.path: row for row in done.report.rows}
    assert rows["body.0"].reason == "it is excluded"
    assert {row.form for row in done.report.changed} == {"output"}
    assert list(rows) == ["stem.0", "body.0", "body.3", "head"]


def test_scores_before_and_after() -> None:
    network, example, batches = made(MODELS["residual"])
    done = compress(
        network,
        Budget(params=0.8),
        example,
        data=batches,
        evaluate=lambda m: sum(p.numel() for p in m.parameters()),
    )
    assert done.report.score_before == done.report.before.params
    assert done.report.score_after == done.report.after.params


def test_a_whole_budget_changes_nothing() -> None:
    network, example, batches = made(MODELS["residual"])
    done = compress(network, Budget(macs=1.0), example, data=batches)
    assert done.plan.layers == ()
    assert done.report.after == done.report.before
    assert_close(done.model(example), network(example), rtol=0, atol=0)
    assert done.model is not network


def test_wide_layers_get_ranks_that_hardware_likes() -> None:
    layers = [*block(3, 64), *block(64, 128), *block(128, 128)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    network.eval()
    done = compress(
        network, Budget(macs=0.5), torch.ones(1, 3, 6, 6), data=torch.randn(64, 3, 6, 6)
    )
    assert 0.485 <= done.report.targets[0].reached <= 0.5
    ranks = [rank for layer in done.plan.layers for rank in layer.rank]
    assert ranks
    assert all(rank % 4 == 0 for rank in ranks)


def test_norms_in_training_mode_in_the_loader_order() -> None:
    """A shuffling loader gives other orders in every pass: it is read once."""
    network, example, batches = made(MODELS["cnn"])
    x = torch.cat(batches)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, torch.zeros(len(x))), batch_size=16, shuffle=True
    )
    done = compress(network, Budget(macs=0.6), example, data=loader)
    fixed = compress(network, Budget(macs=0.6), example, data=batches)
    first, second = ((one.model(x) - network(x)).square().mean() for one in (done, fixed))
    assert first < 1.5 * second


def test_outputs_that_say_nothing_of_classes() -> None:
    network, example, batches = made(MODELS["named"])
    done = compress(network, Budget(macs=0.6), example, data=batches)
    assert "logits= would say which outputs are class scores" in done.report.notes[0]
    assert done.report.unit == "loss"


class NoGradient(nn.Module):
    """A model that turns gradients off itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def test_without_gradients_energy_counts() -> None:
    done = compress(NoGradient(), Budget(macs=0.6), torch.ones(1, 16), data=torch.randn(200, 16))
    assert done.report.unit == "energy"
    assert "No gradient comes back" in done.report.notes[0]
    assert done.report.changed


class Counting(nn.Module):
    """Counts its calls, in place and anew, and hides numbers below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 8)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("others", torch.zeros(()))
        self.compiled = torch.jit.script(nn.Linear(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.others = self.others + 1
        y = self.compiled(self.last(torch.tanh(self.first(x))))
        return torch.where(y > 0, y, -torch.inf)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_models_that_count_and_hide_and_are_partly_compiled(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Counting().eval(), torch.randn(64, 16)
    done = compress(model, Budget(macs=0.8), x[:1], data=x, logits=False)
    assert model.calls == model.others == done.model.calls == done.model.others == 0
    assert {row.path: row.reason for row in done.report.left}["compiled"] == (
        "is compiled by TorchScript: convert the network before"
    )
    assert done.model(x).isneginf().any()
    save(done, tmp_path / "small")
    assert_close(load(tmp_path / "small", model)(x), done.model(x), rtol=0, atol=0)


def test_outputs_that_are_no_class_scores_can_be_told() -> None:
    """As if they came in a way in which none are looked for."""
    model, example, batches = made(MODELS["residual"])

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (self.model(x),)

    plain = compress(model, Budget(macs=0.5), example, data=batches, logits=False)
    wrapped = compress(Wrapped(), Budget(macs=0.5), example, data=batches)
    scores = compress(model, Budget(macs=0.5), example, data=batches)
    note = "Errors are shares of the variance of the model's outputs, halved"
    assert plain.report.notes == (f"{note}.",)
    assert wrapped.report.notes == (f"{note}; logits= would say which outputs are class scores.",)
    assert "nats" in scores.report.notes[0]
    for one, other in zip(plain.report.rows, wrapped.report.rows, strict=True):
        assert (f"model.{one.path}", one.form, one.rank) == (other.path, other.form, other.rank)
        assert one.predicted_error == other.predicted_error
