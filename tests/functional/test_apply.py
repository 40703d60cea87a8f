"""``pointwise`` against torch's own layers, in every memory order, with gradients and errors."""

from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from cases import (
    MEMORY,
    SPACES,
    TOLERANCES,
    LayerCase,
    channels_last,
    each_layer_in_memory,
    each_rank,
    oracle,
)
from pointwise.functional import pointwise

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


@each_layer_in_memory
def test_equals_torch_in_any_memory_order(case: LayerCase, memory: str) -> None:
    x, weight, offset = MEMORY[memory](case.x()), case.weight(), case.offset()
    y = pointwise(x, weight, offset, case.groups)
    assert_close(y, case.oracle(x, weight, offset), **TOLERANCES[case.dtype])


@pytest.mark.parametrize("samples", [0, 1, 2, 40])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("space", [(), (0,), (1,), (2,), (15,), (16,), (0, 5), (1, 1), (4, 4, 1)])
def test_equals_torch_at_any_number_of_positions(
    space: tuple[int, ...], groups: int, samples: int
) -> None:
    case = LayerCase(groups=groups, dtype=torch.float64)
    x = torch.randn(samples, case.c_in, *space, dtype=torch.float64)
    weight, offset = case.weight(), case.offset()
    for given in (x, channels_last(x)):
        y = pointwise(given, weight, offset, groups)
        if x.numel():
            assert_close(y, oracle(x, weight, offset, groups))
        assert y.shape == (samples, case.c_out, *space)


def test_takes_more_axes_than_torch_has_convolutions_for() -> None:
    case = LayerCase(dtype=torch.float64)
    x, weight, offset = torch.randn(2, 6, 2, 3, 2, 3).double(), case.weight(), case.offset()
    flat = oracle(x.flatten(2), weight, offset)
    assert_close(pointwise(x, weight, offset), flat.unflatten(2, (2, 3, 2, 3)))


@each_rank
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("samples", [1, 3])
def test_output_lies_in_memory_as_the_input_does(rank: int, groups: int, samples: int) -> None:
    case = LayerCase(rank, groups, samples=samples)
    x, weight, offset = case.x(), case.weight(), case.offset()
    planar, last = (
        pointwise(x, weight, offset, groups),
        pointwise(channels_last(x), weight, offset, groups),
    )
    assert planar.is_contiguous()
    assert last.movedim(1, -1).is_contiguous()
    if rank > 1:
        assert last.is_contiguous(memory_format=FORMATS[x.ndim])


@each_rank
@pytest.mark.parametrize("few", [True, False])
def test_few_positions_keep_the_memory_order(rank: int, few: bool) -> None:
    space = (2 if few else 5,) * rank
    x = torch.randn(4, 6, *space)
    assert pointwise(x, torch.randn(4, 6)).is_contiguous()
    if rank:
        assert not pointwise(channels_last(x), torch.randn(4, 6)).is_contiguous()


# Each path of the dispatch: shape, channels out, groups, channels-last, and the operators that do
# arithmetic or move memory. Forward copies are `clone`; all others are views.
PATHS = {
    "rows": ((5, 6), 4, 1, False, {"addmm": 1}),
    "rows_grouped": ((5, 6), 4, 2, False, {"baddbmm": 1, "clone": 1}),
    "last": ((3, 6, 20), 4, 1, True, {"addmm": 1}),
    "last_grouped": ((3, 6, 20), 4, 2, True, {"baddbmm": 1, "clone": 1}),
    "one_sample": ((1, 6, 20), 4, 1, False, {"addmm": 1}),
    "small_image": ((1, 6, 4, 5), 4, 1, False, {"convolution": 1}),
    "large_image": ((1, 6, 40, 50), 4, 1, False, {"addmm": 1}),
    "one_sample_grouped": ((1, 6, 20), 4, 2, False, {"baddbmm": 1}),
    "samples": ((3, 6, 20), 4, 1, False, {"baddbmm": 1}),
    "samples_grouped": ((3, 6, 20), 4, 2, False, {"baddbmm": 1, "clone": 2}),  # weight and bias
    "fewest_positions": ((3, 6, 2), 4, 1, False, {"addmm": 1, "clone": 2}),
    "few_positions": ((3, 6, 8), 4, 1, False, {"addmm": 1, "clone": 2}),
    "few_positions_grouped": ((3, 6, 2), 4, 2, False, {"baddbmm": 1, "clone": 2}),
}
each_path = pytest.mark.parametrize(
    ("shape", "c_out", "groups", "last", "operators"), PATHS.values(), ids=PATHS.keys()
)


class Operators(TorchDispatchMode):
    """Counts the operators that run, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if not func.is_view:
            self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def make_path(
    shape: tuple[int, ...], c_out: int, groups: int, last: bool
) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(shape, dtype=torch.float64)
    x = channels_last(x) if last else x
    weight = torch.randn(c_out, shape[1] // groups, dtype=torch.float64)
    return x, weight, torch.randn(c_out, dtype=torch.float64)


@each_path
def test_no_path_moves_memory_needlessly(
    shape: tuple[int, ...], c_out: int, groups: int, last: bool, operators: dict[str, int]
) -> None:
    x, weight, bias = make_path(shape, c_out, groups, last)
    with Operators() as seen:
        pointwise(x, weight, bias, groups)
    seen.counts.pop("_unsafe_view", None)
    assert dict(seen.counts) == operators


@each_path
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_gradients(
    shape: tuple[int, ...],
    c_out: int,
    groups: int,
    last: bool,
    operators: dict[str, int],
    bias: bool,
) -> None:
    x, weight, offset = make_path(shape, c_out, groups, last)
    given = [t.requires_grad_() for t in (x, weight, offset)[: 3 if bias else 2]]
    large = x.numel() > 10_000  # the whole Jacobian would be gigabytes: take a projection of it
    assert torch.autograd.gradcheck(lambda *t: pointwise(*t, groups=groups), given, fast_mode=large)


def test_gradients_where_training_moves_samples_together() -> None:
    x, weight, bias = make_path((2, 100, 16), 100, 1, False)
    with Operators() as predicting:
        expected = pointwise(x, weight, bias)
    weight.requires_grad_()
    with Operators() as training:
        y = pointwise(x, weight, bias)
    assert (predicting.counts["clone"], training.counts["clone"]) == (0, 2)
    assert_close(y, expected)
    assert y.is_contiguous()
    y.sum().backward()
    assert_close(weight.grad, x.sum((0, 2)).expand(100, -1))


@pytest.mark.parametrize("shape", [(3, 6), (3, 6, 20), (3, 6, 4, 5), (1, 6, 4, 5), (3, 6, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_autocast_runs_low_and_keeps_the_map(shape: tuple[int, ...], groups: int) -> None:
    x, weight, bias = torch.randn(shape), torch.randn(4, 6 // groups), torch.randn(4)
    with torch.autocast("cpu", torch.bfloat16):
        y = pointwise(x, weight, bias, groups)
    assert y.dtype == torch.bfloat16
    assert_close(y.float(), oracle(x, weight, bias, groups), rtol=3e-2, atol=6e-2)


def test_meta_tensors_give_shapes() -> None:
    x = torch.empty(3, 6, 4, 5, device="meta")
    y = pointwise(x, torch.empty(4, 3, device="meta"), torch.empty(4, device="meta"), 2)
    assert (y.shape, y.device.type) == ((3, 4, 4, 5), "meta")


def test_groups_copy_the_weights_for_each_sample_only_where_these_are_small() -> None:
    x, weight = torch.randn(5, 400, 20), torch.randn(400, 200)
    with Operators() as seen:
        y = pointwise(x, weight, groups=2)
    assert seen.counts["clone"] == 2  # x to columns and y back, not the weights for each sample
    assert_close(y, oracle(x, weight, None, 2), rtol=1e-4, atol=1e-4)


ERRORS = {
    "weight_rank": (
        ((2, 3), (4, 3, 1), None, 1),
        "weight must have shape (C_out, C_in / groups), got (4, 3, 1)",
    ),
    "groups_zero": (
        ((2, 3), (4, 3), None, 0),
        "groups must divide C_out: got groups=0, C_out=4",
    ),
    "groups_do_not_divide": (
        ((2, 9), (4, 3), None, 3),
        "groups must divide C_out: got groups=3, C_out=4",
    ),
    "no_channel_axis": (((3,), (4, 3), None, 1), "x must have shape (N, 3, *S), got (3,)"),
    "channels": (((2, 5, 7), (4, 3), None, 1), "x must have shape (N, 3, *S), got (2, 5, 7)"),
    "channels_of_groups": (((2, 3), (4, 3), None, 2), "x must have shape (N, 6, *S), got (2, 3)"),
    "bias": (((2, 3), (4, 3), (3,), 1), "bias must have shape (4,), got (3,)"),
    "bias_rank": (((2, 3), (4, 3), (4, 1), 1), "bias must have shape (4,), got (4, 1)"),
}


@pytest.mark.parametrize(("shapes", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(shapes: tuple, message: str) -> None:
    x, weight, bias, groups = shapes
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        pointwise(
            torch.ones(x), torch.ones(weight), None if bias is None else torch.ones(bias), groups
        )
    assert str(error.value) == message


def test_case_tables_reach_many_positions_and_few() -> None:
    positions = {rank: torch.Size(space).numel() for rank, space in SPACES.items()}
    assert positions == {0: 1, 1: 20, 2: 20, 3: 30}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(
    ("positions", "channels"),
    [(16384, 64), (4096 + 8, 16), (16384 + 1, 16), (65536, 16), (97 * 101, 16)],
)
def test_many_rows_on_several_threads(
    threads: int, groups: int, positions: int, channels: int
) -> None:
    x = torch.randn(positions, channels, requires_grad=True)
    weight = torch.randn(channels, channels // groups, requires_grad=True)
    bias = torch.randn(channels, requires_grad=True)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        trained = pointwise(x, weight, bias, groups)
        with torch.no_grad():
            predicted = pointwise(x, weight, bias, groups)
        grad = torch.randn(positions, channels)
        found = torch.autograd.grad(trained, (x, weight, bias), grad)
    finally:
        torch.set_num_threads(before)
    y = oracle(x, weight, bias, groups)
    torch.testing.assert_close(trained, y, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(predicted, y, rtol=1e-4, atol=1e-4)
    w = weight.detach().double().unflatten(0, (groups, -1))
    blocks = grad.double().unflatten(1, (groups, -1))
    dx = torch.einsum("pgo,goc->pgc", blocks, w).flatten(1)
    dw = torch.einsum("pgo,pgc->goc", blocks, x.detach().double().unflatten(1, (groups, -1)))
    expected = (dx, dw.flatten(0, 1), grad.double().sum(0))
    for gradient, right in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, right.float(), rtol=1e-3, atol=1e-2)
