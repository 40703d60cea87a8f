"""``respell``: what is chosen from which timings, and that the network stays what it was."""

import copy
import re
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from pointwise.inspection.timing import Call
from pointwise.surgery.respell import respell
from pointwise.surgery.spelling.spellings import Spelled
from pointwise.surgery.spelling.times import OWN

LAST = "channels-last weights"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Told:
    """A timer that is told how long calls take: the first text that a call's name contains."""

    def __init__(self, seconds: Mapping[str, float], spread: float = 0.0) -> None:
        self.seconds, self.spread = seconds, spread
        self.heats: list[list[str]] = []

    def __call__(self, calls: Mapping[str, Call], *, seconds: float) -> dict[str, list[float]]:
        for call in calls.values():
            call()
        self.heats.append(list(calls))
        waves = [1 + self.spread * sign for sign in (-1, 1)] * 10
        taken = {}
        for number, name in enumerate(calls):
            one = next((s for text, s in self.seconds.items() if text in name), 1.0)
            taken[name] = [one * wave for wave in (waves if number % 2 else waves[::-1])]
        return taken


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 16, 1),
        nn.ReLU(),
        nn.Conv2d(16, 8, 1, stride=2),
        nn.Flatten(),
        nn.Linear(8 * 3 * 3, 10),
    )


X = torch.linspace(-1, 1, 2 * 3 * 7 * 7).reshape(2, 3, 7, 7)


def lies_last(weight: torch.Tensor) -> bool:
    return weight.is_contiguous(memory_format=torch.channels_last)


# --- What is chosen ---


def test_nothing_faster_leaves_the_network_as_it_is():
    model = network().eval()
    told = Told({})
    new, swaps = respell(model, X, timer=told)
    assert new is not model
    assert [swap.after for swap in swaps] == [None] * 4
    assert swaps[0].path == ""
    assert swaps[0].reason.startswith(
        "nothing is faster beyond doubt; the next, channels-last weights: 1.00x (1.00 to 1.00) on "
    )
    assert [(swap.path, swap.reason) for swap in swaps[1:]] == [
        ("2", "no other spelling is faster beyond doubt"),
        ("4", "its stride is (2, 2): it drops positions"),
        ("6", "no other spelling is faster beyond doubt"),
    ]
    assert told.heats[-1] == ["as given", LAST]
    torch.testing.assert_close(new(X), model(X), rtol=0, atol=0)
    assert type(new[2]) is nn.Conv2d
    assert not lies_last(new[0].weight)


def test_channels_last_weights_stay_where_they_win():
    model = network().eval()
    told = Told({LAST: 0.5})
    new, swaps = respell(model, X, timer=told)
    assert lies_last(new[0].weight)
    assert not lies_last(model[0].weight)
    assert (swaps[0].before, swaps[0].after) == ("Sequential", LAST)
    assert swaps[0].reason.startswith("2.00x (2.00 to 2.00) on ")
    assert re.search(r" threads?; equal to \S+ \(\S+ of the largest output\)$", swaps[0].reason)
    assert told.heats[-2:] == [["as given", LAST]] * 2  # twice, the second time for the figure
    torch.testing.assert_close(new(X), model(X))


def test_a_layer_is_respelled_where_that_wins_in_the_whole_network():
    model = network().eval()
    new, swaps = respell(model, X, timer=Told({"F.linear on rows": 0.9, "rows": 0.8}))
    assert swaps[0].after == "F.linear on rows in 1"
    assert swaps[0].reason.startswith("1.11x (1.11 to 1.11)")
    assert (swaps[1].path, swaps[1].before) == ("2", "Conv2d(8, 16, 1x1)")
    assert swaps[1].after == "Conv2d(8, 16, 1x1) as F.linear on rows"
    assert swaps[1].reason == "1.25x (1.25 to 1.25) alone"
    assert isinstance(new[2], Spelled)
    torch.testing.assert_close(new(X), model(X))
    assert new.state_dict().keys() == model.state_dict().keys()
    model.load_state_dict(new.state_dict())


def test_a_layer_that_wins_alone_only_is_left():
    new, swaps = respell(network().eval(), X, timer=Told({"F.linear": 1.1, "rows": 0.8}))
    assert type(new[2]) is nn.Conv2d
    assert swaps[1].reason == (
        "F.linear on rows is 1.25x (1.25 to 1.25) alone, and gains nothing in the whole network"
    )


SMALL = {
    "margin": Told({LAST: 0.993}),  # less than the one percent that makes a change worth it
    "noise": Told({LAST: 0.9}, spread=0.2),  # faster in the middle, not beyond doubt
    "slower": Told({LAST: 1.5}),
}


@pytest.mark.parametrize("case", SMALL)
def test_the_original_stays_where_nothing_wins_clearly(case):
    new, swaps = respell(network().eval(), X, timer=SMALL[case])
    assert swaps[0].after is None
    assert "nothing is faster beyond doubt" in swaps[0].reason
    assert not lies_last(new[0].weight)


def test_a_winner_must_win_again():
    class Moody(Told):
        """Channels-last wins the first heat of whole networks, and loses the next."""

        def __call__(self, calls: Mapping[str, Call], *, seconds: float) -> dict[str, list[float]]:
            taken = super().__call__(calls, seconds=seconds)
            if LAST in calls:
                self.seconds = {LAST: 1.2}
            return taken

    new, swaps = respell(network().eval(), X, timer=Moody({LAST: 0.5}))
    assert swaps[0].after is None
    assert "the next, channels-last weights: 0.83x (0.83 to 0.83)" in swaps[0].reason
    assert not lies_last(new[0].weight)


def test_the_fastest_of_noisy_rounds_is_timed_once_more():
    class Settling(Told):
        """The first heat of whole networks is noisy, the next one is not."""

        def __call__(self, calls: Mapping[str, Call], *, seconds: float) -> dict[str, list[float]]:
            self.spread = 0.2 if len(calls) > 2 else 0.0
            return super().__call__(calls, seconds=seconds)

    timer = Settling({LAST: 0.9})
    _, swaps = respell(network().eval(), X, timer=timer, folding=True)
    assert swaps[0].after == LAST
    assert timer.heats[-1] == ["as given", LAST]


def test_the_simpler_of_equals_stays():
    timer = Told({LAST + ", F": 0.5, LAST: 0.5, "rows": 0.5})
    _, swaps = respell(network().eval(), X, timer=timer)
    assert swaps[0].after == LAST


# --- What stays ---


def test_flags_and_statistics_stay():
    model = network()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    new, _ = respell(model, X, timer=Told({LAST: 0.5, "rows": 0.4}))
    for one in (model, new):
        assert [module.training for module in one.modules()] == flags
        torch.testing.assert_close(dict(one.state_dict()), dict(before), rtol=0, atol=0)


def test_in_place_keeps_the_parameters_themselves():
    model = network().eval()
    x, parameters = X, dict(model.named_parameters())
    expected = model(x)
    new, _ = respell(model, x, in_place=True, timer=Told({LAST: 0.5, "rows": 0.4}))
    assert new is model
    assert all(new.get_parameter(name) is one for name, one in parameters.items())
    assert isinstance(new[2], Spelled)
    torch.testing.assert_close(new(x), expected)


def test_shared_layers_stay_shared_and_are_timed_on_all_inputs():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = nn.Conv2d(4, 4, 1)
            self.idle = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x)[:, :, ::2])

    new, swaps = respell(Twice().eval(), torch.randn(1, 4, 6, 6), timer=Told({"rows": 0.5}))
    assert new.first is new.second
    assert isinstance(new.first, Spelled)
    assert [(swap.path, swap.after is None) for swap in swaps] == [
        ("", False),
        ("first", False),
        ("idle", True),
    ]
    assert swaps[-1].reason == "is not called in this run"


def test_the_model_itself_may_be_the_layer():
    new, swaps = respell(nn.Conv2d(3, 4, 1), X, timer=Told({"rows": 0.5}))
    assert isinstance(new, Spelled)
    assert [swap.path for swap in swaps] == ["", ""]


def test_several_arguments_are_taken_as_a_tuple():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Conv1d(4, 4, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.mix(input=x) + y

    x = torch.randn(2, 2, 4, 5)
    new, _ = respell(Both(), (x[0], x[1]), timer=Told({"columns": 0.5}))
    assert isinstance(new.mix, Spelled)


def test_a_spelling_that_the_network_refuses_is_not_kept():
    class Strict(nn.Module):
        """Works on tokens in one memory order only."""

        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mix(x).view(-1)

    # Columns give planar memory, which has no such view: the spelling that keeps it is next.
    timer = Told({"columns": 0.3, "image": 0.5, "matmul": 0.3, "F.conv2d": 0.5})
    new, swaps = respell(Strict(), torch.randn(2, 5, 4), timer=timer)
    assert swaps[0].after == "F.conv2d in 1"
    assert new.mix.spelling == "image"


def test_folding_is_done_where_asked_for_and_where_it_wins():
    model = network().eval()
    model[1].running_mean.uniform_(-1, 1)
    timer = Told({f"folded, {LAST}": 0.5, "folded": 0.7, LAST: 0.9})
    new, swaps = respell(model, X, folding=True, timer=timer)
    assert swaps[0].after == f"folded, {LAST}"
    assert swaps[0].reason.startswith("2.00x")
    assert any(swap.before.startswith("BatchNorm2d") for swap in swaps[1:])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in new.modules())
    assert [swap.path for swap in swaps if "1x1" in swap.before][-2:] == ["2", "4"]
    torch.testing.assert_close(new(X), model(X))
    plain, _ = respell(model, X, timer=timer)
    assert isinstance(plain[1], nn.BatchNorm2d)


def test_layers_that_are_alike_are_timed_once():
    model = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(5)))
    told = Told({})
    respell(model, torch.randn(1, 4, 6, 6), timer=told)
    assert sum(OWN in heat for heat in told.heats) <= 2  # planar weights, and channels-last ones


def test_what_differs_by_more_than_allowed_is_not_considered():
    _, swaps = respell(network().eval(), X, rtol=-1.0, timer=Told({LAST: 0.5, "rows": 0.5}))
    assert swaps[0].after is None
    assert re.search(
        r"^no other spelling gives the same result \(channels-last weights: output must agree to ",
        swaps[0].reason,
    )


def test_folding_needs_evaluation_mode():
    with pytest.raises(ValueError, match=r"train"):
        respell(network(), X, folding=True, timer=Told({}))


def test_what_holds_no_values_cannot_be_timed():
    with pytest.raises(ValueError, match=r"^model and example must hold values, to be timed"):
        respell(network().to("meta"), X.to("meta"))


def test_real_timings_give_an_equal_network():
    model = network().eval()
    new, swaps = respell(model, X, seconds=0.2)
    assert len(swaps) == 4
    torch.testing.assert_close(new(X), model(X))
