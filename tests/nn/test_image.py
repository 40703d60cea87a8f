"""The scale in front of an image network: values, types, memory order, and what it refuses."""

import pytest
import torch
from torch import nn

from blocks import check_block
from cases import channels_last
from pointwise.functional.layout import is_channels_last
from pointwise.nn.image import ImageNetwork, ImageScale

SPACES = {"row": (), "tokens": (5,), "image": (4, 6), "volume": (2, 3, 4)}


def random_bytes(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("channels", [1, 3])
def test_scales_every_channel(channels: int, space: tuple[int, ...]) -> None:
    mean, std = [10.0, 20.0, 30.0][:channels], [2.0, 4.0, 8.0][:channels]
    for x in (random_bytes(7, channels, *space), torch.randn(7, channels, *space)):
        y = ImageScale(mean, std)(x)
        for c in range(channels):
            torch.testing.assert_close(y[:, c], (x[:, c].float() - mean[c]) / std[c])
        assert y.dtype == torch.float32


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_is_a_block(channels: int, rank: int) -> None:
    scale = ImageScale([0.5] * channels, [0.25] * channels)
    check_block(scale, torch.randn(2, channels, *(3, 4, 2)[:rank]))


@pytest.mark.parametrize("channels", [1, 3])
def test_output_is_channels_last_and_stays_so_in_a_convolution(channels: int) -> None:
    y = ImageScale([0.0] * channels, [1.0] * channels)(random_bytes(2, channels, 6, 5))
    assert is_channels_last(y)
    assert y.stride() == (30 * channels, 1, 5 * channels, channels)
    assert is_channels_last(nn.Conv2d(channels, 4, 3)(y))


def test_an_empty_batch() -> None:
    assert ImageScale([0.0], [1.0])(random_bytes(0, 1, 6, 5)).shape == (0, 1, 6, 5)


def test_is_the_diagonal_1x1() -> None:
    x, mean, std = random_bytes(2, 3, 4, 5), [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    conv = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.diag(1 / torch.tensor(std))[:, :, None, None])
        conv.bias.copy_(-torch.tensor(mean) / torch.tensor(std))
        torch.testing.assert_close(ImageScale(mean, std)(x), conv(x.float()))


def test_buffers_are_kept_and_not_trained() -> None:
    scale = ImageScale([1.0, 2.0], [3.0, 4.0])
    assert list(scale.parameters()) == []
    again = ImageScale([0.0, 0.0], [1.0, 1.0])
    again.load_state_dict(scale.state_dict())
    assert again.mean.tolist() == [1.0, 2.0]
    assert again.std.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_type_of_the_buffers_is_that_of_the_output(dtype: torch.dtype) -> None:
    x = random_bytes(2, 1, 3, 3)
    assert ImageScale([0.0], [1.0], dtype=dtype)(x).dtype == dtype
    assert ImageScale([0.0], [1.0]).to(dtype)(x.float()).dtype == dtype
    assert ImageScale([0.0], [1.0], device="meta").mean.is_meta


def test_the_network_is_its_backbone_behind_the_scale() -> None:
    x, scale, backbone = (
        random_bytes(2, 3, 6, 6),
        ImageScale([99.0] * 3, [50.0] * 3),
        nn.Conv2d(3, 4, 3),
    )
    network = ImageNetwork(scale, backbone)
    torch.testing.assert_close(network(x), backbone((x.float() - 99) / 50))
    assert sorted(network.state_dict()) == [
        "backbone.bias",
        "backbone.weight",
        "scale.mean",
        "scale.std",
    ]
    exported = torch.export.export(network, (x,)).module()
    torch.testing.assert_close(exported(x), network(x))


def test_channels_last_pixels_give_the_same() -> None:
    x = random_bytes(2, 3, 5, 4)
    scale = ImageScale([99.0] * 3, [50.0] * 3)
    torch.testing.assert_close(scale(channels_last(x)), scale(x))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([], [], "mean and std must have one value per channel, got 0 and 0"),
        ([1.0], [1.0, 2.0], "mean and std must have one value per channel, got 1 and 2"),
        ([0.0], [0.0], "mean must be finite and std positive, got [0.0] and [0.0]"),
        ([float("nan")], [1.0], "mean must be finite and std positive, got [nan] and [1.0]"),
        ([0.0], [float("inf")], "mean must be finite and std positive, got [0.0] and [inf]"),
    ],
)
def test_refuses_what_is_no_scale(mean: list[float], std: list[float], message: str) -> None:
    with pytest.raises(ValueError, match="mean") as caught:
        ImageScale(mean, std)
    assert str(caught.value) == message


def test_refuses_other_channels() -> None:
    with pytest.raises(ValueError, match="x must have") as caught:
        ImageScale([0.0], [1.0])(torch.ones(1, 3, 4, 4))
    assert str(caught.value) == "x must have shape (N, 1, *S), got (1, 3, 4, 4)"
