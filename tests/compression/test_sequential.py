"""The refit of last factors: least squares from what a layer gets now to what it gave."""

import copy

import pytest
import torch
from layer_cases import LAYERS, Case, make
from torch import nn
from torch.testing import assert_close

from pointwise.compression.fitting.sequential import refit, wanted_rows
from pointwise.compression.forms.form import factor_layer
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.statistics.patches import output_rows
from pointwise.compression.statistics.rows import Wanted, keep_rows, run_hooked
from pointwise.errors import DataError

each_layer = pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS.keys())


@each_layer
@pytest.mark.parametrize("most", [3, 1000], ids=["few_positions", "all_positions"])
def test_rows_are_outputs_at_positions(case: Case, most: int) -> None:
    layer, x = make(case)
    stage = Stage.of(layer)
    model = nn.Sequential(layer)
    kept = keep_rows(model, {"0": Wanted(stage, most)}, [x, x])["0"]
    assert len(kept.batches) == 2
    assert kept.calls == 1
    rows = kept.batches[1][0]
    every = output_rows(stage, layer(x))
    assert rows.shape[1] <= every.shape[1]
    apart = (rows[:, :, None] - every[:, None]).abs().amax(-1)
    assert apart.amin(-1).max() < 1e-12
    if most == 1000:
        assert_close(rows, every)


@each_layer
@pytest.mark.parametrize("most", [3, 1000], ids=["few_positions", "all_positions"])
def test_refit_finds_the_layer_again(case: Case, most: int) -> None:
    """A chain of full rank whose last factor was spoilt gives again what the layer gave."""
    layer, x = make(case)
    stage = Stage.of(layer)
    for form in FORMS.values():
        if form.refusal(stage) is not None:
            continue
        chain = factor_layer(layer, form, form.full_rank(stage))
        unbatched = x.ndim <= len(stage.kernel) + 1 and stage.kernel
        many = 1 if unbatched or x.ndim == 1 else 9
        x_many = torch.cat([x + 0.1 * torch.randn_like(x) for _ in range(many)])
        last = chain[-1]
        if last.bias is None:
            last.bias = nn.Parameter(last.weight.new_zeros(stage.c_out))
        given, model = nn.Sequential(layer), nn.Sequential(copy.deepcopy(chain))
        with torch.no_grad():
            model[0][-1].weight.mul_(0.5)
            model[0][-1].bias.add_(1)
        kept = keep_rows(given, {"0": Wanted(stage, most)}, [x_many])
        refit(model, kept, [x_many])
        before = (nn.Sequential(chain)(x_many) + 1 - given(x_many)).square().mean()
        after = (model(x_many) - given(x_many)).square().mean()
        assert after < 0.35 * before  # a little is drawn towards the spoilt weights


def test_errors_of_layers_before_are_made_up_for() -> None:
    torch.manual_seed(1)
    given = nn.Sequential(nn.Linear(6, 12), nn.Linear(12, 6)).double()
    model = nn.Sequential(nn.Linear(6, 12), nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 6)))
    model = model.double()
    model[0].load_state_dict(given[0].state_dict())
    with torch.no_grad():
        model[0].weight[:, 0] *= 3  # an error that a later layer can undo
        model[0].bias.add_(0.5)
    x = torch.randn(4000, 6, dtype=torch.float64)
    kept = keep_rows(given, {"1": Wanted(Stage.of(given[1]), 10)}, x.split(500))
    refit(model, kept, x.split(500))
    assert_close(model(x), given(x), rtol=0, atol=2e-2)


def test_shared_layers_are_fitted_to_all_their_calls() -> None:
    layer = nn.Linear(6, 6)
    given = nn.Sequential(layer, nn.Tanh(), layer).double()
    chain = factor_layer(layer, FORMS["output"], (6,))
    model = nn.Sequential(chain, nn.Tanh(), chain)
    with torch.no_grad():
        chain[1].weight.mul_(0.9)
    x = torch.randn(500, 6, dtype=torch.float64)
    kept = keep_rows(given, {"0": Wanted(Stage.of(layer), 10)}, [x])
    assert kept["0"].calls == 2
    refit(model, kept, [x])
    assert model[0] is model[2]
    assert_close(model(x), given(x), rtol=0, atol=3e-2)


def test_the_fewer_samples_the_more_positions() -> None:
    stage = Stage.of(nn.Conv2d(8, 8, 3))
    last = stage.mix(4, 8)
    most = [wanted_rows(stage, last, calls, n).most for calls, n in [(1, 64), (1, 4096), (2, 64)]]
    assert most == [128, 2, 64]


def test_a_model_that_fails() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    message = "data must be inputs of the model, which fails on them: mat1 and mat2 shapes"
    with pytest.raises(DataError, match=message):
        run_hooked(model, {}, torch.ones(1, 4))
    assert not model[0]._forward_hooks
