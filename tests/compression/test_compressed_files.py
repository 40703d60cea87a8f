"""A folder gives a compressed model back, and is written over nothing else."""

import pytest
import torch
from layer_cases import LAYERS
from planned_models import X, compressed, net, other
from safetensors.torch import load_file
from torch import nn

from blocks import check_export, check_onnx
from pointwise.compression.budget import Budget
from pointwise.compression.compress import compress
from pointwise.compression.forms.stages import Stage
from pointwise.compression.forms.table import FORMS
from pointwise.compression.plans.files import check_folder, load, save
from pointwise.compression.plans.plan import Plan
from pointwise.errors import ModelFileError

AGAIN = "; copy the folder again from its source, or compress again"


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


class Versioned(nn.Sequential):
    """Refuses weights that do not say of which version they are, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *others):
        assert local_metadata.get("version") == 2
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


def test_versions_of_modules_are_told(tmp_path):
    model = Versioned(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    done = compressed(model, {"2": ("output", (1,))})
    save(done, tmp_path / "versioned")
    again = load(tmp_path / "versioned", model)
    torch.testing.assert_close(again.state_dict(), done.model.state_dict())


def test_a_folder_of_ours_is_replaced_and_other_files_in_it_stay(tmp_path):
    save(compressed(), tmp_path / "small")
    (tmp_path / "small" / "notes.txt").write_text("mine")
    done = compressed(choices={"6": ("output", (3,))})
    save(done, tmp_path / "small")
    assert (tmp_path / "small" / "notes.txt").read_text() == "mine"
    assert str(load(tmp_path / "small", net())) == str(done.model)


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
