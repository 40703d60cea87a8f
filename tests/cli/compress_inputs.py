"""What ``pointwise compress`` is given in tests: a user's module, models for images, images."""

import shutil
from pathlib import Path

import torch
from image_folders import stripes, write_images
from mask_folders import write_masks
from torch import nn

from pointwise.data.masks import read_masked_images
from pointwise.estimators import ImageClassifier, Segmenter, save

SOURCE = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    print("a word")
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 5),
    )

def random():
    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(x) + torch.rand(8)

    return Random()
"""


def save_image_models(folder: Path) -> None:
    """Models that were hardly trained: ``stripes-model`` classifies, ``squares-model`` segments."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images, labels = stripes(40)
    quick = {"max_epochs": 1, "batch_size": 20, "random_state": 0}
    save(ImageClassifier(**quick).fit(images, labels), folder / "stripes-model")
    write_masks(folder / "squares")
    found = read_masked_images(folder / "squares", ignore=9)
    model = Segmenter(max_epochs=1, random_state=0, ignore=9).fit(found.images, found.masks)
    save(model, folder / "squares-model")
    shutil.rmtree(folder / "squares")
    torch.set_num_threads(threads)


def write_inputs(models: Path) -> None:
    """Put the module, the two models and their images into the working folder."""
    Path("compress_net.py").write_text(SOURCE, encoding="utf-8")
    for name in ("stripes-model", "squares-model"):
        shutil.copytree(models / name, name)
    write_images(Path("stripes"))
    write_masks(Path("squares"))


def built() -> nn.Module:
    names: dict[str, object] = {}
    exec(SOURCE, names)
    return names["build"]().eval()
