"""U-Net and Attention U-Net: the paper's sizes, counts and layers, any size of input."""

import math
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blocks import check_block, settled
from cases import channels_last
from pointwise.functional.layout import is_channels_last
from pointwise.networks.unet import WIDTHS, UNet, attention_unet, unet
from pointwise.nn.norm import LayerNorm
from pointwise.nn.pointwise import PointwiseConv
from pointwise.nn.resample import UpProjection

SPACE = {1: (11,), 2: (9, 6), 3: (5, 4, 6)}


def params(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def conv_params(c_in: int, c_out: int, taps: int) -> int:
    return c_in * c_out * taps + c_out


def paper_params(channels: int, classes: int) -> int:
    """Figure 1 layer by layer: a bias at every convolution, no norms."""
    down = sum(
        conv_params(c_in, c_out, 9) + conv_params(c_out, c_out, 9)
        for c_in, c_out in zip((channels, *WIDTHS), WIDTHS, strict=False)
    )
    up = sum(
        conv_params(2 * c, c, 4) + conv_params(2 * c, c, 9) + conv_params(c, c, 9)
        for c in WIDTHS[:-1]
    )
    return down + up + conv_params(64, classes, 1)


# --- The paper ---


def test_the_papers_network_has_the_papers_sizes() -> None:
    with torch.device("meta"):
        network = unet(channels=1, variant="paper").eval()
        x = torch.empty(1, 1, 572, 572)
        sizes = [tuple(y.shape[1:]) for y in network.maps(x)]
        assert network(x).shape == (1, 2, 388, 388)
    assert sizes == [
        (64, 568, 568),
        (128, 280, 280),
        (256, 136, 136),
        (512, 64, 64),
        (1024, 28, 28),
    ]


@pytest.mark.parametrize(
    ("channels", "classes", "published"),
    [(1, 2, 31_030_658), (1, 1, 31_030_593), (3, 1, 31_031_745), (3, 2, 31_031_810)],
)
def test_the_papers_network_has_the_papers_parameters(
    channels: int, classes: int, published: int
) -> None:
    assert paper_params(channels, classes) == published
    with torch.device("meta"):
        assert params(unet(classes, channels=channels, variant="paper")) == published


def test_the_papers_network_has_23_convolutions_and_dropout() -> None:
    with torch.device("meta"):
        network = unet(channels=1, variant="paper")
    kinds = (nn.Conv2d, nn.ConvTranspose2d, PointwiseConv)
    assert sum(isinstance(module, kinds) for module in network.modules()) == 23
    assert network.dropout.p == 0.5
    assert not [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def test_batch_norms_take_the_place_of_biases() -> None:
    with torch.device("meta"):
        network = unet(channels=1)
    normed = sum(2 * c for c in WIDTHS) + sum(2 * c for c in WIDTHS[:-1])
    assert params(network) == paper_params(1, 2) - normed + 2 * normed


def test_attention_adds_three_gates() -> None:
    with torch.device("meta"):
        plain, network = unet(11), attention_unet(11)
    gates = sum(
        (c * c + 2 * c) + (2 * c * c + 2 * c) + (c + 1)  # two 1x1s with batch norms, one to 1
        for c in WIDTHS[1:-1]
    )
    assert params(network) == params(plain) + gates


@pytest.mark.parametrize("widths", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 2, 2, 2, 2)])
def test_the_smallest_unpadded_input_is_the_smallest_that_works(widths: tuple[int, ...]) -> None:
    network = UNet(2, widths=widths, channels=1, rank=1, padded=False, norm=None)
    y = network(torch.randn(1, 1, network.smallest))
    assert min(y.shape) > 0
    network.smallest -= 1
    with pytest.raises((RuntimeError, ValueError)):
        network(torch.randn(1, 1, network.smallest))


# --- The layers, written out ---


class PlainUNet(nn.Module):
    """A U-Net of two halvings in torch's own layers, without norms."""

    def __init__(self, classes: int, channels: int, a: int, b: int, c: int, padding: int) -> None:
        super().__init__()
        self.padding = padding

        def two(c_in: int, c_out: int) -> nn.Sequential:
            first, second = (nn.Conv2d(i, c_out, 3, padding=padding) for i in (c_in, c_out))
            return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

        self.down = nn.ModuleList([two(channels, a), two(a, b), two(b, c)])
        self.up_fine, self.fine = nn.ConvTranspose2d(b, a, 2, 2), two(2 * a, a)
        self.up_middle, self.middle = nn.ConvTranspose2d(c, b, 2, 2), two(2 * b, b)
        self.last = nn.Conv2d(a, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down[0](x)
        y = self.down[1](F.max_pool2d(x, 2))
        z = self.down[2](F.max_pool2d(y, 2))
        up = self.up_middle(z)
        y = self.middle(torch.cat([self.cut(y, up), up], 1))
        up = self.up_fine(y)
        return self.last(self.fine(torch.cat([self.cut(x, up), up], 1)))

    @staticmethod
    def cut(skip: Tensor, up: Tensor) -> Tensor:
        top, left = ((skip.shape[i] - up.shape[i]) // 2 for i in (2, 3))
        return skip[:, :, top : top + up.shape[2], left : left + up.shape[3]]


@pytest.mark.parametrize(("padding", "size"), [(1, (16, 24)), (0, (44, 52))])
def test_a_unet_is_torchs_layers(padding: int, size: tuple[int, int]) -> None:
    network = UNet(5, channels=2, widths=(3, 4, 6), padded=padding == 1, norm=None)
    plain = PlainUNet(5, 2, 3, 4, 6, padding)
    values = network.state_dict().values()
    pairs = zip(plain.state_dict().items(), values, strict=True)
    plain.load_state_dict({name: given.reshape(old.shape) for (name, old), given in pairs})
    x = torch.randn(2, 2, *size)
    torch.testing.assert_close(network(x), plain(x), rtol=1e-4, atol=1e-5)


# --- Any input ---


@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("size", [(16, 16), (17, 40), (63, 31)])
@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_size_and_channels(
    channels: int, size: tuple[int, int], attention: bool, dtype: torch.dtype
) -> None:
    network = UNet(7, channels=channels, widths=(2, 3, 4, 5, 6), attention=attention)
    assert network.smallest == 16
    y = network.to(dtype).eval()(torch.randn(2, channels, *size, dtype=dtype))
    assert y.shape == (2, 7, *size)
    assert y.dtype == dtype
    assert y.isfinite().all()


@pytest.mark.parametrize("rank", SPACE)
@pytest.mark.parametrize("make", [unet, attention_unet])
def test_the_builders_make_any_rank(rank: int, make: Callable[..., UNet]) -> None:
    with torch.device("meta"):
        x = torch.empty(1, 12, *(21,) * rank)
        assert make(5, channels=12, rank=rank).eval()(x).shape == (1, 5, *(21,) * rank)


def test_every_position_of_an_odd_size_reaches_the_coarsest_map() -> None:
    network = UNet(2, channels=1, widths=(4, 4, 4), norm=None, rank=1)
    x = torch.randn(1, 1, 9, requires_grad=True)
    coarsest = network.maps(x)[-1]
    assert coarsest.shape[2] == 3
    coarsest[..., -1].sum().backward()
    assert x.grad[..., -1].abs() > 0


def test_channels_last_stays() -> None:
    network = settled(UNet(3, widths=(4, 6, 8), attention=True))
    x = torch.randn(2, 3, 13, 10)
    found = network(channels_last(x))
    torch.testing.assert_close(found, network(x), rtol=1e-4, atol=1e-5)
    assert is_channels_last(found)


NETWORKS: dict[str, tuple[Callable[[], UNet], int]] = {
    "tokens": (lambda: UNet(2, channels=2, widths=(2, 3, 2), rank=1), 1),
    "image": (lambda: UNet(2, channels=2, widths=(2, 3, 2)), 2),
    "volume": (lambda: UNet(2, channels=2, widths=(2, 3, 2), rank=3), 3),
    "attention": (lambda: UNet(2, channels=2, widths=(2, 3, 2), attention=True), 2),
    "interpolated": (lambda: UNet(2, channels=2, widths=(2, 3), upsample=UpProjection), 2),
}


@pytest.mark.parametrize(("make", "rank"), NETWORKS.values(), ids=NETWORKS.keys())
def test_the_block_contract(make: Callable[[], UNet], rank: int) -> None:
    check_block(make(), torch.randn(2, 2, *SPACE[rank]))


def test_the_block_contract_unpadded() -> None:
    network = UNet(2, channels=2, widths=(2, 3), padded=False, norm=None)
    check_block(network, torch.randn(1, 2, 19, 18))


# --- Training ---


def test_weights_start_from_the_variance_of_the_paper() -> None:
    network = UNet(2, widths=(32, 64, 128), norm=None)
    variances = {
        network.encoder[2].second.conv: 2 / (9 * 128),
        network.decoder.stages[1].upsample.conv: 1 / 128,
        network.decoder.stages[1].convs.first.conv: 2 / (9 * 128),
    }
    for layer, variance in variances.items():
        assert layer.weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.03)
        assert not layer.bias.any()


@pytest.mark.parametrize("attention", [False, True])
def test_maps_start_with_about_unit_variance_without_norms(attention: bool) -> None:
    network = UNet(64, widths=(32, 64, 128, 128), norm=None, attention=attention)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        y = network(x)
        second_moments = [map_.square().mean().item() for map_ in network.maps(x)]
    assert 0.2 < y.std() < 2
    assert all(0.2 < moment < 5 for moment in second_moments)


@pytest.mark.parametrize("norm", [None, LayerNorm])
@pytest.mark.parametrize("attention", [False, True])
def test_a_few_steps_learn_a_picture(norm: type[nn.Module] | None, attention: bool) -> None:
    network = UNet(2, channels=1, widths=(8, 16, 16), norm=norm, attention=attention)
    x = torch.randn(2, 1, 16, 16)
    labels = (F.avg_pool2d(x, 5, 1, 2)[:, 0] > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    assert all(p.grad is not None for p in network.parameters())


def test_dropout_touches_the_two_coarsest_maps_in_training_only() -> None:
    network = UNet(2, channels=1, widths=(2, 3, 4), dropout=0.5, norm=None)
    x = torch.randn(1, 1, 32, 32)
    pairs = list(zip(network.maps(x), network.maps(x), strict=True))
    assert [torch.equal(a, b) for a, b in pairs] == [True, False, False]
    network.eval()
    pairs = list(zip(network.maps(x), network.maps(x), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "variant": (
        lambda: unet(variant="other"),
        "variant must be 'padded' or 'paper', got 'other'",
    ),
    "widths": (lambda: UNet(2, widths=(8,)), "widths must name at least 2 sizes, got 1"),
    "width": (
        lambda: UNet(2, widths=(8, 0)),
        "c_in, c_out and groups must be at least 1: got 8, 0 and 1",
    ),
    "no classes": (
        lambda: UNet(0, widths=(2, 3)),
        "c_in, c_out and groups must be at least 1: got 2, 0 and 1",
    ),
    "rank": (lambda: UNet(2, rank=4, widths=(2, 3)), "rank must be 1, 2 or 3, got 4"),
    "dropout": (
        lambda: UNet(2, widths=(2, 3), dropout=1.5),
        "p must be a share from 0 to below 1, got 1.5",
    ),
    "channels": (
        lambda: UNet(2, widths=(2, 3))(torch.ones(1, 4, 16, 16)),
        "x must have shape (N, 3, H, W), got (1, 4, 16, 16)",
    ),
    "axes": (
        lambda: UNet(2, widths=(2, 3), rank=3)(torch.ones(1, 3, 16, 16)),
        "x must have shape (N, 3, D, H, W), got (1, 3, 16, 16)",
    ),
    "small": (
        lambda: UNet(2, widths=(2, 2, 2, 2, 2))(torch.ones(1, 3, 40, 15)),
        "x must have at least 16 positions along every axis, got (40, 15)",
    ),
    "small unpadded": (
        lambda: UNet(2, widths=(2, 2, 2, 2, 2), padded=False)(torch.ones(1, 3, 187, 200)),
        "x must have at least 188 positions along every axis, got (187, 200)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        call()
