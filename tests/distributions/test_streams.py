"""Random numbers by counting: each operator has its law, rows are independent, and a row alone has the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from sursum.distributions.streams import CannotCount, counting

N = 4000
STREAMS = np.random.SeedSequence(7).generate_state(N, np.uint64).tolist()
f8 = torch.float64


def full(value, *shape):
    return torch.full(shape, value, dtype=f8)


CONTINUOUS = {
    "normal_": (lambda n: torch.empty(n, 2, dtype=f8).normal_(1.0, 2.0), stats.norm(1.0, 2.0)),
    "normal": (lambda n: torch.normal(full(1.0, n, 2), full(2.0, n, 2)), stats.norm(1.0, 2.0)),
    "randn": (lambda n: torch.randn(n, 2, dtype=f8), stats.norm()),
    "randn_like": (lambda n: torch.randn_like(full(0.0, n, 2)), stats.norm()),
    "uniform_": (lambda n: torch.empty(n, 2, dtype=f8).uniform_(-1.0, 3.0), stats.uniform(-1.0, 4.0)),
    "rand": (lambda n: torch.rand(n, 2, dtype=f8), stats.uniform()),
    "exponential_": (lambda n: torch.empty(n, 2, dtype=f8).exponential_(2.0), stats.expon(scale=0.5)),
    "cauchy_": (lambda n: torch.empty(n, 2, dtype=f8).cauchy_(1.0, 2.0), stats.cauchy(1.0, 2.0)),
    "log_normal_": (lambda n: torch.empty(n, 2, dtype=f8).log_normal_(0.5, 0.7), stats.lognorm(0.7, scale=np.exp(0.5))),
    "gamma": (lambda n: torch._standard_gamma(full(2.5, n, 2)), stats.gamma(2.5)),
    "small gamma": (lambda n: torch._standard_gamma(full(0.05, n, 2)), stats.gamma(0.05)),
    "dirichlet": (lambda n: torch._sample_dirichlet(full(0.4, n, 3))[:, :2], stats.beta(0.4, 0.8)),
}
DISCRETE = {
    "bernoulli": (lambda n: torch.bernoulli(full(0.3, n, 2)), stats.bernoulli(0.3)),
    "bernoulli_": (lambda n: torch.empty(n, 2).bernoulli_(full(0.3, n, 2)), stats.bernoulli(0.3)),
    "geometric_": (lambda n: torch.empty(n, 2, dtype=f8).geometric_(0.3), stats.geom(0.3)),
    "poisson": (lambda n: torch.poisson(full(3.2, n, 2)), stats.poisson(3.2)),
    "poisson, never": (lambda n: torch.poisson(full(0.0, n, 2)), stats.poisson(0.0)),
    "binomial": (lambda n: torch.binomial(full(7.0, n, 2), full(0.35, n, 2)), stats.binom(7, 0.35)),
    "binomial, always": (lambda n: torch.binomial(full(7.0, n, 2), full(1.0, n, 2)), stats.binom(7, 1.0)),
    "multinomial": (lambda n: torch.multinomial(torch.tensor([[1.0, 0.0, 3.0]]).expand(n, 3), 2, True), None),
    "randint": (lambda n: torch.randint(2, 7, (n, 2)), stats.randint(2, 7)),
}
LAWS = {**CONTINUOUS, **DISCRETE}


def drawn(name):
    draw, law = LAWS[name]
    with counting(STREAMS, rows=True):
        first, second = draw(N), draw(N)
    return first.double().numpy(), second.double().numpy(), law or stats.rv_discrete(values=([0, 2], [0.25, 0.75]))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_law(name):
    first, second, law = drawn(name)
    for values in (first[:, 0], first[:, 1], second[:, 0]):
        assert stats.kstest(values, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", DISCRETE)
def test_a_discrete_law(name):
    first, second, law = drawn(name)
    for values in (first[:, 0], first[:, 1], second[:, 0]):
        counts = np.bincount(values.astype(int), minlength=12)
        expected = N * law.pmf(np.arange(len(counts)))
        assert not counts[expected == 0].any()
        present = expected > 5
        chi2 = ((counts - expected)[present] ** 2 / expected[present]).sum()
        assert present.sum() < 2 or stats.chi2(present.sum()).sf(chi2) > 1e-4


@pytest.mark.parametrize("name", LAWS)
def test_a_row_alone_has_the_same_numbers(name):
    draw, _ = LAWS[name]
    first, second, _ = drawn(name)
    with counting([STREAMS[11]]):
        np.testing.assert_array_equal(draw(1)[0], first[11])
        np.testing.assert_array_equal(draw(1)[0], second[11])


def test_rows_calls_and_places_are_independent():
    first, second, _ = drawn("randn")
    columns = np.column_stack([first, second, np.roll(first, 1, axis=0)])
    correlation = np.corrcoef(columns.T)
    np.fill_diagonal(correlation, 0.0)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(N)
    # Streams that follow each other, as counters would, are no worse than others.
    with counting(list(range(N)), rows=True):
        near = torch.rand(N, 2, dtype=f8).numpy()
    assert stats.kstest(near[:, 0], "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(near[1:, 0], near[:-1, 0])[0, 1]) < 4.5 / np.sqrt(N)


def test_dtypes_and_what_cannot_be_counted():
    with counting([1, 2], rows=True):
        assert torch.randn(2, 3).dtype == torch.float32
        assert torch.poisson(torch.ones(2)).dtype == torch.float32
        with pytest.raises(CannotCount, match="for 2 rows"):
            torch.randn(3)
        with pytest.raises(CannotCount, match="without replacement"):
            torch.multinomial(torch.ones(2, 4), 2)
        with pytest.raises(CannotCount, match="randperm"):
            torch.randperm(4)
    with counting([1]), counting([1]):
        one = torch.randperm(10)
    with counting([1]):
        assert torch.equal(torch.randperm(10), one)
