"""Reading, computing and writing at once: order, bounds, and errors in any of them."""

import threading

import pytest

from pointwise.maps.files.overlapping import overlap

WAIT = 60.0


def keep(job, read):
    return read


def pointwise_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("pointwise-")]


@pytest.mark.parametrize("jobs", [0, 1, 2, 3, 17])
@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_everything_is_written_in_order(jobs, ahead):
    written = []
    overlap(range(jobs), lambda job: 10 * job, lambda job, read: (job, read), written.append)
    overlap(range(jobs), lambda job: job, keep, lambda made: None, ahead=ahead)
    assert written == [(job, 10 * job) for job in range(jobs)]
    assert pointwise_threads() == []


def test_nothing_is_written_for_none():
    written = []
    overlap(range(9), lambda job: job, lambda job, read: read if read % 3 else None, written.append)
    assert written == [1, 2, 4, 5, 7, 8]


def test_the_three_go_on_at_the_same_time():
    # Each waits until the two others are at work, on the jobs before and after.
    meeting = threading.Barrier(3)

    def read(job):
        if job == 2:
            meeting.wait(WAIT)
        return job

    def compute(job, read):
        if job == 1:
            meeting.wait(WAIT)
        return job

    def write(made):
        if made == 0:
            meeting.wait(WAIT)

    overlap(range(4), read, compute, write)
    assert not meeting.broken


def test_what_is_in_flight_is_bounded():
    begun, computed, written = [], [], []

    def read(job):
        begun.append(job)
        return job

    def compute(job, read):
        assert len(begun) - job <= 1 + 3  # this one, and three ahead
        assert job - len(written) <= 2  # of those before, one may be waiting and one being written
        computed.append(job)
        return job

    overlap(range(50), read, compute, written.append, ahead=3)
    assert written == computed == list(range(50))


def failing_at(name: str, error: BaseException):
    """The three steps; one of them raises at the fifth job."""

    def step(mine, job, value):
        if mine == name and job == 4:
            raise error
        return value

    return (
        lambda job: step("read", job, job),
        lambda job, read: step("compute", job, read),
        lambda made: step("write", made, None),
    )


@pytest.mark.parametrize("name", ["read", "compute", "write"])
@pytest.mark.parametrize(
    "error",
    [ValueError("band 3 is damaged"), OSError(28, "No space left"), KeyboardInterrupt()],
    ids=["ValueError", "OSError", "KeyboardInterrupt"],
)
def test_an_error_ends_all_and_arrives_as_it_is(name, error):
    seen = []

    def jobs():
        for job in range(1000):
            seen.append(job)
            yield job

    with pytest.raises(type(error)) as caught:
        overlap(jobs(), *failing_at(name, error))
    assert caught.value is error
    assert len(seen) < 12
    assert pointwise_threads() == []


def test_an_error_of_the_last_write_arrives():
    with pytest.raises(ValueError, match="the last one"):
        overlap(range(5), *failing_at("write", ValueError("the last one")))
