"""The networks that benchmarks/compression.py compresses, in plain torch layers, and their data.

A training goes on from its checkpoint when it was cut off, and a finished one is kept as
safetensors: see ``trained``. Peers know all layers that the networks are made of.
"""

import json
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import mnist
from pointwise.data.images import read_images
from pointwise.estimators import ImageClassifier
from pointwise.networks import nin_mnist
from pointwise.nn.image import ImageNetwork, ImageScale
from pointwise.nn.norm import BatchNorm
from pointwise.studies.cells import CellCache
from pointwise.surgery import to_torch
from pointwise.training import Augment, Checkpoint, CrossEntropy, Rows, Settings, train
from pointwise.training.augment import Augmentations, RandomFlip, RandomShift
from shared_data import DATA

HELD_OUT = 1000
"""Images of the training part that choose the epoch."""

CHECKPOINT_S = 60.0


@dataclass(frozen=True)
class Images:
    """Bytes ``(N, C, H, W)`` and classes, of which the last training images choose the epoch."""

    learn: Rows
    valid: Rows
    test: Rows

    def scale(self) -> ImageScale:
        """From bytes to zero mean and unit deviation."""
        x = self.learn.x[:10_000].float()
        return ImageScale(x.mean((0, 2, 3)).tolist(), x.std((0, 2, 3)).tolist())


def lenet() -> nn.Module:
    """LeNet with the widths of Caffe's: 431,080 parameters, 2.3 M multiply-adds."""
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)),
    )


def nin() -> nn.Module:
    """The published Network in Network for MNIST, with batch norms: 50.7 M multiply-adds."""
    return to_torch(nin_mnist(norm=BatchNorm).eval(), torch.zeros(1, 1, 28, 28))[0]


def vgg() -> nn.Module:
    """A small VGG: pairs of 3x3s of 32, 64 and 128 channels, 38.7 M multiply-adds."""
    layers: list[nn.Module] = []
    width = 3
    for wide in (32, 64, 128):
        layers += [*_conv(width, wide, 3), *_conv(wide, wide, 3), nn.MaxPool2d(2)]
        width = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


class ResNet20(nn.Module):
    """The ResNet-20 of He et al., 2015, section 4.2, with 1x1s in shortcuts that widen."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv(3, 16, 3))
        self.blocks = nn.Sequential(
            *(
                BasicBlock(16 if i < 3 else wide // 2 if i % 3 == 0 else wide, wide)
                for i, wide in enumerate((16,) * 3 + (32,) * 3 + (64,) * 3)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.pool(self.blocks(self.stem(x))).flatten(1))
        return out


class BasicBlock(nn.Module):
    """Two 3x3s beside a shortcut."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        stride = 1 if c_in == c_out else 2
        self.body = nn.Sequential(*_conv(c_in, c_out, 3, stride), *_conv(c_out, c_out, 3)[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(*_conv(c_in, c_out, 1, stride)[:-1])
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


class UNet(nn.Module):
    """The U-Net of ``camvid.py``, level by level and without checks, which tie it to its widths.

    Weights of ours fit in their order: ``with_weights``.
    """

    def __init__(self, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            nn.Sequential(*_conv(c_in, c_out, 3), *_conv(c_out, c_out, 3))
            for c_in, c_out in zip((3, *widths), widths, strict=False)
        )
        self.decoder = nn.ModuleList(
            nn.ModuleDict(
                {
                    "up": nn.ConvTranspose2d(coarse, fine, 2, 2),
                    "convs": nn.Sequential(*_conv(2 * fine, fine, 3), *_conv(fine, fine, 3)),
                }
            )
            for fine, coarse in pairwise(widths)
        )
        self.classifier = nn.Conv2d(widths[0], classes, 1)

    def with_weights(self, state: Iterable[Tensor]) -> "UNet":
        """Itself, with the values of another spelling's state in the same order."""
        own = self.state_dict()
        named = zip(own.items(), state, strict=True)
        self.load_state_dict({name: value.view_as(there) for (name, there), value in named})
        return self

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for level, convs in enumerate(self.encoder):
            x = convs(F.max_pool2d(x, 2, ceil_mode=True) if level else x)
            maps.append(x)
        for stage, skip in zip(reversed(self.decoder), reversed(maps[:-1]), strict=True):
            up = stage["up"](x)
            end = [have - want for have, want in zip(skip.shape[2:], up.shape[2:], strict=True)]
            x = stage["convs"](torch.cat([skip, F.pad(up, (0, end[1], 0, end[0]))], 1))
        out: Tensor = self.classifier(x)
        return out


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(c_out), nn.ReLU()]


Precision: TypeAlias = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Network:
    """A network to train, and how."""

    title: str
    make: Callable[[], nn.Module]
    data: str
    epochs: int
    rate: float
    augment: Augment | None = None
    precision: Precision = "float32"


SHIFTED, FLIPPED = RandomShift(2), Augmentations(RandomShift(3), RandomFlip())

NETWORKS = {
    "lenet": Network("LeNet", lenet, "mnist", 4, 2e-3, SHIFTED),
    "nin": Network("Network in Network", nin, "mnist", 8, 4e-3, None, "bfloat16"),
    "resnet20": Network("ResNet-20", ResNet20, "cifar", 5, 4e-3, FLIPPED),
    "vgg": Network("VGG, small", vgg, "cifar", 3, 3e-3, FLIPPED),
}


@dataclass(frozen=True)
class Trained:
    """A trained network, in evaluation mode, and what brings pixels to what it takes."""

    network: nn.Module
    scale: ImageScale
    accuracy: float
    seconds: float


Say = Callable[[str], None]


def trained(
    key: str,
    seed: int,
    cache: CellCache,
    *,
    start: bool = True,
    say: Say,
    precision: Precision | None = None,
) -> Trained | None:
    """Train a network, or read it from the cache; ``None`` if it is not there and not to start."""
    assert cache.folder is not None, "trained networks are files"
    what = NETWORKS[key]
    name = f"{key}-{what.epochs}-{seed}"
    if precision is not None and precision != what.precision:
        what, name = replace(what, precision=precision), f"{name}-{precision}"
    path = cache.folder / f"{name}.safetensors"
    if not path.exists():
        if not start:
            return None
        images = read(what.data, cache.folder)
        began = time.monotonic()
        checkpoint = cache.folder / f"{name}.checkpoint"
        if key == "nin":
            whole, before = _learn_by_estimator(what, seed, say)
        else:
            whole, before = _learn(what, seed, images, checkpoint, say)
        record = {
            "accuracy": accuracy(whole.eval(), images.test.x, images.test.y),
            "seconds": max(time.monotonic() - began, before),
        }
        say(f"{name}: {record['accuracy']:.2%} in {record['seconds']:.0f} s")
        state = {name: value.contiguous() for name, value in whole.state_dict().items()}
        save_file(state, path, {"record": json.dumps(record)})
        checkpoint.unlink(missing_ok=True)
    state = load_file(path)
    channels = len(state["scale.mean"])
    scale = ImageScale([0.0] * channels, [1.0] * channels)
    whole = ImageNetwork(scale, _seeded(what.make, seed))
    whole.load_state_dict(state)
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["record"])
    return Trained(whole.backbone.eval(), scale, **record)


def _learn(
    what: Network, seed: int, images: Images, checkpoint: Path, say: Say
) -> tuple[ImageNetwork, float]:
    """Train a network; how long it took, sessions before this one included."""
    whole = ImageNetwork(images.scale(), _seeded(what.make, seed))
    settings = Settings(
        batch_size=64,
        learning_rate=what.rate,
        schedule="one_cycle",
        max_epochs=what.epochs,
        patience=what.epochs,
        evaluation_rows=500,
        seed=seed,
        autocast=torch.bfloat16 if what.precision == "bfloat16" else None,
    )
    epochs = train(
        whole,
        CrossEntropy(1),
        images.learn,
        images.valid,
        settings,
        augment=what.augment,
        checkpoint=Checkpoint(checkpoint, every_s=CHECKPOINT_S),
    )
    seconds = 0.0
    for epoch in epochs:
        seconds = epoch.seconds
        say(f"{checkpoint.stem}: epoch {epoch.epoch}, {epoch.valid_loss:.4f}, {seconds:.0f} s")
    return whole, seconds


def _learn_by_estimator(what: Network, seed: int, say: Say) -> tuple[ImageNetwork, float]:
    """The training of benchmarks/mnist.py; one of its that is there is taken or resumed."""
    theirs = mnist.checkpoint("nin", what.epochs, seed, what.precision)
    model = ImageClassifier(
        augment=what.augment,
        learning_rate=what.rate,
        max_epochs=what.epochs,
        validation_fraction=0.02,
        precision=what.precision,
        random_state=seed,
    )
    learn, _ = _mnist()  # all of it, in its order: the estimator holds its own images out
    say(f"{what.title}: {'taken or resumed from' if theirs.exists() else 'kept in'} {theirs}")
    model.fit(learn.x.numpy(), learn.y.numpy(), checkpoint=theirs)
    backbone, _ = to_torch(model.network_.backbone, torch.zeros(1, 1, 28, 28))
    scale = model.network_.scale
    return ImageNetwork(scale, backbone), float(model.history_[-1]["seconds"])


def _seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor, batch: int = 500) -> float:
    """The share of images whose class a network finds."""
    parts = zip(x.split(batch), y.split(batch), strict=True)
    return sum(int((network(a).argmax(1) == b).sum()) for a, b in parts) / len(x)


@cache
def read(name: str, folder: Path) -> Images:
    """One of the data sets; the CIFAR copy's pixels are kept in a folder, once decoded."""
    learn, test = _mnist() if name == "mnist" else _cifar(folder)
    order = torch.randperm(len(learn.x), generator=torch.Generator().manual_seed(0))
    first, second = order[:-HELD_OUT], order[-HELD_OUT:]
    parts = [Rows(learn.x[index], learn.y[index]) for index in (first, second)]
    return Images(*parts, test)


def _mnist() -> tuple[Rows, Rows]:
    first, second = (
        read_images(DATA / "mnist" / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")
    )
    return _rows(first.images, first.labels), _rows(second.images, second.labels)


def _cifar(folder: Path) -> tuple[Rows, Rows]:
    kept = folder / "cifar.safetensors"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as unpacked:
            with tarfile.open(DATA / "cifar10-jpeg" / "cifar10_jpeg.tar.xz") as archive:
                archive.extractall(unpacked, filter="data")
            root = next(Path(unpacked).rglob("train")).parent
            found = {part: read_images(root / part) for part in ("train", "test")}
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for part, one in found.items():
            rows = _rows(one.images, one.labels)
            tensors |= {f"{part}.x": rows.x, f"{part}.y": rows.y}
        save_file(tensors, kept)
    tensors = load_file(kept)
    first, second = (Rows(tensors[f"{part}.x"], tensors[f"{part}.y"]) for part in ("train", "test"))
    return first, second


def _rows(images: object, labels: object) -> Rows:
    return Rows(torch.as_tensor(images), torch.as_tensor(labels))
