"""Convolutions of every kind in a grid: all forms are exact at full rank, and errors as told."""

import random
from collections import Counter

import pytest
import torch

from compression_truth import CHANNELS, LIMITS, Case, cases, check
from pointwise.compression.forms.table import FORMS

MOST = 90
"""So many cases of each kind; ``benchmarks/compression_truth.py`` goes through all."""

KINDS = [(axes, transposed) for axes in CHANNELS for transposed in (False, True)]


def drawn(axes: int, transposed: bool) -> list[Case]:
    every = [one for one in cases() if (one.axes, one.transposed) == (axes, transposed)]
    return random.Random(0).sample(every, min(MOST, len(every)))


def test_the_grid_has_every_kind_and_option() -> None:
    chosen = [case for kind in KINDS for case in drawn(*kind)]
    assert len(set(chosen)) == len(chosen) >= 500
    plain = [case for case in chosen if not case.transposed]
    options = Counter(option for case in chosen for option in case.options)
    for name, values in {
        "groups": (1, 2),
        "dilation": (1, 2),
        "bias": (True, False),
        "stride": (1, 2, 3, (2, 1), (2, 1, 1)),
        "padding": (0, 1, 2, (1, 2), (1, 2, 3), "same", "valid"),
        "output_padding": (0, 1, 2),
        "padding_mode": ("zeros", "reflect", "replicate", "circular"),
    }.items():
        for value in values:
            assert options[name, value] >= 10, (name, value)
    assert {(case.axes, case.dtype) for case in plain} == {
        (axes, dtype) for axes in CHANNELS for dtype in (torch.float32, torch.float64)
    }


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("transposed", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("axes", CHANNELS)
def test_forms_are_exact_at_full_rank_and_errors_as_told(axes: int, transposed: bool) -> None:
    wrong = []
    forms = Counter[str]()
    for case in drawn(axes, transposed):
        findings = check(case)
        forms.update(finding.form for finding in findings)
        wrong += [f"{case}: {one}" for one in findings if not one.is_right(case.dtype)]
        (output,) = (one for one in findings if one.form == "output")
        assert output.predicted is not None
        assert output.measured is not None
        assert output.measured > 1e-3  # so that there is something to be told
    assert not wrong, "\n".join(wrong)
    assert forms == dict.fromkeys(
        [name for name in FORMS if not name.startswith("axis") or _has(name, axes)], MOST
    )


def _has(form: str, axes: int) -> bool:
    """Whether a kernel of so many axes can be cut along the axis of a form."""
    return 1 < axes > int(form.split()[1])


def test_limits_are_those_that_were_promised() -> None:
    assert {torch.float32: 1e-5, torch.float64: 1e-12} == LIMITS
