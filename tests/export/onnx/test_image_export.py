"""Classifiers and segmenters of images, and networks, as ONNX of any size."""

import numpy as np
import onnxruntime
import pytest
import torch
from exported import run
from sklearn.datasets import load_digits
from torch import Tensor, nn

from pointwise.errors import DataError, DifferenceError
from pointwise.estimators import ImageClassifier, Segmenter
from pointwise.export import onnx_inputs, to_onnx
from pointwise.networks import UNet, nin_cifar
from pointwise.nn import MLP
from pointwise.surgery import to_conv


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return (X[:120].reshape(-1, 8, 8) * 15).astype(np.uint8), y[:120]


def test_classifier_takes_bytes_of_any_size(digits, tmp_path):
    X, y = digits
    model = ImageClassifier(max_epochs=1, batch_size=20, random_state=0).fit(X, y)
    done = to_onnx(model, tmp_path / "m.onnx")
    assert str(done.inputs[0]) == "images: uint8 (N, 1, H, W)"
    for images in (X[:5], np.pad(X[:3], ((0, 0), (2, 3), (0, 1)))):
        found = run(done.path, onnx_inputs(model, images))
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(images), atol=1e-5)
        assert found["label"].tolist() == model.predict(images).tolist()


def test_fractions_are_bytes(digits):
    X, y = digits
    model = ImageClassifier(max_epochs=1, batch_size=20, random_state=0).fit(X / 255, y)
    np.testing.assert_array_equal(onnx_inputs(model, X[:4] / 255)["images"], X[:4, None])


def test_images_of_a_unit_of_their_own(digits, tmp_path):
    X, y = digits
    kelvin = X.astype(np.float32) + 200
    model = ImageClassifier(max_epochs=1, batch_size=20, random_state=0).fit(kelvin, y)
    done = to_onnx(model, tmp_path / "m.onnx", example=kelvin[:6])
    assert (done.inputs[0].kind, done.checked) == ("float32", "6 images")
    found = run(done.path, onnx_inputs(model, kelvin[:6]))
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(kelvin[:6]), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (13, 22)])
def test_segmenter_of_any_size(size, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 3, 16, 16), dtype=np.uint8)
    model = Segmenter(widths=(4, 8, 8), max_epochs=1, batch_size=4, random_state=0)
    model.fit(images, images[:, 0] // 100 * 5)
    done = to_onnx(model, tmp_path / "m.onnx")
    assert [str(port) for port in done.outputs] == [
        "label: int64 (N, H, W)",
        "probabilities: float32 (N, 3, H, W)",
    ]
    assert done.inputs[0].shape == ("N", 3, "H", "W")
    other = rng.integers(0, 256, (2, 3, *size), dtype=np.uint8)
    found = run(done.path, {"images": other})
    shares = model.predict_proba(other)
    np.testing.assert_allclose(found["probabilities"], shares, atol=1e-5)
    sure = np.abs(np.diff(np.sort(shares, 1)[:, -2:], axis=1))[:, 0] > 1e-4
    assert (found["label"] == model.predict(other))[sure].all()


# --- Networks ---


@pytest.mark.parametrize("position", [(), (7,), (6, 5), (3, 4, 5)])
def test_networks_of_any_rank(position, tmp_path):
    network = MLP([3, 8, 2], members=2).eval()
    done = to_onnx(network, tmp_path / "m.onnx", example=torch.randn(2, 3, *position))
    sizes = {0: "", 1: ", L", 2: ", H, W", 3: ", D, H, W"}[len(position)]
    assert str(done.outputs[0]) == f"output: float32 (N, 4{sizes})"
    x = torch.randn(5, 3, *(n + 2 for n in position))
    with torch.no_grad():
        expected = network(x).numpy()
    np.testing.assert_allclose(run(done.path, {"input": x.numpy()})["output"], expected, atol=1e-5)


@pytest.mark.parametrize("network", [nin_cifar(5), UNet(4, channels=3, widths=(4, 8))])
def test_published_networks(network, tmp_path):
    done = to_onnx(network.train(), tmp_path / "m.onnx", example=torch.randn(2, 3, 32, 32))
    assert done.inputs[0].shape == ("N", 3, "H", "W")
    assert network.training  # the given one is as it was


class TwoOfOneSize(nn.Module):
    """Two inputs and two outputs; 6 positions and no other number."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"sum": self.linear(x + y), "mean": x.mean(-1)}


def test_several_inputs_and_outputs(tmp_path):
    network = TwoOfOneSize().eval()
    example = (torch.randn(3, 2, 6), torch.randn(3, 2, 6))
    done = to_onnx(network, tmp_path / "m.onnx", example=example)
    assert [port.name for port in (*done.inputs, *done.outputs)] == [
        *("input0", "input1"),
        *("output0", "output1"),
    ]
    found = run(done.path, {f"input{i}": x.numpy() for i, x in enumerate(example)})
    with torch.no_grad():
        expected = network(*example)
    np.testing.assert_allclose(found["output0"], expected["sum"].numpy(), atol=1e-6)
    np.testing.assert_allclose(found["output1"], expected["mean"].numpy(), atol=1e-6)


def test_classifier_of_one_size_says_so(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    done = to_onnx(network, tmp_path / "m.onnx", example=torch.randn(2, 3, 8, 8))
    assert done.inputs[0].shape == ("N", 3, 8, 8)
    assert run(done.path, {"input": np.ones((7, 3, 8, 8), np.float32)})["output"].shape == (7, 5)


def test_a_rewritten_network_keeps_its_1x1s_as_convolutions(tmp_path):
    import onnx

    network, _ = to_conv(nn.Sequential(nn.Flatten(1), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)))
    done = to_onnx(network, tmp_path / "m.onnx", example=torch.randn(2, 6))
    kinds = {node.op_type for node in onnx.load(done.path).graph.node}
    assert "Conv" in kinds
    assert onnxruntime.InferenceSession(done.path) is not None


class Branches(nn.Module):
    """Another rule for some sizes, which a graph that was traced at others does not have."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        rules = {"large": w > 20, "small": w < 20, "square": h == w, "many": n > 5}
        return x + 1 if rules[self.rule] else x - 1


@pytest.mark.parametrize(
    ("rule", "size"),
    [("large", (32, 32)), ("small", (8, 8)), ("square", (32, 30)), ("square", (32, 32))],
)
def test_rules_by_size_leave_one_size(rule, size, tmp_path):
    done = to_onnx(Branches(rule), tmp_path / "m.onnx", example=torch.randn(2, 3, *size))
    assert done.inputs[0].shape == ("N", 3, *size)
    assert "of size" in done.notes[0]


def test_rules_by_the_number_of_samples_are_refused(tmp_path):
    with pytest.raises((DataError, DifferenceError), match="computes something else"):
        to_onnx(Branches("many"), tmp_path / "m.onnx", example=torch.randn(2, 3, 4, 4))
    assert not list(tmp_path.iterdir())


def test_one_sample_of_one_position_leaves_any_number(tmp_path):
    done = to_onnx(MLP([3, 8, 2], members=2), tmp_path / "m.onnx", example=torch.randn(1, 3, 1, 1))
    assert run(done.path, {"input": np.ones((4, 3, 5, 6), np.float32)})["output"].shape == (
        4,
        4,
        5,
        6,
    )


def test_the_smallest_images_are_told(digits, tmp_path):
    X, y = digits
    model = ImageClassifier(max_epochs=1, batch_size=20, random_state=0).fit(X, y)
    assert to_onnx(model, tmp_path / "m.onnx").notes == ("of images of at least 4 x 4 pixels",)


def test_networks_need_an_example_that_they_take(tmp_path):
    with pytest.raises(DataError, match="a network needs an example"):
        to_onnx(nn.Linear(3, 2), tmp_path / "m.onnx")
    for example in (np.ones((2, 3)), torch.ones(0, 3), []):
        with pytest.raises(DataError, match="a network needs an example"):
            to_onnx(nn.Linear(3, 2), tmp_path / "m.onnx", example=example)
    with pytest.raises(DataError, match="Linear cannot take the example"):
        to_onnx(nn.Linear(3, 2), tmp_path / "m.onnx", example=torch.ones(2, 4))
    with pytest.raises(DataError, match="twice as many samples"):
        to_onnx(nn.Flatten(0), tmp_path / "m.onnx", example=(torch.ones(2), torch.ones(2)))


def test_a_network_that_works_in_place_leaves_the_example(tmp_path):
    class Doubles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2)

    x = torch.randn(3, 4)
    before = x.clone()
    done = to_onnx(Doubles(), tmp_path / "m.onnx", example=x)
    assert torch.equal(x, before)
    assert torch.equal(torch.from_numpy(run(done.path, {"input": x.numpy()})["output"]), 2 * x)


class Sums(nn.Module):
    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        return sum(rest, x)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_inputs_after_the_first(count, tmp_path):
    example = tuple(torch.randn(2, 3) for _ in range(count))
    done = to_onnx(Sums(), tmp_path / "m.onnx", example=example)
    assert [port.shape for port in done.inputs] == [("N", 3)] * count
    feeds = {port.name: np.ones((5, 3), np.float32) for port in done.inputs}
    np.testing.assert_array_equal(run(done.path, feeds)["output"], np.full((5, 3), count))


class Gives(nn.Module):
    def __init__(self, what) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor):
        return self.what(x)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda x: (x, 3.5), "must give tensors, alone or in tuples.* got also float"),
        (lambda x: (x, x.shape[0]), "must give tensors.* got also int"),
        (torch.fft.fft, "of type complex64 cannot be checked"),
        (torch.Tensor.bfloat16, "of type bfloat16 cannot be checked"),
    ],
)
def test_outputs_that_a_file_cannot_give_are_told(what, message, tmp_path):
    with pytest.raises(DataError, match=message):
        to_onnx(Gives(what), tmp_path / "m.onnx", example=torch.ones(2, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_networks_are_told(tmp_path):
    traced = torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3))
    with pytest.raises(DataError, match="scripted network: export the one it was made of"):
        to_onnx(traced, tmp_path / "m.onnx", example=torch.ones(2, 3))


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x - 1


def test_a_network_that_cannot_be_followed(tmp_path):
    with pytest.raises(DataError, match="Decides cannot be exported to ONNX"):
        to_onnx(Decides(), tmp_path / "m.onnx", example=torch.ones(2, 4))
    assert not list(tmp_path.iterdir())


class Chooses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


def test_branches_of_a_graph_see_the_values_around_them(tmp_path):
    done = to_onnx(Chooses(), tmp_path / "m.onnx", example=torch.ones(2, 4))
    for x in (np.ones((3, 4), np.float32), -np.ones((3, 4), np.float32)):
        np.testing.assert_array_equal(run(done.path, {"input": x})["output"], x + np.sign(x))
    assert b".py" not in done.path.read_bytes()


def test_weights_that_no_file_holds_are_refused_before_they_are_copied(tmp_path, monkeypatch):
    from pointwise.export.onnx import trace

    monkeypatch.setattr(trace, "LARGEST", 10_000)
    monkeypatch.setattr(torch.onnx.ONNXProgram, "model_proto", property(lambda _: 1 / 0))
    with pytest.raises(DataError, match=r"takes 0.0 GB, and one ONNX file holds 2: compress it"):
        to_onnx(nn.Linear(100, 30), tmp_path / "m.onnx", example=torch.ones(2, 100))


def test_pixels_are_of_tables(tmp_path):
    with pytest.raises(DataError, match="pixels=True is for estimators of tables"):
        to_onnx(nn.Linear(3, 2), tmp_path / "m.onnx", example=torch.ones(2, 3), pixels=True)
