"""One thread for networks this small, and the task that the tests of the comparison share."""

from collections.abc import Iterator

import pytest
import torch
from comparing import bars

import pointwise.studies.compare_plan as plan_module
from pointwise.studies.compare_data import CompareData, split_images


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads would spend their time waiting for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data() -> CompareData:
    return split_images("bars", *bars(), ("upright", "level"))


@pytest.fixture
def even_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps take as long as they have parameters, on every machine."""

    def seconds(networks, *_, **__):
        return [1e-6 * sum(p.numel() for p in net.parameters()) for net in networks]

    monkeypatch.setattr(plan_module, "step_seconds", seconds)
