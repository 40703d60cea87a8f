"""Layers of every kind that can be compressed, each with the shape of an input."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pointwise.nn.pointwise import PointwiseConv

Case = tuple[Callable[[], nn.Module], tuple[int, ...]]

LAYERS: dict[str, Case] = {
    "linear": (lambda: nn.Linear(6, 5), (30, 6)),
    "linear_wide": (lambda: nn.Linear(3, 8, bias=False), (30, 3)),
    "linear_3d": (lambda: nn.Linear(6, 5), (3, 7, 6)),
    "linear_1d": (lambda: nn.Linear(6, 5), (6,)),
    "pointwise": (lambda: PointwiseConv(6, 8), (5, 6, 4, 3)),
    "pointwise_rows": (lambda: PointwiseConv(6, 8, bias=False), (30, 6)),
    "pointwise_groups": (lambda: PointwiseConv(6, 8, groups=2), (5, 6, 4)),
    "conv_1x1": (lambda: nn.Conv2d(6, 8, 1), (4, 6, 5, 5)),
    "conv_1x1_stride": (lambda: nn.Conv2d(6, 8, 1, stride=2), (4, 6, 5, 5)),
    "conv": (lambda: nn.Conv2d(6, 8, 3), (4, 6, 7, 6)),
    "no_bias": (lambda: nn.Conv2d(6, 8, 3, padding=1, bias=False), (4, 6, 7, 6)),
    "stride": (lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1), (4, 6, 7, 6)),
    "stride_2_1": (lambda: nn.Conv2d(6, 8, 3, stride=(2, 1), padding=(0, 1)), (4, 6, 7, 6)),
    "dilation": (lambda: nn.Conv2d(6, 8, 3, dilation=(2, 1), padding=2), (4, 6, 8, 6)),
    "kernel_5_2": (lambda: nn.Conv2d(6, 8, (5, 2)), (4, 6, 8, 6)),
    "stem": (lambda: nn.Conv2d(1, 8, 3, padding=1), (4, 1, 7, 6)),
    "few_outputs": (lambda: nn.Conv2d(20, 2, 3), (6, 20, 7, 6)),
    "same": (lambda: nn.Conv2d(6, 8, (3, 4), padding="same", dilation=2), (4, 6, 9, 9)),
    "valid": (lambda: nn.Conv2d(6, 8, 3, padding="valid"), (4, 6, 7, 6)),
    "reflect": (lambda: nn.Conv2d(6, 8, 3, padding=(1, 2), padding_mode="reflect"), (4, 6, 7, 6)),
    "replicate": (lambda: nn.Conv2d(6, 8, 3, padding=2, padding_mode="replicate"), (4, 6, 7, 6)),
    "circular": (
        lambda: nn.Conv2d(6, 8, 3, padding=2, stride=2, padding_mode="circular"),
        (4, 6, 7, 6),
    ),
    "same_reflect": (
        lambda: nn.Conv2d(6, 8, (4, 3), padding="same", padding_mode="reflect"),
        (4, 6, 7, 6),
    ),
    "groups": (lambda: nn.Conv2d(6, 8, 3, groups=2, padding=1), (4, 6, 7, 6)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, groups=6, padding=1), (4, 6, 7, 6)),
    "depthwise_x2": (lambda: nn.Conv2d(6, 12, 3, groups=6, padding=1), (4, 6, 7, 6)),
    "unbatched": (lambda: nn.Conv2d(6, 8, 3, padding=1), (6, 9, 9)),
    "conv1d": (lambda: nn.Conv1d(6, 8, 4, stride=2, padding=1), (5, 6, 12)),
    "conv1d_same": (lambda: nn.Conv1d(6, 8, 5, padding="same"), (5, 6, 12)),
    "conv3d": (lambda: nn.Conv3d(4, 6, (3, 2, 2), stride=(1, 2, 1)), (4, 4, 5, 6, 5)),
    "transposed1d": (lambda: nn.ConvTranspose1d(6, 8, 4, stride=2, padding=1), (5, 6, 9)),
    "transposed2d": (
        lambda: nn.ConvTranspose2d(
            6, 8, 3, stride=(2, 3), padding=(1, 0), output_padding=(1, 2), dilation=(1, 2)
        ),
        (4, 6, 5, 4),
    ),
    "transposed2d_2x2": (lambda: nn.ConvTranspose2d(6, 8, 2, stride=2, bias=False), (4, 6, 5, 4)),
    "transposed_crop": (lambda: nn.ConvTranspose2d(6, 8, 3, padding=2), (4, 6, 7, 6)),
    "transposed_groups": (
        lambda: nn.ConvTranspose2d(6, 8, 3, stride=2, groups=2, padding=1),
        (4, 6, 5, 4),
    ),
    "transposed3d": (lambda: nn.ConvTranspose3d(4, 6, 2, stride=2), (3, 4, 3, 3, 2)),
}


def make(case: Case, *, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    """A layer with random values, and an input whose channels are correlated and off centre."""
    torch.manual_seed(0)
    build, shape = case
    layer = build().to(dtype).eval()
    x = torch.randn(shape, dtype=torch.float64)
    x = x + 0.5 * x.cumsum(-1) + 0.7
    return layer, x.to(dtype)
