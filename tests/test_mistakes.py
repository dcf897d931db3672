"""Plausible mistakes, a row each, and what is said of them: what was meant, and what to write."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import CallError, MissingNameError, OptionError, PriorSupportError


def model(x):
    b = su.sample("b", dist.Normal(0.0, 1.0))
    with su.plate("n", len(x)):
        return su.sample("y", dist.Normal(b * x, 1.0))


def ordered():
    mu = su.param("mu", torch.tensor([-1.0, 1.0]), constraint=constraints.ordered)
    su.factor("prior of mu", dist.Normal(0.0, 5.0).log_prob(mu).sum(-1))


def svi():
    return su.infer.SVI(model, su.infer.autoguide.AutoNormal(model), su.optim.Adam({"lr": 0.1}))


FIT = su.infer.Fit(lambda: su.factor("f", -((su.param("slope", torch.tensor(0.0)) - 1) ** 2)), engine="torch").run()
PREDICTION = su.infer.Predictive(model, num_samples=2, seed=0)(torch.zeros(2))

ROWS = [
    # Names that are elsewhere, or that are not here at all.
    (lambda: su.Model, MissingNameError, "module 'sursum' has no attribute 'Model': a program is a function"),
    (lambda: su.NUTS, MissingNameError, r"write `su\.infer\.NUTS`"),
    (lambda: su.Adam, MissingNameError, r"write `su\.optim\.Adam`"),
    (lambda: su.Normal, MissingNameError, r"write `su\.distributions\.Normal`"),
    (lambda: su.clear_param_store, MissingNameError, r"there is no global parameter store.*svi\.params"),
    (lambda: su.samples, MissingNameError, "Did you mean 'sample'"),
    (lambda: su.infer.AutoNormal, MissingNameError, r"write `su\.infer\.autoguide\.AutoNormal`"),
    (lambda: dist.TwoSidedTruncatedDistribution, MissingNameError, r"dist\.Truncated\(base, low, high\)"),
    (lambda: dist.MvStudentT, MissingNameError, r"dist\.MultivariateStudentT"),
    (lambda: dist.Wald, MissingNameError, r"dist\.InverseGaussian\(mu, lam\)"),
    (lambda: dist.LKJCorr, MissingNameError, "LKJCholesky"),
    (lambda: dist.CategoricalLogits, MissingNameError, r"dist\.Categorical\(logits=…\)"),
    (lambda: dist.Norml, MissingNameError, "Did you mean 'Normal'"),
    # What comes of a run.
    (lambda: FIT.slope, MissingNameError, r"sites are read by name, `fit\['slope'\]`"),
    (lambda: FIT["slop"], KeyError, r"Did you mean 'slope'\? It has 'slope'"),
    (lambda: PREDICTION.y, MissingNameError, r"sites are read by name, `prediction\['y'\]`"),
    (lambda: svi().sample(10), CallError, "nothing has been run yet.*`run` first"),
    # Priors.
    (
        lambda: su.lift(ordered, {"mu": dist.Normal(0.0, 5.0)})(),
        PriorSupportError,
        r"constraint Ordered\(\)\. Use Sorted\(dist.Normal\(…\), K\)",
    ),
    # Arguments of distributions.
    (lambda: dist.Normal(mu=0, sigma=1), OptionError, r"no option `mu`\. Write `loc=`\..*`sigma`\. Write `scale=`"),
    (lambda: dist.Normal(mean=0, sd=1), OptionError, r"Write `loc=`\..* Write `scale=`"),
    (lambda: dist.Normal(0.0, tau=2.0), OptionError, r"scale=tau \*\* -0\.5"),
    (lambda: dist.Exponential(scale=2.0), OptionError, r"no option `scale`: write `rate=1 / scale`"),
    (lambda: dist.Exponential(lam=2.0), OptionError, "Write `rate=`"),
    (lambda: dist.Gamma(alpha=1.0, beta=2.0), OptionError, "Write `concentration=`.*Write `rate=`"),
    (lambda: dist.Beta(alpha=1.0, beta=2.0), OptionError, "Write `concentration1=`.*Write `concentration0=`"),
    (lambda: dist.HalfCauchy(beta=2.0), OptionError, "Write `scale=`"),
    (lambda: dist.InverseGamma(1.0, scale=2.0), OptionError, "Write `rate=`"),
    (lambda: dist.StudentT(nu=4, mu=0, sigma=1), OptionError, "Write `df=`"),
    (lambda: dist.Poisson(mu=3.0), OptionError, "Write `rate=`"),
    (lambda: dist.Bernoulli(p=0.5), OptionError, "Write `probs=`"),
    (lambda: dist.Binomial(n=5, p=0.5), OptionError, "Write `total_count=`.*Write `probs=`"),
    (lambda: dist.NegativeBinomial(n=5, p=0.5), OptionError, "probs=1 - p"),
    (lambda: dist.Uniform(lower=0.0, upper=1.0), OptionError, "Write `low=`.*Write `high=`"),
    (lambda: dist.LKJCholesky(n=3, eta=2.0), OptionError, "Write `dim=`.*Write `concentration=`"),
    (lambda: dist.Normal(0.0, 1.0, shape=3), OptionError, r"write a plate around the site, or `\.expand\(\[…\]\)`"),
    (lambda: dist.Normal(0.0, 1.0, observed=3), OptionError, r"data are the site's, `sample\('y', fn, obs=y\)`"),
    (lambda: dist.Normal(0.0, scal=1.0), OptionError, "Did you mean 'scale'"),
    (lambda: dist.Normal("b", 0, 1), OptionError, r"a distribution has no name.*`sample\('b', dist\.Normal\(…\)\)`"),
    (lambda: dist.Normal(np.zeros(3), 1.0), OptionError, r"`Normal` takes tensors.*torch\.as_tensor\(array\)"),
]


@pytest.mark.parametrize(("mistake", "error", "said"), ROWS, ids=[inspect.getsource(row[0]).strip()[9:60] for row in ROWS])
def test_what_is_said(mistake, error, said):
    with pytest.raises(error, match=said):
        mistake()


def test_distributions_have_the_signatures_of_torchs():
    for name in dist.__all__:
        theirs = getattr(torch.distributions, name, None)
        if isinstance(theirs, type) and theirs is not getattr(dist, name) and name not in ("LKJCholesky", "Wishart"):
            assert list(inspect.signature(getattr(dist, name)).parameters) == list(inspect.signature(theirs).parameters)


def test_distributions_of_users_take_what_they_say():
    class Scaled(dist.Normal):
        def __init__(self, sigma, validate_args=None):
            super().__init__(0.0, sigma, validate_args)

    assert float(Scaled(sigma=2.0, validate_args=False).scale) == 2.0
    assert list(inspect.signature(Scaled).parameters) == ["sigma", "validate_args"]
    with pytest.raises(OptionError, match="`Scaled` has no option `validate`"):
        Scaled(2.0, validate=True)


def test_the_advice_for_a_truncated_normal_and_for_counts_is_right():
    from scipy import stats

    u, normal = torch.linspace(0.01, 0.99, 7, dtype=torch.float64), dist.Normal(torch.tensor(0.5, dtype=torch.float64), 2.0)
    a, b = torch.tensor(-1.0), torch.tensor(3.0)
    base = dist.Uniform(normal.cdf(a), normal.cdf(b))
    cut = stats.truncnorm((-1.0 - 0.5) / 2.0, (3.0 - 0.5) / 2.0, loc=0.5, scale=2.0)
    assert np.allclose(normal.icdf(base.icdf(u)), cut.ppf(u), rtol=1e-6)
    mean, alpha, y = torch.tensor(3.0), torch.tensor(1.5), torch.arange(5.0)
    ours = dist.NegativeBinomial(total_count=alpha, logits=mean.log() - alpha.log())
    assert np.allclose(ours.log_prob(y), stats.nbinom(1.5, 1.5 / 4.5).logpmf(y), rtol=1e-5)
    assert np.allclose(dist.NegativeBinomial(5.0, probs=1 - 0.3).log_prob(y), stats.nbinom(5, 0.3).logpmf(y), rtol=1e-5)
    poisson = dist.NegativeBinomial(alpha, logits=-torch.tensor(0.5).log())  # Gamma(alpha, rate 0.5) mixed
    assert np.allclose(poisson.log_prob(y), stats.nbinom(1.5, 0.5 / 1.5).logpmf(y), rtol=1e-5)


def test_the_advice_for_an_ordered_prior_is_proper():
    lifted = su.lift(ordered, {"mu": dist.ImproperUniform(constraints.ordered, torch.Size(), torch.Size([2]))})
    density = su.infer.LogDensity(lifted)
    steps = torch.arange(-30.0, 30.0, 0.25, dtype=torch.float64)
    q = torch.cartesian_prod(steps, torch.arange(-20.0, 5.0, 0.25, dtype=torch.float64))
    values = torch.vmap(density)(q)
    assert abs(float(values.exp().sum() * 0.0625) - 0.5) < 1e-3  # one of the two orders


def test_the_advice_for_ordered_outcomes_is_right():
    cutpoints, eta = torch.tensor([-1.0, 0.5]), torch.tensor([0.3, -2.0])
    below = torch.sigmoid(cutpoints - eta.unsqueeze(-1))
    edges = torch.cat([torch.zeros(2, 1), below, torch.ones(2, 1)], -1)
    probs = edges.diff(dim=-1)
    assert torch.allclose(dist.Categorical(probs).probs[0, 0], torch.sigmoid(torch.tensor(-1.3)))
    assert torch.allclose(probs.sum(-1), torch.ones(2))


def test_the_advice_for_extra_zeros_is_right():
    y, rate, gate = torch.arange(40.0), torch.tensor(2.5), torch.tensor(0.3)
    other = (1 - gate).log() + dist.Poisson(rate).log_prob(y)
    zero = (1 - gate).log() + dist.Poisson(rate).log_prob(torch.tensor(0.0))
    density = torch.where(y == 0, torch.logaddexp(gate.log(), zero), other).exp()
    assert torch.allclose(density.sum(), torch.tensor(1.0))
    assert torch.allclose(density[0], gate + (1 - gate) * (-rate).exp())
