"""What ``channels_first`` refuses or leaves alone, in words."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from token_networks import Encoder
from torch import Tensor, nn
from torch.testing import assert_close

from pointwise.errors import DifferenceError
from pointwise.surgery.layout.operators import regroup
from pointwise.surgery.layouts import channels_first


def test_other_numbers_of_axes_are_refused():
    new, _ = channels_first(Encoder(), torch.randn(2, 5, 16))
    message = "the input differs in form from the example: dim must be 3"
    with pytest.raises(AssertionError, match=f"^{message}$"):
        new(torch.randn(2, 3, 5, 16))


def test_decisions_on_sizes_are_held():
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.pad(x, (0, 0, 0, 1)) if x.shape[1] % 2 else x)

    new, _ = channels_first(Padded(), torch.randn(2, 5, 4))
    assert new(torch.randn(2, 7, 4)).shape == (2, 8, 4)
    message = "the input differs in form from the example: mod must be True"
    with pytest.raises(AssertionError, match=f"^{message}$"):
        new(torch.randn(2, 6, 4))


class Forward(nn.Module):
    """One linear layer in a forward to be refused."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.linear, self.by = nn.Linear(4, 4), forward

    def forward(self, x: Tensor) -> Tensor:
        return self.by(self.linear(x))


def over_rows(x: Tensor) -> Tensor:
    return sum(row for row in x.transpose(0, 1))


# what a forward does with (2, 8, 4), other lengths that it takes, and what is held
COUNTED: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "rows": (over_rows, (), "size must be 8"),
    "their number": (lambda x: x.sum(1) / len(x.mT[0].mT), (), "size must be 8"),
    "unbound": (lambda x: sum(row for row in x.unbind(1)), (), "size must be 8"),
    "unbound, by name": (lambda x: sum(torch.unbind(x, dim=1)), (), "size must be 8"),
    "windows": (lambda x: sum(w.amax(1) for w in x.split(4, 1)), (5, 7), "floordiv must be 2"),
    "windows, by name": (
        lambda x: sum(w.amax(1) for w in torch.split(x, split_size_or_sections=4, dim=1)),
        (5, 7),
        "floordiv must be 2",
    ),
    "as many chunks": (lambda x: sum(w.amax(1) for w in x.chunk(2, 1)), (2, 7, 12, 20), ""),
    "fewer chunks": (lambda x: sum(w.amax(1) for w in x.chunk(6, dim=1)), (), "size must be 8"),
    "joined, not counted": (lambda x: torch.stack(x.unbind(1), -1), (3, 12, 20), ""),
    "cut and joined": (lambda x: torch.cat(x.split(3, 1)[::-1], 1), (3, 12, 20), ""),
    "a part of them": (lambda x: sum(row for row in x.unbind(1)[1:]), (), "size must be 8"),
    "given back": (lambda x: x.mT.split(4, 2), (3, 12, 20), ""),
}


@pytest.mark.parametrize("case", COUNTED)
def test_numbers_of_parts_are_held(case: str):
    forward, lengths, message = COUNTED[case]
    model = Forward(forward).double()
    new, _ = channels_first(model, torch.randn(2, 8, 4, dtype=torch.float64))
    for length in (8, *lengths):
        x = torch.randn(3, length, 4, dtype=torch.float64)
        assert_close(new(x), model(x), atol=1e-12, rtol=1e-12)
    for length in (3, 12) if message else ():
        with pytest.raises(AssertionError, match=f"differs in form from the example: {message}$"):
            new(torch.randn(2, length, 4, dtype=torch.float64))


def test_an_input_too_short_for_as_many_chunks_is_refused():
    model = Forward(lambda x: sum(w.amax(1) for w in x.chunk(4, 1)))
    new, _ = channels_first(model, torch.randn(2, 8, 4))
    for length in (4, 7, 13):
        x = torch.randn(2, length, 4)
        assert_close(new(x), model(x))
    for length in (3, 6, 9):  # 6 and 9 fall into three
        with pytest.raises(AssertionError, match=r"in form from the example: \w+ must be 4$"):
            new(torch.randn(2, length, 4))


def by_value(x: Tensor) -> Tensor:
    return x + 1 if x.sum() > 0 else x


def assigning(x: Tensor) -> Tensor:
    x[:, 0] = 0
    return x


def read_afterwards(x: Tensor) -> Tensor:
    y = x.view(-1, 4).add_(1)
    return x * 2 + y.view(x.shape)


def unread(x: Tensor) -> Tensor:
    x.copy_(x * 2)
    return x


def copying(x: Tensor) -> Tensor:
    return x.copy_(x * 2)


def under_autocast(x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return (x @ x.mT).float()


FOLLOWED = "model must have a forward that can be written out: "
REFUSED: dict[str, tuple[nn.Module, str]] = {
    "a decision on values": (
        Forward(by_value),
        f"{FOLLOWED}in its own forward: it decides by the values of a tensor, those of gt: "
        "compute both ways and choose by torch.where, or convert its parts apart",
    ),
    "an assignment": (
        Forward(assigning),
        f"{FOLLOWED}in its own forward: it assigns into a tensor: make a new one, by torch.where, "
        "torch.cat or masked_fill",
    ),
    "a part that decides on values": (
        nn.Sequential(nn.Linear(4, 4), nn.Sequential(Forward(by_value))),
        f"{FOLLOWED}in the forward of '1.0' (Forward): it decides by the values of a tensor, those "
        "of gt: compute both ways and choose by torch.where, or convert its parts apart",
    ),
    "autocast": (
        Forward(under_autocast),
        f"{FOLLOWED}in its own forward: it runs under torch.autocast, which a graph does not hold: "
        "call the whole network under it instead",
    ),
    "something else than tensors": (
        Forward(lambda x: (x, {1, 2})),
        f"{FOLLOWED}in its own forward: it gives back or takes a set: it must be tensors and "
        "numbers, or groups of them",
    ),
    "what raises": (
        nn.Sequential(Forward(lambda x: x.reshape(5, 5))),
        f"{FOLLOWED}in the forward of '0' (Forward): RuntimeError: shape '[5, 5]' is invalid for "
        "input of size 24",
    ),
    "a value read after it was changed": (
        Forward(read_afterwards),
        "model must not change its values in place: add_ in the model's forward writes into one "
        "that mul reads as it was called before; write it as a new value",
    ),
    "an unknown change": (
        Forward(copying),
        "model must not change its values in place: copy_ in the model's forward writes into one; "
        "write it as a new value",
    ),
    "one layer": (
        nn.Linear(4, 4),
        "model must be a network, got Linear: it is one layer, which to_conv converts",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str):
    model, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        channels_first(model, torch.randn(2, 3, 4))


def test_batches_of_one_that_fail_are_told(capsys: pytest.CaptureFixture[str]):
    class Squeezed(Forward):
        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.linear(x).mean(1, keepdim=True).squeeze())

    model, x = Squeezed(None), torch.randn(2, 3, 4)
    new, swaps = channels_first(model, x)
    assert_close(new(x), model(x))
    assert "takes any batch but of one: Dimension out of range" in swaps[-1].reason
    assert capsys.readouterr() == ("", "")


def test_lost_changes_are_noticed():
    with pytest.raises(DifferenceError) as error:
        channels_first(Forward(unread), torch.randn(2, 3, 4))
    assert str(error.value).startswith(
        "model must not change its values in place where nothing reads what that gives back, nor "
        "decide by anything else than sizes: the rewritten network differs, output must agree to "
    )


def hooked() -> nn.Module:
    linear = nn.Linear(4, 4)
    linear.register_forward_hook(lambda *_: None)
    return linear


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    return net


def unused() -> nn.Module:
    net = Forward(F.relu)
    net.other = nn.Linear(4, 2)
    return net


LEFT: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
    "hooks": (
        nn.Sequential(hooked()),
        (2, 3, 4),
        "0: Linear(4, 4) left alone: has forward hooks: remove them first",
    ),
    "tied": (
        tied(),
        (2, 3, 4),
        "0: Linear(4, 4) left alone: its weight is also that of 1.weight: they would part",
    ),
    "one axis": (
        nn.Sequential(nn.Linear(4, 4)),
        (4,),
        "0: Linear(4, 4) left alone: its input has 1 axes, a convolution reads 2 to 5",
    ),
    "six axes": (
        nn.Sequential(nn.Linear(4, 4)),
        (2, 1, 2, 1, 2, 4),
        "0: Linear(4, 4) left alone: its input has 6 axes, a convolution reads 2 to 5",
    ),
    "a norm of positions too": (
        nn.Sequential(nn.LayerNorm([3, 4]), nn.Linear(4, 4)),
        (2, 3, 4),
        "0: LayerNorm(3, 4) left alone: it normalises the last 2 axes together",
    ),
    "not called": (
        unused(),
        (2, 3, 4),
        "other: Linear(4, 2) left alone: it is not called with the example",
    ),
    "subclass inside a hooked block": (
        nn.Sequential(nn.Sequential(nn.Linear(4, 4))),
        (2, 3, 4),
        "0.0: Linear(4, 4) left alone: it runs inside 0 (Sequential), which is kept whole: has "
        "forward hooks: remove them first",
    ),
}
LEFT["subclass inside a hooked block"][0][0].register_forward_hook(lambda *_: None)


@pytest.mark.parametrize("case", LEFT)
def test_left_alone(case: str):
    model, shape, text = LEFT[case]
    x = torch.randn(shape)
    new, swaps = channels_first(model, x)
    assert text in [str(swap) for swap in swaps]
    assert set(new.state_dict()) == set(model.state_dict())
    assert_close(new(x), model(x))


def test_other_reshapes_are_refused():
    groups = (((0,), (0,)), ((1,), (1,)), ((2,), (2, 3)))
    message = (
        "a reshape must merge and split the same axes as with the example: axes of sizes [12] "
        "cannot become [5, 4]"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        regroup(torch.ones(2, 12, 1, 5), (0, 2, None, 1), groups, (2, 5, 5, 4))
