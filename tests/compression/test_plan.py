"""A plan and weights give a compressed model back, and nothing else does."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from layer_cases import LAYERS
from safetensors.torch import load_file
from torch import nn

from blocks import check_export, check_onnx
from pointwise.compression.budget import Budget
from pointwise.compression.compress import compress
from pointwise.compression.files import check_folder, load, save
from pointwise.compression.forms.form import factor_layer
from pointwise.compression.forms.table import FORMS
from pointwise.compression.plan import Plan, PlannedLayer, describe_stages
from pointwise.compression.report import CompressionReport, Totals
from pointwise.compression.stages import Stage
from pointwise.errors import ModelFileError
from pointwise.surgery.replace import replace_named


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )


X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)

CHOICES = {"0": ("axis 0", (4,)), "3": ("tucker", (3, 5)), "6": ("output", (2,))}


def compressed(model: nn.Module | None = None, choices=None) -> SimpleNamespace:
    """A model with some layers in a form, and the plan of that."""
    model = net() if model is None else model
    choices = CHOICES if choices is None else choices
    planned = []

    def rule(path: str, layer: nn.Module) -> nn.Module | None:
        if path not in choices:
            return None
        name, rank = choices[path]
        stages = FORMS[name].stages(Stage.of(layer), rank)
        planned.append(PlannedLayer(path, name, rank, stages, layer.bias is not None))
        return factor_layer(layer, FORMS[name], rank)

    built, _ = replace_named(model, rule)
    plan = Plan(tuple(planned), type(model).__name__)
    costs = Totals(1, 1, 4)
    report = CompressionReport(type(model).__name__, (), costs, costs, (), "energy")
    return SimpleNamespace(model=built, plan=plan, report=report)


# --- What a plan gives back ---


def test_a_saved_model_is_read_into_the_original_constructor(tmp_path):
    done = compressed()
    done.model[1].running_mean += 1  # state that is no parameter comes along
    save(done, tmp_path / "small")
    again = load(tmp_path / "small", net())
    assert {file.name for file in (tmp_path / "small").iterdir()} == {
        "plan.json",
        "model.safetensors",
        "report.json",
    }
    assert str(again) == str(done.model)
    torch.testing.assert_close(again.eval()(X), done.model.eval()(X))


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_layer_in_every_form_comes_back(case, form, tmp_path):
    make, shape = LAYERS[case]
    layer = make()
    stage = Stage.of(layer)
    if FORMS[form].refusal(stage) is not None:
        return
    rank = tuple(max(1, n // 2) for n in FORMS[form].full_rank(stage))
    done = compressed(nn.Sequential(layer), {"0": (form, rank)})
    assert Plan.from_json(done.plan.to_json()) == done.plan
    save(done, tmp_path / "one")
    x = torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape)
    again = load(tmp_path / "one", nn.Sequential(make()))
    torch.testing.assert_close(again(x), done.model(x))


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


def test_weights_are_plain_safetensors(tmp_path):
    done = compressed()
    save(done, tmp_path / "small")
    torch.testing.assert_close(
        load_file(tmp_path / "small" / "model.safetensors"), dict(done.model.state_dict())
    )


def test_tied_weights_are_saved(tmp_path):
    def make() -> nn.Module:
        one, two = nn.Linear(4, 4), nn.Linear(4, 4)
        two.weight = one.weight
        return nn.Sequential(one, two, nn.Linear(4, 4))

    done = compressed(make(), {"2": ("output", (1,))})
    save(done, tmp_path / "tied")
    again = load(tmp_path / "tied", make())
    assert again[0].weight is again[1].weight
    x = torch.ones(1, 4)
    torch.testing.assert_close(again(x), done.model(x))


def test_a_folder_of_ours_is_replaced_and_other_files_in_it_stay(tmp_path):
    save(compressed(), tmp_path / "small")
    (tmp_path / "small" / "notes.txt").write_text("mine")
    done = compressed(choices={"6": ("output", (3,))})
    save(done, tmp_path / "small")
    assert (tmp_path / "small" / "notes.txt").read_text() == "mine"
    assert str(load(tmp_path / "small", net())) == str(done.model)


def test_stages_are_described_in_short():
    stages = FORMS["tucker"].stages(Stage.of(nn.Conv2d(8, 12, 3, padding=1)), (3, 5))
    assert describe_stages(stages, False) == (
        "Conv2d(8, 3, 1x1), Conv2d(3, 5, 3x3, padding 1) and Conv2d(5, 12, 1x1)"
    )


# --- What leaves torch ---


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory) -> nn.Module:
    """A network that ``compress`` made smaller, saved and read again."""
    folder = tmp_path_factory.mktemp("exported")
    data = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    done = compress(net(), Budget(macs=0.5), X[:1], data=data)
    assert done.plan.layers
    save(done, folder / "small")
    again = load(folder / "small", net()).eval()
    torch.testing.assert_close(again(X), done.model.eval()(X))
    return again


def test_a_reloaded_model_is_exported_for_any_batch(reloaded):
    check_export(reloaded, X)
    program = torch.export.export(reloaded, (X,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    more = torch.linspace(-2, 2, 5 * 3 * 8 * 8).reshape(5, 3, 8, 8)
    torch.testing.assert_close(program.module()(more), reloaded(more))


def test_a_reloaded_model_goes_to_onnx(reloaded):
    check_onnx(reloaded, X)


# --- What does not fit ---


def other(**layers: nn.Module) -> nn.Module:
    """The network with other layers at some places."""
    model = net()
    for place, layer in layers.items():
        model[int(place[1:])] = layer
    return model


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


def test_weights_of_another_shape_are_named(tmp_path):
    save(compressed(), tmp_path / "small")
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path / "small", other(_1=nn.BatchNorm2d(8, affine=False)))
    assert str(caught.value) == (
        f"{tmp_path}/small/model.safetensors: state_dict must fit Sequential: it has also 1.bias, "
        "1.weight"
    )


def test_a_model_on_the_meta_device_is_refused(tmp_path):
    save(compressed(), tmp_path / "small")
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path / "small", net().to("meta"))
    assert str(caught.value) == (
        "model must have memory for its weights, '0.weight' is on the meta device: build it on "
        "another, or call to_empty(device='cpu')"
    )


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
        lambda plan: entry(entry(plan, "version", value=2), "package", value="9.0"),
        "p has version 2, this pointwise reads up to 1: install pointwise 9.0 or newer",
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


@pytest.mark.parametrize("name", ["plan.json", "model.safetensors"])
def test_a_missing_file_is_named(name, tmp_path):
    save(compressed(), tmp_path / "small")
    (tmp_path / "small" / name).unlink()
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path / "small", net())
    assert str(caught.value) == (
        f"{tmp_path}/small/{name} cannot be read: No such file or directory{AGAIN}"
    )


def test_weights_cut_short_are_refused(tmp_path):
    save(compressed(), tmp_path / "small")
    file = tmp_path / "small" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelFileError, match="does not hold tensors as safetensors says"):
        load(tmp_path / "small", net())


def test_a_plan_that_is_no_text_is_refused(tmp_path):
    save(compressed(), tmp_path / "small")
    (tmp_path / "small" / "plan.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path / "small", net())
    assert str(caught.value) == f"{tmp_path}/small/plan.json is not UTF-8 text{AGAIN}"


# --- Where it is written ---


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"a fitted model's")
    with pytest.raises(ModelFileError) as caught:
        save(compressed(), tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds other things than a compressed model, so it is left alone: give another "
        "folder, or empty this one"
    )
    assert (tmp_path / "model.safetensors").read_bytes() == b"a fitted model's"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError) as caught:
        check_folder(tmp_path / "file")
    assert str(caught.value) == (
        f"{tmp_path}/file is a file, a compressed model is a folder: give another name"
    )


def test_hidden_files_do_not_count(tmp_path):
    (tmp_path / ".git").mkdir()
    save(compressed(), tmp_path)
    assert (tmp_path / "plan.json").is_file()


def test_a_parent_that_is_a_file_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match=r"cannot write the folder .*/file/small: "):
        save(compressed(), tmp_path / "file" / "small")


def test_state_that_is_no_tensor_is_refused(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 3}

        def set_extra_state(self, state: object) -> None:
            pass

    done = compressed(nn.Sequential(Extra(2, 2)), {})
    with pytest.raises(ModelFileError) as caught:
        save(done, tmp_path / "small")
    assert str(caught.value) == (
        "the state of the model must be dense tensors with values, '0._extra_state' is dict"
    )
    assert not (tmp_path / "small").exists()
