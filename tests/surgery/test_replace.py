"""The walker: what it keeps, in every corner of a model."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pointwise.surgery.holders import held_outside
from pointwise.surgery.replace import replace, replace_named
from pointwise.surgery.swap import Swap


def relu_to_silu(module: nn.Module) -> nn.Module | str | None:
    return nn.SiLU() if isinstance(module, nn.ReLU) else None


def test_root_is_replaced() -> None:
    model = nn.ReLU()
    new, swaps = replace(model, relu_to_silu)
    assert isinstance(new, nn.SiLU)
    assert swaps == [Swap("", "ReLU", "SiLU")]
    assert str(swaps[0]) == "(the model): ReLU -> SiLU"


def test_reason_is_reported_and_children_are_visited() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU()))
    rule = lambda m: "no" if type(m) is nn.Sequential else relu_to_silu(m)  # noqa: E731
    new, swaps = replace(model, rule)
    assert [str(swap) for swap in swaps] == [
        "(the model): Sequential left alone: no",
        "0: Sequential left alone: no",
        "0.0: ReLU -> SiLU",
    ]
    assert isinstance(new[0][0], nn.SiLU)


def test_a_module_given_back_is_no_swap() -> None:
    assert replace(nn.Sequential(nn.ReLU()), lambda module: module)[1] == []


def test_no_rule_is_asked_within_what_was_replaced() -> None:
    seen: list[str] = []

    def rule(path: str, module: nn.Module) -> nn.Module | None:
        seen.append(path)
        return nn.Identity() if path == "0" else None

    replace_named(nn.Sequential(nn.Sequential(nn.ReLU()), nn.ReLU()), rule)
    assert seen == ["", "0", "1"]


def test_a_new_module_may_hold_the_old_one() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Linear(2, 2).eval())
    wrap = lambda m: nn.Sequential(m, nn.Dropout()) if isinstance(m, nn.Linear) else None  # noqa: E731
    new, _ = replace(model, wrap, in_place=True)
    assert new[1][0] is not new[1]
    assert [part.training for part in new[1].modules()] == [False, False, False]


def test_module_shared_by_a_replaced_and_a_kept_parent() -> None:
    shared = nn.ReLU()
    model = nn.ModuleDict({"a": nn.Sequential(shared), "b": nn.ModuleList([shared])})
    rule = lambda m: nn.Tanh() if type(m) is nn.Sequential else relu_to_silu(m)  # noqa: E731
    new, swaps = replace(model, rule)
    assert isinstance(new["a"], nn.Tanh)
    assert isinstance(new["b"][0], nn.SiLU)
    assert [swap.path for swap in swaps] == ["a", "b.0"]


def test_a_tie_within_what_is_replaced_is_no_obstacle() -> None:
    pair = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    pair[1].weight = pair[0].weight
    rule = lambda m: nn.Tanh() if len(list(m.children())) == 2 else None  # noqa: E731
    new, _ = replace(nn.ModuleList([pair, nn.ReLU(), nn.ReLU()]), rule)
    assert isinstance(new[0], nn.Tanh)


def test_a_tie_with_a_part_that_another_parent_holds() -> None:
    inner = nn.Linear(2, 2)
    model = nn.ModuleList([nn.Sequential(inner), nn.ModuleList([inner])])
    rule = lambda m: nn.Tanh() if type(m) is nn.Sequential else None  # noqa: E731
    _, swaps = replace(model, rule)
    assert swaps[0].reason == (
        "it shares the parameter '0.0.weight': the two would no longer be tied"
    )


def test_hooks_within_what_is_replaced() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU()))
    model[0][0].register_forward_hook(lambda *_: None)
    rule = lambda m: nn.Tanh() if m is not new_root and type(m) is nn.Sequential else None  # noqa: E731
    new_root = model
    _, swaps = replace(model, rule, in_place=True)
    assert swaps[0].reason == "its part '0': has forward hooks: remove them first"


def test_what_cannot_be_copied() -> None:
    model = nn.Sequential(nn.ReLU())
    model.lock = threading.Lock()
    with pytest.raises(TypeError, match="deepcopy") as error:
        replace(model, relu_to_silu)
    assert str(error.value) == (
        "model must be one that copy.deepcopy takes: cannot pickle '_thread.lock' object"
    )
    assert isinstance(replace(model, relu_to_silu, in_place=True)[0][0], nn.SiLU)


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


HELD = {
    "list": lambda layer: [layer],
    "dict": lambda layer: {"a": (layer,)},
    "object": Holder,
    "method": lambda layer: layer.forward,
}
BY_FUNCTION = {
    "lambda": lambda layer: lambda x: layer(x),
    "default": lambda layer: lambda x, one=layer: one(x),
    "keyword": lambda layer: eval("lambda x, *, one=layer: one(x)", {"layer": layer}),
    "in_a_list": lambda layer: [lambda x: layer(x)],
    "tensor": lambda layer: (lambda weight: lambda x: x @ weight)(layer.weight),
}


def modules_held(value: Any, layer: nn.Module, *, copied: bool) -> dict[str, str]:
    model = nn.Sequential(nn.Sequential(layer))
    model[0].attribute = value
    return held_outside(model, copied=copied)


@pytest.mark.parametrize("make", HELD.values(), ids=HELD)
def test_plain_attributes_that_hold_a_module(make: Any) -> None:
    layer = nn.Linear(2, 2)
    assert modules_held(make(layer), layer, copied=True) == {
        "0.0": "the attribute 'attribute' of '0' holds it too, and would keep the old one"
    }


@pytest.mark.parametrize("make", BY_FUNCTION.values(), ids=BY_FUNCTION)
def test_functions_that_hold_a_module(make: Any) -> None:
    layer = nn.Linear(2, 2)
    reason = "a function in the attribute 'attribute' of '0' holds it: a copy would run the old one"
    assert modules_held(make(layer), layer, copied=True) == {"0.0": reason}


def test_what_lies_in_a_held_module_is_safe_in_place_only() -> None:
    block = nn.Sequential(nn.Linear(2, 2))
    assert set(modules_held(lambda x: block(x), block, copied=True)) == {"0.0", "0.0.0"}
    assert set(modules_held(lambda x: block(x), block, copied=False)) == {"0.0"}


def test_plain_functions_hold_nothing() -> None:
    layer = nn.Linear(2, 2)
    assert modules_held([torch.relu, nn.functional.gelu, int], layer, copied=True) == {}


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_old_weight_norm_that_ran_is_copied_and_left_alone() -> None:
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(2, 2)), nn.ReLU())
    x = torch.ones(1, 2)
    expected: Tensor = model(x)
    new, swaps = replace(model, lambda m: nn.Tanh() if isinstance(m, nn.Linear) else None)
    assert swaps[0].after is None
    assert torch.equal(new(x), expected)


@pytest.mark.parametrize("wrong", [True, 3, nn.Identity], ids=str)
def test_a_rule_that_returns_something_else_is_refused(wrong) -> None:
    with pytest.raises(TypeError, match="rule must return a module, a reason or None, got "):
        replace(nn.Sequential(nn.ReLU()), lambda _: wrong)


def test_an_estimator_is_no_model() -> None:
    with pytest.raises(TypeError, match="of a fitted estimator give network_"):
        replace(object(), lambda _: None)
