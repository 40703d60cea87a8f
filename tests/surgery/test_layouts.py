"""Whole networks with the channels first: equal values and fewer permutes."""

import copy
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from calibrated import calibrated
from token_networks import Encoder, Mixer, Vit, Windows
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from pointwise.surgery.layout.operators import ChannelNorm, channel_norm
from pointwise.surgery.layouts import channels_first


class Operators(nn.Module):
    """Many operators on channels-last values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 12), nn.Linear(6, 4)
        self.act, self.prelu, self.rms = nn.ReLU(inplace=True), nn.PReLU(), nn.RMSNorm(12)
        self.bn = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Any]]:
        y = self.rms(self.prelu(self.act(self.first(x)) - 0.5))
        y *= 2.0
        y = y.to(memory_format=torch.preserve_format) + x.new_ones(3, 1, 1, 1)[0].type_as(y)
        y = y + torch.zeros(2, 1, 1).type_as(x[None])[:1]
        a, b = y.chunk(2, dim=-1)
        y = self.bn(torch.where(a > 0, a, b)) + torch.stack([a, b], -1).mean(-1)
        y = (
            y
            - y.mean(dim=(1, 2), keepdim=True)
            + y.amax(1).unsqueeze(1) * y.norm(dim=-1)[..., None]
        )
        y = self.last(F.normalize(y, dim=-1).clamp(min=-0.4))[:, 1:, ::2]
        y = torch.cat(y.split(1, 1)[::-1], 1).masked_fill(y[..., :1] > 9, 0.0)
        return y.movedim(1, 2).contiguous(), {"size": y.size(1), "sum": y.cumsum(1).mT}


class Moves(TorchDispatchMode):
    """Counts permutes and transposes as they run."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (torch.ops.aten.permute.default, torch.ops.aten.transpose.int)
        return func(*args, **(kwargs or {}))


def moves(model: nn.Module, x: Tensor) -> int:
    with torch.no_grad(), Moves() as counted:
        model(x)
    return counted.count


def check_converted(model: nn.Module, x: Tensor) -> tuple[nn.Module, list[str]]:
    """Convert in float64, compare on other inputs and another batch, hold names and flags."""
    model, x = calibrated(model, x).double(), x.double()
    state = copy.deepcopy(model.state_dict())
    new, swaps = channels_first(model, x)
    for given in (torch.randn_like(x), torch.randn(3, *x.shape[1:]).double()):
        with torch.no_grad():
            assert_close(new(given), model(given), atol=1e-12, rtol=1e-12)
    assert_close(model.state_dict(), state, atol=0, rtol=0)
    assert set(new.state_dict()) == set(state)
    for name, value in new.state_dict().items():
        assert_close(value.flatten(), state[name].flatten(), atol=0, rtol=0)
    assert not any(isinstance(part, nn.Linear) for part in new.modules())
    assert not new.training
    return new, [str(swap) for swap in swaps]


def convnext() -> nn.Module:
    from torchvision_models import torchvision  # noqa: F401  (declares missing operators)

    convnext = pytest.importorskip("torchvision.models.convnext")
    settings = [convnext.CNBlockConfig(8, 16, 2), convnext.CNBlockConfig(16, None, 1)]
    return convnext.ConvNeXt(settings, num_classes=5)  # type: ignore[no-any-return]


# what it is, its input, permutes of a run before and after
NETWORKS: dict[str, tuple[Any, ...]] = {
    "transformer encoder": (Encoder, (2, 5, 16), 3, 3),
    "transformer encoder, fused": (lambda: Encoder(fused=True), (2, 5, 16), 2, 3),
    "vision transformer": (Vit, (2, 3, 32, 32), 1 + 2 * 2, 2 + 2),
    "mixer": (Mixer, (2, 9, 16), 2, 4),
    "convnext": (convnext, (2, 3, 32, 32), 3 * 2 + 3 * 2, 0),
    "windows": (Windows, (2, 8, 8, 8), 2 + 2, 5),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_networks(case: str):
    make, shape, before, after = NETWORKS[case]
    model, x = make(), torch.randn(shape)
    new, swaps = check_converted(model, x)
    assert (moves(model, x.double()), moves(new, x.double())) == (before, after)
    assert "takes any batch" in swaps[-1]


# permutes of the forward (nn.MultiheadAttention has its own) before and after, keys kept
PUBLISHED = {
    "vit_tiny_patch16_224": ({"img_size": 32, "depth": 2}, 32, "5 permutes -> 2 permutes"),
    "convnext_atto": ({"depths": (1, 1, 1, 1)}, 64, "18 permutes -> no permute"),
    "swin_tiny_patch4_window7_224": (
        {"img_size": 56, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2)},
        56,
        "22 permutes -> 13 permutes",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_timm(name: str):
    import torchvision_models  # noqa: F401  (before torchvision: it may lack operators)

    timm = pytest.importorskip("timm")
    options, size, expected = PUBLISHED[name]
    model = timm.create_model(name, num_classes=5, **options)
    _, swaps = check_converted(model, torch.randn(2, 3, size, size))
    assert swaps[-1].startswith(f"(the model): {expected} (")
    assert swaps[-1].endswith("takes any batch)")


def test_torchvision_swin_keeps_its_attention():
    from torchvision_models import torchvision

    swin = torchvision.models.swin_transformer.SwinTransformer
    model = calibrated(
        swin([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=5), torch.randn(2, 3, 32, 32)
    )
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    new, swaps = channels_first(model.double(), x)
    texts = [str(swap) for swap in swaps]
    reason = "left alone: its weight is read by shifted_window_attention, not its forward"
    assert f"features.1.0.attn.qkv: Linear(8, 24) {reason}" in texts
    assert "features.1.0.mlp.0: Linear(8, 32) -> Conv2d(8, 32, 1x1)" in texts
    with torch.no_grad():
        assert_close(new(x), model(x), atol=1e-12, rtol=1e-12)


def test_multihead_attention_is_split():
    layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    model = calibrated(nn.Sequential(layer), torch.randn(2, 5, 16)).double()
    new, swaps = channels_first(model, x)
    texts = [str(swap) for swap in swaps]
    assert "0.self_attn.q_proj: Linear(16, 16) -> Conv2d(16, 16, 1x1)" in texts
    with torch.no_grad():
        assert_close(new(x), model(x), atol=1e-12, rtol=1e-12)


def test_operators_along_moved_axes():
    model = calibrated(Operators(), torch.randn(2, 5, 6)).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    new, swaps = channels_first(model, x)
    other = torch.randn(3, 5, 6, dtype=torch.float64)
    (y, more), (expected, expected_more) = new(other), model(other)
    assert_close(y, expected, atol=1e-12, rtol=1e-12)
    assert_close(more["sum"], expected_more["sum"], atol=1e-12, rtol=1e-12)
    assert more["size"] == expected_more["size"]
    # in, to the norm of torch and back, twice out
    assert swaps[-1].before == "2 permutes"
    assert "1 for bn" in swaps[-1].reason
    assert model.act.inplace
    assert not new.act.inplace


class After(nn.Module):
    """A linear layer, and a function of what it gives."""

    def __init__(self, after: Any) -> None:
        super().__init__()
        self.linear, self.after = nn.Linear(6, 6), after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.linear(x))


AFTER: dict[str, tuple[Any, tuple[int, ...]]] = {
    "gram": (lambda y: y @ y.transpose(1, 2), (2, 4, 6)),
    "gram, square": (lambda y: y @ y.mT, (2, 6, 6)),
    "attention, no projections": (lambda y: (y @ y.mT).softmax(-1) @ y, (2, 4, 6)),
    "turned round": (lambda y: y.flip(1).flip((1, 2)), (2, 4, 5, 6)),
    "turned round, axes apart": (lambda y: y.flip(1, 2).flip(3, 1).flip(1, 2, 3), (2, 4, 5, 6)),
    "by name": (lambda y: torch.softmax(input=torch.mean(input=y, dim=1), dim=1), (2, 4, 6)),
    "joined, by name": (lambda y: torch.cat(tensors=[y, y], dim=1), (2, 4, 6)),
    "axes, by name": (lambda y: torch.transpose(input=y, dim0=1, dim1=2), (2, 4, 6)),
    "sorted both ways": (lambda y: y.sort(1)[0] + y.mT.sort(1)[0], (2, 6, 6)),
}


@pytest.mark.parametrize("case", AFTER)
def test_what_follows_a_layer(case: str):
    after, shape = AFTER[case]
    check_converted(After(after), torch.randn(shape))


def test_layers_called_by_name():
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear, self.flat = nn.LayerNorm(6), nn.Linear(6, 4), nn.Flatten()

        def forward(self, x: Tensor) -> Tensor:
            return self.flat(input=self.linear(input=self.norm(input=x)))

    _, swaps = check_converted(ByName(), torch.randn(2, 5, 6))
    assert "linear: Linear(6, 4) -> Conv2d(6, 4, 1x1)" in swaps


def test_outputs_in_a_wider_type_than_the_network():
    x = torch.randn(2, 5, 6)
    model = calibrated(After(nn.Sequential(Encoder(6), After(lambda y: y.double()))), x)
    new, swaps = channels_first(model, x)
    assert_close(new(x), model(x), atol=1e-5, rtol=1e-5)
    assert "takes any batch" in swaps[-1].reason


def test_sequences_of_other_lengths():
    model = calibrated(Encoder(), torch.randn(2, 5, 16)).double()
    new, _ = channels_first(model, torch.randn(2, 5, 16).double())
    x = torch.randn(1, 11, 16, dtype=torch.float64)
    with torch.no_grad():
        assert_close(new(x), model(x), atol=1e-12, rtol=1e-12)


def test_tokens_stand_as_one_row():
    new, _ = channels_first(Encoder(), torch.randn(2, 5, 16))
    seen = []
    new.fc1.register_forward_hook(lambda _, args, out: seen.extend([args[0].shape, out.shape]))
    new(torch.randn(2, 7, 16))
    assert seen == [(2, 16, 1, 7), (2, 48, 1, 7)]


def test_training_goes_on():
    model = Encoder().train()
    new, _ = channels_first(model, torch.randn(2, 5, 16))
    assert new.training
    assert new.drop.training
    assert model.training
    new(torch.randn(2, 5, 16)).sum().backward()
    assert all(p.grad is not None for p in new.parameters())
    assert all(p.grad is None for p in model.parameters())


def test_in_place_shares_the_parameters():
    model, x = Encoder(), torch.randn(2, 5, 16)
    new, _ = channels_first(model, x, in_place=True)
    assert new.scale is model.scale
    assert new.fc1.weight.data_ptr() == model.fc1.weight.data_ptr()


def test_pickles_and_exports():
    model, x = Vit().eval(), torch.randn(2, 3, 32, 32)
    new, _ = channels_first(model, x)
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(new))))
    program = torch.export.export(new, (x,), strict=False).module()
    with torch.no_grad():
        for one in (again, program):
            assert_close(one(x), model(x), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_onnx(tmp_path: Any):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model, x = Vit().eval(), torch.randn(2, 3, 32, 32)
    new, _ = channels_first(model, x)
    path = tmp_path / "model.onnx"
    torch.onnx.export(new, (x,), path, dynamo=True, verbose=False)
    names = [node.op_type for node in onnx.load(path).graph.node]
    assert names.count("Transpose") == 2  # one in each attention
    session = onnxruntime.InferenceSession(path)
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        assert_close(torch.from_numpy(y), model(x), atol=1e-4, rtol=1e-4)


def test_shared_layers_stay_shared():
    linear = nn.Linear(4, 4)
    new, swaps = channels_first(
        nn.Sequential(linear, nn.ReLU(inplace=True), linear), torch.ones(2, 3, 4)
    )
    assert new.get_submodule("0") is new.get_submodule("2")
    assert [swap.path for swap in swaps] == ["0", ""]


@pytest.mark.parametrize("norm", [nn.LayerNorm(6), nn.RMSNorm(6), nn.LayerNorm(6, bias=False)])
def test_channel_norm(norm: Any):
    x = torch.randn(2, 6, 1, 5)
    nn.init.uniform_(norm.weight)
    assert_close(ChannelNorm(norm)(x), norm(x.movedim(1, -1)).movedim(-1, 1))


def test_channel_norm_of_half_precision():
    x = torch.randn(2, 6, 5).half() * 200
    expected = F.layer_norm(x.mT, (6,)).mT
    assert_close(channel_norm(x, None, None, 1e-5), expected)
