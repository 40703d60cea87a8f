"""A fit takes one thread where a step is small, and gives the others back."""

import pytest
import torch

from pointwise.estimators.threads import ONE_THREAD_MACS, threads_for


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("macs", "threads"), [(ONE_THREAD_MACS - 1, 1), (ONE_THREAD_MACS, 2)])
def test_small_steps_take_one_thread(macs, threads, two_threads):
    with threads_for(macs):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_an_error_gives_the_threads_back(two_threads):
    with pytest.raises(KeyError), threads_for(0):
        raise KeyError
    assert torch.get_num_threads() == 2
