"""The flow of data between module calls: who feeds whom, and what cannot be followed."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pointwise.errors import FlowError
from pointwise.surgery.flow import Call, Operator, trace_flow


class Residual(nn.Module):
    """A convolution added to its input, then an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x) + x)


class Tied(nn.Module):
    """The weight of one layer is read by its parent too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x) @ self.embed.weight


class Looking(nn.Module):
    """What runs depends on the values."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if x.sum() > 0 else x


class Nonzero(nn.Module):
    """The size of the result depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        return x.nonzero()


X = torch.ones(2, 3, 4, 4)


def test_a_layer_feeds_the_next_alone():
    flow = trace_flow(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), X)
    (conv,), (norm,) = flow.calls_of("0"), flow.calls_of("1")
    assert flow.source(norm.inputs[0]) is conv
    assert flow.only_taker(conv.outputs[0]) is norm
    assert conv.outputs[0].shape == (2, 4, 4, 4)
    assert flow.source(conv.inputs[0]) is None
    assert conv.inputs[0].kind == "input"


def test_calls_that_run_no_operator_pass_the_value_on():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity(), nn.Dropout(), nn.ReLU())
    flow = trace_flow(net, X)
    (conv,), (identity,), (relu,) = (flow.calls_of(path) for path in ("0", "1", "3"))
    assert identity.inputs == identity.outputs == conv.outputs
    assert flow.takers(conv.outputs[0]) == (relu,)


def test_operators_stand_between_modules():
    flow = trace_flow(Residual(), X)
    (conv,), (relu,) = flow.calls_of("conv"), flow.calls_of("relu")
    adder = flow.source(relu.inputs[0])
    assert isinstance(adder, Operator)
    assert str(adder) == "add"
    assert adder.args["self"] is conv.outputs[0]
    assert flow.takers(conv.inputs[0])[0] is conv
    assert len(flow.takers(conv.inputs[0])) == 2
    assert flow.only_taker(conv.inputs[0]) is None


def test_what_changes_in_place_is_another_value():
    flow = trace_flow(Residual(), X)
    (relu,) = flow.calls_of("relu")
    assert relu.outputs[0] is not relu.inputs[0]
    assert flow.kept == {relu.outputs[0]}


def test_what_shares_memory_with_a_changed_tensor_changes_too():
    class View(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            y.flatten().relu_()
            return y

    flow = trace_flow(View(), X)
    (result,) = flow.kept
    assert str(flow.maker(result)) == "relu"


def test_a_shared_module_has_all_its_calls_under_each_name():
    layer = nn.Linear(4, 4)
    flow = trace_flow(nn.Sequential(layer, nn.ReLU(), layer), X)
    assert [call.path for call in flow.calls_of("2")] == ["0", "0"]
    assert flow.calls_of("0") == flow.calls_of("2")
    assert flow.calls_of("none") == ()


def test_weights_read_by_a_parent():
    flow = trace_flow(Tied(), torch.ones(2, 4))
    assert flow.read_elsewhere("embed") == ("its weight is read elsewhere, in the model's forward")
    assert trace_flow(nn.Linear(4, 6), torch.ones(2, 4)).read_elsewhere("") is None


def test_weights_read_by_an_attention():
    net = nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=True))
    flow = trace_flow(net.eval(), torch.ones(2, 3, 4))
    assert flow.read_elsewhere("0.self_attn.out_proj") is not None


def test_what_a_module_stores_is_kept():
    class Storing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.seen = self.conv(x)
            return self.seen.relu()

    flow = trace_flow(Storing(), X)
    (conv,) = flow.calls_of("conv")
    assert flow.only_taker(conv.outputs[0]) is None
    assert conv.outputs[0] in flow.kept


def test_foreign_hooks_are_not_run_and_stand_in_the_way():
    seen = []
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    net[1].register_forward_pre_hook(lambda module, args: seen.append(args))
    flow = trace_flow(net, X)
    (conv,) = flow.calls_of("0")
    taker = flow.only_taker(conv.outputs[0])
    assert isinstance(taker, Operator)
    assert taker.name == "hook"
    assert seen == []


def test_the_model_stays_as_it_is():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train()
    before = copy.deepcopy(net.state_dict())
    trace_flow(net, X)
    assert net.training
    assert not net[0]._forward_hooks
    torch.testing.assert_close(dict(net.state_dict()), dict(before), rtol=0, atol=0)


def test_arguments_by_name():
    class Named(nn.Module):
        def forward(self, one: Tensor, two: Tensor) -> dict[str, Tensor]:
            return {"sum": one + two}

    flow = trace_flow(Named(), {"one": X, "two": X})
    assert [value.names for value in flow.operators[0].reads] == [("one",), ("two",)]
    assert trace_flow(Named(), [X, X]).calls[0].inputs[1].names == ("1",)


def test_calls_tell_their_callers():
    flow = trace_flow(nn.Sequential(nn.Sequential(nn.ReLU())), X)
    (relu,) = flow.calls_of("0.0")
    assert [call.path for call in flow.around(relu.number)] == ["0.0", "0", ""]
    assert all(isinstance(call, Call) for call in flow.calls)


def closure() -> nn.Module:
    """A module whose forward goes around the copy."""
    net = nn.Sequential(nn.Linear(3, 3))
    held = net[0]

    class Holding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.call = lambda x: held(x)

        def forward(self, x: Tensor) -> Tensor:
            return self.call(x)

    return Holding()


REFUSED = {
    "looks at values": (
        Looking(),
        "the forward looks at values in the model (Looking) "
        "(aten._local_scalar_dense.default): its way depends on them",
    ),
    "size depends on values": (
        nn.Sequential(Nonzero()),
        "what aten.nonzero.default gives in layer '0' (Nonzero) has a size that depends on values",
    ),
    "fails": (
        nn.Sequential(nn.Linear(5, 2)),
        "the run without values failed in layer '0' (Linear): a and b must have same reduction "
        "dim, but got [24, 4] X [5, 2].",
    ),
    "lazy": (
        nn.Sequential(nn.LazyLinear(2)),
        "layer '0' (LazyLinear) has no weights yet: run the model once first",
    ),
    "lazy_norm": (
        nn.Sequential(nn.LazyBatchNorm2d(affine=False)),
        "layer '0' (LazyBatchNorm2d) has no weights yet: run the model once first",
    ),
    "closure": (
        closure(),
        "a plain callable in the model (Holding) reads the model's 'net.0.weight', "
        "which copies of the model do not have",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_cannot_be_followed_says_why(case: str):
    model, message = REFUSED[case]
    with pytest.raises(FlowError) as error:
        trace_flow(model, X)
    assert str(error.value) == message
