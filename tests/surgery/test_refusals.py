"""What is converted, what is kept of it, and what is left alone in which words."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from pointwise.errors import DifferenceError
from pointwise.nn.pointwise import PointwiseConv
from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.restoring import restore
from pointwise.surgery.swap import describe
from zoo_refusals import Branching, Listing, Reading

ignore_old = pytest.mark.filterwarnings("ignore")


class Scaled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def noop(*_: Any) -> None:
    return None


def with_(layer: nn.Module, change: Callable[[nn.Module], Any]) -> nn.Module:
    change(layer)
    return layer


def own_forward() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.forward = torch.relu
    return layer


def tied() -> nn.Module:
    model = nn.ModuleList([nn.Embedding(4, 4), nn.Linear(4, 4, bias=False)])
    model[1].weight = model[0].weight
    return model


class Closing(nn.Module):
    """minGPT's pattern: a plain function closes over the layers."""

    def __init__(self) -> None:
        super().__init__()
        layers = self.layers = nn.ModuleDict({"fc": nn.Linear(4, 4)})
        self.run = lambda x: layers.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


CALLED = "it is not called with the example: what reads its weights would pass by another"


@dataclass(frozen=True)
class Refused:
    make: Callable[[], nn.Module]
    reason: str
    convert: Callable[..., Any] = to_pointwise


HOOKS = (
    ("forward", "register_forward_hook", "forward hooks"),
    ("forward_pre", "register_forward_pre_hook", "forward pre-hooks"),
    ("backward", "register_full_backward_hook", "backward hooks"),
    ("backward_pre", "register_full_backward_pre_hook", "backward pre-hooks"),
    ("state_dict", "register_state_dict_post_hook", "state dict hooks"),
    ("state_dict_pre", "register_state_dict_pre_hook", "state dict pre-hooks"),
    ("load_pre", "register_load_state_dict_pre_hook", "load state dict pre-hooks"),
    ("load_post", "register_load_state_dict_post_hook", "load state dict post-hooks"),
)
"""What they are called here, how they are registered, and what a reason calls them."""

REFUSED = {
    "stride": Refused(lambda: nn.Conv2d(4, 4, 1, stride=2), "stride (2, 2) drops positions"),
    "stride_of_one_axis": Refused(
        lambda: nn.Conv2d(4, 4, 1, stride=(1, 2)), "stride (1, 2) drops positions"
    ),
    "padding": Refused(lambda: nn.Conv2d(4, 4, 1, padding=1), "padding (1, 1) adds positions"),
    "padding_mode": Refused(
        lambda: nn.Conv1d(4, 4, 1, padding=1, padding_mode="circular"),
        "padding (1,) adds positions",
    ),
    "kernel": Refused(
        lambda: nn.Conv2d(4, 4, (1, 3), padding="same"), "kernel (1, 3) reads neighbours"
    ),
    "groups_to_linear": Refused(
        lambda: nn.Conv2d(4, 4, 1, groups=2), "it has 2 groups, nn.Linear has none", to_linear
    ),
    "transposed": Refused(lambda: nn.ConvTranspose2d(4, 4, 1), "it is a transposed convolution"),
    "no_channels_to_read": Refused(
        lambda: nn.Linear(0, 4), "it has no channels to read or to give", to_conv
    ),
    "no_channels_to_give": Refused(
        lambda: nn.Linear(4, 0), "it has no channels to read or to give"
    ),
    "bilinear": Refused(
        lambda: nn.Bilinear(4, 3, 2),
        "it multiplies two inputs with one another: it is no matrix on one",
    ),
    **{
        kind.__name__: Refused(
            lambda kind=kind: kind(4, 4),
            "it is recurrent: its matrices run within each step, where no layer can take over",
            to_conv,
        )
        for kind in (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
    },
    "subclass": Refused(
        lambda: Scaled(4, 4), "Scaled is a subclass of Linear: its forward may differ"
    ),
    "own_forward": Refused(
        own_forward, "has a forward of its own on the instance, which would be lost"
    ),
    **{
        f"{kind}_hook": Refused(
            lambda register=register: with_(
                nn.Linear(4, 4), lambda layer: getattr(layer, register)(noop)
            ),
            f"has {words}: remove them first",
        )
        for kind, register, words in HOOKS
    },
    "gradient_hook": Refused(
        lambda: with_(nn.Linear(4, 4), lambda one: one.weight.register_hook(noop)),
        "its weight has gradient hooks: remove them first",
        lambda model: to_conv(model, in_place=True),  # torch's copies have none
    ),
    "old_weight_norm": Refused(
        lambda: nn.utils.weight_norm(nn.Linear(4, 4)),
        "has weight norm: call torch.nn.utils.remove_weight_norm first",
    ),
    "old_spectral_norm": Refused(
        lambda: nn.utils.spectral_norm(nn.Linear(4, 4)),
        "has spectral norm: call torch.nn.utils.remove_spectral_norm first",
    ),
    "pruned": Refused(
        lambda: prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5),
        "is pruned: call torch.nn.utils.prune.remove first",
    ),
    "weight_norm": Refused(
        lambda: parametrizations.weight_norm(nn.Linear(4, 4)),
        "has parametrizations: call torch.nn.utils.parametrize.remove_parametrizations first",
    ),
    "parametrized": Refused(
        lambda: with_(
            nn.Conv2d(4, 4, 1),
            lambda layer: parametrize.register_parametrization(layer, "weight", Doubling()),
        ),
        "has parametrizations: call torch.nn.utils.parametrize.remove_parametrizations first",
    ),
    "lazy": Refused(
        lambda: nn.LazyLinear(4), "is lazy: run it once first, so that its sizes are known"
    ),
    "lazy_conv": Refused(
        lambda: nn.LazyConv2d(4, 1), "is lazy: run it once first, so that its sizes are known"
    ),
    "extra_buffer": Refused(
        lambda: with_(nn.Linear(4, 4), lambda one: one.register_buffer("mask", torch.ones(4))),
        "it holds more than weight and bias: mask",
    ),
    "attention": Refused(
        lambda: with_(nn.MultiheadAttention(4, 2), lambda one: one.register_forward_hook(noop)),
        "has forward hooks: remove them first",
    ),
    "tied": Refused(
        tied, "it shares the parameter '0.weight': the two would no longer be tied", to_conv
    ),
    "function_over_layers": Refused(
        Closing,
        "a function in the attribute 'run' of the model holds it: a copy would run the old one",
    ),
    "held_in_a_list": Refused(
        Listing, "the attribute 'all' of the model holds it too, and would keep the old one"
    ),
    "weights_read": Refused(
        Reading, CALLED, lambda model: to_pointwise(model, example=torch.ones(1, 4))
    ),
}


@ignore_old
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_is_left_alone_with_its_reason(case: Refused) -> None:
    model = case.make()
    new, swaps = case.convert(model)
    refused = [swap for swap in swaps if swap.reason == case.reason]
    assert refused, [str(swap) for swap in swaps]
    assert refused[0].after is None
    assert type(new) is type(model)
    assert type(new.get_submodule(refused[0].path)) is type(model.get_submodule(refused[0].path))


@ignore_old
def test_is_quantized_or_prepared_for_it() -> None:
    from torch.ao.nn.quantized import dynamic

    layer = dynamic.Linear(4, 4)
    _, swaps = to_conv(nn.Sequential(layer), in_place=True)
    assert swaps[0].reason == "is quantized, or prepared for it: convert the network before"


def test_a_subclass_of_the_same_name_is_named_in_full() -> None:
    kind = type("Linear", (nn.Linear,), {"__module__": "library.layers"})
    _, swaps = to_conv(nn.Sequential(kind(4, 4)))
    assert swaps[0].reason == (
        "library.layers.Linear is a subclass of Linear: its forward may differ"
    )


@pytest.mark.parametrize("layer", [nn.LSTM(4, 4), nn.Bilinear(4, 4, 4)], ids=["LSTM", "Bilinear"])
def test_to_linear_passes_by_what_holds_linear_maps(layer: nn.Module) -> None:
    assert to_linear(nn.Sequential(layer))[1] == []


def test_out_projection_of_attention() -> None:
    _, swaps = to_linear(nn.MultiheadAttention(4, 2))
    assert [swap.path for swap in swaps] == ["out_proj"]
    assert swaps[0].reason == "it is never called: nn.MultiheadAttention reads its weights"


@ignore_old
def test_compiled_by_torchscript() -> None:
    scripted = torch.jit.script(nn.Linear(4, 4))
    _, swaps = to_conv(nn.Sequential(scripted), in_place=True)
    assert swaps[0].reason == "is compiled by TorchScript: convert the network before"


CONVERTED = {
    "linear": lambda: nn.Linear(4, 6),
    "no_bias": lambda: nn.Linear(4, 6, bias=False),
    "conv1d": lambda: nn.Conv1d(4, 6, 1),
    "conv2d": lambda: nn.Conv2d(4, 6, 1),
    "conv3d": lambda: nn.Conv3d(4, 6, 1),
    "dilation": lambda: nn.Conv2d(4, 6, 1, dilation=3),
    "same_padding": lambda: nn.Conv2d(4, 6, 1, padding="same"),
    "unused_padding_mode": lambda: nn.Conv2d(4, 6, 1, padding_mode="reflect"),
    "groups": lambda: nn.Conv2d(4, 6, 1, groups=2),
    "pointwise": lambda: PointwiseConv(4, 6),
    "frozen": lambda: nn.Linear(4, 6).requires_grad_(False),
    "evaluating": lambda: nn.Linear(4, 6).eval(),
    "bfloat16": lambda: nn.Linear(4, 6, dtype=torch.bfloat16),
    "float64": lambda: nn.Conv2d(4, 6, 1, dtype=torch.float64),
    "meta": lambda: nn.Linear(4, 6, device="meta"),
}


@pytest.mark.parametrize("target", [to_pointwise, to_conv, to_linear])
@pytest.mark.parametrize("make", CONVERTED.values(), ids=CONVERTED)
def test_is_converted_and_keeps_what_it_had(
    make: Callable[[], nn.Module], target: Callable[..., Any]
) -> None:
    layer = make()
    if target is to_linear and getattr(layer, "groups", 1) > 1:
        pytest.skip("refused, see above")
    new, _ = target(layer)
    for name, parameter in layer.named_parameters():
        value = getattr(new, name)
        assert value.shape == parameter.shape
        assert (value.dtype, value.device) == (parameter.dtype, parameter.device)
        assert value.requires_grad == parameter.requires_grad
        if parameter.device.type != "meta":
            assert torch.equal(value, parameter)
    assert all(part.training == layer.training for part in new.modules())
    back, _ = restore(new)
    assert type(back) is type(layer)
    assert back.state_dict().keys() == layer.state_dict().keys()


def test_flags_of_every_module_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    model[1].eval()
    new, _ = to_conv(model)
    assert [part.training for part in new] == [True, False, True]


def test_a_forward_that_branches_on_values_is_no_obstacle() -> None:
    model = Branching()
    new, swaps = to_conv(model)
    assert [swap.after for swap in swaps] == ["Conv2d(4, 4, 1x1) in place of linear"] * 2
    for x in (torch.ones(2, 4), -torch.ones(2, 4)):
        torch.testing.assert_close(new(x), model(x))


def test_layer_under_two_names_and_two_parents_stays_one() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()), shared)
    new, swaps = to_conv(model)
    assert new[0] is new[1][0] is new[2]
    assert [swap.path for swap in swaps] == ["0"]
    x = torch.randn(2, 4)
    torch.testing.assert_close(new(x), model(x))


def test_tie_survives_where_the_shape_stays() -> None:
    new, _ = to_pointwise(tied())
    assert new[1].layer.weight is new[0].weight


def test_the_given_model_is_untouched() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(4, 4, 1)).eval()
    before = copy.deepcopy(model)
    new, _ = to_pointwise(model)
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.zero_()
    assert repr(model) == repr(before)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before.state_dict()[name])


def test_in_place_changes_the_model_and_keeps_its_memory() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    old = model[0]
    new, _ = to_conv(model, in_place=True)
    assert new is model
    assert model[0].weight.data_ptr() == old.weight.data_ptr()


def test_what_was_hung_on_a_layer_hangs_there_again() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(4, 4, 1))
    for layer in model:
        layer.depth = 3
        layer.weight.decays = False
    for convert in (to_conv, to_linear, to_pointwise):
        new, _ = convert(model)
        back, _ = restore(new)
        for parts in (new, back):
            assert [part.depth for part in parts] == [3, 3]
            assert [one.decays for one in parts.parameters() if one.ndim > 1] == [False] * 2


class Asking(nn.Module):
    """Its way through depends on the class of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if isinstance(self.fc, nn.Linear) else 2 * self.fc(x)


@pytest.mark.parametrize("in_place", [False, True], ids=["copy", "in_place"])
def test_an_example_shows_what_computes_something_else(in_place: bool) -> None:
    model = Asking()
    with pytest.raises(DifferenceError) as error:
        to_conv(model, example=torch.ones(1, 4), in_place=in_place)
    assert str(error.value).startswith(
        "model must compute the same with other layers in the places of its own, as one whose "
        "forward looks at their class does not: output must agree to "
    )
    assert type(model.fc) is nn.Linear


def test_hooks_of_other_modules_stay() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Linear(4, 4))
    calls: list[int] = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    new, _ = to_conv(model)
    new(torch.ones(1, 4))
    assert calls == [1]


def test_describe() -> None:
    assert describe(nn.Conv2d(4, 8, 3, stride=2, padding=1, dilation=2, groups=2)) == (
        "Conv2d(4, 8, 3x3, stride 2, padding 1, dilation 2, groups 2)"
    )
    assert describe(nn.Conv2d(4, 8, 1, stride=(1, 2))) == ("Conv2d(4, 8, 1x1, stride 1x2)")
    assert describe(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4)"
    assert describe(PointwiseConv(4, 6, groups=2)) == "PointwiseConv(4, 6, groups 2)"
