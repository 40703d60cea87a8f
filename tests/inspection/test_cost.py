"""What layers cost: spellings, kinds, names and bytes, and the result as text and tables."""

import json
from dataclasses import asdict

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.inspection.cost import Cost, LayerCost, Total, cost
from pointwise.inspection.layers import count_parameters
from pointwise.nn import PointwiseConv

# --- One map, many spellings ---


class Spelt(nn.Module):
    def __init__(self, function, *shape: int):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(*shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


SPELLINGS = {
    "pointwise": (PointwiseConv(4, 8), (1, 4, 8, 12), "pointwise"),
    "pointwise_rows": (PointwiseConv(4, 8), (96, 4), "linear"),
    "pointwise_tokens": (PointwiseConv(4, 8), (3, 4, 32), "pointwise"),
    "pointwise_no_bias": (PointwiseConv(4, 8, bias=False), (2, 4, 6, 8), "pointwise"),
    "groups": (PointwiseConv(8, 8, groups=2), (2, 8, 48), "pointwise"),
    "groups_one": (PointwiseConv(8, 8, groups=2), (1, 8, 96), "pointwise"),
    "groups_rows": (PointwiseConv(8, 8, groups=2), (96, 8), "linear"),
    "linear": (nn.Linear(4, 8), (1, 8, 12, 4), "linear"),
    "conv": (nn.Conv2d(4, 8, 1), (1, 4, 8, 12), "pointwise"),
    "conv_strided": (nn.Conv2d(4, 8, 1, stride=2), (1, 4, 16, 24), "pointwise"),
    "conv_tokens": (nn.Conv1d(4, 8, 1), (1, 4, 96), "pointwise"),
    "einsum": (Spelt(lambda x, w: torch.einsum("nchw,oc->nohw", x, w), 8, 4), (1, 4, 8, 12), None),
    "matmul": (Spelt(lambda x, w: x @ w, 4, 8), (96, 4), None),
    "weight_first": (Spelt(lambda x, w: w @ x.flatten(2), 8, 4), (1, 4, 8, 12), None),
    "chunk": (Spelt(lambda x, w: x @ w.chunk(2)[1].t(), 16, 4), (96, 4), None),
    "split_copy": (Spelt(lambda x, w: x @ w.split(4, 1)[0].t().contiguous(), 8, 8), (96, 4), None),
    "expanded": (Spelt(lambda x, w: x.bmm(w.expand(2, -1, -1)), 4, 8), (2, 48, 4), None),
    "scaled": (Spelt(lambda x, w: x @ (w / w.norm()), 4, 8), (96, 4), None),
    "cast": (Spelt(lambda x, w: x.half() @ w.half(), 4, 8), (96, 4), None),
}


@pytest.mark.parametrize("case", SPELLINGS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_one_map_costs_the_same_however_it_is_spelt(case, channels_last):
    model, shape, kind = SPELLINGS[case]
    x = torch.ones(shape)
    if channels_last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    counted = cost(model, x)
    assert counted.total.macs == 3_072
    assert counted.total.params == count_parameters(model)
    (layer,) = counted.layers
    assert layer.kind == (kind or "linear")
    assert counted.total.channel_macs_share == counted.total.channel_params_share == 1
    assert counted.total.pointwise_macs_share == (layer.kind == "pointwise")


def test_a_linear_map_counts_its_true_sizes_and_no_copies():
    x = torch.ones(2, 8, 4, 5)
    expected = [2 * 6 * 20, 4 * (8 * 6 + 6 + 2 * 8 * 20 + 2 * 6 * 20)]
    for one in (x, x.contiguous(memory_format=torch.channels_last)):
        for model in (PointwiseConv(8, 6), nn.Conv2d(8, 6, 1)):
            (layer,) = cost(model, one).layers
            assert [layer.activations, layer.bytes] == expected
            assert (layer.input_shape, layer.output_shape) == ((2, 8, 4, 5), (2, 6, 4, 5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_bytes_are_those_of_the_type(dtype):
    (layer,) = cost(nn.Linear(3, 2, dtype=dtype), torch.ones(5, 3, dtype=dtype)).layers
    assert layer.bytes == (3 * 2 + 2 + 5 * 3 + 5 * 2) * dtype.itemsize
    assert layer.macs == 5 * 3 * 2


# --- Kinds, names and parameters ---

CONVOLUTIONS = {
    "plain": (nn.Conv2d(4, 8, 3), "conv"),
    "grouped": (nn.Conv2d(4, 8, 3, groups=2), "conv"),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), "depthwise"),
    "one_by_three": (nn.Conv2d(4, 8, (1, 3)), "conv"),
    "1x1": (nn.Conv2d(4, 8, 1), "pointwise"),
    "1x1_depthwise": (nn.Conv2d(4, 4, 1, groups=4), "pointwise"),
    "1x1_transposed": (nn.ConvTranspose2d(4, 8, 1), "conv"),
    "one_channel": (nn.Conv2d(1, 8, 3), "conv"),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_kinds_of_convolutions(case):
    model, kind = CONVOLUTIONS[case]
    (layer,) = cost(model, torch.ones(1, model.in_channels, 6, 6)).layers
    assert layer.kind == kind


def test_attention_is_its_projections_and_its_products():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    q = torch.ones(2, 5, 8)
    projections, products = cost(attention, (q, q, q)).layers
    assert (projections.kind, projections.macs) == ("linear", 2 * 5 * 4 * 8 * 8)
    assert (products.kind, products.macs) == ("attention", 2 * 5 * 5 * (8 + 8))
    assert (projections.params, products.params) == (count_parameters(attention), 0)


def test_learned_queries_attend():
    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.queries, self.project = nn.Parameter(torch.ones(3, 8)), nn.Linear(8, 8)

        def forward(self, x):
            return (self.project(self.queries) @ x.mT).softmax(-1) @ x

    pool = Pool()
    project, attend = cost(pool, torch.ones(2, 5, 8)).layers
    assert (project.name, project.kind, project.macs) == ("project", "linear", 3 * 8 * 8)
    assert (attend.name, attend.kind, attend.macs) == ("", "attention", 2 * 3 * 5 * (8 + 8))
    assert project.params == count_parameters(pool)


def test_a_product_of_two_activations_without_a_softmax_is_a_matmul():
    class Gram(nn.Module):
        def forward(self, x):
            return x @ x.mT

    (layer,) = cost(Gram(), torch.ones(2, 5, 3)).layers
    assert (layer.kind, layer.macs, layer.params) == ("matmul", 2 * 5 * 5 * 3, 0)


def test_a_weight_made_of_factors_is_a_weight():
    class LowRank(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(6, 2)), nn.Parameter(torch.ones(2, 4))

        def forward(self, x):
            return F.linear(x, self.a @ self.b)

    (layer,) = cost(LowRank(), torch.ones(5, 4)).layers
    assert (layer.kind, layer.params) == ("linear", 6 * 2 + 2 * 4)
    assert layer.macs == 6 * 2 * 4 + 5 * 4 * 6


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_parameters_behind_a_normalised_weight_belong_to_its_layer(norm):
    layer = getattr(nn.utils.parametrizations, norm)(nn.Conv2d(3, 4, 1))
    total = cost(layer, torch.ones(1, 3, 2, 2)).total
    assert total.params == count_parameters(layer)
    assert total.channel_params_share == 1


def test_a_shared_layer_costs_at_every_call_and_is_stored_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.rest = nn.Sequential(nn.ReLU(), self.first, nn.ReLU(), self.first)

        def forward(self, x):
            return self.rest(self.first(self.first(x)))

    counted = cost(Twice(), torch.ones(2, 3))
    assert [(one.name, one.params, one.macs) for one in counted.layers] == [
        ("first", 12, 18),
        ("first", 0, 18),
        ("rest.0", 0, 0),
        ("rest.1", 0, 18),
        ("rest.2", 0, 0),
        ("rest.3", 0, 18),
    ]
    assert counted.total.params == 12


def test_tied_weights_are_stored_once():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    model[1].weight = model[0].weight
    counted = cost(model, torch.ones(3, dtype=torch.long))
    assert [one.params for one in counted.layers] == [40, 0]
    assert counted.layers[0].bytes == 3 * 8 + 2 * 3 * 4 * 4  # indices, the rows read and written


def test_a_parent_has_an_entry_for_what_it_runs_itself():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.parts = nn.Parameter(torch.ones(1)), nn.ModuleList([nn.Linear(3, 3)])

        def forward(self, x):
            return x + self.scale * self.parts[0](x)

    linear, own = cost(nn.Sequential(Residual()), torch.ones(2, 3)).layers
    assert (linear.name, own.name) == ("0.parts.0", "0")
    assert (own.kind, own.operators, own.params) == ("other", ("mul", "add"), 1)
    assert (own.activations, own.bytes) == (2 * 3, 4 * (1 + 3 * 2 * 3))


def test_views_and_layers_that_do_nothing_have_no_entry():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Identity(), nn.Linear(12, 2))
    assert [one.name for one in cost(model, torch.ones(1, 3, 4)).layers] == ["3"]


def test_norms_and_in_place_activations_read_and_write_their_maps():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU(inplace=True))
    norm, relu = cost(model, torch.ones(5, 3)).layers
    assert (norm.macs, norm.params, norm.activations) == (0, 6, 15)
    assert norm.bytes == 4 * (15 + 4 * 3 + 15)  # its statistics are read too
    assert (relu.operators, relu.activations, relu.bytes) == (("relu_",), 15, 4 * (15 + 15))


def test_several_inputs_come_in_a_tuple_and_outputs_may_be_nested():
    class Both(nn.Module):
        def forward(self, x, y):
            return {"sum": [x + y], "product": (x * y,)}

    (layer,) = cost(Both(), (torch.ones(2, 3), torch.ones(2, 3))).layers
    assert (layer.operators, layer.activations) == (("add", "mul"), 2 * 2 * 3)


# --- The result ---


@pytest.fixture(scope="module")
def counted() -> Cost:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten())
    return cost(nn.Sequential(*model, nn.Linear(4 * 6 * 6, 5)), torch.ones(1, 3, 8, 8))


def test_totals_are_the_sums_and_shares_are_those_of_the_kinds(counted):
    macs = [8 * 36 * 27, 0, 4 * 36 * 8, 4 * 36 * 5]
    params = [8 * 27 + 8, 0, 4 * 8 + 4, 4 * 36 * 5 + 5]
    assert [one.macs for one in counted.layers] == macs
    assert [one.params for one in counted.layers] == params
    assert counted.total == Total(
        params=sum(params),
        macs=sum(macs),
        activations=sum(one.activations for one in counted.layers),
        bytes=sum(one.bytes for one in counted.layers),
        pointwise_params_share=params[2] / sum(params),
        pointwise_macs_share=macs[2] / sum(macs),
        channel_params_share=(params[2] + params[3]) / sum(params),
        channel_macs_share=(macs[2] + macs[3]) / sum(macs),
    )


def test_as_a_dictionary_it_is_json_with_the_names_of_the_object(counted):
    again = json.loads(json.dumps(counted.to_dict()))
    assert again.keys() == {"total", "layers"}
    assert again["total"] == asdict(counted.total)
    for read, layer in zip(again["layers"], counted.layers, strict=True):
        assert read.pop("intensity") == layer.intensity
        shapes = {key: tuple(read[key]) for key in ("operators", "input_shape", "output_shape")}
        assert LayerCost(**{**read, **shapes}) == layer


def test_as_a_data_frame_it_has_one_row_per_layer(counted):
    frame = counted.to_dataframe()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == [*asdict(counted.layers[0]), "intensity"]
    assert list(frame["name"]) == ["0", "1", "2", "4"]
    assert frame["macs"].sum() == counted.total.macs
    assert frame["output_shape"][2] == (1, 4, 6, 6)
    assert cost(nn.Flatten(), torch.ones(1, 2)).to_dataframe().empty


def test_nothing_costs_nothing():
    nothing = cost(nn.Identity(), torch.ones(1, 2))
    assert nothing.layers == ()
    assert set(asdict(nothing.total).values()) == {0}
