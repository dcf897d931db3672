"""Logarithms of distribution functions far out on both sides, and truncation with latent arguments."""

import numpy as np
import pytest
import torch
from scipy import stats

import sursum as su
import sursum.distributions as dist
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
