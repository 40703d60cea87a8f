"""Networks on tokens, with explicit attention and permutes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
