"""Batches take every row once; means are weighted."""

import pytest
import torch

from pointwise.training import Rows


def numbered(n: int, *, weighted: bool = False) -> Rows:
    number = torch.arange(n, dtype=torch.float32)
    return Rows(number[:, None], 10 * number[:, None], 100 * number if weighted else None)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [
        (10, 3, [3, 3, 2, 2]),
        (10, 5, [5, 5]),
        (11, 10, [6, 5]),
        (9, 8, [5, 4]),
        (3, 1, [1, 1, 1]),
        (7, 7, [7]),
        (7, 100, [7]),
    ],
)
def test_batches_take_every_row_once_in_nearly_equal_sizes(n, size, sizes):
    batches = list(numbered(n).batches(size, seeded()))
    assert [len(batch) for batch in batches] == sizes
    taken = torch.cat([batch.x[:, 0] for batch in batches])
    assert taken.sort().values.tolist() == list(range(n))


def test_target_and_weight_go_with_their_row():
    for batch in numbered(20, weighted=True).batches(6, seeded()):
        assert torch.equal(batch.y, 10 * batch.x)
        assert torch.equal(batch.weight, 100 * batch.x[:, 0])


def test_batches_are_shuffled_by_the_generator_alone():
    def order(generator):
        return torch.cat([b.x[:, 0] for b in numbered(50).batches(7, generator)]).tolist()

    assert order(seeded(1)) == order(seeded(1))
    assert order(seeded(1)) != order(seeded(2))
    assert order(seeded(1)) != list(range(50))
    generator = seeded(1)
    assert order(generator) != order(generator)  # every epoch has its own order


@pytest.mark.parametrize("size", [8, 9])
def test_a_batch_with_all_rows_is_no_copy(size):
    rows = numbered(8, weighted=True)
    (batch,) = rows.batches(size, seeded())
    assert batch is rows


@pytest.mark.parametrize("tail", [(), (4,), (4, 5)], ids=["rows", "tokens", "images"])
def test_any_number_of_position_axes(tail):
    rows = Rows(torch.randn(9, 3, *tail), torch.randint(0, 3, (9,)))
    assert [tuple(b.x.shape) for b in rows.batches(4, seeded())] == [(3, 3, *tail)] * 3


def test_mean_is_weighted():
    values = torch.tensor([1.0, 2.0, 6.0])
    x = torch.zeros(3, 1)
    assert Rows(x, x).mean(values) == 3.0
    assert Rows(x, x, torch.tensor([2.0, 1.0, 0.0])).mean(values) == pytest.approx(4 / 3)


def test_weighted_batches_average_to_the_whole_mean():
    generator = seeded()
    values = torch.rand(30, 1, dtype=torch.float64, generator=generator)
    weight = torch.rand(30, dtype=torch.float64, generator=generator)
    rows = Rows(values, values, weight / weight.mean())
    batches = rows.batches(7, generator)
    total = sum(batch.mean(batch.x[:, 0]) * len(batch) / 30 for batch in batches)
    expected = (values[:, 0] * weight).sum() / weight.sum()
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)


def test_lengths_must_agree():
    x = torch.zeros(3, 1)
    with pytest.raises(ValueError, match=r"^y must have 3 rows, as x, got 2$"):
        Rows(x, x[:2])
    with pytest.raises(ValueError, match=r"^weight must have 3 rows, as x, got 4$"):
        Rows(x, x, torch.ones(4))


def test_size_must_be_positive():
    with pytest.raises(ValueError, match=r"^size of a batch must be at least 1, got 0$"):
        next(numbered(3).batches(0, seeded()))
