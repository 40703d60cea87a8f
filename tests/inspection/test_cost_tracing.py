"""Counting changes nothing, runs as little as it can, and refuses in words what cannot run."""

import copy
import threading

import pytest
import torch
from torch import Tensor, nn

from pointwise.inspection.cost import cost
from pointwise.nn import PointwiseConv


class Stateful(nn.Module):
    """Looks at values if asked to, remembers what it saw, and counts its calls."""

    def __init__(self, looks: bool):
        super().__init__()
        self.looks, self.calls = looks, 0
        self.layer, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.looks and not bool((x == 1).all()):
            raise AssertionError
        return self.norm(self.layer(x))


@pytest.mark.parametrize("looks", [False, True], ids=["shapes", "values"])
def test_the_model_is_left_as_it_was(looks):
    model = nn.Sequential(Stateful(looks), nn.Dropout())
    model[1].eval()
    state = copy.deepcopy(model.state_dict())
    before = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
    ]
    random = torch.get_rng_state()
    counted = cost(model, torch.ones(4, 3))
    assert counted.total.macs == 4 * 3 * 3
    after = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
    ]
    assert after == before
    assert model[0].calls == looks
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


class Noisy(nn.Module):
    """Looks at values, draws random numbers, and keeps what it saw in buffers; may fail then."""

    def __init__(self, fails: bool):
        super().__init__()
        self.fails, self.layer = fails, nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("latest", torch.zeros(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        self.latest = x + torch.rand_like(x)
        if self.latest.sum().item() < 0 or self.fails:
            raise AssertionError
        return self.layer(self.latest)


@pytest.mark.parametrize("fails", [False, True], ids=["runs", "fails"])
def test_buffers_and_random_numbers_are_left_where_the_model_itself_must_run(fails):
    model, random = Noisy(fails), torch.get_rng_state()
    if fails:
        with pytest.raises(ValueError, match="Noisy cannot take x"):
            cost(model, torch.ones(4, 3))
    else:
        assert cost(model, torch.ones(4, 3)).total.macs == 4 * 3 * 3
    assert not model.seen
    assert not model.latest.any()
    assert torch.equal(torch.get_rng_state(), random)


def test_values_and_shapes_give_one_count():
    x = torch.ones(4, 3)
    looked, not_looked = (cost(Stateful(looks), x).layers[-2:] for looks in (True, False))
    assert looked == not_looked


def test_a_network_too_large_for_any_machine_is_counted_at_once():
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(10**6, 10**6, bias=False) for _ in range(3)))
        x = torch.ones(1000, 10**6)
    assert cost(model, x).total.macs == 3 * 1000 * 10**12


def test_hooks_are_removed_and_the_fast_path_is_back_after_a_failure():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2)).train()
    assert torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(ValueError, match="cannot take x"):
        cost(model, torch.ones(1, 3))
    assert torch.backends.mha.get_fastpath_enabled()
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(module.training for module in model.modules())
    assert model[0](torch.ones(1, 3)).requires_grad


def test_the_fused_fast_path_of_transformers_hides_nothing():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    counted = cost(model, torch.ones(2, 5, 8))
    linear = 2 * 5 * (4 * 8 * 8 + 2 * 8 * 16)
    assert counted.total.macs == 2 * (linear + 2 * 5 * 5 * (8 + 8))
    assert counted.total.channel_macs_share == 2 * linear / counted.total.macs


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_compiled_and_inference_models_are_counted_by_their_operators():
    class Inference(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        @torch.inference_mode()
        def forward(self, x):
            return self.layer(x)

    plain = Inference()
    x = torch.ones(5, 3)
    assert cost(plain, x).total.macs == 5 * 3 * 2
    assert cost(torch.compile(plain.layer, backend="eager"), x).total.macs == 5 * 3 * 2
    (whole,) = cost(torch.jit.script(nn.Sequential(nn.Linear(3, 2), nn.ReLU())), x).layers
    assert (whole.name, whole.kind, whole.macs, whole.params) == ("", "linear", 5 * 3 * 2, 8)


def test_a_model_that_cannot_be_copied_runs_itself():
    model = nn.Sequential(nn.Linear(3, 2))
    model.lock = threading.Lock()
    assert cost(model, torch.ones(5, 3)).total.macs == 5 * 3 * 2


def test_a_layer_called_by_another_than_its_parent_keeps_its_path():
    class Borrows(nn.Module):
        def __init__(self, lender):
            super().__init__()
            self.lender = [lender]

        def forward(self, x):
            return self.lender[0](x)

    linear = nn.Linear(3, 3)
    model = nn.Sequential(nn.Sequential(linear), Borrows(linear))
    names = [one.name for one in cost(model, torch.ones(1, 3)).layers]
    assert names == ["0.0", "0.0"]


def test_an_empty_sequence_that_is_called_has_its_name():
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.shortcut = nn.Linear(3, 3), nn.Sequential()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + self.shortcut(x)

    found = cost(nn.Sequential(nn.Linear(3, 3), Shortcut()), torch.zeros(1, 3))
    assert [layer.name for layer in found.layers if layer.macs] == ["0", "1.layer"]


def test_a_layer_that_raises_and_is_passed_over_does_not_confuse_the_names():
    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.bad, self.good = nn.Linear(4, 2), nn.Linear(3, 2)

        def forward(self, x):
            try:
                return self.bad(x)
            except RuntimeError:
                return self.good(x)

    counted = cost(nn.Sequential(Tries(), nn.Linear(2, 1)), torch.ones(1, 3))
    assert [one.name for one in counted.layers if one.macs][-1] == "1"
    assert counted.total.macs == 3 * 2 + 2 * 1


# --- Refusals ---


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(7, 2))

    def forward(self, x):
        return self.head(self.conv(x))


REFUSALS = {
    "inner_layer": (
        Block(),
        torch.ones(1, 3, 2, 2),
        r"Block cannot take x of shape \(1, 3, 2, 2\): layer 'head.1' \(Linear\) failed on "
        r"\(1, 16\): mat1 and mat2 shapes cannot be multiplied \(1x16 and 7x2\)",
    ),
    "model_itself": (
        PointwiseConv(3, 2),
        torch.ones(1, 4, 2),
        r"PointwiseConv cannot take x of shape \(1, 4, 2\): "
        r"x must have shape \(N, 3, \*S\), got \(1, 4, 2\)",
    ),
    "on_meta": (
        nn.Linear(3, 2, device="meta"),
        torch.ones(1, 4, device="meta"),
        r"Linear cannot take x of shape \(1, 4\): .*1, 4",
    ),
    "too_few_inputs": (
        nn.Bilinear(3, 4, 5),
        torch.ones(2, 3),
        r"Bilinear cannot take x of shape \(2, 3\): .*missing 1 required positional .*'input2'",
    ),
    "too_many_inputs": (
        nn.ReLU(),
        (torch.ones(2), torch.ones(3)),
        r"ReLU cannot take x of shape \(2,\) and \(3,\): .*takes 2 positional arguments",
    ),
    "lazy": (
        nn.Sequential(nn.LazyLinear(2)),
        torch.ones(1, 3),
        r"parameter '0.weight' has no size yet: run the model once first",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_model_that_cannot_take_the_input_is_refused_by_layer_and_shape(case):
    model, x, message = REFUSALS[case]
    with pytest.raises(ValueError, match=message) as refusal:
        cost(model, x)
    assert case == "lazy" or refusal.value.__cause__ is not None


def test_a_name_is_refused_with_how_to_build_the_network():
    with pytest.raises(TypeError, match=r"got 'resnet50': build it first, such as networks\.build"):
        cost("resnet50", torch.zeros(1, 3, 32, 32))
