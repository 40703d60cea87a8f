"""Rows and columns: what they hold, and where they are views."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from cases import MEMORY, LayerCase, channels_last, each_rank
from pointwise.functional.layout import (
    from_columns,
    from_rows,
    is_channels_last,
    to_columns,
    to_rows,
)


@each_rank
@pytest.mark.parametrize("memory", ["contiguous", "channels_last", "some_channels_last"])
def test_rows_and_columns_are_undone(rank: int, memory: str) -> None:
    x = MEMORY[memory](LayerCase(rank).x())
    rows, columns = to_rows(x), to_columns(x)
    assert_close(rows, columns.t(), rtol=0, atol=0)
    for back in (from_rows(rows.contiguous(), x), from_columns(columns, x)):
        assert_close(back, x, rtol=0, atol=0)
        ordered = back.movedim(1, -1) if is_channels_last(x) else back
        assert ordered.is_contiguous()


@each_rank
def test_rows_hold_a_position_each(rank: int) -> None:
    x = LayerCase(rank).x()
    index = (2, *(1,) * rank)
    flat = 0
    for i, size in zip(index, (len(x), *x.shape[2:]), strict=True):
        flat = flat * size + i
    expected = x[(2, slice(None), *(1,) * rank)]
    assert_close(to_rows(x)[flat], expected, rtol=0, atol=0)


VIEWS = {
    "rows_of_a_table": (to_rows, torch.ones(5, 3)),
    "rows_of_channels_last": (to_rows, channels_last(torch.ones(2, 3, 4, 5))),
    "columns_of_one_sample": (to_columns, torch.ones(1, 3, 4, 5)),
}


@pytest.mark.parametrize(("flatten", "x"), VIEWS.values(), ids=VIEWS.keys())
def test_views(flatten, x: Tensor) -> None:
    assert flatten(x).data_ptr() == x.data_ptr()


LAYOUTS = {
    "table": (torch.ones(5, 3), True),
    "transposed_table": (torch.ones(3, 5).t(), True),
    "planar": (torch.ones(2, 3, 4), False),
    "last": (channels_last(torch.ones(2, 3, 4)), True),
    "torch_format": (torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last), True),
    "torch_format_3d": (torch.ones(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d), True),
    "some_last": (channels_last(torch.ones(2, 6, 4))[:, :3], True),
    "one_position": (torch.ones(2, 3, 1, 1), True),  # both at once
    "one_channel": (torch.ones(2, 1, 4, 5), False),  # both at once too
}


@pytest.mark.parametrize(("x", "expected"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_is_channels_last(x: Tensor, expected: bool) -> None:
    assert is_channels_last(x) is expected
