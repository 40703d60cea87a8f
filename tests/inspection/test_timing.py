"""Calls that take turns, and the ratio of their times with its bounds."""

import pytest

from pointwise.inspection.timing import Speedup, speedup, take_turns


class FakeClock:
    """A clock that goes forward only when a call says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, *seconds: float):
        """A call that takes so long, in turn."""
        turns = iter(seconds * 1000)

        def call() -> None:
            self.now += next(turns)

        return call


def test_every_call_is_timed_in_every_round():
    clock = FakeClock()
    calls = {"slow": clock.taking(0.3), "fast": clock.taking(0.1)}
    taken = take_turns(calls, seconds=8.0, fewest=3, clock=clock)
    assert list(taken) == ["slow", "fast"]
    assert taken["slow"] == pytest.approx([0.3] * 20)
    assert taken["fast"] == pytest.approx([0.1] * 20)


def test_quick_calls_are_repeated_within_a_turn():
    clock, count = FakeClock(), 0

    def quick() -> None:
        nonlocal count
        count += 1
        clock.now += 1e-5

    taken = take_turns({"quick": quick}, seconds=0.0, fewest=4, clock=clock)
    assert count == 2 + 4 * 200
    assert taken["quick"] == pytest.approx([1e-5] * 4)


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 15), (20.0, 20), (1e6, 201)])
def test_rounds_follow_the_time_within_bounds(seconds, rounds):
    clock = FakeClock()
    assert len(take_turns({"a": clock.taking(1.0)}, seconds=seconds, clock=clock)["a"]) == rounds


def test_the_ratio_is_taken_within_a_round():
    # The machine is three times slower in every second round, for both alike.
    before, after = [2.0, 6.0] * 10, [1.0, 3.0] * 10
    assert speedup(before, after) == Speedup(2.0, 2.0, 2.0, 20)


def test_bounds_are_order_statistics_of_the_median():
    ratios = [1 + i / 100 for i in range(100)]
    found = speedup(ratios, [1.0] * 100)
    # The 37th from below and above: 50 less 2.576 times the root of 100 over 2.
    assert (found.ratio, found.low, found.high) == pytest.approx((1.495, 1.37, 1.62))
    assert str(found) == "1.50x (1.37 to 1.62)"


def test_one_slow_round_does_not_decide():
    assert speedup([1.0] * 20, [0.5] * 19 + [50.0]).wins()


WINS = {
    "clear": (Speedup(1.2, 1.1, 1.3, 20), 0.02, True),
    "doubtful": (Speedup(1.2, 0.99, 1.3, 20), 0.02, False),
    "small": (Speedup(1.01, 1.005, 1.02, 20), 0.02, False),
    "small_without_margin": (Speedup(1.01, 1.005, 1.02, 20), 0.0, True),
    "slower": (Speedup(0.9, 0.8, 0.95, 20), 0.0, False),
}


@pytest.mark.parametrize("case", WINS)
def test_a_win_is_beyond_doubt_and_worth_it(case):
    found, margin, wins = WINS[case]
    assert found.wins(margin) is wins


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], [1.0, 1.0])])
def test_rounds_must_match(before, after):
    with pytest.raises(ValueError, match=r"^calls must be timed in the same rounds, got \d and \d"):
        speedup(before, after)
