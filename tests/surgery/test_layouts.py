"""Whole networks with the channels first: equal values, fewer permutes, refusals in words."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from calibrated import calibrated
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from pointwise.surgery.layouts import channels_first


class Attention(nn.Module):
    """Explicit attention, with torch's fused operator or without."""

    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, s, c = x.shape
        heads = self.qkv(x).reshape(n, s, 3, self.heads, c // self.heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(n, s, c))


class Encoder(nn.Module):
    """A block of a transformer."""

    def __init__(self, width: int = 16, heads: int = 2, fused: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, fused)
        self.fc1, self.fc2 = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.rand(width))
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.scale * self.drop(self.fc2(F.gelu(self.fc1(self.norm2(x)))))


class Vit(nn.Module):
    """Patches, a class token, positions and two blocks."""

    def __init__(self, fused: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 17, 16))
        self.blocks = nn.Sequential(Encoder(fused=fused), Encoder(fused=fused))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class Mixer(nn.Module):
    """MLP-Mixer: one map over the tokens, one over the channels."""

    def __init__(self, tokens: int = 9, width: int = 16) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 7), nn.GELU(), nn.Linear(7, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 24), nn.GELU(), nn.Linear(24, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Windows(nn.Module):
    """A map in windows, with attention in each, and back, as in Swin; shifted by two."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attn, self.out = nn.LayerNorm(8), Attention(8, 2, True), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        y = torch.roll(self.norm(x), (-2, -2), dims=(1, 2))
        y = y.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        y = self.attn(y).view(n, h // 4, w // 4, 4, 4, c)
        y = torch.roll(y.permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c), (2, 2), dims=(1, 2))
        return self.out(F.pad(x + y, (0, 0, 1, 0, 0, 2)))


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
        a, b = y.chunk(2, dim=-1)
        y = self.bn(torch.where(a > 0, a, b)) + torch.stack([a, b], -1).mean(-1)
        y = (
            y
            - y.mean(dim=(1, 2), keepdim=True)
            + y.amax(1).unsqueeze(1) * y.norm(dim=-1)[..., None]
        )
        y = self.last(F.normalize(y, dim=-1).clamp(min=-0.4))[:, 1:, ::2]
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
NETWORKS = {
    "transformer encoder": (Encoder, (2, 5, 16), 3, 3),
    "transformer encoder, fused": (lambda: Encoder(fused=True), (2, 5, 16), 2, 3),
    "vision transformer": (Vit, (2, 3, 32, 32), 1 + 2 * 2, 2 + 2),
    "mixer": (Mixer, (2, 9, 16), 2, 4),
    "convnext": (convnext, (2, 3, 32, 32), 10, 0),
    "windows": (Windows, (2, 8, 8, 8), 2 + 2, 6),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_networks(case: str):
    make, shape, before, after = NETWORKS[case]
    model, x = make(), torch.randn(shape)
    new, swaps = check_converted(model, x)
    assert (moves(model, x.double()), moves(new, x.double())) == (before, after)
    assert "takes any batch" in swaps[-1]
