"""Logarithms of distribution functions far out on both sides, and truncation with latent arguments."""

import math

import numpy as np
import pytest
import torch
from mpmath import mp
from scipy import stats
from scipy.special import logit

import sursum as su
import sursum.distributions as dist
from sursum.distributions.rebuild import floating_dtype, without_checks
from sursum.distributions.tails import log_mass, log_tails
from sursum.errors import ArgumentError

D = torch.float64


@pytest.mark.parametrize(
    ("base", "reference", "values"),
    [
        (dist.StudentT(3.0, 0.5, 2.0), stats.t(3.0, 0.5, 2.0), [-1e6, -40.0, 0.5, 7.0, 1e5]),
        (dist.Gamma(2.5, 1.5), stats.gamma(2.5, scale=1 / 1.5), [1e-80, 0.1, 1.7, 30.0, 400.0]),
        (dist.Beta(0.7, 4.0), stats.beta(0.7, 4.0), [1e-90, 0.01, 0.4, 0.999]),
        (dist.InverseGamma(2.5, 1.5), stats.invgamma(2.5, scale=1.5), [0.05, 0.6, 1e20]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_tails_are_scipys(base, reference, values):
    given = torch.tensor(values, dtype=D)
    below, above = log_tails(base, given)
    assert np.allclose(below, reference.logcdf(values), rtol=1e-6, atol=1e-12)
    assert np.allclose(above, reference.logsf(values), rtol=1e-6, atol=1e-12)


def test_a_truncated_student_distribution_with_latent_freedom():
    seen = torch.tensor([1.1, 1.4, 5.0], dtype=D)

    def program(y):
        df = su.sample("df", dist.Gamma(torch.tensor(2.0, dtype=D), 0.3))
        scale = su.sample("scale", dist.HalfNormal(torch.tensor(1.0, dtype=D)))
        su.sample("y", dist.Truncated(dist.StudentT(df, 0.0, scale), low=1.0).expand_by((3,)).to_event(1), obs=y)

    density = su.compile(program, seen)
    assert density.engine == "native"
    for q in ([0.3, -0.2], [2.0, 0.5]):
        df, scale = np.exp(q)
        wanted = stats.gamma(2.0, scale=1 / 0.3).logpdf(df) + stats.halfnorm(0, 1).logpdf(scale) + sum(q)
        wanted += (stats.t(df, 0, scale).logpdf(seen) - stats.t(df, 0, scale).logsf(1.0)).sum()
        value, slope = density.value_and_grad(np.array(q))
        assert np.isclose(value, wanted, rtol=1e-6)
        for k in range(2):
            step = 1e-6 * np.eye(2)[k]
            sides = [density.value_and_grad(np.array(q) + s)[0] for s in (step, -step)]
            assert np.isclose(slope[k], (sides[0] - sides[1]) / 2e-6, rtol=1e-5, atol=1e-6)


POSITIVES = {
    "Frechet": lambda a, b: dist.Frechet(a, b),
    "Gamma": lambda a, b: dist.Gamma(a, b),
    "InverseGaussian": lambda a, b: dist.InverseGaussian(a, b),
    "Levy": lambda a, b: dist.Levy(0.0 * a, b),
    "LogNormal": lambda a, b: dist.LogNormal(-a, b),
    "LowerTruncatedPowerLaw": lambda a, b: dist.LowerTruncatedPowerLaw(-2.0 - a, 0.2 + 0.0 * b),
    "Rayleigh": lambda a, b: dist.Rayleigh(b),
    "Weibull": lambda a, b: dist.Weibull(a, b),
}
SHARES = {
    "AffineBeta": lambda a, b: dist.AffineBeta(a, b, -1.0, 1.9),
    "Beta": lambda a, b: dist.Beta(a, b),
    "GeneralizedExtremeValue": lambda a, b: dist.GeneralizedExtremeValue(0.0, b, -b / 0.9),  # up to 0.9
    "LogitNormal": lambda a, b: dist.LogitNormal(a, b),
    "Uniform": lambda a, b: dist.Uniform(0.0 * a, 0.9),
}


@pytest.mark.parametrize("name", [*POSITIVES, *SHARES])
def test_a_bound_at_an_end_of_the_support_or_beyond_is_none(name):
    """Densities and gradients of truncated and censored numbers are those without that bound."""
    a, b = torch.tensor([1.7, 0.8], dtype=D, requires_grad=True), torch.tensor([0.6, 1.3], dtype=D, requires_grad=True)
    base = (POSITIVES | SHARES)[name](a, b)
    x = torch.tensor([0.5, 0.6], dtype=D)
    if name in POSITIVES:
        outer, same = [{"low": low, "high": 0.7} for low in (-3.0, 0.0, -torch.inf)], {"high": 0.7}
    else:
        outer, same = [{"low": 0.3, "high": high} for high in (1.0, 2.0, torch.inf)], {"low": 0.3}
    wanted = dist.Truncated(base, **same).log_prob(x)
    slopes = torch.autograd.grad(wanted.sum(), (a, b), allow_unused=True, retain_graph=True)
    assert all(slope is None or bool(slope.isfinite().all()) for slope in slopes)
    for bounds in outer:
        fn = dist.Truncated(base, **bounds)
        found = fn.log_prob(x)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        for slope, other in zip(
            torch.autograd.grad(found.sum(), (a, b), allow_unused=True, retain_graph=True), slopes, strict=True
        ):
            torch.testing.assert_close(slope, other, rtol=1e-9, atol=1e-9)
        drawn = fn.sample((10,))  # each by a search of its own
        assert bool(((drawn >= 0.0 if name in POSITIVES else drawn >= 0.3) & (drawn <= 1.0)).all())
    known = torch.stack([x - 9.0, x] if name in POSITIVES else [x, x + 9.0], -1)
    side = dist.LeftCensoredDistribution if name in POSITIVES else dist.RightCensoredDistribution
    within = dist.IntervalCensoredDistribution(without_checks(base), validate_args=False).log_prob(known)
    torch.testing.assert_close(within, side(base, True).log_prob(x))


def test_an_interval_beyond_the_support_has_no_mass():
    base = without_checks(dist.Weibull(1.0, 2.0))
    found = dist.IntervalCensoredDistribution(base, validate_args=False).log_prob(torch.tensor([-3.0, -1.0]))
    assert float(found) == -torch.inf
    assert float(dist.Censored(base, low=-1.0, validate_args=False).log_prob(torch.tensor(-1.0))) == -torch.inf


def test_a_transform_whose_inverse_was_used_is_looked_through():
    """It refers to its inverse then, and that back to it."""
    fn = dist.LogNormal(torch.tensor(0.3, dtype=D), 2.0)
    before = fn.log_prob(torch.tensor(0.7, dtype=D))
    fn.cdf(torch.tensor(3.0, dtype=D))
    assert floating_dtype(fn) is D
    found = dist.Truncated(fn, high=3.0).log_prob(torch.tensor(0.7, dtype=D))
    assert float(found) == pytest.approx(float(before) - stats.norm(0.3, 2.0).logcdf(np.log(3.0)), rel=1e-12)


@pytest.mark.parametrize("start", [0.0, 0.3, -2.0, 5.0, 30.0, -300.0])
@pytest.mark.parametrize("width", [1e-14, 1e-8, 1e-3, 0.02, 0.09, 0.11, 0.5])
def test_narrow_intervals_of_a_normal_keep_their_digits(start, width):
    mpmath = pytest.importorskip("mpmath")
    low, high = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (start, start + width))
    if not low < high:
        return
    found = log_mass(dist.Normal(torch.zeros((), dtype=torch.float64), 1.0), low, high)
    slopes = torch.autograd.grad(found, (low, high))
    with mpmath.workdps(80):
        a, b = mpmath.mpf(low.item()), mpmath.mpf(high.item())
        sign = 1 if a >= 0 else -1
        root = mpmath.sqrt(2)
        mass = sign * (mpmath.erfc(sign * a / root) - mpmath.erfc(sign * b / root)) / 2
        wanted = float(mpmath.log(mass))
        by_ends = [float(s * mpmath.npdf(x) / mass) for s, x in ((-1, a), (1, b))]
    assert found.item() == pytest.approx(wanted, rel=1e-13, abs=2e-14)
    assert [float(x) for x in slopes] == pytest.approx(by_ends, rel=1e-9)


@pytest.mark.parametrize("start", [0.0, -0.5, 40.0, -3e6, 3e30])
@pytest.mark.parametrize("width", [1e-14, 1e-8, 1e-3, 1.0, 1e8, 1e40])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_intervals_of_a_cauchy_keep_their_digits(start, width, scale):
    mpmath = pytest.importorskip("mpmath")
    low, high = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (start, start + width))
    if not low < high:
        return
    found = log_mass(dist.Cauchy(torch.zeros((), dtype=torch.float64), scale), low, high)
    slopes = torch.autograd.grad(found, (low, high))
    with mpmath.workdps(80):
        a, b = (mpmath.mpf(x.item()) / scale for x in (low, high))
        mass = (mpmath.atan(b) - mpmath.atan(a)) / mpmath.pi
        by_ends = [float(s / (mpmath.pi * (1 + x * x) * scale * mass)) for s, x in ((-1, a), (1, b))]
        wanted = float(mpmath.log(mass))
    assert found.item() == pytest.approx(wanted, rel=1e-13, abs=1e-13)
    assert [float(x) for x in slopes] == pytest.approx(by_ends, rel=1e-9)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (5.0, 5.0 + 1e-8),
        (30.0, 31.0),
        (40.0, math.inf),
        (-31.0, -30.0),
        (0.0, 1e-8),
        (1e3, 1001.0),
        (-1.0, 2.0),
        (-math.inf, 1.5),
    ],
)
def test_moments_of_truncated_normals_do_not_cancel(low, high):
    mpmath = pytest.importorskip("mpmath")
    q = dist.TruncatedNormal(*(torch.tensor(x, dtype=torch.float64) for x in (0.0, 1.0, low, high)))
    with mpmath.workdps(80):
        a, b = mpmath.mpf(low), mpmath.mpf(high)
        density = lambda x: mpmath.npdf(x) if abs(x) < mpmath.inf else mpmath.mpf(0)
        sign = 1 if a >= 0 else -1
        above = lambda x: mpmath.erfc(x / mpmath.sqrt(2)) / 2
        mass = above(a) - above(b) if sign > 0 else above(-b) - above(-a)
        times = lambda x: x * density(x) if abs(x) < mpmath.inf else mpmath.mpf(0)
        mean = (density(a) - density(b)) / mass
        variance = 1 + (times(a) - times(b)) / mass - mean**2
        wanted = float(mean), float(variance)
    assert q.mean.item() == pytest.approx(wanted[0], rel=1e-14)
    assert q.variance.item() == pytest.approx(wanted[1], rel=1e-11)


def test_moments_of_truncated_normals_have_slopes_and_batches():
    low = torch.tensor([-1.0, 0.5], dtype=torch.float64, requires_grad=True)
    q = dist.TruncatedNormal(torch.zeros(3, 1, dtype=torch.float64), 2.0, low=low, high=low + 1.5)
    assert q.mean.shape == q.variance.shape == (3, 2)
    assert torch.autograd.gradcheck(lambda x: dist.TruncatedNormal(0.1 * x, 2.0, low=x, high=x + 1.5).mean, (low,))
    assert torch.autograd.gradcheck(lambda x: dist.TruncatedNormal(0.1 * x, 2.0, low=x, high=x + 1.5).variance, (low,))
    single = dist.TruncatedNormal(torch.tensor(0.0), torch.tensor(1.0), low=torch.tensor(5.0))
    assert single.mean.dtype == torch.float32
    assert single.mean.item() == pytest.approx(5.186504, rel=1e-6)


def test_infinite_bounds_of_some_elements_leave_slopes_by_the_scale():
    scale = torch.tensor(1.3, dtype=D, requires_grad=True)
    low, high = torch.tensor([-math.inf, 0.0], dtype=D), torch.tensor([math.inf, 2.0], dtype=D)
    q = dist.TruncatedNormal(torch.zeros((), dtype=D), scale, low=low, high=high)
    # The first element is a whole normal, of variance 1.69.
    assert torch.autograd.grad(q.variance[0], scale, retain_graph=True)[0].item() == pytest.approx(2.6, rel=1e-12)
    for value in (q.mean, q.variance, q.log_prob(torch.tensor(0.5, dtype=D))):
        assert math.isfinite(torch.autograd.grad(value.sum(), scale, retain_graph=True)[0].item())


@pytest.mark.parametrize(
    "family", [lambda: dist.Cauchy(torch.zeros(()).double(), 1.0), lambda: dist.HalfCauchy(torch.ones(()).double())]
)
def test_cauchys_tails_have_slopes_however_far_out(family):
    x = torch.tensor([1e90, 1e120, 1e300], dtype=torch.float64, requires_grad=True)
    above = log_tails(family(), x)[1]
    factor = math.log(2.0) if family().__class__.__name__ == "HalfCauchy" else 0.0
    torch.testing.assert_close(above, factor - math.log(math.pi) - x.log(), rtol=1e-14, atol=0)
    torch.testing.assert_close(torch.autograd.grad(above.sum(), x)[0], -1 / x, rtol=1e-14, atol=0)


@pytest.mark.parametrize("count", [40, 400, 1000])
def test_many_points_of_quadrature_are_no_worse(count):
    q = dist.LogNormalNegativeBinomial(*(torch.tensor(x, dtype=torch.float64) for x in (2.0, 0.3, 0.5)), num_quad_points=count)
    assert q.log_prob(torch.tensor(3.0, dtype=torch.float64)).item() == pytest.approx(-2.114274773583888, rel=1e-13)


def test_a_copula_says_that_its_matrix_is_not_positive_definite():
    with pytest.raises(ArgumentError, match="correlation_matrix.*not positive definite"):
        dist.GaussianCopula(dist.Normal(torch.zeros(2), 1.0), correlation_matrix=torch.tensor([[1.0, 2.0], [2.0, 1.0]]))


def student_cdf(df, x):
    """Its part above one half, by the hypergeometric function."""
    norm = mp.gamma((df + 1) / mp.mpf(2)) / (mp.sqrt(mp.pi * df) * mp.gamma(df / mp.mpf(2)))
    return x * norm * mp.hyp2f1(mp.mpf(1) / 2, (df + 1) / mp.mpf(2), mp.mpf(3) / 2, -x * x / df)


POINTS = {"real": [-30.0, -1.0, -1e-5, 0.0, 0.7, 7.0], "positive": [1e-9, 0.3, 1.0, 9.0], "unit": [1e-9, 0.2, 0.5, 0.98]}
NARROW = {
    "Gamma": (dist.Gamma, (2.5, 1.5), "positive", lambda x: mp.gammainc(2.5, 0, 1.5 * x, regularized=True)),
    "Gamma, low": (dist.Gamma, (0.01, 1.0), "positive", lambda x: mp.gammainc(mp.mpf(0.01), 0, x, regularized=True)),
    "InverseGamma": (dist.InverseGamma, (2.5, 1.0), "positive", lambda x: mp.gammainc(2.5, 1 / x, regularized=True)),
    "Beta": (dist.Beta, (2.0, 30.0), "unit", lambda x: mp.betainc(2, 30, 0, x, regularized=True)),
    "Beta, steep": (dist.Beta, (0.5, 0.25), "unit", lambda x: mp.betainc(0.5, 0.25, 0, x, regularized=True)),
    "StudentT": (dist.StudentT, (4.0, 0.0, 1.0), "real", lambda x: student_cdf(4, x)),
    "StudentT, heavy": (dist.StudentT, (0.25, 0.0, 1.0), "real", lambda x: student_cdf(mp.mpf(0.25), x)),
    "HalfStudentT": (dist.HalfStudentT, (3.0, 1.0), "positive", lambda x: 2 * student_cdf(3, x)),
    "Laplace": (dist.Laplace, (0.0, 1.0), "real", lambda x: mp.sign(x) * (1 - mp.exp(-abs(x))) / 2),
    "Logistic": (dist.Logistic, (0.0, 1.0), "real", lambda x: 1 / (1 + mp.exp(-x))),
    "SkewLogistic": (dist.SkewLogistic, (0.0, 1.0, 3.0), "real", lambda x: (1 + mp.exp(-x)) ** -3),
    "SoftLaplace": (dist.SoftLaplace, (0.0, 1.0), "real", lambda x: 2 * mp.atan(mp.exp(x)) / mp.pi),
    "Gumbel": (dist.Gumbel, (0.0, 1.0), "real", lambda x: mp.exp(-mp.exp(-x))),
    "Exponential": (dist.Exponential, (2.0,), "positive", lambda x: -mp.exp(-2 * x)),
    "Weibull": (dist.Weibull, (1.0, 0.5), "positive", lambda x: -mp.exp(-mp.sqrt(x))),
    "Weibull, sharp": (dist.Weibull, (1.0, 200.0), "unit", lambda x: -mp.exp(-(x**200))),
    "Rayleigh": (dist.Rayleigh, (1.0,), "positive", lambda x: -mp.exp(-x * x / 2)),
    "Frechet": (dist.Frechet, (1.0, 2.0), "positive", lambda x: mp.exp(-(x**-2))),
    "Gompertz": (dist.Gompertz, (0.1, 1.0), "positive", lambda x: -mp.exp(-mp.mpf(0.1) * mp.expm1(x))),
    "LogNormal": (dist.LogNormal, (0.0, 1.0), "positive", lambda x: mp.ncdf(mp.log(x))),
    "LogLogistic": (dist.LogLogistic, (1.0, 50.0), "positive", lambda x: 1 / (1 + x**-50)),
    "LogitNormal": (dist.LogitNormal, (0.0, 0.25), "unit", lambda x: mp.ncdf(4 * mp.log(x / (1 - x)))),
    "Kumaraswamy": (dist.Kumaraswamy, (2.0, 3.0), "unit", lambda x: -((1 - x * x) ** 3)),
    "Pareto": (dist.Pareto, (1e-10, 2.5), "positive", lambda x: -((mp.mpf(1e-10) / x) ** 2.5)),
}


@pytest.mark.parametrize("name", NARROW)
def test_narrow_intervals_keep_their_digits(name):
    """And their slopes by both ends: minus and plus the density there, over the mass."""
    kind, arguments, points, cdf = NARROW[name]
    fn = kind(*(torch.tensor(x, dtype=D) for x in arguments))
    checked = 0
    for start in POINTS[points]:
        for width in (1e-15, 1e-11, 1e-7, 1e-4, 0.01, 0.6):
            low, high = (torch.tensor(x, dtype=D, requires_grad=True) for x in (start, start + width))
            if not low < high or (points == "unit" and high >= 1.0):
                continue
            with mp.workdps(80):
                mass = cdf(mp.mpf(high.item())) - cdf(mp.mpf(low.item()))
                if mass < 1e-290:
                    continue
                wanted = float(mp.log(mass))
            found = log_mass(fn, low, high)
            assert found.item() == pytest.approx(wanted, rel=1e-13, abs=1e-12), (start, width)
            slopes = torch.autograd.grad(found, (low, high))
            by_ends = [sign * math.exp(float(fn.log_prob(end.detach())) - wanted) for sign, end in ((-1, low), (1, high))]
            assert [float(x) for x in slopes] == pytest.approx(by_ends, rel=1e-9, abs=1e-290), (start, width)
            checked += 1
    assert checked >= 9


def test_a_half_student_t_has_its_digits_near_0():
    """The probability of less than x is x times twice the density of a Student t at 0."""
    at_zero = 2 * stats.t(3.0).pdf(0.0)
    x = torch.tensor([1e-12, 1e-200], dtype=D)
    np.testing.assert_allclose(dist.HalfStudentT(torch.tensor(3.0, dtype=D), 1.0).cdf(x), x.numpy() * at_zero, rtol=1e-13)


def test_a_narrow_truncation_is_compiled():
    """The density of a latent scale, at an interval between whose tails a double has no digits."""
    low = torch.tensor([0.3, 2.0], dtype=D)

    def program():
        df, scale = (su.sample(name, dist.Gamma(torch.tensor(2.0, dtype=D), 1.0)) for name in ("df", "scale"))
        base = dist.StudentT(df, torch.zeros(2, dtype=D), scale)
        su.sample("y", dist.Truncated(base, low, low + 1e-13).to_event(1), obs=low + 5e-14)

    density = su.compile(program)
    assert density.engine == "native"
    q = np.array([0.3, -0.2])
    value, slope = density.value_and_grad(q)
    # On an interval as narrow as that the distribution is uniform, whatever its arguments are.
    prior = sum(stats.gamma(2.0).logpdf(np.exp(one)) + one for one in q)
    widths = (low + 1e-13 - low).numpy()
    assert value == pytest.approx(prior - np.log(widths).sum(), abs=1e-9)
    np.testing.assert_allclose(slope, 2.0 - np.exp(q), atol=1e-9)


@pytest.mark.parametrize("base", [dist.Laplace, dist.SoftLaplace, lambda *a: dist.AsymmetricLaplace(*a, 2.0)])
def test_tails_have_a_slope_at_a_centre(base):
    """Where a formula has the size of the distance to it, which has none."""
    x = torch.zeros((), dtype=D, requires_grad=True)
    fn = base(torch.zeros((), dtype=D), 1.5)
    below, above = log_tails(fn, x)
    density = float(fn.log_prob(x.detach()).exp())
    (up,), (down,) = torch.autograd.grad(below, x, retain_graph=True), torch.autograd.grad(above, x)
    assert float(up) == pytest.approx(density / math.exp(below.item()), rel=1e-12)
    assert float(down) == pytest.approx(-density / math.exp(above.item()), rel=1e-12)


@pytest.mark.parametrize(
    ("base", "value", "below", "above"),
    [
        (dist.Weibull(torch.tensor(1.0, dtype=D), 200.0), 1e-9, -200 * 9 * math.log(10), 0.0),
        (dist.Gumbel(torch.tensor(0.0, dtype=D), 1.0), 2000.0, 0.0, -2000.0),
        (dist.Frechet(torch.tensor(1.0, dtype=D), 100.0), 1e9, 0.0, -100 * 9 * math.log(10)),
        (dist.Kumaraswamy(torch.tensor(200.0, dtype=D), 3.0), 1e-9, math.log(3) - 200 * 9 * math.log(10), 0.0),
    ],
)
def test_tails_whose_probability_underflows(base, value, below, above):
    x = torch.tensor(value, dtype=D, requires_grad=True)
    found = log_tails(base, x)
    assert [tail.item() for tail in found] == pytest.approx([below, above], rel=1e-14)
    for tail in found:
        (slope,) = torch.autograd.grad(tail, x, retain_graph=True)
        assert bool(slope.isfinite())


def test_a_kumaraswamy_density_next_to_0():
    found = dist.Kumaraswamy(torch.tensor(2.0, dtype=D), 3.0).log_prob(torch.tensor([1e-9, 0.5], dtype=D))
    np.testing.assert_allclose(found, np.log([6e-9, 6 * 0.5 * 0.75**2]), rtol=1e-14)


BEYOND = {
    "AffineBeta": (dist.AffineBeta, (2.0, 3.0, -0.5, 2.0), lambda x, a, b, low, scale: stats.beta.cdf(x, a, b, low, scale)),
    "Beta": (dist.Beta, (2.0, 3.0), lambda x, a, b: stats.beta.cdf(x, a, b)),
    "BetaProportion": (dist.BetaProportion, (0.4, 3.0), lambda x, m, n: stats.beta.cdf(x, m * n, (1 - m) * n)),
    "Cauchy": (dist.Cauchy, (0.2, 1.0), lambda x, loc, scale: stats.cauchy.cdf(x, loc, scale)),
    "Exponential": (dist.Exponential, (1.3,), lambda x, rate: stats.expon.cdf(x, scale=1 / rate)),
    "Frechet": (dist.Frechet, (1.0, 2.0), lambda x, scale, a: stats.invweibull.cdf(x, a, scale=scale)),
    "Gamma": (dist.Gamma, (1.5, 1.0), lambda x, a, rate: stats.gamma.cdf(x, a, scale=1 / rate)),
    "HalfCauchy": (dist.HalfCauchy, (1.2,), lambda x, scale: stats.halfcauchy.cdf(x, scale=scale)),
    "HalfNormal": (dist.HalfNormal, (1.2,), lambda x, scale: stats.halfnorm.cdf(x, scale=scale)),
    "HalfStudentT": (dist.HalfStudentT, (3.0, 1.0), lambda x, df, s: np.maximum(2 * stats.t.cdf(x, df, 0, s) - 1, 0)),
    "InverseGamma": (dist.InverseGamma, (2.0, 1.0), lambda x, a, rate: stats.invgamma.cdf(x, a, scale=rate)),
    "InverseGaussian": (dist.InverseGaussian, (1.0, 2.0), lambda x, m, c: stats.invgauss.cdf(x, m / c, scale=c)),
    "Kumaraswamy": (dist.Kumaraswamy, (2.0, 3.0), lambda x, a, b: 1 - (1 - np.clip(x, 0, 1) ** a) ** b),
    "Laplace": (dist.Laplace, (0.2, 1.0), lambda x, loc, scale: stats.laplace.cdf(x, loc, scale)),
    "LogLogistic": (dist.LogLogistic, (1.0, 2.0), lambda x, scale, a: stats.fisk.cdf(x, a, scale=scale)),
    "LogNormal": (dist.LogNormal, (0.2, 1.0), lambda x, m, s: stats.lognorm.cdf(x, s, scale=np.exp(m))),
    "Logistic": (dist.Logistic, (0.2, 1.0), lambda x, loc, scale: stats.logistic.cdf(x, loc, scale)),
    "LogitNormal": (dist.LogitNormal, (0.2, 1.0), lambda x, m, s: stats.norm.cdf(logit(np.clip(x, 0, 1)), m, s)),
    "Normal": (dist.Normal, (0.2, 1.0), lambda x, loc, scale: stats.norm.cdf(x, loc, scale)),
    "Pareto": (dist.Pareto, (0.3, 2.0), lambda x, scale, a: stats.pareto.cdf(x, a, scale=scale)),
    "Rayleigh": (dist.Rayleigh, (1.0,), lambda x, scale: stats.rayleigh.cdf(x, scale=scale)),
    "StudentT": (dist.StudentT, (3.0, 0.2, 1.0), lambda x, df, loc, scale: stats.t.cdf(x, df, loc, scale)),
    "Weibull": (dist.Weibull, (2.0, 1.2), lambda x, scale, a: stats.weibull_min.cdf(x, a, scale=scale)),
}


@pytest.mark.parametrize("name", BEYOND)
def test_finite_bounds_far_beyond_the_support_or_far_out(name):
    """The distribution is checked: nothing is computed outside its support. And slopes are those of the formula."""
    kind, arguments, cdf = BEYOND[name]
    ends = np.array([(-100.0, 0.6), (-1e30, 0.6), (-9.0, 0.6), (0.4, 30.0), (-100.0, 30.0)])
    mass = lambda v: np.log(cdf(ends[:, 1], *v) - cdf(ends[:, 0], *v))
    density = lambda v: kind(*(torch.tensor(x, dtype=D) for x in v)).log_prob(torch.tensor(0.5, dtype=D)).numpy()
    for dtype, close in ((D, {"rtol": 1e-6, "atol": 1e-7}), (torch.float32, {"rtol": 2e-4, "atol": 2e-5})):
        given = [torch.full((len(ends),), x, dtype=dtype, requires_grad=True) for x in arguments]
        bounds = torch.tensor(ends, dtype=dtype)
        truncated = dist.Truncated(kind(*given), bounds[:, 0], bounds[:, 1]).log_prob(torch.tensor(0.5, dtype=dtype))
        censored = dist.IntervalCensoredDistribution(kind(*given)).log_prob(bounds)
        for found, formula in ((truncated, lambda v: density(v) - mass(v)), (censored, mass)):
            np.testing.assert_allclose(found.detach(), formula(arguments), **close)
            for k, slope in enumerate(torch.autograd.grad(found.sum(), given)):
                sides = [[x + h * (j == k) for j, x in enumerate(arguments)] for h in (1e-5, -1e-5)]
                np.testing.assert_allclose(slope, (formula(sides[0]) - formula(sides[1])) / 2e-5, **close)


def test_a_student_t_between_bounds_far_out_has_its_slope():
    """A radius of 1e30 is none to take a width from."""
    loc = torch.tensor(0.4, requires_grad=True)
    found = dist.Truncated(dist.StudentT(3.0, loc, 2.0), -1e30, 1.0).log_prob(torch.tensor(0.5))
    wanted = dist.Truncated(dist.StudentT(3.0, loc, 2.0), high=1.0).log_prob(torch.tensor(0.5))
    slopes = [torch.autograd.grad(one, loc)[0].item() for one in (found, wanted)]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-5)


@pytest.mark.parametrize("low", [-100.0, 0.9e-5])
def test_a_concentrated_weibull_between_its_quantiles_has_slopes(low):
    """One, next to the scale of 1e-5, is so far out that the density has no derivative there."""
    scale = torch.tensor(1e-5, dtype=D, requires_grad=True)
    found = dist.Truncated(dist.Weibull(scale, 200.0), low, 1.01e-5).log_prob(torch.tensor(1e-5, dtype=D))

    def wanted(scale):
        ends = stats.weibull_min.cdf([low, 1.01e-5], 200.0, scale=scale)
        return stats.weibull_min.logpdf(1e-5, 200.0, scale=scale) - math.log(ends[1] - ends[0])

    assert found.item() == pytest.approx(wanted(1e-5), rel=1e-9)
    (slope,) = torch.autograd.grad(found, scale)
    assert slope.item() == pytest.approx((wanted(1.000001e-5) - wanted(0.999999e-5)) / 2e-11, rel=1e-5)


def test_a_bound_below_the_support_is_compiled():
    def program(low):
        s = su.sample("s", dist.Gamma(torch.tensor(2.0, dtype=D), 1.0))
        su.sample("x", dist.Truncated(dist.Gamma(s, 1.0), low, 2.0), obs=torch.tensor(1.0, dtype=D))
        su.sample("y", dist.IntervalCensoredDistribution(dist.Gamma(s, 1.0)), obs=torch.stack([low, low + 101.0]))

    density = su.compile(program, torch.tensor(-100.0, dtype=D))
    assert density.engine == "native"

    def wanted(q):
        s = np.exp(q)
        own = stats.gamma(s)
        return stats.gamma(2.0).logpdf(s) + q + own.logpdf(1.0) - own.logcdf(2.0) + own.logcdf(1.0)

    value, slope = density.value_and_grad(np.array([0.3]))
    assert value == pytest.approx(wanted(0.3), rel=1e-9)
    assert slope[0] == pytest.approx((wanted(0.3 + 1e-5) - wanted(0.3 - 1e-5)) / 2e-5, rel=1e-5)


@pytest.mark.parametrize(
    "base",
    [
        lambda a: dist.GeneralizedPareto(0.0 * a, a, 0.2),
        lambda a: dist.Gompertz(0.3, a),
        lambda a: dist.Gumbel(0.2, a),
        lambda a: dist.SkewLogistic(0.2, a, 2.0),
        lambda a: dist.SoftLaplace(0.2, a),
        lambda a: dist.Weibull(a, 4.0),
        lambda a: dist.GeneralizedExtremeValue(0.2, a, 0.0 * a),
        lambda a: dist.Moyal(0.2, a),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_a_finite_bound_whose_tail_underflows_is_none(base, dtype):
    """Nor has it a slope that is not a number."""
    a = torch.tensor(1.1, dtype=dtype, requires_grad=True)
    x = torch.tensor(0.5, dtype=dtype)
    # A part of the generalised Pareto's is left above: (1 + 0.2 z)⁻⁵.
    for low, high, outer in (
        (-1e4, 0.6, (None, 0.6)),
        (-1e30, 0.6, (None, 0.6)),
        (0.4, 1e4, (0.4, None)),
        (0.4, 1e9, (0.4, None)),
    ):
        found, wanted = dist.Truncated(base(a), low, high).log_prob(x), dist.Truncated(base(a), *outer).log_prob(x)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        slopes = [torch.autograd.grad(one, a)[0] for one in (found, wanted)]
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)


def test_far_tails_have_their_digits():
    one = torch.tensor(1.0, dtype=D)
    x = torch.tensor([0.5, 50.0, 1e3], dtype=D)
    with mp.workdps(900):
        skewed = [float(mp.log(1 - (1 + mp.exp(-mp.mpf(float(z)))) ** -2)) for z in x]
        soft = [float(mp.log(2 * mp.atan(mp.exp(-mp.mpf(float(z)))) / mp.pi)) for z in x]
        pareto = [float(-5 * mp.log(1 + mp.mpf(0.2) * float(z))) for z in x]
    for fn, wanted in (
        (dist.SkewLogistic(0.0, one, 2.0), skewed),
        (dist.SoftLaplace(0.0, one), soft),
        (dist.GeneralizedPareto(0.0 * one, one, 0.2 * one), pareto),
    ):
        np.testing.assert_allclose(log_tails(fn, x)[1], wanted, rtol=1e-13)


@pytest.mark.parametrize("kind", [dist.OrderedLogistic, dist.OrderedProbit])
@pytest.mark.parametrize("gap", [1e-14, 1e-6, 0.01, 0.5, 3.0])
@pytest.mark.parametrize("away", [0.0, -1.3, 30.0])
def test_cutpoints_next_to_each_other_keep_their_digits(kind, gap, away):
    cuts = torch.tensor([0.25, 0.25 + gap], dtype=D)
    eta = torch.tensor(-away, dtype=D, requires_grad=True)
    found = kind(eta, cuts).log_prob(torch.tensor(1))
    with mp.workdps(300):
        low, high = (mp.mpf(float(c)) + mp.mpf(away) for c in cuts)
        if kind is dist.OrderedProbit:
            mass = (mp.erfc(low / mp.sqrt(2)) - mp.erfc(high / mp.sqrt(2))) / 2
            slope = (mp.npdf(low) - mp.npdf(high)) / mass
        else:
            mass = 1 / (1 + mp.exp(-high)) - 1 / (1 + mp.exp(-low))
            density = lambda x: mp.exp(-x) / (1 + mp.exp(-x)) ** 2
            slope = (density(low) - density(high)) / mass
    assert found.item() == pytest.approx(float(mp.log(mass)), rel=1e-12)
    assert torch.autograd.grad(found, eta)[0].item() == pytest.approx(float(slope), rel=1e-6, abs=1e-9)


def test_an_ordered_probit_of_a_tiny_scale_has_no_density_far_out():
    fn = dist.OrderedProbit(torch.tensor(1e3, dtype=D), torch.tensor([0.0, 1.0], dtype=D), 1e-153)
    np.testing.assert_array_equal(fn.log_prob(torch.tensor([0, 1, 2])), [-np.inf, -np.inf, 0.0])
