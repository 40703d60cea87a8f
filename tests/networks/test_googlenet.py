"""GoogLeNet against torchvision's, and the paper's against its table."""

import re
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import torchvision_models  # noqa: F401  (lends torchvision its operators)
from blocks import check_channels_last, check_export, check_onnx, settled
from pointwise.networks._weights import load, rename
from pointwise.networks.googlenet import GoogLeNet, googlenet

TABLE = """
192  64  96 128 16  32  32
256 128 128 192 32  96  64
480 192  96 208 16  48  64
512 160 112 224 24  64  64
512 128 128 256 24  64  64
512 112 144 288 32  64  64
528 256 160 320 32 128 128
832 256 160 320 32 128 128
832 384 192 384 48 128 128
"""
"""Table 1: input channels, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5 and pool projection."""


def theirs(classes: int = 1000, channels: int = 3, auxiliary: bool = False) -> nn.Module:
    """Torchvision's network, its norms with statistics that are not 0 and 1."""
    from torchvision.models import googlenet

    network = googlenet(num_classes=classes, aux_logits=auxiliary, init_weights=False)
    if channels != 3:
        network.conv1.conv = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return settled(network)


@cache
def weights(auxiliary: bool = False) -> dict[str, Tensor]:
    return dict(theirs(7, auxiliary=auxiliary).state_dict())


def params(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("auxiliary", "count"), [(False, 6_624_904), (True, 13_004_888)])
def test_parameters_are_torchvisions(auxiliary: bool, count: int) -> None:
    assert params(googlenet(auxiliary=auxiliary)) == params(theirs(auxiliary=auxiliary)) == count


def convolutions() -> Iterator[tuple[int, int, int]]:
    """Input channels, output channels and kernel of the paper's convolutions."""
    yield from ((3, 64, 7), (64, 64, 1), (64, 192, 3))
    for row in TABLE.strip().splitlines():
        c_in, direct, reduce3, middle, reduce5, wide, pooled = map(int, row.split())
        yield from ((c_in, direct, 1), (c_in, reduce3, 1), (reduce3, middle, 3))
        yield from ((c_in, reduce5, 1), (reduce5, wide, 5), (c_in, pooled, 1))


def test_parameters_of_the_paper() -> None:
    """Those of BVLC's published model: 6,998,552, and 13,378,280 with the auxiliary heads."""
    expected = sum(a * b * kernel**2 + b for a, b, kernel in convolutions()) + 1025 * 1000
    heads = sum((c_in + 1) * 128 + 2049 * 1024 + 1025 * 1000 for c_in in (512, 528))
    assert params(googlenet(variant="paper")) == expected == 6_998_552
    assert params(googlenet(variant="paper", auxiliary=True)) == expected + heads == 13_378_280


@pytest.mark.parametrize(("classes", "channels"), [(1000, 3), (7, 1)])
@pytest.mark.parametrize("auxiliary", [False, True], ids=["alone", "auxiliary"])
def test_outputs_are_torchvisions(classes: int, channels: int, auxiliary: bool) -> None:
    reference = theirs(classes, channels, auxiliary)
    network = GoogLeNet.from_torchvision(reference.state_dict()).eval()
    assert network.auxiliary is auxiliary
    for size in ((15, 15), (64, 97)):
        x = torch.randn(2, channels, *size)
        with torch.no_grad():
            expected = reference(x)
            torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 0.01


def test_auxiliary_outputs_are_torchvisions() -> None:
    reference = theirs(7, auxiliary=True)
    network = GoogLeNet.from_torchvision(reference.state_dict())
    for model in (network, reference):
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # the two would drop different values
    x = torch.randn(4, 3, 80, 65)
    with torch.no_grad():
        found, expected = network(x), reference(x)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.auxiliary_4a, expected.aux_logits1, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.auxiliary_4d, expected.aux_logits2, rtol=1e-3, atol=1e-4)


def paper_reference(network: nn.Module, x: Tensor) -> Tensor:
    """The paper's network of torch's functions, with the weights of ours."""
    tensors = iter(network.state_dict().values())
    f = nn.functional

    def conv(x: Tensor, kernel: int, stride: int = 1) -> Tensor:
        weight, bias = next(tensors), next(tensors)
        weight = weight.reshape(*weight.shape[:2], kernel, kernel)
        return f.conv2d(x, weight, bias, stride, kernel // 2).relu()

    def pool(x: Tensor) -> Tensor:
        return f.max_pool2d(x, 3, 2, ceil_mode=True)

    def inception(x: Tensor) -> Tensor:
        parts = [conv(x, 1), conv(conv(x, 1), 3), conv(conv(x, 1), 5)]
        return torch.cat([*parts, conv(f.max_pool2d(x, 3, 1, 1), 1)], 1)

    def normalise(x: Tensor) -> Tensor:
        square = f.pad(x**2, (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)
        return x / (1 + 1e-4 / 5 * square) ** 0.75

    x = normalise(pool(conv(x, 7, 2)))
    x = pool(normalise(conv(conv(x, 1), 3)))
    for block in range(9):
        x = inception(x)
        if block in (1, 6):
            x = pool(x)
    return f.linear(x.mean((2, 3)), next(tensors), next(tensors))


@pytest.mark.parametrize("size", [(31, 31), (64, 75)], ids=str)
def test_the_paper_is_torchs_functions(size: tuple[int, int]) -> None:
    network = googlenet(7, variant="paper").eval()
    x = 50 * torch.randn(2, 3, *size)  # large, so that the response norms do something
    with torch.no_grad():
        torch.testing.assert_close(network(x), paper_reference(network, x), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("variant", ["torchvision", "paper"])
@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_any_channels_size_and_classes(variant: str, channels: int, dtype: torch.dtype) -> None:
    network = googlenet(5, channels=channels, variant=variant).to(dtype).eval()
    for size in ((network.smallest, network.smallest), (32, 51), (64, 40)):
        with torch.no_grad():
            y = network(torch.randn(2, channels, *size, dtype=dtype))
        assert (y.shape, y.dtype) == ((2, 5), dtype)
        assert y.isfinite().all()


@pytest.mark.parametrize(("variant", "smallest"), [("torchvision", 15), ("paper", 31)])
def test_the_smallest_image_is_the_smallest(variant: str, smallest: int) -> None:
    network = googlenet(5, variant=variant).eval()
    assert network.smallest == smallest
    with pytest.raises(RuntimeError, match="Output size is too small"):
        network.late(
            network.middle(network.early(network.stem(torch.ones(1, 3, smallest - 1, 64))))
        )


@pytest.mark.parametrize("variant", ["torchvision", "paper"])
def test_memory_orders_export_and_onnx(variant: str) -> None:
    network, x = settled(googlenet(5, variant=variant)), torch.randn(2, 3, 33, 40)
    check_channels_last(network, x)
    check_export(network, x)
    check_onnx(network, x, tolerance=1e-3)


@pytest.mark.parametrize("variant", ["torchvision", "paper"])
def test_gradients_reach_every_weight_through_the_heads(variant: str) -> None:
    network = googlenet(5, variant=variant, auxiliary=True).train()
    outputs = network(torch.randn(2, 3, 65, 65))
    labels = torch.tensor([0, 3])
    main, *auxiliary = (nn.functional.cross_entropy(y, labels) for y in outputs)
    (main + 0.3 * sum(auxiliary)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_weights_start_as_torchvisions() -> None:
    network = googlenet()
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            assert parameter.std().item() == pytest.approx(0.01, rel=0.1), name


def test_the_papers_weights_start_as_caffes() -> None:
    network = googlenet(auxiliary=True, variant="paper")
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            bound = (3 / parameter[0].numel()) ** 0.5
            assert 0.95 * bound < parameter.abs().max().item() <= bound, name
        else:
            start = 0.0 if name in ("head.bias", "aux1.fc2.bias", "aux2.fc2.bias") else 0.2
            assert (parameter == start).all(), name


def test_two_names_that_become_one_are_refused() -> None:
    message = "rules must keep names apart: 'b.x' becomes 'a.x', taken before"
    with pytest.raises(ValueError, match=re.escape(message)):
        rename({"a.x": torch.ones(1), "b.x": torch.ones(1)}, [(r"^b\.", "a.")])


def test_an_error_lists_a_few_names_and_counts_the_rest() -> None:
    layers = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1))
    message = "state_dict must fit Sequential: it lacks 0.bias, 0.weight, 1.bias and 3 more"
    with pytest.raises(ValueError, match=re.escape(message)):
        load(layers, {})


REFUSALS = {
    "variant": (
        lambda: googlenet(variant="caffe"),
        "variant must be 'torchvision' or 'paper', got 'caffe'",
    ),
    "classes": (lambda: googlenet(0), "classes must be at least 1, got 0"),
    "channels": (
        lambda: googlenet()(torch.ones(1, 1, 32, 32)),
        "x must have shape (N, 3, H, W), got (1, 1, 32, 32)",
    ),
    "axes": (
        lambda: googlenet()(torch.ones(3, 32, 32)),
        "x must have shape (N, 3, H, W), got (3, 32, 32)",
    ),
    "size": (
        lambda: googlenet()(torch.ones(1, 3, 14, 64)),
        "x must have at least 15 positions along every axis, got (14, 64)",
    ),
    "size in the paper": (
        lambda: googlenet(variant="paper")(torch.ones(1, 3, 64, 30)),
        "x must have at least 31 positions along every axis, got (64, 30)",
    ),
    "another network's weights": (
        lambda: GoogLeNet.from_torchvision({"fc.weight": torch.ones(2, 2)}),
        "state_dict must be that of torchvision's GoogLeNet: it lacks conv1.conv.weight",
    ),
    "half of the heads": (
        lambda: GoogLeNet.from_torchvision(
            {name: w for name, w in weights(True).items() if not name.startswith("aux2")}
        ),
        "state_dict must fit GoogLeNet: it lacks aux2.conv.conv.weight, aux2.conv.norm.bias, "
        "aux2.conv.norm.num_batches_tracked and 7 more",
    ),
    "the other half": (
        lambda: GoogLeNet.from_torchvision({**weights(), "aux2.fc2.bias": torch.ones(7)}),
        "state_dict must fit GoogLeNet: it has also aux2.fc2.bias",
    ),
    "another shape": (
        lambda: GoogLeNet.from_torchvision({**weights(), "fc.bias": torch.ones(8)}),
        "state_dict must fit GoogLeNet: head.bias must have shape (7,), got (8,)",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
