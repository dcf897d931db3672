"""`seed` draws from a stream of its own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist

P = su.poutine
ones = torch.ones(3)

DRAWN = {
    "Bernoulli": dist.Bernoulli(0.5 * ones),
    "Beta": dist.Beta(ones, 2.0),
    "Binomial": dist.Binomial(10, 0.5 * ones),
    "Categorical": dist.Categorical(torch.ones(3, 4)),
    "Dirichlet": dist.Dirichlet(ones),
    "Gamma": dist.Gamma(ones, 1.0),
    "LKJCholesky": dist.LKJCholesky(3),
    "MixtureSameFamily": dist.MixtureSameFamily(dist.Categorical(ones), dist.Normal(ones, 1.0)),
    "Multinomial": dist.Multinomial(5, ones),
    "MultivariateNormal": dist.MultivariateNormal(ones, torch.eye(3)),
    "NegativeBinomial": dist.NegativeBinomial(3.0, 0.5 * ones),
    "Normal": dist.Normal(ones, 1.0),
    "Poisson": dist.Poisson(3 * ones),
    "StudentT": dist.StudentT(3 * ones),
    "Uniform": dist.Uniform(0.0, ones),
    "VonMises": dist.VonMises(0.0 * ones, 1.0),
    "Weibull": dist.Weibull(ones, 1.0),
}


@pytest.mark.parametrize("fn", DRAWN.values(), ids=DRAWN)
def test_draws_repeat_and_leave_the_global_generator_alone(fn):
    def model():
        return su.sample("z", fn)

    before = torch.random.get_rng_state()
    first, again, other = (P.seed(model, rng_seed=seed)() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    with P.seed(rng_seed=1):
        rows = [torch.stack([su.sample("z", fn).float() for _ in range(8)]) for _ in range(2)]
    assert not torch.equal(*rows)
    assert other.shape == first.shape


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 100))
def test_draws_do_not_depend_on_the_global_seed(seed, elsewhere):
    def model():
        with su.plate("data", 5, subsample_size=2) as indices:
            return indices, su.sample("z", dist.Normal(0.0, 1.0))

    first = P.seed(model, rng_seed=seed)()
    with torch.random.fork_rng():
        torch.manual_seed(elsewhere)
        again = P.seed(model, rng_seed=seed)()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_unseeded_draws_come_from_the_global_generator():
    def model():
        return su.sample("z", dist.Normal(0.0, 1.0))

    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = model()
        torch.manual_seed(3)
        assert torch.equal(model(), first)
        torch.manual_seed(3)
        assert torch.equal(torch.distributions.Normal(0.0, 1.0).sample(), first)


def test_the_innermost_seed_wins_and_sites_inside_one_seed_differ():
    def model():
        return su.sample("a", dist.Normal(0.0, 1.0)), su.sample("b", dist.Normal(0.0, 1.0))

    inner = P.seed(model, rng_seed=1)
    assert P.seed(inner, rng_seed=2)() == inner()
    assert len(set(map(float, inner()))) == 2


def test_lazy_parameters_are_made_from_it():
    def model():
        return su.param("s", lambda: torch.randn(3))

    assert torch.equal(P.seed(model, rng_seed=1)(), P.seed(model, rng_seed=1)())


@pytest.mark.parametrize("seed", [np.int64(3), torch.tensor(3), 3])
def test_any_integer_will_do(seed):
    model = P.seed(lambda: su.sample("z", dist.Normal(0.0, 1.0)), rng_seed=seed)
    assert model() == P.seed(lambda: su.sample("z", dist.Normal(0.0, 1.0)), rng_seed=3)()


def test_other_seeds_are_refused():
    with pytest.raises(TypeError):
        P.seed(lambda: 1, rng_seed=0.5)
