"""Every formula against the arithmetic, spelt out, of the operator that it is for."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.inspection.cost import cost
from pointwise.inspection.operators import MACS, OPERANDS, is_unknown_product


class Apply(nn.Module):
    """A function as a module; weights are its parameters."""

    def __init__(self, function, *weights):
        super().__init__()
        self.function, self.weights = function, nn.ParameterList(weights)

    def forward(self, *xs: Tensor):
        return self.function(*xs, *self.weights)


def ones(*shape: int) -> Tensor:
    return torch.ones(*shape, device="meta")


def macs(function, *xs: Tensor) -> int:
    counted = cost(Apply(function), xs)
    assert counted.uncounted == ()
    return counted.total.macs


CASES = {
    "mm": (torch.mm, [(2, 3), (3, 5)], 2 * 3 * 5),
    "addmm": (torch.addmm, [(5,), (2, 3), (3, 5)], 2 * 3 * 5),
    "bmm": (torch.bmm, [(7, 2, 3), (7, 3, 5)], 7 * 2 * 3 * 5),
    "baddbmm": (torch.baddbmm, [(5,), (7, 2, 3), (7, 3, 5)], 7 * 2 * 3 * 5),
    "addbmm": (torch.addbmm, [(2, 5), (7, 2, 3), (7, 3, 5)], 7 * 2 * 3 * 5),
    "mv": (torch.mv, [(2, 3), (3,)], 2 * 3),
    "addmv": (torch.addmv, [(2,), (2, 3), (3,)], 2 * 3),
    "dot": (torch.dot, [(3,), (3,)], 3),
    "matmul": (torch.matmul, [(4, 1, 2, 3), (7, 3, 5)], 4 * 7 * 2 * 3 * 5),
    "einsum": (lambda a, b: torch.einsum("nci,oc->noi", a, b), [(2, 3, 4), (5, 3)], 2 * 3 * 4 * 5),
    "linear": (F.linear, [(2, 4, 3), (5, 3), (5,)], 2 * 4 * 3 * 5),
    "conv1d": (F.conv1d, [(2, 3, 8), (5, 3, 3)], 2 * 6 * 5 * 3 * 3),
    "conv2d": (F.conv2d, [(2, 3, 8, 9), (5, 3, 3, 2)], 2 * 6 * 8 * 5 * 3 * 3 * 2),
    "conv3d": (F.conv3d, [(2, 3, 4, 4, 4), (5, 3, 2, 2, 2)], 2 * 3**3 * 5 * 3 * 2**3),
    "conv_without_batch": (F.conv2d, [(3, 8, 9), (5, 3, 3, 2)], 6 * 8 * 5 * 3 * 3 * 2),
    "conv_strided": (
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        [(1, 3, 8, 8), (5, 3, 3, 3)],
        4 * 4 * 5 * 3 * 3 * 3,
    ),
    "conv_grouped": (
        lambda x, w: F.conv2d(x, w, groups=3),
        [(1, 6, 4, 4), (9, 2, 3, 3)],
        2 * 2 * 9 * 2 * 3 * 3,
    ),
    "conv_transposed": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2),
        [(2, 3, 4, 5), (3, 6, 2, 2)],
        2 * 4 * 5 * 3 * 6 * 2 * 2,
    ),
    "attention": (
        F.scaled_dot_product_attention,
        [(2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)],
        2 * 3 * 5 * 7 * (4 + 6),
    ),
    "bilinear": (F.bilinear, [(2, 3), (2, 4), (5, 3, 4)], 2 * 5 * 3 * 4),
    "nothing": (lambda x: F.max_pool2d(x.relu() * 2 + 1, 2), [(1, 3, 4, 4)], 0),
    "resizing": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        [(1, 3, 4, 4)],
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_multiply_adds_are_the_products_of_the_sizes(case):
    function, shapes, expected = CASES[case]
    assert macs(function, *(ones(*shape) for shape in shapes)) == expected


def test_recurrent_layers_count_two_matrices_a_step():
    gates = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}
    for layer, count in gates.items():
        counted = cost(layer(4, 6), torch.ones(5, 2, 4))
        assert counted.total.macs == 5 * 2 * count * 6 * (4 + 6)
        assert [one.kind for one in counted.layers] == ["linear"]


class Looks(nn.Module):
    """Looks at a value, so that shapes alone do not do, then runs a layer."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor):
        assert float(x.sum()) > 0
        return self.layer(x)


FUSED = {
    "lstm": (nn.LSTM(4, 6), (5, 2, 4), 5 * 2 * 4 * 6 * (4 + 6)),
    "attention": (
        Apply(lambda q: F.scaled_dot_product_attention(q, q, q)),
        (2, 3, 5, 4),
        2 * 3 * 5 * 5 * (4 + 4),
    ),
    "transformer": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (2, 5, 8),
        2 * 5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 5 * 5 * (8 + 8),
    ),
}


@pytest.mark.parametrize("case", FUSED)
def test_fused_operators_count_as_much_as_their_parts(case):
    layer, shape, expected = FUSED[case]
    assert cost(layer, torch.ones(*shape)).total.macs == expected
    run = cost(Looks(layer), torch.ones(*shape))
    assert run.total.macs == expected
    assert run.uncounted == ()


def test_fused_recurrent_formulas_count_every_matrix_once_a_step():
    x, weights = ones(5, 2, 4), [ones(24, 4), ones(24, 6), ones(24), ones(24)]
    expected = 5 * 2 * 24 * (4 + 6)
    assert MACS["aten::mkldnn_rnn_layer"]([x, *weights], None) == expected
    assert MACS["aten::_cudnn_rnn"]([x, weights], None) == expected


def test_packed_weights_and_deformed_kernels_count_by_their_outputs():
    assert MACS["aten::_weight_int4pack_mm"]([ones(2, 64), ones(1)], ones(2, 16)) == 2 * 64 * 16
    weight, out = ones(5, 3, 3, 3), ones(2, 5, 4, 4)
    assert MACS["torchvision::deform_conv2d"]([None, weight], out) == 2 * 4 * 4 * 5 * 3 * 3 * 3


def test_products_of_other_libraries_are_listed_and_not_passed_over():
    library = torch.library.Library("pointwise_test_cost", "DEF")
    library.define("scale(Tensor x) -> Tensor")
    library.impl("scale", lambda x: x * 2, "CompositeExplicitAutograd")
    try:
        counted = cost(Apply(torch.ops.pointwise_test_cost.scale), torch.ones(3))
    finally:
        library._destroy()
    assert counted.uncounted == ("pointwise_test_cost::scale",)
    assert "Not counted, for want of a formula: pointwise_test_cost::scale." in str(counted)
    assert counted.to_dict()["uncounted"] == ["pointwise_test_cost::scale"]


def test_marks_for_the_profiler_are_no_products():
    def marked(x):
        with torch.profiler.record_function("part"):
            return x * 2

    for model in (Apply(marked), nn.DataParallel(nn.Linear(3, 2))):
        assert cost(model, torch.ones(4, 3)).uncounted == ()


UNKNOWN = {
    "_cdist_forward": lambda x: torch.cdist(x, x),
    "_fft_r2c": lambda x: torch.fft.fft(x).real,
    "_sparse_addmm": lambda x: torch.sparse.mm(torch.eye(3).to_sparse(), x),
    "_linalg_solve_ex": lambda x: torch.linalg.solve(torch.eye(3), x),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_products_of_torch_are_listed(case):
    assert cost(Apply(UNKNOWN[case]), torch.ones(3, 2)).uncounted == (f"aten::{case}",)


KNOWN = """relu add mul convert_indices_from_csr_to_coo upsample_bilinear2d upsample_linear1d
linalg_vector_norm _softmax native_layer_norm cummax dropout polar index_put"""


@pytest.mark.parametrize("name", KNOWN.split())
def test_other_names_are_no_products(name):
    assert not is_unknown_product(f"aten::{name}")


PRODUCTS = """_sparse_mm sspaddmm linear mkldnn_linear slow_conv_transpose2d conv_tbc _fft_c2c gru
linalg_solve_triangular _native_multi_head_attention _transformer_encoder_layer_fwd quantized_lstm
_cdist_forward"""


@pytest.mark.parametrize("name", PRODUCTS.split())
def test_names_of_products_are_seen(name):
    assert is_unknown_product(f"aten::{name}")


def test_operands_are_named_for_operators_in_the_table():
    assert OPERANDS.keys() <= MACS.keys()
