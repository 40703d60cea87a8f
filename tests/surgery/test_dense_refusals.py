"""What cannot slide over a larger image, and the words in which it is refused."""

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from sliding import exactly
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from pointwise.surgery.convolutionalize import convolutionalize
from torchvision_models import torchvision

models = torchvision.models
START = "classifier cannot be made dense: "
FORWARD = START + "the forward of Forward "
WHOLE = (
    "depends on the whole image (as squeeze-and-excitation does), so its value on a window is not "
    "that of the image: give whole_image=True to take the image's"
)


class Forward(nn.Module):
    """A 3x3 convolution to four channels, any function of its map, and a linear layer."""

    def __init__(self, function: Callable[[Tensor], Tensor], features: int = 4) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3), function
        self.fc = nn.Linear(features, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.function(self.conv(x)))
        return out


def of_map(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    """A function of the map, before a global mean."""
    return lambda: Forward(lambda x: function(x).mean((2, 3)))


def tail(*modules: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(3, 4, 3), *modules)


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "vit": (
        lambda: models.VisionTransformer(10, 5, 1, 2, 8, 16),
        START + "the forward of VisionTransformer reshapes its map from (1, 8, 2, 2) to (1, 8, 4): "
        "rows and columns are lost, as they are to attention",
    ),
    "swin": (
        lambda: models.SwinTransformer([2, 2], 8, [2], [2], [3, 3]),
        START + "features.1.0.attn (ShiftedWindowAttention) runs pad on axes n, h, w, c, not "
        "n, c, h, w",
    ),
    "attention": (
        of_map(lambda x: F.scaled_dot_product_attention(x, x, x)),
        FORWARD + "is attention: every position looks at all others",
    ),
    "product of maps": (
        of_map(lambda x: x @ x.transpose(2, 3)),
        FORWARD + "multiplies two matrices that both depend on the image, as attention does",
    ),
    "softmax over positions": (
        of_map(lambda x: x.softmax(-1)),
        FORWARD + "runs softmax over positions, as attention does",
    ),
    "squeeze and excitation": (
        lambda: nn.Sequential(
            torchvision.ops.SqueezeExcitation(3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        START + "0 (SqueezeExcitation) joins a map with a statistic of the whole image, as "
        "squeeze-and-excitation does: its value on a window is not that of the image; give "
        "whole_image=True to take the image's",
    ),
    "group norm": (
        tail(nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(256, 2)),
        START + f"1 (GroupNorm) runs group_norm over positions: it {WHOLE}",
    ),
    "instance norm": (
        tail(nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(256, 2)),
        START + f"1 (InstanceNorm2d) runs instance_norm over positions: it {WHOLE}",
    ),
    "layer norm over positions": (
        tail(nn.LayerNorm([4, 8, 8]), nn.Flatten(), nn.Linear(256, 2)),
        START + f"1 (LayerNorm) runs layer_norm over positions: it {WHOLE}",
    ),
    "batch statistics": (
        tail(nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(256, 2)),
        START + "1 (BatchNorm2d) is a batch norm without running statistics: it depends on the "
        "batch",
    ),
    "norm of a flattened map": (
        tail(nn.Flatten(), nn.BatchNorm1d(256), nn.Linear(256, 2)),
        START + "2 (BatchNorm1d) normalises every position of a flattened map by itself",
    ),
    "layer norm of a flattened map": (
        tail(nn.Flatten(), nn.LayerNorm(256), nn.Linear(256, 2)),
        START + "2 (LayerNorm) normalises all positions of a flattened map at once",
    ),
    "position embedding": (
        of_map(lambda x: x + torch.ones(1, 4, 8, 8)),
        FORWARD + "joins its map with a tensor of shape (1, 4, 8, 8): it holds values for the "
        "positions of the training size",
    ),
    "resizing": (
        of_map(lambda x: F.interpolate(x, scale_factor=2.0)),
        FORWARD + "resizes its map to a size that the image decides",
    ),
    "transposed convolution": (
        tail(nn.ConvTranspose2d(4, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        START + "1 (ConvTranspose2d) is a transposed convolution: its positions lie between those "
        "of the map",
    ),
    "crop": (
        of_map(lambda x: x[:, :, 1:7]),
        FORWARD + "crops its map to a part of the training size",
    ),
    "one position": (
        lambda: Forward(lambda x: x[:, :, 3, 3]),
        FORWARD + "takes one position out of its map",
    ),
    "flip": (
        of_map(lambda x: x.flip(3)),
        FORWARD + "runs flip, which is not known to treat all positions alike",
    ),
    "shift": (of_map(lambda x: x.roll(1, 3)), FORWARD + "shifts positions around the border"),
    "mean over rows": (
        lambda: Forward(lambda x: x.mean(2).flatten(1), 32),
        FORWARD + "takes a mean over axes h, not h, w",
    ),
    "linear on rows": (
        lambda: Forward(lambda x: x.mean(1, keepdim=True), 8),
        START + "fc (Linear) is a Linear layer on an axis of positions",
    ),
    "uneven maxima": (
        tail(nn.AdaptiveMaxPool2d(3), nn.Flatten(), nn.Linear(36, 2)),
        START + "1 (AdaptiveMaxPool2d) takes maxima of uneven bins: 8x8 to 3x3",
    ),
    "activation of uneven bins": (
        tail(nn.AdaptiveAvgPool2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)),
        START + "2 (ReLU) follows adaptive pooling with uneven bins: only a Linear layer may",
    ),
    "weight norm of uneven bins": (
        tail(nn.AdaptiveAvgPool2d(3), nn.Flatten(), weight_norm(nn.Linear(36, 2))),
        START + "3 (ParametrizedLinear) follows adaptive pooling with uneven bins: it must be an "
        "nn.Linear",
    ),
    "convolution behind a pool": (
        tail(nn.AdaptiveAvgPool2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 2)),
        START + "2 (Conv2d) is a convolution of a pooled map that is not 1x1 with stride 1",
    ),
    "pool behind a pool": (
        tail(nn.AdaptiveAvgPool2d(4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)),
        START + "2 (MaxPool2d) pools a map that was pooled to a fixed size",
    ),
    "class token": (
        of_map(lambda x: torch.cat([x, torch.ones(1, 1, 8, 8)], 1)[:, :4]),
        FORWARD + "puts constants beside values of the image, as class tokens are",
    ),
    "a map in the end": (
        tail(nn.ReLU()),
        "classifier must give one vector per image, got (1, 4, 8, 8): it has no head to slide, and "
        "takes larger images as it is",
    ),
    "a flattened map in the end": (
        tail(nn.Flatten()),
        "classifier must end in a layer that reads its whole feature map, got (1, 256)",
    ),
    "hook on a changed layer": (
        lambda: _hooked(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(256, 2)), "2"),
        "classifier must have no forward hooks where it is changed, got one on 2: remove it first",
    ),
    "hook on the classifier": (
        lambda: _hooked(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(256, 2)), ""),
        "classifier must have no forward hooks where it is changed, got one on (the model): "
        "remove it first",
    ),
}  # fmt: skip


def _hooked(network: nn.Module, path: str) -> nn.Module:
    network.get_submodule(path).register_forward_hook(lambda *_: None)
    return network


class Two(nn.Module):
    """Gives back its map and its rows."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.mean((2, 3))


@pytest.mark.parametrize(("make", "message"), list(CASES.values()), ids=list(CASES))
def test_refusals(make: Callable[[], nn.Module], message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=exactly(message)):
        convolutionalize(make().eval(), torch.randn(1, 3, 10, 10))


def test_several_results_are_refused() -> None:
    with pytest.raises(
        ValueError, match=exactly("classifier must give back one tensor, got 2 values")
    ):
        convolutionalize(Two(), torch.randn(1, 3, 10, 10))


def test_a_decision_on_the_data_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=re.escape(
            "classifier must be a network that torch.export can follow, without decisions that "
            "depend on the data, got "
        ),
    ):
        convolutionalize(
            of_map(lambda x: x if x.sum() > 0 else -x)().eval(), torch.randn(1, 3, 10, 10)
        )


@pytest.mark.parametrize(
    ("example", "got"),
    [(torch.ones(3, 8, 8), "(3, 8, 8)"), ((torch.ones(1, 3, 8, 8),), "tuple")],
    ids=["rank", "tuple"],
)
def test_examples_must_be_images(example: Tensor, got: str) -> None:
    with pytest.raises(
        ValueError, match=exactly(f"example must be images of shape (N, C, H, W), got {got}")
    ):
        convolutionalize(nn.Flatten(), example)


def test_hooks_on_unchanged_layers_stay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(256, 2)).eval()
    seen: list[int] = []
    network[0].register_forward_hook(lambda *_: seen.append(1))
    dense, _ = convolutionalize(network, torch.randn(1, 3, 10, 10), in_place=True)
    seen.clear()
    dense(torch.randn(1, 3, 12, 12))
    assert seen == [1]
