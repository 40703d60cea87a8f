"""A plan builds the layers that were planned, and refuses what does not fit it."""

import dataclasses
import json
import re

import pytest
import torch
from planned_models import X, compressed, net, other
from torch import nn

from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.plans.plan import Plan, PlannedLayer, describe_stages
from pointwise.errors import ModelFileError
from pointwise.surgery.spelling.orders import lies_last


def test_a_layer_that_is_the_model_is_replaced():
    done = compressed(nn.Linear(6, 6), {"": ("output", (2,))})
    assert str(done.plan.apply(nn.Linear(6, 6))) == str(done.model)
    assert str(done.plan.layers[0]) == (
        "(the model): output of rank 2, Linear(6, 2) and Linear(2, 6)"
    )


def test_a_shared_layer_is_replaced_at_all_its_places():
    def make() -> nn.Module:
        one = nn.Linear(6, 6)
        return nn.Sequential(one, nn.ReLU(), one)

    done = compressed(make(), {"0": ("output", (2,))})
    again = done.plan.apply(make())
    assert again[0] is again[2]
    assert isinstance(again[0], nn.Sequential)


def test_the_model_that_is_given_stays_and_its_flags_go_over():
    model = net().double().eval()
    model[3].requires_grad_(False)
    before = str(model)
    done = compressed()
    built = done.plan.apply(model)
    assert str(model) == before
    assert built[0][0].weight.dtype == torch.float64
    assert not any(module.training for module in built.modules())
    assert [p.requires_grad for p in built[3].parameters()] == [False] * 3
    assert all(p.requires_grad for p in built[0].parameters())
    assert not built[0][0].weight.any()  # zeros until weights are loaded


def test_a_plan_without_layers_gives_a_copy():
    model = net()
    built = Plan((), "Sequential").apply(model)
    assert built is not model
    torch.testing.assert_close(built.eval()(X), model.eval()(X))


def test_a_plan_says_how_weights_lie():
    plan = dataclasses.replace(compressed().plan, channels_last=True)
    built = Plan.from_json(plan.to_json()).apply(net())
    kernel = built[3][1].weight
    assert kernel.shape[-2:] == (3, 3)
    assert lies_last(kernel)


@pytest.mark.parametrize(
    ("version", "lacking"),
    [(1, ("channels_last", "folded", "offsets")), (2, ("folded", "offsets"))],
)
def test_plans_of_older_versions_are_read(version, lacking):
    plan = compressed().plan
    old = {**json.loads(plan.to_json()), "version": version}
    for name in lacking:
        del old[name]
    assert Plan.from_json(json.dumps(old)) == dataclasses.replace(plan, version=version)


def normed() -> nn.Sequential:
    conv = nn.Conv2d(3, 6, 3, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1)).eval()


def test_a_plan_takes_folded_norms_out():
    model = normed().requires_grad_(False).double()
    plan = Plan((), "Sequential", folded=("1",), offsets=("0", "3"))
    built = Plan.from_json(plan.to_json()).apply(model)
    assert [type(one).__name__ for one in built] == ["Conv2d", "Identity", "ReLU", "Conv2d"]
    assert not any(module.training for module in built.modules())
    bias = built[0].bias
    assert (bias.shape, bias.dtype, bias.requires_grad) == ((6,), torch.float64, False)
    assert model[0].bias is None
    torch.testing.assert_close(built[3].bias, model[3].bias)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan((), "Net", folded=("0",)), "a batch norm '0' as the plan has (of a Net), it has a C"),
        (Plan((), "Net", folded=("9",)), "a batch norm '9' as the plan has (of a Net), it has no"),
        (Plan((), "Net", offsets=("1",)), "a layer '1' as the plan has (of a Net), it has a Batch"),
    ],
)
def test_what_is_folded_must_be_there(plan, message):
    with pytest.raises(ModelFileError, match=re.escape(f"model must have {message}")):
        plan.apply(normed())


def test_stages_are_described_in_short():
    stages = FORMS["tucker"].stages(Stage.of(nn.Conv2d(8, 12, 3, padding=1)), (3, 5))
    assert describe_stages(stages, False) == (
        "Conv2d(8, 3, 1x1), Conv2d(3, 5, 3x3, padding 1) and Conv2d(5, 12, 1x1)"
    )


PLACE = "build it as it was when it was compressed"
MISFITS = {
    "no such layer": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)),
        "model must have a layer '3' as the plan has (of a Sequential), the Sequential has no such "
        f"module: {PLACE}",
    ),
    "another class": (
        lambda: other(_6=nn.ReLU()),
        "model must have a layer '6' as the plan has (of a Sequential), the Sequential has a "
        f"ReLU: {PLACE}",
    ),
    "other channels": (
        lambda: other(_6=nn.Linear(12, 7)),
        "model must have a layer '6' of the sizes that the plan has (of a Sequential), the "
        "Sequential has a Linear(12, 7), the plan has 6: output of rank 2, Linear(12, 2) "
        "and Linear(2, 5)",
    ),
    "another stride": (
        lambda: other(_3=nn.Conv2d(8, 12, 3, padding=1, bias=False)),
        "model must have a layer '3' of the sizes that the plan has (of a Sequential), the "
        "Sequential has a Conv2d(8, 12, 3x3, padding 1), the plan has 3: tucker of rank "
        "3 x 5, Conv2d(8, 3, 1x1), Conv2d(3, 5, 3x3, stride 2, padding 1) and "
        "Conv2d(5, 12, 1x1)",
    ),
    "a linear for a convolution": (
        lambda: other(_3=nn.Linear(8, 12)),
        "model must have a layer '3' of the sizes that the plan has (of a Sequential), the "
        "Sequential has a Linear(8, 12), the plan has 3: tucker of rank 3 x 5, Conv2d(8, 3, 1x1), "
        "Conv2d(3, 5, 3x3, stride 2, padding 1) and Conv2d(5, 12, 1x1)",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_model_that_is_not_the_planned_one_is_refused(case):
    make, message = MISFITS[case]
    with pytest.raises(ModelFileError) as caught:
        compressed().plan.apply(make())
    assert str(caught.value) == message


def test_a_layer_that_the_walker_leaves_alone_is_refused():
    model = net()
    model[6].register_forward_hook(lambda *_: None)
    with pytest.raises(ModelFileError, match=r"^'6' of the model cannot be replaced: has forward"):
        compressed().plan.apply(model)


def entry(plan: dict, *path: str | int, value: object) -> dict:
    """A plan with one entry changed."""
    place = plan
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return plan


AGAIN = "; copy the folder again from its source, or compress again"
LAYER, STAGE = ("layers", 0), ("layers", 0, "stages", 0)
DAMAGED = {
    "no text": (lambda _: "", "p is not JSON (Expecting value: line 1 column 1 (char 0))" + AGAIN),
    "nested": (lambda _: "[" * 200000, "p is not JSON (it is nested too deeply)" + AGAIN),
    "a list": (lambda _: "[]", "p must hold a JSON object" + AGAIN),
    "no format": (
        lambda _: "{}",
        "p must have the format 'pointwise compression plan', it has none",
    ),
    "another format": (
        lambda plan: entry(plan, "format", value="x"),
        "p must have the format 'pointwise compression plan', got 'x'",
    ),
    "newer": (
        lambda plan: entry(entry(plan, "version", value=4), "package", value="9.0"),
        "p has version 4, this pointwise reads up to 3: install pointwise 9.0 or newer",
    ),
    "lacking": (lambda plan: entry(plan, "model", value=None), "p lacks 'model'" + AGAIN),
    "too much": (
        lambda plan: entry(plan, "layers", 0, "extra", value=1),
        "p: layers[0] has also 'extra'" + AGAIN,
    ),
    "no object": (
        lambda plan: entry(plan, *LAYER, value=3),
        "p: layers[0] must be an object, got 3" + AGAIN,
    ),
    "rank": (
        lambda plan: entry(plan, *LAYER, "rank", value=[0]),
        "p: layers[0]: rank must be a list of whole numbers above 0, got [0]" + AGAIN,
    ),
    "bias": (
        lambda plan: entry(plan, *LAYER, "bias", value=1),
        "p: layers[0]: bias must be true or false, got 1" + AGAIN,
    ),
    "no stages": (
        lambda plan: entry(plan, *LAYER, "stages", value=[]),
        "p: layers[0]: stages must be a list of one or more, got []" + AGAIN,
    ),
    "kind": (
        lambda plan: entry(plan, *STAGE, "kind", value="eval"),
        "p: layers[0]: stages[0]: kind must be one of linear, pointwise, conv, transposed, got "
        '"eval"' + AGAIN,
    ),
    "truth for a number": (
        lambda plan: entry(plan, *STAGE, "c_in", value=True),
        "p: layers[0]: stages[0]: c_in must be a whole number above 0, got true" + AGAIN,
    ),
    "huge": (
        lambda plan: entry(plan, *STAGE, "c_in", value=2**40),
        "p: layers[0]: stages[0]: c_in must be a whole number above 0, got 1099511627776" + AGAIN,
    ),
    "padding": (
        lambda plan: entry(plan, *STAGE, "padding", value="all"),
        "p: layers[0]: stages[0]: padding must be 'same', 'valid' or a list of whole numbers, none "
        'below 0, got "all"' + AGAIN,
    ),
    "axes of a kind": (
        lambda plan: entry(plan, *STAGE, "kind", value="linear"),
        "p: layers[0]: stages[0]: kernel must have 1 to 3 axes, none where kind is linear or "
        "pointwise, got 2 where it is linear" + AGAIN,
    ),
    "axes": (
        lambda plan: entry(plan, *STAGE, "stride", value=[1]),
        "p: layers[0]: stages[0]: stride must have a number for each axis of the kernel (2), got 1"
        + AGAIN,
    ),
    "groups": (
        lambda plan: entry(plan, *STAGE, "groups", value=2),
        "p: layers[0]: stages[0]: groups must divide c_in and c_out, got 2 for 3 and 4" + AGAIN,
    ),
    "broken chain": (
        lambda plan: entry(plan, *STAGE, "c_out", value=5),
        "p: layers[0]: stages[1]: c_in must be the 5 outputs of the stage before, got 4" + AGAIN,
    ),
    "twice": (
        lambda plan: entry(plan, "layers", 1, "path", value="0"),
        "p: every layer must be there once, '0' is there twice",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_plan_is_refused_by_its_place(case):
    change, message = DAMAGED[case]
    changed = change(json.loads(compressed().plan.to_json()))
    text = changed if isinstance(changed, str) else json.dumps(changed)
    with pytest.raises(ModelFileError) as caught:
        Plan.from_json(text, where="p")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"c_out": 2**20}, "of the sizes that the plan has"),
        ({"kernel": (2**20, 1), "padding": (2**19, 0)}, "of the sizes that the plan has"),
        ({"padding_mode": "reflect", "padding": (9, 0)}, "of the sizes that the plan has"),
        ({"padding": "same", "stride": (2, 1)}, "'0' cannot be built: padding='same' is not"),
    ],
    ids=["wide", "long kernel", "wide padding", "same and stride"],
)
def test_a_plan_of_layers_larger_than_any_exact_form_is_refused(change, wanted):
    plan = compressed().plan
    first, *others = plan.layers
    stages = (dataclasses.replace(first.stages[0], **change), *first.stages[1:])
    stages = (stages[0], dataclasses.replace(stages[1], c_in=stages[0].c_out))
    changed = dataclasses.replace(plan, layers=(dataclasses.replace(first, stages=stages), *others))
    with pytest.raises(ModelFileError, match=wanted):
        changed.apply(net())


def test_layers_that_torch_refuses_are_one_error():
    stage = Stage("transposed", 2, 2, 1, (3,), (1,), (0,), (1,), (0,), "reflect")
    with pytest.raises(ModelFileError) as caught:
        PlannedLayer("up", "output", (1,), (stage,), False).build(nn.Linear(1, 1))
    assert str(caught.value) == (
        "the plan's layers for 'up' cannot be built: Only \"zeros\" padding mode is supported for "
        "ConvTranspose1d"
    )
