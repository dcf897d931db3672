"""Draws against densities, for every distribution: what is drawn has the density that is scored.

For two densities p and q of one family, q inside of p's support, the draws x of p satisfy :math:`E_p[q(x) / p(x)] = 1`. The
mean over N draws is held to 1 within five of its standard errors, for several q, which a draw of another density misses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints, transforms
from sursum.distributions.family import Family
from sursum.distributions.randomness import drawing_from

D = torch.float64
N = 20_000


def t(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=D)


def tri(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=D)


TWO, OTHER = tri((1.0, 0.0), (0.5, 1.2)), tri((0.9, 0.0), (0.2, 1.0))
THREE = torch.eye(3, dtype=D)

# A family: a function to its members, the arguments of p, and those of several q.
FAMILIES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], list[tuple[Any, ...]]]] = {
    "Bernoulli": (lambda p: dist.Bernoulli(p), (t(0.3),), [(t(0.6),)]),
    "Beta": (lambda a, b: dist.Beta(a, b), (t(1.5), t(0.7)), [(t(2.5), t(0.7)), (t(1.5), t(1.5))]),
    "Binomial": (lambda p: dist.Binomial(7, p), (t(0.4),), [(t(0.5),), (t(0.3),)]),
    "Categorical": (lambda *p: dist.Categorical(t(*p)), (0.2, 0.5, 0.3), [(0.4, 0.4, 0.2), (0.2, 0.2, 0.6)]),
    "Cauchy": (lambda m, s: dist.Cauchy(m, s), (t(0.5), t(1.5)), [(t(1.0), t(1.5)), (t(0.5), t(1.0))]),
    "Chi2": (lambda k: dist.Chi2(k), (t(3.0),), [(t(4.0),), (t(2.5),)]),
    "ContinuousBernoulli": (lambda p: dist.ContinuousBernoulli(p), (t(0.3),), [(t(0.6),)]),
    "CustomDist": (
        lambda r: dist.CustomDist(
            lambda x, rate: rate.log() - rate * x,
            r,
            sampler=lambda shape, rate: -torch.rand(shape, dtype=D).log() / rate,
            support=constraints.positive,
        ),
        (t(1.3),),
        [(t(1.8),)],
    ),
    "Dirichlet": (lambda *a: dist.Dirichlet(t(*a)), (1.0, 2.0, 0.8), [(1.5, 2.0, 0.8), (1.0, 2.0, 1.5)]),
    "Empirical": (lambda *w: dist.Empirical(t(0.0, 1.0), t(*w).log()), (0.3, 0.7), [(0.5, 0.5), (0.1, 0.9)]),
    "Exponential": (lambda r: dist.Exponential(r), (t(1.3),), [(t(1.8),), (t(1.0),)]),
    "FisherSnedecor": (lambda a, b: dist.FisherSnedecor(a, b), (t(3.0), t(6.0)), [(t(4.0), t(6.0)), (t(3.0), t(9.0))]),
    "Gamma": (lambda a, r: dist.Gamma(a, r), (t(1.6), t(2.0)), [(t(2.2), t(2.0)), (t(1.6), t(2.8))]),
    "GeneralizedPareto": (
        lambda m, s, k: dist.GeneralizedPareto(m, s, k),
        (t(0.0), t(1.0), t(0.3)),
        [(t(0.0), t(0.8), t(0.3)), (t(0.0), t(1.0), t(0.1))],
    ),
    "Geometric": (lambda p: dist.Geometric(p), (t(0.3),), [(t(0.4),), (t(0.6),)]),
    "Gumbel": (lambda m, s: dist.Gumbel(m, s), (t(0.5), t(1.2)), [(t(0.2), t(1.2)), (t(0.5), t(1.0))]),
    "HalfCauchy": (lambda s: dist.HalfCauchy(s), (t(1.5),), [(t(1.0),), (t(2.0),)]),
    "HalfNormal": (lambda s: dist.HalfNormal(s), (t(1.5),), [(t(1.2),), (t(0.8),)]),
    "Independent": (lambda m: dist.Normal(m, 1.0).to_event(1), (t(0.0, 1.0),), [(t(0.5, 1.0),), (t(0.0, 0.5),)]),
    "InverseGamma": (lambda a, b: dist.InverseGamma(a, b), (t(2.0), t(1.5)), [(t(2.8), t(1.5)), (t(2.0), t(2.0))]),
    "Kumaraswamy": (lambda a, b: dist.Kumaraswamy(a, b), (t(1.5), t(2.0)), [(t(2.0), t(2.0)), (t(1.5), t(2.8))]),
    "LKJCholesky": (lambda e: dist.LKJCholesky(4, e), (t(1.0),), [(t(1.5),), (t(3.0),)]),
    "Laplace": (lambda m, s: dist.Laplace(m, s), (t(0.5), t(1.2)), [(t(0.2), t(1.2)), (t(0.5), t(0.9))]),
    "LogNormal": (lambda m, s: dist.LogNormal(m, s), (t(0.5), t(0.8)), [(t(0.2), t(0.8)), (t(0.5), t(0.6))]),
    "LogisticNormal": (
        lambda m, s: dist.LogisticNormal(m, s),
        (t(0.3, -0.2), t(1.0, 0.8)),
        [(t(0.0, -0.2), t(1.0, 0.8)), (t(0.3, -0.2), t(0.8, 0.8))],
    ),
    "LowRankMultivariateNormal": (
        lambda m, w, d: dist.LowRankMultivariateNormal(m, w, d),
        (t(0.0, 1.0), tri((1.0,), (0.5,)), t(0.5, 0.8)),
        [(t(0.3, 1.0), tri((1.0,), (0.5,)), t(0.5, 0.8)), (t(0.0, 1.0), tri((0.8,), (0.6,)), t(0.5, 0.8))],
    ),
    "Masked": (lambda m: dist.Normal(m, 1.0).mask(True), (t(0.0),), [(t(0.5),)]),
    "MixtureSameFamily": (
        lambda w, m: dist.MixtureSameFamily(dist.Categorical(w), dist.Normal(m, 1.0)),
        (t(0.3, 0.7), t(-2.0, 1.0)),
        [(t(0.5, 0.5), t(-2.0, 1.0)), (t(0.3, 0.7), t(-1.5, 1.0))],
    ),
    "Multinomial": (lambda *p: dist.Multinomial(5, t(*p)), (0.2, 0.5, 0.3), [(0.3, 0.4, 0.3), (0.2, 0.4, 0.4)]),
    "MultivariateNormal": (
        lambda m, root: dist.MultivariateNormal(m, scale_tril=root),
        (t(0.0, 1.0), TWO),
        [(t(0.3, 1.0), TWO), (t(0.0, 1.0), OTHER)],
    ),
    "NegativeBinomial": (lambda n, p: dist.NegativeBinomial(n, p), (t(2.5), t(0.5)), [(t(3.5), t(0.5)), (t(2.5), t(0.4))]),
    "Normal": (lambda m, s: dist.Normal(m, s), (t(0.5), t(1.2)), [(t(0.2), t(1.2)), (t(0.5), t(1.0))]),
    "OneHotCategorical": (lambda *p: dist.OneHotCategorical(t(*p)), (0.2, 0.5, 0.3), [(0.4, 0.4, 0.2)]),
    "OneHotCategoricalStraightThrough": (
        lambda *p: dist.OneHotCategoricalStraightThrough(t(*p)),
        (0.2, 0.5, 0.3),
        [(0.4, 0.4, 0.2)],
    ),
    "Pareto": (lambda a: dist.Pareto(t(1.5)[0], a), (t(2.0),), [(t(2.8),), (t(1.6),)]),
    "Poisson": (lambda r: dist.Poisson(r), (t(2.5),), [(t(3.0),), (t(2.0),)]),
    "RelaxedBernoulli": (lambda p: dist.RelaxedBernoulli(t(1.3)[0], p), (t(0.4),), [(t(0.6),), (t(0.3),)]),
    "RelaxedOneHotCategorical": (
        lambda *p: dist.RelaxedOneHotCategorical(t(1.3)[0], t(*p)),
        (0.2, 0.5, 0.3),
        [(0.3, 0.4, 0.3), (0.2, 0.4, 0.4)],
    ),
    "StudentT": (lambda k, m: dist.StudentT(k, m, 1.3), (t(4.0), t(0.5)), [(t(6.0), t(0.5)), (t(4.0), t(0.9))]),
    "TransformedDistribution": (
        lambda m: dist.TransformedDistribution(dist.Normal(m, 1.0), [transforms.SigmoidTransform()]),
        (t(0.3),),
        [(t(0.8),), (t(0.0),)],
    ),
    "Uniform": (lambda a, b: dist.Uniform(a, b), (t(-1.0), t(2.0)), [(t(-0.5), t(2.0)), (t(-1.0), t(0.0))]),
    "VonMises": (lambda m, k: dist.VonMises(m, k), (t(0.5), t(1.5)), [(t(0.9), t(1.5)), (t(0.5), t(2.5))]),
    "Weibull": (lambda s, k: dist.Weibull(s, k), (t(1.2), t(1.5)), [(t(1.0), t(1.5)), (t(1.2), t(2.0))]),
    "Wishart": (
        lambda k, root: dist.Wishart(k, scale_tril=root),
        (t(4.0)[0], THREE),
        [(t(5.0)[0], THREE), (t(4.0)[0], 0.9 * THREE)],
    ),
}

# Nothing to compare: a point; no proper density.
WITHOUT = {"Delta", "Distribution", "ImproperUniform"}


def draws(fn: Any, count: int) -> Tensor:
    with drawing_from(torch.Generator().manual_seed(1)):
        value: Tensor = fn.sample(torch.Size([count]))
    return value


def share(p: Any, q: Any, value: Tensor) -> tuple[float, float]:
    """The mean of q / p at draws of p, and its standard error."""
    q._validate_args = False  # a draw outside of a narrower support has density 0
    ratio = (q.log_prob(value) - p.log_prob(value)).exp().reshape(len(value), -1)[:, 0]
    return float(ratio.mean()), float(ratio.std()) / len(value) ** 0.5


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_have_the_density(name: str) -> None:
    make, of_p, of_qs = FAMILIES[name]
    p = make(*of_p)
    value = draws(p, N)
    for of_q in of_qs:
        mean, error = share(p, make(*of_q), value)
        assert 0.0 < error < 0.05
        assert abs(mean - 1.0) < 5 * error


def test_every_distribution_is_tried() -> None:
    public = {name for name in dist.__all__ if isinstance(getattr(dist, name), type)}
    ours = {name for name in public if issubclass(getattr(dist, name), Family)}  # held to it by their own contract
    assert FAMILIES.keys() | WITHOUT == public - ours


@pytest.mark.parametrize("concentration", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("dim", [2, 3, 4, 5, 6])
def test_correlations_of_lkj_are_betas(dim: int, concentration: float) -> None:
    """Every correlation is 2 Beta(a, a) − 1 with a = η + d / 2 − 1, by the test of Kolmogorov and Smirnov at 1 in 10⁵."""
    factor = draws(dist.LKJCholesky(dim, t(concentration)[0]), 4000)
    assert bool((constraints.corr_cholesky.check(factor)).all())
    correlations = factor @ factor.mT
    a = concentration + dim / 2 - 1
    for i in range(dim):
        for j in range(i):
            assert stats.kstest((correlations[:, i, j].numpy() + 1) / 2, stats.beta(a, a).cdf).pvalue > 1e-5


def test_batches_of_lkj_are_drawn_each_with_its_own_concentration() -> None:
    for fn in (dist.LKJCholesky(3, t(0.5, 20.0)), dist.LKJCholesky(3, t(0.5, 20.0)).expand((4, 2))):
        value = draws(fn, 4000)
        assert value.shape == (4000, *fn.batch_shape, 3, 3)
        assert value.dtype == D
        spread = (value @ value.mT)[..., 2, 1].std(0)
        exact = (1 / (2 * (t(0.5, 20.0) + 0.5) + 1)).sqrt()
        assert float((spread / exact - 1).abs().max()) < 0.06


@pytest.mark.parametrize("wrap", [lambda fn: fn, lambda fn: torch.distributions.Independent(fn, 1), lambda fn: fn.expand((2,))])
def test_lkj_of_torch_is_drawn_as_ours_at_a_site(wrap: Any) -> None:
    """Also inside of other distributions, which are left as they are."""
    raw = torch.distributions.LKJCholesky(4, torch.ones(2, dtype=D))
    ours = dist.LKJCholesky(4, torch.ones(2, dtype=D))
    first, second = (su.seed(lambda fn=fn: su.sample("L", wrap(fn)), rng_seed=0)() for fn in (raw, ours))
    assert torch.equal(first, second)
    assert type(raw) is torch.distributions.LKJCholesky


def test_wishart_is_drawn_without_a_warning_and_alike_from_torchs_own() -> None:
    raw = torch.distributions.Wishart(t(4.0, 9.0), scale_tril=THREE.expand(2, 3, 3))
    ours = dist.Wishart(t(4.0, 9.0), scale_tril=THREE.expand(2, 3, 3))
    first, second = (su.seed(lambda fn=fn: su.sample("W", fn), rng_seed=0)() for fn in (raw, ours))
    assert torch.equal(first, second)
    value = draws(ours, 4000)
    error = ours.variance.sqrt() / 4000**0.5
    assert bool(((value.mean(0) - ours.mean).abs() < 5 * error + 1e-12).all())


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.3])
def test_the_density_of_generalized_pareto(shape: float) -> None:
    """In double, whatever torch's default; torch's own raises an error there."""
    ours, x = dist.GeneralizedPareto(t(0.5), t(1.5), t(shape)), t(0.5, 1.0, 2.5)
    theirs = stats.genpareto(shape, 0.5, 1.5)
    torch.testing.assert_close(ours.log_prob(x), torch.as_tensor(theirs.logpdf(x.numpy())), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.cdf(x), torch.as_tensor(theirs.cdf(x.numpy())), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "make", [lambda: dist.Dirichlet(torch.ones(3)), lambda: dist.Beta(2.0, 3.0)], ids=["Dirichlet", "Beta"]
)
def test_the_inner_of_two_generators_draws(make):
    with drawing_from(torch.Generator().manual_seed(1)):
        wanted = make().sample()
    with drawing_from(torch.Generator().manual_seed(2)), drawing_from(torch.Generator().manual_seed(1)):
        assert torch.equal(make().sample(), wanted)


@pytest.mark.parametrize("concentration", [1e-8, 0.3, 2.0, 50.0, 1e9])
def test_angles_have_their_distribution(concentration: float) -> None:
    """By the test of Kolmogorov and Smirnov at 1 in 10⁵; a concentration of 10⁹ is a normal distribution."""
    fn = dist.VonMises(torch.tensor(0.5, dtype=torch.float64), torch.tensor(concentration, dtype=torch.float64))
    with drawing_from(torch.Generator().manual_seed(0)):
        value = fn.sample((5000,))
    assert bool((value.abs() <= torch.pi).all())
    away = (value - 0.5 + torch.pi).remainder(2 * torch.pi) - torch.pi
    reference = stats.vonmises(concentration) if concentration < 1e5 else stats.norm(0.0, concentration**-0.5)
    assert stats.kstest(away.numpy(), reference.cdf).pvalue > 1e-5
