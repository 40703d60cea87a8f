"""A user's modules that build networks, for ``pointwise convert``."""

from pathlib import Path

SOURCE = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 1), nn.ReLU(),
        nn.Conv2d(16, 8, 1, stride=2), nn.Flatten(), nn.Linear(128, 10), nn.Dropout(), nn.ReLU(),
        nn.Linear(10, 5),
    )

class Holder:
    @staticmethod
    def make():
        return build()

def fails():
    raise KeyError("no such size")

def stops():
    raise SystemExit(3)

def number():
    return 3

def needs(width):
    return nn.Linear(width, width)

def late():
    import convert_sibling
    return convert_sibling.make()

def looks():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x) if float(x.sum()) > 0 else self.layer(-x)

    return Looks()

TABLE = {}

def talks():
    print("hello")
    return build()

def normed():
    norm = nn.BatchNorm2d(8)
    norm.running_mean.uniform_(-1, 1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU())
"""
SMALL = "convert convert_net:build --input 3,16,16"
OUT = "--to conv --out new.safetensors"


def write_builders() -> None:
    """Put the modules into the working folder."""
    Path("convert_net.py").write_text(SOURCE, encoding="utf-8")
    Path("convert_sibling.py").write_text("from convert_net import build as make\n", "utf-8")
    Path("convert_broken.py").write_text("import nothing_of_this_name\n", "utf-8")
    Path("convert_wrong.py").write_text("def build(:\n", "utf-8")
