"""Chains of factors against the Eckart-Young optimum, least squares and exactness."""

import re
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pointwise.functional.factor import Factors, output_factors, split_by, split_factors
from pointwise.functional.refit import centred_bias, quadratic_error, refit_last
from pointwise.functional.tucker import tucker_factors, tucker_outputs

OUT, IN, TAPS = 6, 4, 3  # outputs, inputs, taps of the usual case


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def moment(
    size: int, *, rank: int | None = None, seed: int = 1, batch: tuple[int, ...] = ()
) -> Tensor:
    """A moment of correlated data, of directions of very different strength."""
    rank = size if rank is None else rank
    rows = random(*batch, 5 * size, rank, seed=seed) @ random(*batch, rank, size, seed=seed + 50)
    return rows.mT @ rows / (5 * size)


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.mT


def eckart_young(weight: Tensor, s: Tensor, g: Tensor, rank: int) -> Tensor:
    """The least error that any map of this rank can have."""
    return torch.linalg.svdvals(root(g) @ weight @ root(s))[..., rank:].square().sum()


METRICS = {"no_metric": None, "metric": moment(OUT, seed=9)}
each_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


# --- after the taps ---


@each_metric
@pytest.mark.parametrize("inputs", [IN, 20], ids=["fewer_inputs", "more_inputs"])
@pytest.mark.parametrize("seen", [None, 2], ids=["full", "deficient"])
def test_output_factors_are_the_optimum(
    metric: Tensor | None, inputs: int, seen: int | None
) -> None:
    weight, s = random(OUT, inputs), moment(inputs, rank=seen)
    found = output_factors(weight, weight @ s @ weight.T, metric=metric)
    assert found.errors.shape == (min(OUT, inputs) + 1,)
    for rank in range(1, min(OUT, inputs) + 1):
        chain = found.at(rank)
        measured = quadratic_error(weight - chain.matrix, s, metric=metric)
        best = eckart_young(weight, s, torch.eye(OUT).double() if metric is None else metric, rank)
        size = float(found.errors[0])
        assert_close(chain.error, measured, rtol=1e-8, atol=1e-10 * size)
        assert_close(chain.error, best, rtol=1e-8, atol=1e-10 * size)
        assert torch.linalg.matrix_rank(chain.matrix) <= rank


@each_metric
@pytest.mark.parametrize("shape", [(6, 4), (6, 20), (1, 5), (5, 1)], ids=str)
@pytest.mark.parametrize("seen", [None, 1, 0], ids=["full", "deficient", "nothing"])
def test_output_factors_are_exact_at_full_rank(
    metric: Tensor | None, shape: tuple[int, int], seen: int | None
) -> None:
    weight, s = random(*shape), moment(shape[1], rank=seen)
    metric = None if metric is None else metric[: shape[0], : shape[0]]
    chain = output_factors(weight, weight @ s @ weight.T, metric=metric).at(min(shape))
    assert_close(chain.matrix, weight, rtol=0, atol=1e-12)
    assert chain.error == 0


def test_the_output_projection_is_the_whitened_svd() -> None:
    weight, s = random(OUT, 20), moment(20)
    u, values, vt = torch.linalg.svd(weight @ root(s), full_matrices=False)
    whitened = u[:, :3] * values[:3] @ vt[:3] @ torch.linalg.inv(root(s))
    chain = output_factors(weight, weight @ s @ weight.T).at(3)
    assert_close(chain.matrix, whitened, rtol=1e-7, atol=1e-8)


def test_the_last_factor_is_orthonormal() -> None:
    weight = random(OUT, 20)
    last = output_factors(weight, moment(OUT), metric=moment(OUT, seed=4)).at(3).factors[1]
    assert_close(last.T @ last, torch.eye(3).double())


def test_a_metric_of_nothing_makes_no_error() -> None:
    weight = random(OUT, 20)
    found = output_factors(weight, moment(OUT), metric=torch.zeros(OUT, OUT))
    assert_close(found.errors, torch.zeros(OUT + 1).double())
    assert_close(found.at(OUT).matrix, weight)


# --- before the taps ---


@each_metric
@pytest.mark.parametrize("shape", [(OUT, IN, TAPS), (2, 20, 3), (3, 5, 1)], ids=str)
@pytest.mark.parametrize("seen", [None, 3, 0], ids=["full", "deficient", "nothing"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole_moment", "marginal"])
def test_split_factors(
    metric: Tensor | None, shape: tuple[int, int, int], seen: int | None, whole: bool
) -> None:
    outputs, inputs, taps = shape
    weight = random(*shape)
    metric = None if metric is None else metric[:outputs, :outputs]
    s = moment(inputs * taps if whole else inputs, rank=seen)
    full = s if whole else torch.kron(s, torch.eye(taps).double())
    found = split_factors(weight, s, metric=metric)
    ranks = min(inputs, outputs * taps)
    assert found.errors.shape == (ranks + 1,)
    assert_close(
        found.errors[0], quadratic_error(weight.flatten(1), full, metric=metric), rtol=1e-9, atol=0
    )
    for rank in range(1, ranks + 1):
        chain = found.at(rank)
        change = (weight - chain.matrix).flatten(1)
        measured = quadratic_error(change, full, metric=metric)
        assert_close(chain.error, measured, rtol=1e-6, atol=1e-9 * float(found.errors[0]))
        assert found.errors[rank] <= found.errors[rank - 1]
    assert_close(found.at(ranks).matrix, weight, rtol=0, atol=1e-12)
    assert found.at(ranks).error == 0


@each_metric
def test_one_tap_is_the_optimum(metric: Tensor | None) -> None:
    weight, s = random(OUT, 5, 1), moment(5)
    found = split_factors(weight, s, metric=metric)
    g = torch.eye(OUT).double() if metric is None else metric
    for rank in range(1, 5):
        best = eckart_young(weight[..., 0], s, g, rank)
        assert_close(found.errors[rank], best, rtol=1e-7, atol=0)


def test_the_last_factor_is_the_least_squares_fit() -> None:
    weight, s = random(OUT, IN, TAPS), moment(IN * TAPS)
    first, last = split_factors(weight, s).at(2).factors
    a = torch.kron(first.contiguous(), torch.eye(TAPS).double())
    w = weight.flatten(1)
    fitted = refit_last(w @ s @ a.T, a @ s @ a.T)
    assert_close(last.flatten(1), fitted, rtol=1e-7, atol=1e-8)


@each_metric
def test_refitting_is_never_worse(metric: Tensor | None) -> None:
    weight, s = random(OUT, IN, TAPS), moment(IN * TAPS)
    found = split_factors(weight, s, metric=metric)
    for rank in range(1, IN):
        chain = found.at(rank)
        first = chain.factors[0]
        plain = torch.einsum("oij,ri,rk->okj", weight, first, first)
        error = quadratic_error((weight - plain).flatten(1), s, metric=metric)
        assert chain.error < error


def test_given_mixtures_are_kept() -> None:
    first = torch.linalg.qr(random(IN, IN))[0]
    found = split_by(first, random(OUT, IN, TAPS), moment(IN * TAPS))
    assert_close(found.at(2).factors[0], first[:2])
    assert_close(found.at(IN).matrix, random(OUT, IN, TAPS))


def test_exactly_low_rank_maps_are_found() -> None:
    weight = torch.einsum("orj,ri->oij", random(OUT, 2, TAPS), random(2, 20, seed=3))
    s = moment(20 * TAPS)
    for chain in (
        split_factors(weight, s).at(2),
        split_factors(weight, moment(20)).at(2),
        tucker_factors(weight, s, (2, 6)),
    ):
        assert_close(chain.matrix, weight, rtol=0, atol=1e-6)
        assert chain.error < 1e-9 * quadratic_error(weight.flatten(1), s)
    flat = weight.flatten(1)[:, :20]
    chain = output_factors(flat, flat @ moment(20) @ flat.T).at(6)
    assert_close(chain.matrix, flat, rtol=0, atol=1e-10)


def test_a_moment_must_fit() -> None:
    message = "moment must have shape (..., 12, 12) or (..., 4, 4), got (5, 5)"
    with pytest.raises(ValueError, match=re.escape(message)):
        split_factors(random(OUT, IN, TAPS), moment(5))


# --- on both sides ---


@each_metric
def test_tucker_factors_are_exact_at_full_rank(metric: Tensor | None) -> None:
    weight = random(OUT, IN, TAPS)
    chain = tucker_factors(weight, moment(IN * TAPS), (IN, OUT), metric=metric)
    assert [tuple(f.shape) for f in chain.factors] == [(IN, IN), (OUT, IN, TAPS), (OUT, OUT)]
    assert_close(chain.matrix, weight, rtol=0, atol=1e-11)
    assert_close(chain.error, torch.zeros(()).double())


@each_metric
@pytest.mark.parametrize("ranks", [(1, 1), (2, 3), (4, 2), (3, 6)], ids=str)
def test_tucker_errors_are_the_measured_ones(metric: Tensor | None, ranks: tuple[int, int]) -> None:
    weight, s = random(OUT, IN, TAPS), moment(IN * TAPS)
    chain = tucker_factors(weight, s, ranks, metric=metric)
    change = (weight - chain.matrix).flatten(1)
    assert_close(chain.error, quadratic_error(change, s, metric=metric), rtol=1e-6, atol=1e-9)


@each_metric
def test_sweeps_are_never_worse(metric: Tensor | None) -> None:
    weight, s = random(OUT, 8, TAPS, seed=2), moment(8 * TAPS)
    errors = [
        float(tucker_factors(weight, s, (2, 2), metric=metric, sweeps=n).error) for n in range(5)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[-1]


def test_tucker_outputs_are_the_optimum_for_their_mixtures() -> None:
    """The rest of the chain is a map of rank 2 on what the mixtures give."""
    weight, s, g = random(OUT, IN, TAPS), moment(IN * TAPS), moment(OUT, seed=9)
    split = split_factors(weight, s, metric=g)
    chain = tucker_outputs(split, 2, metric=g).at(2)
    a = torch.kron(split.first[:2].contiguous(), torch.eye(TAPS).double())
    kept = weight.flatten(1) @ s @ a.T @ torch.linalg.inv(root(a @ s @ a.T))
    lost = torch.linalg.svdvals(root(g) @ kept)[2:].square().sum()
    assert_close(chain.error, split.errors[2] + lost, rtol=1e-6, atol=0)


def test_a_tucker_rank_must_be_possible() -> None:
    message = "rank must be from 1 to 4, got 5"
    with pytest.raises(ValueError, match=re.escape(message)):
        tucker_factors(random(OUT, IN, TAPS), moment(IN * TAPS), (5, 2))


# --- batches, bias ---

MAKERS: dict[str, Callable[[Tensor, Tensor, Tensor], Factors]] = {
    "output": lambda w, s, g: output_factors(
        w.flatten(-2), w.flatten(-2) @ s @ w.flatten(-2).mT, metric=g
    ).at(2),
    "split": lambda w, s, g: split_factors(w, s, metric=g).at(2),
    "tucker": lambda w, s, g: tucker_factors(w, s, (2, 2), metric=g, sweeps=0),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize("inputs", [IN, 2, 30], ids=["usual", "two_inputs", "many_inputs"])
def test_groups_are_independent(
    make: Callable[[Tensor, Tensor, Tensor], Factors], inputs: int
) -> None:
    weight = random(3, 5, inputs, TAPS)
    s, g = moment(inputs * TAPS, batch=(3,)), moment(5, batch=(3,))
    together = make(weight, s, g)
    for i in range(3):
        alone = make(weight[i], s[i], g[i])
        assert_close(together.matrix[i], alone.matrix, rtol=1e-6, atol=1e-8)
        assert_close(together.error[i], alone.error, rtol=1e-6, atol=1e-9)


def test_results_are_float64_whatever_comes() -> None:
    chain = split_factors(random(OUT, IN, TAPS).half(), moment(IN * TAPS).float()).at(2)
    assert {factor.dtype for factor in chain.factors} == {torch.float64}


@pytest.mark.parametrize("bias", [None, random(OUT)], ids=["no_bias", "bias"])
def test_centring_keeps_the_mean_and_is_never_worse(bias: Tensor | None) -> None:
    x = random(200, 8) + 3
    weight = random(OUT, 8)
    mean = x.mean(0)
    chain = output_factors(weight, weight @ torch.cov(x.T) @ weight.T).at(2)
    offset = torch.zeros(OUT).double() if bias is None else bias
    exact = x @ weight.T + offset
    centred = x @ chain.matrix.T + centred_bias(bias, weight, chain.matrix, mean)
    assert_close(centred.mean(0), exact.mean(0))
    plain = x @ chain.matrix.T + offset
    error = (exact - centred).square().sum(1).mean()
    assert error < (exact - plain).square().sum(1).mean()
    second = x.T @ x / len(x)  # without centring
    other = output_factors(weight, weight @ second @ weight.T).at(2)
    assert error < (exact - x @ other.matrix.T - offset).square().sum(1).mean()
    assert_close(error, chain.error * 199 / 200)


def test_a_fit_takes_the_prior_where_data_say_nothing() -> None:
    z = torch.zeros(50, 3).double()
    z[:, 0] = random(50)
    prior = random(2, 3, seed=5)
    y = z @ random(2, 3).T
    found = refit_last(y.T @ z, z.T @ z, prior=prior)
    assert_close(found[:, 0], random(2, 3)[:, 0])
    assert_close(found[:, 1:], prior[:, 1:])


@pytest.mark.parametrize("condition", [1e2, 1e6, 1e9, 1e15], ids="{:.0e}".format)
def test_the_quick_way_of_the_fit_is_the_sure_one(condition: float) -> None:
    """Moments that are far from singular are solved otherwise than others, to the same."""
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(2, 12, 12, dtype=torch.float64))[0]
    values = condition ** -torch.linspace(0, 1, 12, dtype=torch.float64)
    moment = basis * values @ basis.mT
    wanted, prior = torch.randn(2, 2, 5, 12, dtype=torch.float64)
    found = refit_last(wanted @ moment, moment, prior=prior)
    kept = (values > 1e-11)[:, None] * basis.mT  # where data say something
    told = (wanted - found) @ basis * (values > 1e-11)
    assert_close(told, torch.zeros_like(told), rtol=0, atol=1e-15 * condition + 1e-9)
    silent = found - found @ kept.mT @ kept
    assert_close(silent, prior - prior @ kept.mT @ kept, rtol=0, atol=1e-15 * condition + 1e-9)


def test_wide_maps_are_factored_quickly_and_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weight, z = torch.randn(40, 60, 3, dtype=torch.float64), torch.randn(500, 180).double()
    z = z @ torch.randn(180, 180).double() * torch.logspace(0, -5, 180).double()
    moment = z.T @ z / 500
    exact = split_factors(weight, moment)
    monkeypatch.setattr(sys.modules[split_factors.__module__], "LARGE", 10)
    quick = split_factors(weight, moment)
    assert_close(quick.errors, exact.errors, rtol=1e-4, atol=1e-7 * float(exact.errors[0]))
    one = torch.eye(60, dtype=torch.float64)
    assert_close(quick.first @ quick.first.T, one, rtol=0, atol=1e-12)
    for rank in (5, 30, 60):  # the errors are those of what is built, whatever was chosen
        chain = quick.at(rank)
        apart = (weight - chain.matrix).flatten(1)
        assert_close(chain.error, quadratic_error(apart, moment), rtol=1e-5, atol=1e-8)
