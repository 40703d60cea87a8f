"""The networks that are compared: equal but for their stages."""

from dataclasses import replace

import pytest
import torch
from comparing import CIFAR, PATCH
from torch import nn

from pointwise.nn.mlpconv import MLPConv
from pointwise.studies.contenders import KINDS, Job, build, count, name_of, stage_widths


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((1, 28, 28), (8, 16, 32, 32)),
        ((3, 32, 32), (8, 16, 32, 32)),
        ((1, 8, 8), (8, 16)),
        ((4, 3, 3), (8,)),
        ((1, 1, 1), (8,)),
        ((3, 224, 224), (8, 16, 32, 32, 32)),
        ((3, 224, 10), (8, 16)),
    ],
)
def test_stages_fit_the_image(shape, widths):
    assert stage_widths(shape, 8) == widths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 3, 3), (2, 1, 1), (3, 9, 5)], ids=str)
@pytest.mark.parametrize("kernel", [3, 5])
def test_every_contender_takes_images_of_every_size(kind, shape, kernel):
    job = Job(shape, 7, kernel, (100.0,) * shape[0], (50.0,) * shape[0])
    network = build(kind, stage_widths(shape, 4), job)
    assert network(torch.zeros(2, *shape, dtype=torch.uint8)).shape == (2, 7)


def test_contenders_differ_in_their_stages_alone():
    widths = stage_widths(CIFAR.shape, 8)
    plain, ours, double = (dict(build(kind, widths, CIFAR).named_children()) for kind in KINDS)
    assert list(plain) == list(ours) == list(double)
    for name in plain:
        if not name.startswith("stage"):
            assert repr(plain[name]) == repr(ours[name]) == repr(double[name])
        else:
            assert isinstance(ours[name], MLPConv)
            assert repr(plain[name]) == repr(ours[name].conv)
    assert [name_of(kind, 5) for kind in KINDS] == ["5x5", "5x5 + 1x1", "5x5 + 5x5"]


def test_the_count_is_that_of_the_layers():
    w, v = 8, 16
    job = Job((1, 8, 8), 10, 3, (0.0,), (1.0,))
    norms = {"plain": 2 * (w + v), "mlpconv": 4 * (w + v), "double": 4 * (w + v)}
    more = {"plain": (0, 0), "mlpconv": (w * w, v * v), "double": (9 * w * w, 9 * v * v)}
    for kind in KINDS:
        first, second = 9 * w + more[kind][0], 9 * w * v + more[kind][1]
        total = count(kind, (w, v), job)
        assert total.params == first + second + norms[kind] + v * 10 + 10
        assert total.macs == 64 * first + 16 * second + v * 10
        made = build(kind, (w, v), job)
        assert total.params == sum(p.numel() for p in made.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_as_small_as_the_kernel_is_read_whole(kind):
    network = build(kind, (5,), PATCH)
    x = torch.randint(0, 255, (2, 4, 3, 3), dtype=torch.uint8)
    stage = network.stage1(network.scale(x))
    assert stage.shape == (2, 5, 1, 1)
    unpadded = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.padding == (0, 0)]
    assert len(unpadded) == 1


@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_a_kernel_that_is_even_or_a_1x1_is_refused(kernel):
    with pytest.raises(ValueError, match=f"^kernel must be odd and at least 3, got {kernel}$"):
        replace(CIFAR, kernel=kernel)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"^there must be two classes at least, got 1$"):
        replace(CIFAR, classes=1)
