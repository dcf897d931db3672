"""Logarithms of distribution functions far out on both sides, and truncation with latent arguments."""

import numpy as np
import pytest
import torch
from scipy import stats

import sursum as su
import sursum.distributions as dist
from sursum.distributions.rebuild import floating_dtype, without_checks
from sursum.distributions.tails import log_tails

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
        drawn = fn.sample((100,))
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
