"""What benchmarks/compression.py compresses: trained networks, calibration images and scores."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from camvid import camvid
from compression_networks import NETWORKS, Trained, UNet, accuracy, read, trained
from pointwise import load
from pointwise.functional.overlap import confusion, mean_iou
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.studies.cells import CellCache

RESNET18 = "resnet18"
"""Not trained: it is there for what its size costs."""

IMAGES = {"unet": 256, RESNET18: 128}
"""Calibration images, where they are not 1024: there are 367 training images in CamVid, and large
images hold more positions each."""

TITLES = {
    **{key: one.title for key, one in NETWORKS.items()},
    "unet": "U-Net",
    RESNET18: "ResNet-18 at 224 x 224",
}

SETS = {"mnist": "MNIST", "cifar": "the CIFAR copy", "camvid": "CamVid"}

Score = Callable[[nn.Module], float]


@dataclass(frozen=True)
class Subject:
    """A trained network and what it is compressed with.

    Attributes:
        key: Which network.
        data: Which images.
        training: Seed of its training.
        draw: Seed of the calibration images.
        network: The network, in evaluation mode.
        scale: Brings pixels to what it takes.
        images: Calibration images, of the training part, scaled.
        labels: Their classes, for peers that ask for them.
        score: The score on the whole test part, in percent.
        score_labelled: The same on the calibration images.
        logits: As for ``compress``.
    """

    key: str
    data: str
    training: int
    draw: int
    network: nn.Module
    scale: ImageScale
    images: Tensor
    labels: Tensor
    score: Score
    score_labelled: Score
    logits: Callable[[Tensor], Tensor] | None = None

    @property
    def title(self) -> str:
        return TITLES[self.key]

    @property
    def example(self) -> Tensor:
        return self.images[:1]

    @property
    def name(self) -> dict[str, object]:
        """What decides it."""
        return {"network": self.key, "training": self.training, "draw": self.draw}


def subjects(
    key: str,
    seeds: int,
    cache: CellCache,
    *,
    unets: Sequence[Path],
    start: bool,
    say: Callable[[str], None],
) -> Iterator[Subject]:
    """So many subjects of a network, each with its own training as far as there are trainings."""
    if key == "unet":
        if not unets:
            say("the U-Net is left out: --unet names no model folder")
        for draw in range(seeds if unets else 0):
            training = draw % len(unets)
            yield unet_subject(unets[training], training, draw)
        return
    if key == RESNET18:
        yield resnet18_subject(cache)
        return
    found = {seed: trained(key, seed, cache, start=start, say=say) for seed in range(seeds)}
    there = [seed for seed, one in found.items() if one is not None]
    if not there:
        say(f"{TITLES[key]} is left out: it is not trained, and --train was not given")
    for draw in range(seeds if there else 0):
        training = draw if draw in there else there[draw % len(there)]
        one = found[training]
        assert one is not None
        yield image_subject(key, training, draw, one, cache)


def image_subject(key: str, training: int, draw: int, one: Trained, cache: CellCache) -> Subject:
    assert cache.folder is not None
    images = read(NETWORKS[key].data, cache.folder)
    picked = drawn(len(images.learn), draw, key)
    x, y = one.scale(images.learn.x[picked]), images.learn.y[picked]
    return Subject(
        key,
        NETWORKS[key].data,
        training,
        draw,
        one.network,
        one.scale,
        x,
        y,
        lambda network: (
            100 * accuracy(ImageNetwork(one.scale, network), images.test.x, images.test.y)
        ),
        lambda network: 100 * accuracy(network, x, y),
    )


def drawn(count: int, draw: int, key: str) -> Tensor:
    """Numbers of the calibration images."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1000 + draw))
    return order[: IMAGES.get(key, 1024)]


def unet_subject(folder: Path, training: int, draw: int) -> Subject:
    model = load(folder)
    learn, test = read_camvid()
    scale, classes = model.network_.scale, len(model.classes_)
    with torch.no_grad():
        test_x = scale(torch.from_numpy(test.images))
        picked = drawn(len(learn.images), draw, "unet")
        x = scale(torch.from_numpy(learn.images)[picked])
    y, test_y = torch.from_numpy(learn.masks)[picked], torch.from_numpy(test.masks)
    ours = model.network_.backbone
    network = UNet(model.widths, classes).with_weights(ours.state_dict().values()).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(x[:1]), ours(x[:1]))

    def overlap(one: nn.Module, images: Tensor, masks: Tensor) -> float:
        counts = torch.zeros(classes, classes, dtype=torch.int64)
        with torch.no_grad():
            for a, b in zip(images.split(8), masks.split(8), strict=True):
                counts += confusion(b, one(a).argmax(1), classes).sum(0)
        return 100 * float(mean_iou(counts))

    return Subject(
        "unet",
        "camvid",
        training,
        draw,
        network,
        scale,
        x,
        y,
        lambda one: overlap(one, test_x, test_y),
        lambda one: overlap(one, x[:32], y[:32]),
        lambda output: output,
    )


def resnet18_subject(cells: CellCache) -> Subject:
    """torchvision's, with random weights, on CIFAR images drawn at 224 x 224."""
    from torchvision_models import torchvision

    assert cells.folder is not None
    learn = read("cifar", cells.folder).learn
    picked = drawn(len(learn.x), 0, RESNET18)
    scale = ImageScale([127.5] * 3, [64.0] * 3)
    x = nn.functional.interpolate(scale(learn.x[picked]), size=(224, 224), mode="bilinear")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = torchvision.models.resnet18().train()
        network(x[:64])  # random weights without statistics let no signal through
    return Subject(
        RESNET18,
        "cifar",
        0,
        0,
        network.eval(),
        scale,
        x,
        learn.y[picked],
        lambda _: math.nan,
        lambda _: math.nan,
    )


@cache
def read_camvid() -> tuple[object, object]:
    return camvid("train"), camvid("test")
