"""Parts of dates in a graph of whole numbers: those of NumPy, in torch and in ONNX Runtime."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from pointwise.data.days import date_part as in_numpy
from pointwise.export.onnx.calendar import MISSING, date_part

PARTS = ("elapsed", "month", "day", "weekday", "hour")


def hard_dates() -> np.ndarray:
    """Days around leap days and ends of years and centuries, and any moment of ten thousand years.

    A moment before midnight is where a rounded quotient would be the next day.
    """
    years = np.array([1, 1600, 1899, 1900, 1969, 1970, 1999, 2000, 2004, 2100, 2400, 9999])
    starts = (years - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    days = np.concatenate([starts + shift for shift in (*range(57, 62), -1, 0, 365)])
    moments = days.astype("datetime64[us]")
    rng = np.random.default_rng(0)
    low, high = (
        np.datetime64(day).astype("datetime64[us]") for day in ("0001-01-01", "9999-12-31")
    )
    anywhere = rng.integers(low.astype(np.int64), high.astype(np.int64), 5000)
    return np.concatenate(
        [moments, moments - np.timedelta64(1, "us"), anywhere.astype("datetime64[us]")]
    )


class Parts(nn.Module):
    def forward(self, dates: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(date_part(dates, part) for part in PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_parts_are_those_of_numpy(part):
    dates = hard_dates()
    found = date_part(torch.from_numpy(dates.astype(np.int64)), part)
    np.testing.assert_array_equal(found.numpy(), in_numpy(dates, part))


@pytest.mark.parametrize("part", PARTS)
def test_no_date_has_no_parts(part):
    assert np.datetime64("NaT").astype("datetime64[us]").astype(np.int64) == MISSING
    assert date_part(torch.tensor([MISSING, 0]), part).isnan().tolist() == [True, False]


@pytest.mark.filterwarnings("ignore")
def test_parts_in_onnx_runtime():
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    numbers = np.append(hard_dates().astype(np.int64), MISSING)
    program = torch.onnx.export(Parts(), (torch.from_numpy(numbers),), dynamo=True, verbose=False)
    buffer = io.BytesIO()
    program.save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue())
    found = session.run(None, {session.get_inputs()[0].name: numbers})
    for part, values in zip(PARTS, found, strict=True):
        np.testing.assert_array_equal(values, in_numpy(numbers.astype("datetime64[us]"), part))
