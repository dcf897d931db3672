"""Cross-validation of a normal mean, whose predictive densities are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptionError, SamplingError
from sursum.infer import MCMC, NUTS, cross_validate

PRIOR = 10.0


def model(x, y):
    mu = su.sample("mu", dist.Normal(0.0, PRIOR))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, x), obs=y)


def local(x, y):
    mu = su.sample("mu", dist.Normal(0.0, PRIOR))
    with su.plate("data", len(y)):
        z = su.sample("z", dist.Normal(mu, 1.0))
        su.sample("y", dist.Normal(z, x), obs=y)


def data(n=12, outlier=0.0):
    rng = torch.Generator().manual_seed(1)
    y = torch.randn(n, generator=rng, dtype=torch.float64)
    y[3] += outlier
    return torch.ones(n, dtype=torch.float64), y


def exact(y, groups, within=0.0):
    """log p(y_g | the others) for a normal mean; `within` is the variance of a local unknown."""
    y = y.numpy()
    whole = PRIOR**2 + (1.0 + within) * np.eye(len(y))
    density = lambda rows: (
        multivariate_normal(np.zeros(rows.sum()), whole[np.ix_(rows, rows)]).logpdf(y[rows]) if rows.any() else 0
    )
    labels = np.asarray(groups)
    return np.array([density(np.ones(len(y), bool)) - density(labels != g) for g in np.unique(labels)])


SAMPLER = MCMC(NUTS(model), num_warmup=300, num_samples=1500, num_chains=4, seed=0)


def test_one_at_a_time_by_importance():
    x, y = data()
    found = cross_validate(SAMPLER, x, y, plate="data")
    # The relative sd of a weighted mean of some 700 independent draws is below 0.02 here, five of which are allowed.
    np.testing.assert_allclose(found.elpd_each, exact(y, range(12)), atol=0.05)
    assert found.refitted == ()
    assert max(found.pareto_k.values()) < 0.5
    np.testing.assert_allclose(found.elpd, found.elpd_each.sum())
    np.testing.assert_allclose(found.se, np.sqrt(12) * found.elpd_each.std(ddof=1))


def test_an_outlier_is_left_out_by_a_fit_of_its_own():
    x, y = data(outlier=12.0)
    found = cross_validate(SAMPLER, x, y, plate="data")
    assert found.refitted == (3,)
    others = np.arange(12) != 3
    np.testing.assert_allclose(found.elpd_each[others], exact(y, range(12))[others], atol=0.05)
    # Twelve sds out the log density has sd 12 / sqrt(11) = 3.6 over the draws, so that the largest terms of its mean lie 3.6
    # sds out, where one of 6000 draws is: a factor of e or so is missed or told twice.
    np.testing.assert_allclose(found.elpd_each[3], exact(y, range(12))[3], atol=1.5)
    assert "1 of 12 by a fit" in str(found)


def test_groups_and_folds():
    x, y = data()
    groups = np.repeat(["a", "b", "c"], 4)
    found = cross_validate(SAMPLER, x, y, plate="data", groups=groups)
    np.testing.assert_allclose(found.elpd_each, exact(y, groups), atol=0.1)
    assert found.labels == ("a", "b", "c")
    folds = cross_validate(SAMPLER, x, y, plate="data", num_folds=3)
    order = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(0, 0))).permutation(12)
    for part in np.array_split(order, 3):
        rest = np.delete(y.numpy(), part)
        precision = len(rest) + PRIOR**-2
        predictive = norm(rest.sum() / precision, np.sqrt(1 + 1 / precision))
        np.testing.assert_allclose(folds.elpd_each[part], predictive.logpdf(y.numpy()[part]), atol=0.05)


@pytest.mark.slow
def test_workers_change_nothing():
    here, there = (cross_validate(SAMPLER, *data(), plate="data", num_folds=3, on=on) for on in (None, su.cluster.Local(1)))
    np.testing.assert_array_equal(here.elpd_each, there.elpd_each)


def test_unknowns_of_what_is_left_out_come_from_their_prior():
    x, y = data()
    sampler = MCMC(NUTS(local), num_warmup=300, num_samples=2000, num_chains=2, seed=0)
    found = cross_validate(sampler, x, y, plate="data", num_folds=12)
    order = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(0, 0))).permutation(12)
    assert sorted(order) == list(range(12))
    np.testing.assert_allclose(found.elpd_each, exact(y, range(12), within=1.0), atol=0.1)


def test_programs_are_compared():
    x, y = data()
    wide = lambda x, y: model(3.0 * x, y)
    one, other = (cross_validate(replace(SAMPLER, kernel=NUTS(program)), x, y, plate="data") for program in (model, wide))
    gain, error = one.difference(other)
    assert gain > 3
    assert 0 < error < gain
    with pytest.raises(SamplingError, match="cannot be compared"):
        one.difference(cross_validate(SAMPLER, x, y, plate="data", groups=np.arange(12) // 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plate": "date"}, "no plate 'date'. Did you mean 'data'"),
        ({"plate": "data", "num_folds": 13}, "at most 12"),
        ({"plate": "data", "num_folds": 1}, "at least 2"),
        ({"plate": "data", "groups": [0, 1]}, r"`groups` has shape \(2,\)"),
        ({"plate": "data", "groups": [0] * 12}, "a single group"),
    ],
)
def test_folds_that_do_not_fit(options, message):
    with pytest.raises(SamplingError, match=message):
        cross_validate(SAMPLER, *data(), **options)


def test_options_apart():
    with pytest.raises(OptionError, match="both given"):
        cross_validate(SAMPLER, *data(), plate="data", num_folds=2, groups=[0, 1] * 6)
    with pytest.raises(OptionError, match="seed"):
        cross_validate(lambda seed: None, 1, plate="data")
