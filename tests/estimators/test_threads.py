"""A fit takes one thread where a step is small, and gives the others back."""

import numpy as np
import pytest
import torch

from pointwise.estimators import ImageClassifier
from pointwise.estimators.threads import ONE_THREAD_MACS, threads_for
from pointwise.training.run import Run


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("macs", "threads"), [(3 * ONE_THREAD_MACS - 1, 1), (3 * ONE_THREAD_MACS, 2)]
)
def test_steps_of_small_layers_take_one_thread(macs, threads, two_threads):
    with threads_for(macs, layers=3):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_an_error_gives_the_threads_back(two_threads):
    with pytest.raises(KeyError), threads_for(0, layers=3):
        raise KeyError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("side", "threads"), [(8, 1), (28, 2)])
def test_images_count_what_their_layers_take(side, threads, two_threads, monkeypatch):
    """A Network in Network's step on 8 x 8 pixels took 25 ms on one thread, 2.5 s on two."""
    found = set()
    monkeypatch.setattr(Run, "_learn", lambda *_: found.add(torch.get_num_threads()) or 0.0)
    images = np.random.default_rng(0).random((40, side, side), np.float32)
    ImageClassifier(max_epochs=1, random_state=0).fit(images, np.arange(40) % 2)
    assert found == {threads}
