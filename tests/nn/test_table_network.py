"""The network of a table: columns to targets, at any rank, in the right precision."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from cases import SPACES, each_rank
from pointwise.nn import MLP, CategoryEncoder, ChannelScale, NumberEncoder, TableNetwork

NAN = float("nan")


def network(members: int = 3) -> TableNetwork:
    numbers = NumberEncoder([0.0, 1.0], [1.0, 2.0], [True, False], [[0.0, 1.0], []])
    categories = CategoryEncoder([[0.5, 0.3, 0.2]])
    mlp = MLP([numbers.c_out + categories.c_out, 8, 2], members=members)
    return TableNetwork(numbers, categories, mlp, ChannelScale([10.0, 0.5], [1e5, -3.0])).eval()


def table(rank: int) -> Tensor:
    x = torch.randn(4, 3, *SPACES[rank])
    x[:, 2] = (2 * torch.rand_like(x[:, 2])).floor()
    x.flatten()[::7] = NAN
    return x


@each_rank
def test_any_rank_is_rows(rank: int) -> None:
    made, x = network(), table(rank)
    y = made(x)
    rows = made(x.movedim(1, -1).reshape(-1, 3))
    assert y.shape == (4, 3 * 2, *SPACES[rank])
    assert_close(y.movedim(1, -1).reshape(-1, 6), rows)


@each_rank
@pytest.mark.parametrize("members", [1, 3])
def test_outputs_are_scaled_member_by_member(rank: int, members: int) -> None:
    made, x = network(members), table(rank)
    scaled = made.scaled(x).unflatten(1, (members, 2))
    y = made(x).unflatten(1, (members, 2))
    assert_close(y[:, :, 0], 10.0 * scaled[:, :, 0] + 1e5)
    assert_close(y[:, :, 1], 0.5 * scaled[:, :, 1] - 3.0)


def test_scaled_is_encoders_then_mlp() -> None:
    made, x = network(), table(0)
    encoded = torch.cat([made.numbers(x[:, :2]), made.categories(x[:, 2:])], 1)
    assert_close(made.scaled(x), made.mlp(encoded))


@pytest.mark.parametrize("autocast", [False, True])
def test_lower_precision_keeps_encoders_and_scale_in_float32(autocast: bool) -> None:
    made, x = network(), table(0)
    expected, scaled = made(x), made.scaled(x)
    made = made if autocast else made.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y, low = made(x), made.scaled(x)
    assert low.dtype == torch.bfloat16
    assert (y.dtype, made.scale.shift.dtype, made.numbers.centre.dtype) == (torch.float32,) * 3
    assert_close(low.float(), scaled, rtol=3e-2, atol=3e-2)
    assert_close(y, expected, rtol=0, atol=0.5)  # bfloat16 near 1e5 is apart by 512


def test_double_is_float64_throughout() -> None:
    made, x = network(), table(0)
    y = copy.deepcopy(made).double()(x.double())
    assert y.dtype == torch.float64
    assert_close(y.float(), made(x))


def test_empty_batches() -> None:
    assert network()(table(2)[:0]).shape == (0, 6, *SPACES[2])


def test_a_table_of_one_kind() -> None:
    numbers = TableNetwork(
        NumberEncoder([0.0], [1.0], [False], [[]]),
        CategoryEncoder([]),
        MLP([1, 2]),
        ChannelScale([1.0, 1.0], [0.0, 0.0]),
    )
    assert numbers(torch.ones(3, 1)).shape == (3, 2)
    categories = TableNetwork(
        NumberEncoder([], [], [], []),
        CategoryEncoder([[0.5, 0.5]]),
        MLP([2, 1]),
        ChannelScale([1.0], [0.0]),
    )
    assert categories(torch.zeros(3, 1, 5)).shape == (3, 1, 5)


def test_copies_pickles_and_state_dicts() -> None:
    made, x = network(), table(1)
    other = network()
    other.load_state_dict(made.state_dict())
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made)), other):
        assert_close(again(x), made(x), rtol=0, atol=0)


def test_trains_only_the_mlp_of_a_table_without_embeddings() -> None:
    made, x = network(), table(0)
    made(x).sum().backward()
    assert {name.split(".")[0] for name, _ in made.named_parameters()} == {"mlp"}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


NUMBERS = NumberEncoder([0.0], [1.0], [False], [[]])
ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "mlp": (
        lambda: TableNetwork(NUMBERS, CategoryEncoder([]), MLP([2, 1]), ChannelScale([1.0], [0.0])),
        "the MLP must take 1 channels, takes 2",
    ),
    "scale": (
        lambda: TableNetwork(NUMBERS, CategoryEncoder([]), MLP([1, 2]), ChannelScale([1.0], [0.0])),
        "the scale must have 2 channels, has 1",
    ),
    "scale_lengths": (
        lambda: ChannelScale([1.0, 2.0], [0.0]),
        "scale and shift must have one entry per channel: got 2 and 1",
    ),
    "input": (lambda: network()(torch.ones(4, 2)), "x must have shape (N, 3, *S), got (4, 2)"),
    "input_axes": (lambda: network()(torch.ones(3)), "x must have shape (N, 3, *S), got (3,)"),
    "scale_input": (
        lambda: ChannelScale([1.0], [0.0])(torch.ones(4, 2)),
        "x must have shape (N, 1, *S), got (4, 2)",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        call()
    assert str(error.value) == message
