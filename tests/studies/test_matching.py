"""Widths at which networks have equally many parameters, multiply-adds or seconds."""

import time

import numpy as np
import pytest
import torch
from comparing import CIFAR, PATCH
from torch import nn

from pointwise.studies.contenders import count, stage_widths
from pointwise.studies.matching import match_count, match_time, step_seconds
from pointwise.training import Rows, Settings


@pytest.mark.parametrize("field", ["params", "macs"])
@pytest.mark.parametrize("kind", ["plain", "double"])
@pytest.mark.parametrize(
    ("job", "width"), [(CIFAR, 16), (CIFAR, 32), (PATCH, 256)], ids=["cifar16", "cifar32", "patch"]
)
def test_counts_are_matched_within_two_percent(job, width, kind, field):
    base = stage_widths(job.shape, width)
    target = getattr(count("mlpconv", base, job), field)

    def ratio(widths):
        return getattr(count(kind, widths, job), field) / target

    found = match_count(base, ratio)
    assert abs(ratio(found) - 1) <= 0.02
    factors = [w / b for w, b in zip(found, base, strict=True)]
    assert max(factors) / min(factors) < 1.15


def test_stages_stay_in_proportion_where_rounding_allows():
    assert match_count((32, 64, 128), lambda widths: sum(w * w for w in widths) / 5376) == (
        16,
        32,
        64,
    )


def test_widths_end_at_one_where_nothing_is_narrow_enough():
    assert match_count((8,), lambda widths: 2.0 + widths[0]) == (1,)
    assert match_time((8,), lambda widths, _: 2.0 + widths[0])[0] == (1,)


def test_widths_end_somewhere_where_nothing_is_wide_enough():
    (width,) = match_count((8,), lambda widths: 0.5)
    assert width >= 1


@pytest.mark.parametrize("share", [0.3, 0.9, 2.7])
def test_time_is_matched_through_noise(share):
    noise = np.random.default_rng(0)

    def ratio(widths, seconds):
        return widths[0] / (64 * share) * (1 + 0.005 * noise.standard_normal())

    (width,), reached = match_time((64,), ratio)
    assert abs(width / (64 * share) - 1) <= 0.03
    assert abs(reached - 1) <= 0.03


def test_steps_are_timed_in_turns():
    rows = Rows(torch.randn(20, 3), torch.zeros(20, dtype=torch.long))

    class Slow(nn.Linear):
        def forward(self, x):
            time.sleep(0.01)
            return super().forward(x)

    quick, slow = step_seconds(
        [nn.Linear(3, 2), Slow(3, 2)], rows, Settings(16, schedule="one_cycle"), seconds=0.01
    )
    assert 0 < quick < slow
    assert slow > 0.01
