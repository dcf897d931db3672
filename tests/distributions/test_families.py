"""The contract of our own families: a row of `families.py` each, and every one held to all of this."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.distributions.families import ROWS, D, Row
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.compiled import compile_density
from sursum.density.log_density import LogDensity
from sursum.distributions.bijections import bijection
from sursum.distributions.constraints import RealOrNan
from sursum.distributions.family import Family
from sursum.distributions.randomness import drawing_from
from sursum.distributions.rebuild import recast
from sursum.distributions.select import select
from sursum.distributions.supports import holds, support_of
from sursum.errors import DensityError, OptionError

N = 4000
NUMBERS = [name for name, row in ROWS.items() if row.samples == "numbers"]
COUNTS = [name for name, row in ROWS.items() if row.samples == "counts"]
CONTINUOUS = [
    name for name, row in ROWS.items() if row.latent and not row.make(torch.zeros(row.count, dtype=D)).support.is_discrete
]
every = pytest.mark.parametrize("name", ROWS)


def unknowns(row: Row, seed: int, spread: float = 0.5) -> Tensor:
    return spread * torch.randn(row.count, dtype=D, generator=torch.Generator().manual_seed(seed))


def draws(fn: Any, count: int, seed: int = 1) -> Tensor:
    with drawing_from(torch.Generator().manual_seed(seed)):
        value: Tensor = fn.sample(torch.Size([count]))
    return value


@functools.cache
def grid(name: str) -> tuple[Any, Tensor, Tensor]:
    """A distribution of numbers, values that cover it, and their shares of its mass, equally spaced in a coordinate."""
    row = ROWS[name]
    fn = row.make(unknowns(row, 5))
    fn._validate_args = False  # far out values are rounded onto the ends of an interval, and past them
    u = torch.linspace(-60.0, 60.0, 20_001, dtype=D)
    if support_of(fn) is dist.constraints.real:
        u = (u / 3).sinh() / 10
    onto = bijection(support_of(fn))
    x = onto(u)
    mass = (fn.log_prob(x) + onto.log_abs_det_jacobian(u, x)).exp()
    mass = torch.nan_to_num(mass) * torch.gradient(u)[0]
    return (fn, x, mass) if x[-1] > x[0] else (fn, x.flip(0), mass.flip(0))


@functools.cache
def counted(name: str) -> tuple[Any, Tensor, Tensor]:
    """A distribution of counts, its values as far as they matter, and their probabilities."""
    row = ROWS[name]
    fn = row.make(unknowns(row, 5))
    values = fn.enumerate_support() if fn.has_enumerate_support else torch.arange(-300.0, 3000.0, dtype=D)
    values = values[holds(fn.support, values)]
    return fn, values, fn.log_prob(values).exp()


@every
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_density_is_that_of_the_reference(name: str, seed: int) -> None:
    row = ROWS[name]
    t = unknowns(row, seed, 0.7)
    with np.errstate(all="ignore"):
        wanted = torch.as_tensor(np.asarray(row.reference(t.numpy(), row.values.numpy()), dtype=float))
    fn = row.make(t)
    found = fn.log_prob(row.values)
    assert found.shape == wanted.shape
    assert bool(torch.isfinite(found).any())
    precision = row.precision if row.count else 1e-6  # numbers without arguments are of the default dtype
    torch.testing.assert_close(found, wanted, rtol=precision, atol=precision, check_dtype=row.count > 0)


@every
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    row = ROWS[name]
    if not row.count:
        return
    t = unknowns(row, 4).requires_grad_()
    inner = row.make(t.detach()).log_prob(row.values).abs() < 1e3  # else the differences have no digits
    values = row.values[inner if inner.dim() == 1 else inner.all(-1)].clone().requires_grad_(row.values.is_floating_point())

    def f(at: Tensor, x: Tensor) -> Tensor:
        return row.make(at).log_prob(x)

    total = f(t, values)
    if not total.requires_grad:
        return
    by_t, by_x = torch.autograd.grad(total.sum(), (t, values), allow_unused=True)
    h = 1e-5
    for k in range(row.count):
        step = torch.zeros_like(t)
        step[k] = h
        with torch.no_grad():
            wanted = (f(t + step, values) - f(t - step, values)).sum() / (2 * h)
        torch.testing.assert_close(
            (torch.zeros(1, dtype=D) if by_t is None else by_t[k : k + 1])[0], wanted, rtol=1e-5, atol=1e-5
        )
    if name in CONTINUOUS and row.differentiable and not row.make(t.detach()).event_shape:
        with torch.no_grad():
            step = 1e-6 * values.abs().clamp(max=1.0)
            wanted = (f(t, values + step) - f(t, values - step)) / (2 * step)
        away = (values.abs() > 1e-3) & (values < 1 - 1e-3 if values.max() < 1 else True)
        torch.testing.assert_close(by_x[away], wanted[away], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_integrate_to_one_and_to_their_moments(name: str) -> None:
    fn, x, mass = grid(name)
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-6)
    if ROWS[name].moments:
        mean = (x * mass).sum()
        assert float(fn.mean) == pytest.approx(float(mean), rel=1e-4, abs=1e-5)
        assert float(fn.variance) == pytest.approx(float(((x - mean).square() * mass).sum()), rel=1e-3)


@pytest.mark.parametrize("name", NUMBERS)
def test_cdf_and_icdf_are_those_of_the_density(name: str) -> None:
    fn, x, mass = grid(name)
    total = mass.cumsum(0)
    at = [int((total < share).sum()) for share in (0.001, 0.03, 0.2, 0.5, 0.9, 0.999)]
    wanted = total[at] - mass[at] / 2 - torch.gradient(mass)[0][at] / 12  # the trapezoid rule, with its first correction
    try:
        found = fn.cdf(x[at])
    except (NotImplementedError, DensityError):
        pass
    else:
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    try:
        back = fn.icdf(wanted)
    except NotImplementedError:
        return
    torch.testing.assert_close(back, x[at], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NUMBERS)
def test_the_cdf_and_its_inverse_have_their_ends(name: str) -> None:
    """At the ends of the support, beyond them and at infinity, of a distribution that checks its values."""
    row = ROWS[name]
    fn = row.make(unknowns(row, 5))
    low, high = (getattr(fn.support, end, at) for end, at in (("lower_bound", -torch.inf), ("upper_bound", torch.inf)))
    low, high = (torch.as_tensor(end, dtype=D) for end in (low, high))
    try:
        found = fn.cdf(
            torch.stack([torch.full_like(low, -torch.inf), low - 1, low, high, high + 1, torch.full_like(low, torch.inf)])
        )
    except (NotImplementedError, DensityError):
        pass
    else:
        assert found.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
        with pytest.raises(ValueError, match="support"):
            fn.cdf(torch.tensor(torch.nan, dtype=D))
    try:
        ends = fn.icdf(torch.tensor([0.0, 1.0], dtype=D))
    except NotImplementedError:
        return
    torch.testing.assert_close(ends, torch.stack([low, high]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NUMBERS)
def test_draws_of_numbers_have_the_density(name: str) -> None:
    """By the test of Kolmogorov and Smirnov at 1 in 10⁵, against the integral of the density."""
    fn, x, mass = grid(name)
    cdf = mass.cumsum(0) - mass / 2
    assert stats.kstest(draws(fn, N).numpy(), lambda v: np.interp(v, x.numpy(), cdf.numpy())).pvalue > 1e-5


@pytest.mark.parametrize("name", COUNTS)
def test_probabilities_of_counts_add_up_and_have_their_moments(name: str) -> None:
    fn, values, mass = counted(name)
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-6)
    if ROWS[name].moments:
        mean = (values * mass).sum()
        assert float(fn.mean) == pytest.approx(float(mean), rel=1e-4)
        assert float(fn.variance) == pytest.approx(float(((values - mean).square() * mass).sum()), rel=1e-3)


@pytest.mark.parametrize("name", COUNTS)
def test_draws_of_counts_have_the_probabilities(name: str) -> None:
    """By Pearson's test at 1 in 10⁵, of the values that are expected at least five times, and of the rest together."""
    fn, values, mass = counted(name)
    value = draws(fn, N)
    found = torch.stack([(value == v).sum() for v in values]).double()
    often = N * mass >= 5
    observed, expected = [*found[often].tolist()], [*(N * mass[often]).tolist()]
    rest = N - sum(expected)
    if rest > 1:
        observed, expected = [*observed, N - sum(observed)], [*expected, rest]
    expected = [e * sum(observed) / sum(expected) for e in expected]
    if len(expected) > 1:
        assert stats.chisquare(observed, expected).pvalue > 1e-5


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.samples == "ratios"])
def test_draws_of_vectors_have_the_density(name: str) -> None:
    """E_p[q / p] = 1 for members q of the family near p, within five standard errors, and the mean and the variance of p."""
    row = ROWS[name]
    t = unknowns(row, 5)
    p = row.make(t)
    value = draws(p, N)
    assert bool(holds(p.support, value).all())
    for seed in range(3):
        q = row.make(t + unknowns(row, 20 + seed, 0.08))
        ratio = (q.log_prob(value) - p.log_prob(value)).exp()
        error = float(ratio.std()) / N**0.5
        assert 0.0 < error < 0.05
        assert float(ratio.mean()) == pytest.approx(1.0, abs=5 * error)
    if row.moments:
        error = value.std(0) / N**0.5
        assert bool(((value.mean(0) - p.mean).abs() <= 5.5 * error + 1e-12).all())
        spread = (value - value.mean(0)).square()
        assert bool(((spread.mean(0) - p.variance).abs() <= 6 * spread.std(0) / N**0.5 + 1e-12).all())


@every
def test_draws_lie_in_the_support_and_it_in_the_coordinates(name: str) -> None:
    row = ROWS[name]
    fn = row.make(unknowns(row, 6))
    value = draws(fn, 50)
    assert value.shape == (50, *fn.batch_shape, *fn.event_shape)
    assert bool(holds(fn.support, value).all())
    assert bool(torch.isfinite(fn.log_prob(value)).all())
    if name in CONTINUOUS:
        onto = bijection(support_of(fn))
        torch.testing.assert_close(onto(onto.inv(value)), value, rtol=1e-6, atol=1e-6)


@every
def test_it_has_batches_and_dtypes(name: str) -> None:
    row = ROWS[name]
    t = unknowns(row, 7)
    fn = row.make(t)
    if fn.batch_shape:
        return
    wide = fn.expand([2, 3])
    assert wide.batch_shape == (2, 3)
    assert type(wide) is type(fn)
    value = draws(wide, 4)
    assert value.shape == (4, 2, 3, *fn.event_shape)
    torch.testing.assert_close(wide.log_prob(value), fn.log_prob(value))
    torch.testing.assert_close(fn.expand_by([3]).to_event(1).log_prob(value), fn.log_prob(value).sum(-1))
    part = select(wide, -1, torch.tensor([2, 0]))
    if row.joined and part is None:  # such a distribution is not for subsampled plates, which say so
        return
    assert part is not None
    assert part.batch_shape == (2, 2)
    torch.testing.assert_close(part.log_prob(value[:, :, :2]), fn.log_prob(value[:, :, :2]))
    masked = wide.mask(torch.tensor([True, False, True])).log_prob(value)
    assert bool((masked[..., 1] == 0).all())
    narrow = recast(fn, torch.float32, torch.device("cpu"))
    drawn = draws(narrow, 3)
    if drawn.is_floating_point():
        assert drawn.dtype == narrow.log_prob(drawn).dtype == torch.float32
        torch.testing.assert_close(narrow.log_prob(drawn).double(), fn.log_prob(drawn.double()), rtol=1e-3, atol=1e-3)
    if fn.has_rsample:
        leaf = t.clone().requires_grad_()
        with drawing_from(torch.Generator().manual_seed(0)):
            moved = row.make(leaf).rsample(torch.Size([2]))
        assert moved.requires_grad


@every
def test_there_may_be_no_draws_and_no_copies(name: str) -> None:
    row = ROWS[name]
    fn = row.make(unknowns(row, 7))
    for batch in ([], [0], [2, 0]):
        if fn.batch_shape and batch:
            continue
        empty = fn.expand(batch) if batch else fn
        value = draws(empty, 4 if batch else 0)
        assert value.shape == ((4, *batch) if batch else (0, *fn.batch_shape)) + tuple(fn.event_shape)
        assert empty.log_prob(value).shape == value.shape[: value.dim() - len(fn.event_shape)]
        for moment in ("mean", "variance") if row.moments and row.samples != "none" and batch else ():
            assert getattr(empty, moment).shape == (*batch, *fn.event_shape)


@every
def test_it_says_what_is_outside(name: str) -> None:
    row = ROWS[name]
    fn = row.make(unknowns(row, 8))
    outside = torch.inf if isinstance(fn.support, RealOrNan) else torch.nan
    with pytest.raises(ValueError, match="support"):
        fn.log_prob(torch.full(fn.event_shape, outside, dtype=D))


def test_every_family_has_a_row() -> None:
    public = {n for n in dist.__all__ if isinstance(getattr(dist, n), type) and issubclass(getattr(dist, n), Family)}
    assert public == ROWS.keys()


WITH_ARGUMENTS = [name for name, row in ROWS.items() if row.count]
GROUPS = [["NegativeBinomial2", "OrderedLogistic", "TruncatedNormal"], *(WITH_ARGUMENTS[k : k + 6] for k in range(0, 200, 6))]
groups = [pytest.param(group, marks=[pytest.mark.slow] if k else []) for k, group in enumerate(GROUPS) if group]


@pytest.mark.parametrize("group", groups, ids="-".join)
def test_c_computes_what_torch_does(group: list[str]) -> None:
    """Many families in one program, each with unknowns of its own, so that each has its own part of the gradient."""

    def program() -> None:
        for name in group:
            row = ROWS[name]
            t = su.sample(f"t {name}", dist.Normal(torch.zeros(row.count, dtype=D), 1.0).to_event(1))
            value = row.values[row.reference(np.full(row.count, 0.1), row.values.numpy()) > -1e3]
            fn = row.make(t)
            batch = fn.batch_shape
            value = value.reshape(len(value), *[1] * len(batch), *fn.event_shape).expand(len(value), *batch, *fn.event_shape)
            su.sample(f"y {name}", fn.expand([len(value), *batch]), obs=value)

    density = LogDensity(program, (), {})
    compiled = compile_density(density, "native")
    assert compiled.engine == "native"
    for seed in range(3):
        q = 0.3 * np.random.default_rng(seed).normal(size=density.dim)
        point = torch.from_numpy(q).requires_grad_()
        eager = density(point)
        (slope,) = torch.autograd.grad(eager, point)
        value, gradient = compiled.value_and_grad(q)
        assert value == pytest.approx(float(eager.detach()), rel=1e-9)
        np.testing.assert_allclose(gradient, slope.numpy(), rtol=1e-7, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUOUS)
def test_nuts_draws_the_prior(name: str) -> None:
    """With nothing observed, draws of NUTS are those of the sampler: the medians of both, in each other's errors."""
    row = ROWS[name]
    fn = row.make(unknowns(row, 9))
    # Short steps: kinks and walls end some draws of long ones in divergences.
    kernel = su.infer.NUTS(lambda: su.sample("x", fn), target_accept=0.95)
    with pytest.warns(match="observed"):
        posterior = su.infer.MCMC(kernel, num_warmup=500, num_samples=2000, num_chains=2, seed=1, progress=False).run()
    found = posterior["x"].flatten(0, 1).reshape(4000, -1)
    exact = draws(fn, 20_000).reshape(20_000, -1)
    for k in range(found.shape[1]):
        if float(exact[:, k].std()) > 0:
            share = float((found[:, k] < exact[:, k].median()).double().mean())
            assert share == pytest.approx(0.5, abs=0.1)


def test_a_mixture_of_different_supports_has_them_all() -> None:
    fn = dist.MixtureGeneral(dist.Categorical(torch.tensor([0.25, 0.75])), [dist.HalfNormal(1.0), dist.Normal(1.0, 1.0)])
    assert fn.support is dist.constraints.real
    value = torch.tensor([-0.5, 2.0])
    both = 0.25 * dist.HalfNormal(1.0).log_prob(value.abs()).exp() * (value > 0)
    torch.testing.assert_close(fn.log_prob(value).exp(), both + 0.75 * dist.Normal(1.0, 1.0).log_prob(value).exp())
    with pytest.raises(DensityError, match="2 weights takes as many components, but got 1"):
        dist.MixtureGeneral(dist.Categorical(torch.ones(2)), [dist.Normal(0.0, 1.0)])


def test_missing_and_infinite_values_are_accepted_where_they_mean_something() -> None:
    def program(y: Tensor, pair: Tensor) -> None:
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        with su.plate("data", len(y)):
            su.sample("y", dist.NanMaskedNormal(mu, 1.0), obs=y)
        with su.plate("intervals", len(pair)):
            su.sample("t", dist.IntervalCensoredDistribution(dist.Normal(mu, 1.0)), obs=pair)

    density = LogDensity(program, (torch.tensor([0.5, torch.nan]), torch.tensor([[0.0, torch.inf]])))
    wanted = stats.norm.logpdf(0.3) + stats.norm(0.3).logpdf(0.5) + stats.norm(0.3).logsf(0.0)
    assert float(density(torch.tensor([0.3], dtype=D))) == pytest.approx(wanted, abs=1e-10)


def test_a_custom_distribution_is_compiled_and_drawn() -> None:
    def log_prob(x: Tensor, rate: Tensor) -> Tensor:
        return rate.log() - rate * x

    def program(y: Tensor) -> None:
        rate = su.sample("rate", dist.CustomDist(log_prob, 2.0, support=dist.constraints.positive))
        with su.plate("data", len(y)):
            su.sample("y", dist.CustomDist(log_prob, rate, support=dist.constraints.positive), obs=y)

    y = torch.tensor([0.5, 1.5])
    density = LogDensity(program, (y,))
    rate = np.exp(0.3)
    wanted = np.log(2) - 2 * rate + 0.3 + 2 * 0.3 - rate * 2.0
    assert float(density(torch.tensor([0.3], dtype=D))) == pytest.approx(wanted, abs=1e-10)
    with pytest.raises(DensityError, match="cannot be drawn from"):
        dist.CustomDist(log_prob, 2.0).sample()
    with pytest.raises(DensityError, match=r"shape \(3, 2\), where \(3,\) was expected"):
        dist.CustomDist(lambda x: x, event_shape=(2,)).log_prob(torch.zeros(3, 2))


def test_a_filter_knows_the_states() -> None:
    """With next to no noise in the observations, the filtered states are the observations."""
    eye = torch.eye(1, dtype=D)
    fn = dist.GaussianStateSpace(eye, eye, eye, 1e-10 * eye, num_steps=5)
    y = torch.tensor([[1.0], [2.0], [0.5], [torch.nan], [3.0]], dtype=D)
    means, covariances = fn.filter(y)
    torch.testing.assert_close(means[[0, 1, 2, 4]], y[[0, 1, 2, 4]], atol=1e-6, rtol=0)
    assert float(means[3]) == pytest.approx(0.5, abs=1e-6)
    assert float(covariances[3]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("low", [None, -torch.inf])
def test_numbers_with_infinite_bounds_are_not_censored_and_have_a_gradient(low: float | None) -> None:
    """Survival times: of those that were seen to end the bound is infinite."""
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    high = torch.tensor([torch.inf, 2.0], dtype=torch.float64)
    value = torch.tensor([1.0, 2.0], dtype=torch.float64)
    found = dist.Censored(dist.Weibull(scale, 1.3), low=low, high=high).log_prob(value)
    # log k + (k − 1) log t − k log s − (t/s)^k where it ended, and −(t/s)^k where it did not.
    ended = math.log(1.3) - 1.3 * math.log(1.5) - (1.0 / 1.5) ** 1.3
    torch.testing.assert_close(found.detach(), torch.tensor([ended, -((2.0 / 1.5) ** 1.3)], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(found.sum(), scale)
    by_hand = -1.3 / 1.5 + 1.3 / 1.5 * ((1.0 / 1.5) ** 1.3 + (2.0 / 1.5) ** 1.3)
    assert float(gradient) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "wanted", "rel"),
    [
        (lambda: dist.Rice(torch.tensor([1e2, 1e4]), 1.0).variance, [0.99994999, 1.0], 1e-6),
        (lambda: dist.Rice(torch.tensor(99.0, dtype=D), 1.0).variance, 1 - 0.5 / 99.0**2 - 0.5 / 99.0**4, 1e-10),
        (lambda: dist.Rice(torch.tensor(1e8, dtype=D), 2.0).variance, 4.0, 1e-12),
        (lambda: dist.LowerTruncatedPowerLaw(-1000.0, 1.0).variance, stats.pareto(999.0).var(), 1e-5),
        (lambda: dist.DoublyTruncatedPowerLaw(-2.0, 100.0, 101.0).variance, 1 / 12, 1e-4),
        (lambda: dist.LogLogistic(1.0, 1000.0).variance, math.pi**2 / 3 / 1000.0**2, 1e-4),
        (lambda: dist.Frechet(1.0, 1000.0).variance, stats.invweibull(1000.0).var(), 1e-4),
        (lambda: dist.GeneralizedExtremeValue(0.0, 1.0, torch.tensor([1e-7, 1e-6])).mean, 0.5772161, 1e-5),
        (lambda: dist.GeneralizedExtremeValue(0.0, 1.0, torch.tensor([1e-4, 3e-4])).variance, [1.6453645, 1.6462260], 2e-6),
        (lambda: dist.GeneralizedExtremeValue(0.0, 1.0, torch.tensor([0.5, -0.5, 0.0])).icdf(torch.tensor(0.0)),
         [-2.0, -torch.inf, -torch.inf], 1e-6),
        (lambda: dist.GeneralizedExtremeValue(0.0, 1.0, torch.tensor([0.5, -0.5, 0.0])).icdf(torch.tensor(1.0)),
         [torch.inf, 2.0, torch.inf], 1e-6),
        (lambda: dist.SkewStudentT(torch.tensor([0.4, 0.4, 2.0]), torch.tensor([0.4, 2.0, 0.4])).mean,
         [torch.nan, -torch.inf, torch.inf], 0),
        (lambda: dist.SkewStudentT(torch.tensor([0.4, 0.4, 0.8]), torch.tensor([0.4, 2.0, 0.8])).variance,
         [torch.nan, torch.inf, torch.inf], 0),
        (lambda: dist.LogitNormal(0.0, 1.0).log_prob(torch.tensor([0.0, 1.0])), -torch.inf, 0),
        (lambda: dist.GroupedNormalNormal(torch.zeros(1, dtype=D), 0.1, 0.3, [0]).prior_scale, 0.1, 1e-15),
    ],
)  # fmt: skip
def test_moments_and_ends_where_formulas_lose_their_digits(make: Any, wanted: Any, rel: float) -> None:
    found = make()
    np.testing.assert_allclose(found.numpy(), np.broadcast_to(wanted, tuple(found.shape)), rtol=rel)


def test_an_affine_beta_has_its_ends() -> None:
    """(x − l)/s is rounded to more than 1 at some upper ends."""
    low, scale = torch.rand(2, 1000, dtype=D, generator=torch.Generator().manual_seed(0)) + 0.1
    fn = dist.AffineBeta(1.0, 1.0, low, scale)
    torch.testing.assert_close(fn.log_prob(fn.high), -scale.log())
    torch.testing.assert_close(fn.log_prob(fn.low), -scale.log())


def test_draws_of_a_wide_logit_normal_have_a_density() -> None:
    drawn = draws(dist.LogitNormal(0.0, 20.0), 1000)
    assert bool(((drawn > 0) & (drawn < 1) & dist.LogitNormal(0.0, 20.0).log_prob(drawn).isfinite()).all())


def test_draws_of_a_skew_t_reach_into_its_tails() -> None:
    """In float32 too, where a Beta number has no digits next to 1: by the Kolmogorov-Smirnov test of log |z| far out."""
    drawn = draws(dist.SkewStudentT(0.2, 0.2), N).double().abs()
    far = drawn[drawn > 100.0]
    assert float((far > 1e6).double().mean()) == pytest.approx(1e-4**0.4, abs=5 * (1e-4**0.4 / len(far)) ** 0.5)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: dist.EulerMaruyama(torch.tensor([0.0, 2, 1]), lambda x, t: (x, x), dist.Normal(0, 1)), OptionError, "rise"),
        (lambda: dist.GroupedNormalNormal(torch.tensor(0.0), 1.0, 1.0, torch.tensor([0])), OptionError, "each group"),
        (lambda: dist.Interpolated(torch.tensor([0.0, 1.0]), torch.zeros(2)), ValueError, "one is positive"),
        (lambda: dist.Interpolated(torch.tensor(0.0), torch.tensor(1.0)), ValueError, "at least two"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_distribution_are_refused(make: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()
