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

def squeezed():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.gate = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            x = self.body(x)
            x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
            return self.head(x.mean((2, 3)))

    torch.manual_seed(3)
    return Squeezed()

def cancels():
    # Of the sum of large values in the second layer little is left, but for float32's rounding.
    torch.manual_seed(3)
    up, down = nn.Linear(4, 64, bias=False), nn.Linear(64, 3, bias=False)
    basis = torch.linalg.svd(up.weight.detach())[0]
    down.weight.data = down.weight.data + 100 * basis[:, 4:7].T
    return nn.Sequential(up, down)

def empty():
    return nn.Linear(4, 4, device="meta")

def asks():
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(x) if isinstance(self.fc, nn.Linear) else 2 * self.fc(x)

    return Asks()

def attention():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.layer(x, x, x, need_weights=False)[0]

    torch.manual_seed(3)
    return Attention()

def layer():
    return nn.Linear(4, 4)

def tokens():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(8)
            self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

        def forward(self, x):
            return x + self.down(self.up(self.norm(x)).relu())

    torch.manual_seed(3)
    return Tokens()
"""
SMALL = "convert convert_net:build --input 3,16,16"
OUT = "--to conv --out new.safetensors"


def write_builders() -> None:
    """Put the modules into the working folder."""
    Path("convert_net.py").write_text(SOURCE, encoding="utf-8")
    Path("convert_sibling.py").write_text("from convert_net import build as make\n", "utf-8")
    Path("convert_broken.py").write_text("import nothing_of_this_name\n", "utf-8")
    Path("convert_wrong.py").write_text("def build(:\n", "utf-8")
