"""The encoders: any rank as rows, missing and unseen values, precision, weights as row counts."""

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.testing import assert_close

from cases import SPACES, channels_last, each_rank
from pointwise.nn.encoding import (
    EMBEDDING_CHANNELS,
    ONE_HOT_LEVELS,
    UNSEEN,
    CategoryEncoder,
    NumberEncoder,
)

NAN = float("nan")
MANY = ONE_HOT_LEVELS + 6


def numbers() -> NumberEncoder:
    edges = [[0.0, 1.0, 3.0], [], [-1.0, 0.0, 1.0, 2.0]]
    return NumberEncoder([1.0, -2.0, 0.0], [2.0, 0.5, 1.0], [True, False, True], edges)


def categories() -> CategoryEncoder:
    many = np.arange(1.0, MANY + 2)
    return CategoryEncoder([[0.5, 0.3, 0.2], list(many / many.sum()), [0.9, 0.0, 0.1]])


def number_input(rank: int) -> Tensor:
    x = 3 * torch.randn(4, 3, *SPACES[rank])
    x.flatten()[::7] = NAN
    return x


def category_input(rank: int) -> Tensor:
    levels = torch.tensor([2, MANY, 2]).reshape(1, 3, *(1,) * rank)
    x = (torch.rand(4, 3, *SPACES[rank]) * levels).floor()
    x.flatten()[::7] = NAN
    x.flatten()[::5] = UNSEEN
    return x


ENCODERS = {"numbers": (numbers, number_input), "categories": (categories, category_input)}
each_encoder = pytest.mark.parametrize(("make", "draw"), ENCODERS.values(), ids=ENCODERS.keys())


@each_rank
@each_encoder
def test_any_rank_is_rows(
    make: Callable[[], nn.Module], draw: Callable[[int], Tensor], rank: int
) -> None:
    encoder, x = make(), draw(rank)
    rows = encoder(x.movedim(1, -1).reshape(-1, 3))
    expected = rows.reshape(4, *x.shape[2:], encoder.c_out).movedim(-1, 1)
    for given in (x, channels_last(x)):
        y = encoder(given)
        assert y.shape == (4, encoder.c_out, *x.shape[2:])
        assert_close(y, expected, rtol=0, atol=0)


@each_encoder
@pytest.mark.parametrize("samples", [0, 1])
@each_rank
def test_empty_batches(
    make: Callable[[], nn.Module], draw: Callable[[int], Tensor], samples: int, rank: int
) -> None:
    encoder, x = make(), draw(rank)[:samples]
    assert encoder(x).shape == (samples, encoder.c_out, *x.shape[2:])


@pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 4, 5)])
@each_encoder
def test_inputs_must_fit(
    make: Callable[[], nn.Module], draw: Callable[[int], Tensor], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        make()(torch.zeros(shape))
    assert str(error.value) == f"x must have shape (N, 3, *S), got {shape}"


@each_encoder
def test_without_columns_there_is_nothing(
    make: Callable[[], nn.Module], draw: Callable[[int], Tensor]
) -> None:
    kind = type(make())
    encoder = CategoryEncoder([]) if kind is CategoryEncoder else NumberEncoder([], [], [], [])
    assert (encoder.c_in, encoder.c_out) == (0, 0)
    assert encoder(torch.ones(4, 0, 5)).shape == (4, 0, 5)


@each_encoder
def test_copies_and_pickles(make: Callable[[], nn.Module], draw: Callable[[int], Tensor]) -> None:
    encoder, x = make(), draw(1)
    for made in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert_close(made(x), encoder(x), rtol=0, atol=0)


# --- Precision ---


@each_encoder
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_leaves_encoders_in_float32(
    make: Callable[[], nn.Module], draw: Callable[[int], Tensor], dtype: torch.dtype
) -> None:
    encoder, x = make(), draw(1)
    expected = encoder(x)
    network = nn.Sequential(encoder, nn.Linear(2, 2)).to(dtype)
    floats = [t for t in encoder.state_dict().values() if t.is_floating_point()]
    assert {t.dtype for t in floats} == {torch.float32}
    assert network[1].weight.dtype == dtype
    assert_close(encoder(x), expected, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(encoder(x), expected, rtol=0, atol=0)


@each_encoder
def test_double_goes_to_float64_and_stays_there(
    make: Callable[[], nn.Module], draw: Callable[[int], Tensor]
) -> None:
    encoder, x = make(), draw(1)
    expected = encoder(x)
    y = encoder.double()(x.double())
    assert y.dtype == torch.float64
    assert_close(y.float(), expected)
    assert encoder.bfloat16()(x.double()).dtype == torch.float64


@each_encoder
def test_moves_to_another_device(
    make: Callable[[], nn.Module], draw: Callable[[int], Tensor]
) -> None:
    encoder = make().to("meta", torch.bfloat16)
    tensors = [t for t in encoder.state_dict().values() if t.is_floating_point()]
    assert {(t.device.type, t.dtype) for t in tensors} == {("meta", torch.float32)}


def test_a_thousand_minutes_stay_distinct() -> None:
    offset = 1.7e9
    seconds = offset + 60.0 * np.arange(1000)
    x = torch.tensor(seconds - offset, dtype=torch.float32)[:, None]
    assert len(torch.tensor(seconds, dtype=torch.float32).unique()) < 500  # why an offset
    assert len(x.bfloat16().unique()) <= 500  # and why not bfloat16
    encoder = NumberEncoder.fit(x.double().numpy(), np.ones(1000), pieces=16)
    nn.Sequential(encoder, nn.Linear(17, 1)).bfloat16()
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = encoder(x)
        assert len(y.unique(dim=0)) == 1000
        assert len(y[:, 0].unique()) == 1000


# --- Numbers ---


def test_missing_numbers_become_the_centre_and_an_indicator() -> None:
    encoder = numbers()
    missing = encoder(torch.tensor([[NAN, NAN, NAN]]))
    centre = encoder(torch.tensor([[1.0, -2.0, 0.0]]))
    assert_close(missing[:, 3:5], torch.ones(1, 2))
    assert_close(centre[:, 3:5], torch.zeros(1, 2))
    missing[:, 3:5] = 0
    assert_close(missing, centre, rtol=0, atol=0)
    assert_close(centre[:, :3], torch.zeros(1, 3), rtol=0, atol=0)


def test_numbers_are_clipped_smoothly() -> None:
    z = torch.tensor([-1e30, -100.0, -1.0, 0.0, 0.5, 3.0, 100.0, 1e30, torch.inf])
    y = NumberEncoder([10.0], [4.0], [False], [[]])(10 + 4 * z[:, None])[:, 0]
    expected = (z.double() / (1 + (z.double() / 3) ** 2).sqrt()).nan_to_num(3.0).float()
    assert_close(y, expected)
    assert y.abs().max() <= 3


def test_pieces_are_linear_between_their_edges() -> None:
    x = torch.tensor([[-5.0], [0.0], [0.25], [1.0], [2.0], [3.0], [9.0]])
    y = NumberEncoder([0.0], [1.0], [False], [[0.0, 1.0, 3.0]])(x)[:, 1:]
    expected = [[0, 0], [0, 0], [0.25, 0], [1, 0], [1, 0.5], [1, 1], [1, 1]]
    assert_close(y, torch.tensor(expected))


def test_fit_takes_medians_interquartile_ranges_and_quantiles() -> None:
    column = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, NAN])
    encoder = NumberEncoder.fit(column[:, None], np.ones(9), pieces=4)
    assert_close(encoder.centre, torch.tensor([3.0]))
    assert_close(encoder.scale, torch.tensor([5.0 - 1.0]))
    assert_close(encoder.piece_low, torch.tensor([0.0, 1.0, 3.0, 5.0]))
    assert_close(encoder.piece_width, torch.tensor([1.0, 2.0, 2.0, 2.0]))
    assert encoder.indicated.tolist() == [0]


COLUMNS = {
    "constant": ([2.0, 2.0, 2.0], 2.0, 1.0, 0),
    "all_missing": ([NAN, NAN, NAN], 0.0, 1.0, 0),
    "two_values": ([0.0, 0.0, 0.0, 1.0, 1.0], 0.0, 1.0, 0),
    "mostly_one_value": ([5.0] * 9 + [1.0, 9.0], 5.0, 8.0, 2),
    "tiny": ([0.0, 1e-60, 2e-60], 1e-60, 1.0, 0),
    "huge": ([0.0, 1e30, 2e30], 1e30, 2e30, 2),
}


@pytest.mark.parametrize(
    ("column", "centre", "scale", "pieces"), COLUMNS.values(), ids=COLUMNS.keys()
)
def test_fit_of_odd_columns(column: list[float], centre: float, scale: float, pieces: int) -> None:
    x = np.array(column)[:, None]
    encoder = NumberEncoder.fit(x, np.ones(len(x)), pieces=4)
    assert_close(encoder.centre, torch.tensor([centre]))
    assert_close(encoder.scale, torch.tensor([scale]))
    assert len(encoder.piece_column) == pieces
    y = encoder(torch.tensor(x, dtype=torch.float32))
    assert y.isfinite().all()
    assert y.abs().max() <= 3


def drawn(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 3)).round(1)
    x[rng.random(x.shape) < 0.1] = NAN
    return x, rng.integers(0, 4, 60)


@pytest.mark.parametrize("seed", range(5))
def test_weights_count_rows_in_numbers(seed: int) -> None:
    x, counts = drawn(seed)
    weighted = NumberEncoder.fit(x, counts.astype(float), pieces=7)
    repeated = NumberEncoder.fit(x.repeat(counts, axis=0), np.ones(counts.sum()), pieces=7)
    for name, buffer in weighted.named_buffers():
        assert_close(buffer, repeated.get_buffer(name), rtol=0, atol=0)


def test_rows_of_no_weight_do_not_count() -> None:
    x = np.array([[1.0], [2.0], [3.0], [NAN], [1000.0]])
    weight = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    encoder = NumberEncoder.fit(x, weight, pieces=2)
    assert (encoder.indicated.tolist(), encoder.centre.tolist()) == ([], [2.0])


def test_blank_numbers_take_a_state_dict() -> None:
    encoder = numbers()
    sizes = (len(encoder.centre), len(encoder.indicated), len(encoder.piece_column))
    blank, x = NumberEncoder.blank(*sizes), number_input(1)
    blank.load_state_dict(encoder.state_dict())
    assert_close(blank(x), encoder(x), rtol=0, atol=0)


NUMBER_ERRORS = {
    "lengths": (
        ([0.0, 1.0], [1.0], [False], [[]]),
        "centre, scale, missing and edges must have one entry per column",
    ),
    "scale_zero": (
        ([0.0, 0.0], [1.0, 0.0], [False] * 2, [[]] * 2),
        "every scale must be positive in float32, got 0.0",
    ),
    "scale_nan": (
        ([0.0], [NAN], [False], [[]]),
        "every scale must be positive in float32, got nan",
    ),
    "scale_tiny": (
        ([0.0], [1e-60], [False], [[]]),
        "every scale must be positive in float32, got 1e-60",
    ),
    "edges": (([0.0], [1.0], [False], [[0.0, 2.0, 2.0]]), "the edges of every column must ascend"),
}


@pytest.mark.parametrize(("arguments", "message"), NUMBER_ERRORS.values(), ids=NUMBER_ERRORS.keys())
def test_number_errors(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        NumberEncoder(*arguments)
    assert str(error.value) == message


# --- Categories ---


def test_few_levels_are_one_hot() -> None:
    encoder = CategoryEncoder([[0.5, 0.3, 0.2], [0.9, 0.1]])
    x = torch.tensor([[0.0, NAN], [1.0, 0.0], [NAN, UNSEEN], [UNSEEN, 0.0]])
    expected = [
        [1, 0, 0, 0, 1],
        [0, 1, 0, 1, 0],
        [0, 0, 1, 0.9, 0.1],
        [0.5, 0.3, 0.2, 1, 0],
    ]
    assert_close(encoder(x), torch.tensor(expected))


@pytest.mark.parametrize(("levels", "embedded"), [(ONE_HOT_LEVELS, 0), (ONE_HOT_LEVELS + 1, 1)])
def test_many_levels_are_embedded(levels: int, embedded: int) -> None:
    encoder = CategoryEncoder([[1.0] * (levels + 1)])
    assert len(encoder.embeddings) == embedded
    assert encoder.c_out == (EMBEDDING_CHANNELS if embedded else levels + 1)


def test_embeddings_are_looked_up_and_unseen_is_the_average_row() -> None:
    encoder = categories()
    table, share = encoder.embeddings[0], encoder.get_buffer("share_1")
    x = torch.tensor([[0.0, c, 0.0] for c in (0.0, 5.0, float(MANY - 1), NAN, UNSEEN)])
    embedded = encoder(x)[:, -EMBEDDING_CHANNELS:]
    assert_close(embedded[:4], table[[0, 5, MANY - 1, MANY]])
    assert_close(embedded[4], (share[:, None] * table).sum(0))


def test_embeddings_are_trained() -> None:
    encoder = categories()
    x = torch.tensor([[0.0, 3.0, 0.0], [0.0, NAN, 0.0]])
    encoder(x).sum().backward()
    grad = encoder.embeddings[0].grad
    expected = torch.zeros_like(grad)
    expected[[3, MANY]] = 1
    assert_close(grad, expected)
    encoder.zero_grad()
    encoder(torch.tensor([[0.0, UNSEEN, 0.0]])).sum().backward()
    share = encoder.get_buffer("share_1")
    assert_close(encoder.embeddings[0].grad, share[:, None].expand(-1, EMBEDDING_CHANNELS))


def test_fit_counts_levels() -> None:
    x = np.array([[0.0], [1.0], [1.0], [NAN], [UNSEEN]])
    encoder = CategoryEncoder.fit(x, np.array([1.0, 1.0, 2.0, 4.0, 9.0]), [3])
    assert_close(encoder.hot_share, torch.tensor([1.0, 3.0, 0.0, 4.0]) / 8)
    nothing = CategoryEncoder.fit(np.array([[UNSEEN]]), np.ones(1), [2])
    assert_close(nothing.hot_share, torch.zeros(3))


@pytest.mark.parametrize("seed", range(5))
def test_weights_count_rows_in_categories(seed: int) -> None:
    x, counts = drawn(seed)
    x = np.abs(x * 10).round() % 4
    weighted = CategoryEncoder.fit(x, counts.astype(float), [4, 4, 4])
    repeated = CategoryEncoder.fit(x.repeat(counts, axis=0), np.ones(counts.sum()), [4, 4, 4])
    assert_close(weighted.hot_share, repeated.hot_share, rtol=0, atol=0)


def test_every_column_has_a_missing_level() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  (the whole text is compared)
        CategoryEncoder([[1.0], []])
    assert str(error.value) == "every column must have the frequency of missing values at least"
