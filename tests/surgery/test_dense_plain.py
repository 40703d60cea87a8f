"""Dense classifiers without this package, and with the names of the classifier."""

import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from sliding import calibrated
from torch import Tensor, nn

from pointwise.nn import PointwiseConv
from pointwise.surgery.convolutionalize import convolutionalize, densify
from pointwise.surgery.dense.classifier import AsRows
from pointwise.surgery.stock import to_torch

X = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
IMAGE = torch.randn(2, 1, 40, 33, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Branched(nn.Module):
    """Two ways of different reach, which dilation has to crop to one another."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.wide, self.mix = nn.Conv2d(4, 4, 3, padding=1), PointwiseConv(4, 4)
        self.fc = nn.Linear(4 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = nn.functional.max_pool2d(self.wide(x) + self.mix(x), 2)
        return self.fc(x.flatten(1))


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 10)
    )


WAYS: dict[str, Any] = {
    "dense": convolutionalize,
    "dilated": lambda model, x: densify(model, x, method="dilation"),
    "shifted": lambda model, x: densify(model, x, stride=1),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [plain, Branched])
def test_modules_of_torch_alone(make: Any, way: str) -> None:
    model = calibrated(make(), X)
    dense, _ = WAYS[way](model, X)
    new, swaps = to_torch(dense, IMAGE)
    assert all(swap.after is not None for swap in swaps)
    assert not any(type(part).__module__.startswith("pointwise") for part in new.modules())
    other = torch.randn(1, 1, 23, 46)
    with torch.no_grad():
        torch.testing.assert_close(new(other), dense(other))
    assert set(new.state_dict()) == set(dense.state_dict())


def test_rows_of_the_training_size() -> None:
    model = calibrated(plain(), X)
    dense, _ = convolutionalize(model, X)
    new, _ = to_torch(AsRows(dense), X)
    with torch.no_grad():
        torch.testing.assert_close(new(X), model(X))
    with pytest.raises(AssertionError, match="the input differs in form from the example"):
        new(IMAGE)


def test_images_that_are_too_small_are_still_refused() -> None:
    dense, _ = convolutionalize(calibrated(plain(), X), X)
    new, _ = to_torch(dense, X)
    with pytest.raises(AssertionError, match="the input differs in form from the example"):
        new(torch.ones(1, 1, 15, 40))


@pytest.mark.parametrize("way", WAYS)
def test_unpickles_without_this_package(way: str, tmp_path: Any) -> None:
    dense, _ = WAYS[way](calibrated(Branched(), X), X)
    new, _ = to_torch(dense, IMAGE)
    path = tmp_path / "new.pickle"
    path.write_bytes(pickle.dumps((new, IMAGE)))
    program = (
        "import pickle, sys; sys.modules['pointwise'] = None; "
        f"new, x = pickle.load(open({str(path)!r}, 'rb')); "
        "print(float(new(x).detach().abs().sum()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    expected = float(dense(IMAGE).detach().abs().sum())
    assert float(ran.stdout) == pytest.approx(expected, rel=1e-4)


# --- Names ---


@pytest.mark.parametrize("way", WAYS)
def test_the_body_of_the_classifier_loads(way: str) -> None:
    model = calibrated(plain(), X)
    dense, _ = WAYS[way](plain(), X)
    body = {name: value for name, value in model.state_dict().items() if name[0] == "0"}
    found = dense.load_state_dict(body, strict=False)
    assert found.unexpected_keys == []
    assert {name.rpartition("network.")[2] for name in found.missing_keys} == {
        "3.weight",
        "3.bias",
    }
    (weight,) = [value for name, value in dense.state_dict().items() if name[-9:] == ".0.weight"]
    torch.testing.assert_close(weight, model[0].weight.detach())


def test_a_state_dict_loads_into_what_it_is_from() -> None:
    dense, _ = convolutionalize(calibrated(plain(), X), X)
    other, _ = convolutionalize(plain(), X)
    other.load_state_dict(dense.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(other(IMAGE), dense(IMAGE))
    other.network.load_state_dict(dense.network.state_dict())
    assert set(dense.network.state_dict()) == set(plain().state_dict())


def test_names_within_a_larger_model_and_a_part_of_the_same_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = plain()

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)

    model = calibrated(Named(), X)
    outer = nn.Sequential(convolutionalize(Named(), X)[0])
    body = {f"0.{name}": value for name, value in model.state_dict().items() if "network.0" in name}
    assert outer.load_state_dict(body, strict=False).unexpected_keys == []
    found = outer.get_parameter("0.network.network.0.weight")
    torch.testing.assert_close(found, model.network[0].weight)


def test_other_shapes_are_refused() -> None:
    dense, _ = convolutionalize(plain(), X)
    with pytest.raises(RuntimeError, match=r"size mismatch for network\.3\.weight"):
        dense.load_state_dict(plain().state_dict())
