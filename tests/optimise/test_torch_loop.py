"""Steps of an optimiser of torch's up a log density: each step by hand, and what is estimated from subsamples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import DensityError, OptimisationError
from sursum.optimise.torch_loop import ascend

D = torch.float64
Y = torch.tensor([1.0, 2.0, 4.0, 7.0], dtype=D)


def double(value):
    return torch.tensor(value, dtype=D)


def climb(model, *args, num_steps=3, lr=0.01, jacobian=False, values=None, rng_seed=0):
    optim = su.optim.SGD({"lr": lr})
    return ascend(model, args, {}, values=values or {}, jacobian=jacobian, optim=optim, num_steps=num_steps, rng_seed=rng_seed)


def normal(y):
    mu = su.param("mu", double(0.5))
    su.deterministic("twice", 2 * mu)
    with su.plate("row", len(y)):
        su.sample("y", dist.Normal(mu, double(1.0)), obs=y)


def log_density(mu):
    return -0.5 * ((Y.numpy() - mu) ** 2).sum() - 2 * np.log(2 * np.pi)


def test_every_step_by_hand():
    found = climb(normal, Y)
    mu, seen = 0.5, []
    for _ in range(3):
        seen.append(log_density(mu))
        mu += 0.01 * (Y.numpy() - mu).sum()
    np.testing.assert_allclose(found.log_density, seen, rtol=1e-12)
    assert float(found.values()["mu"]) == pytest.approx(mu, rel=1e-12)
    sites, last = found.scored()
    assert (list(sites), float(sites["twice"])) == (["mu", "twice"], pytest.approx(2 * mu, rel=1e-12))
    assert last == pytest.approx(log_density(mu), rel=1e-12)
    assert (found.subsampled, found.met) == (False, ("mu", "twice", "y"))


def positive():
    su.sample("s", dist.Exponential(double(2.0)))


@pytest.mark.parametrize("jacobian", [False, True])
def test_a_latent_site_moves_in_unconstrained_coordinates(jacobian):
    """log p(s) = log 2 − 2 s with s = exp q, from q = 0; the log-Jacobian is q."""
    found = climb(positive, jacobian=jacobian, lr=0.1)
    q, seen = 0.0, []
    for _ in range(3):
        seen.append(np.log(2.0) - 2 * np.exp(q) + q * jacobian)
        q += 0.1 * (jacobian - 2 * np.exp(q))
    np.testing.assert_allclose(found.log_density, seen, rtol=1e-12)
    assert float(found.values()["s"]) == pytest.approx(np.exp(q), rel=1e-12)


def test_where_a_site_starts():
    assert climb(positive, num_steps=1, values={"s": double(3.0)}).log_density[0] == pytest.approx(np.log(2.0) - 6.0)
    assert climb(positive, num_steps=1, values={"s": double([3.0, 1.0])}).log_density[0] == pytest.approx(np.log(2.0) - 2.0)
    assert climb(positive, num_steps=1, values={"s": double(0.0)}).log_density[0] == pytest.approx(np.log(2.0) - 2.0)
    lifted = su.lift(lambda: su.param("s", double(5.0), constraint=constraints.positive), dist.Exponential(double(2.0)))
    assert climb(lifted, num_steps=1).log_density[0] == pytest.approx(np.log(2.0) - 10.0)
    assert climb(normal, Y, num_steps=1, values={"mu": double(2.0)}).log_density[0] == pytest.approx(log_density(2.0))


def local(batch):
    """A site for each of four rows: log z_i ~ N(0, 1), y_i + 1 ~ N(z_i, 1)."""
    with su.plate("row", 4, subsample_size=batch) as index:
        z = su.sample("z", dist.LogNormal(double(0.0), 1.0))
        su.sample("y", dist.Normal(z, 1.0), obs=Y[index] + 1)


def test_only_what_is_present_moves_and_stands_for_all():
    found = climb(local, 2, num_steps=1, jacobian=True)
    assert found.subsampled
    z = found.values()["z"]
    assert z.shape == (4,)
    still = z == 1.0
    assert int(still.sum()) == 2
    here = (~still).nonzero()[:, 0]
    # By q at 0: scale 4 / 2 times (the prior's slope −q − 1, the Jacobian's 1, and (y − z) z).
    torch.testing.assert_close(z[here].log(), 0.01 * 2.0 * (-1.0 + 1.0 + Y[here]), rtol=1e-12, atol=0)
    row = -np.log(2 * np.pi) - 0.5 * Y[here].numpy() ** 2
    assert found.log_density[0] == pytest.approx(2.0 * row.sum(), rel=1e-12)


def test_a_seed_decides_which_and_torchs_generator_is_left_alone():
    state = torch.get_rng_state()
    first, again, other = (climb(local, 2, num_steps=9, rng_seed=seed).log_density for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_trend_of_the_last_tenths():
    found = climb(normal, Y, num_steps=40, lr=0.001)
    last, before = found.log_density[36:], found.log_density[32:36]
    rise, error = found.trend()
    assert rise == pytest.approx(last.mean() - before.mean(), rel=1e-12)
    assert error == pytest.approx(np.sqrt(last.var(ddof=1) / 4 + before.var(ddof=1) / 4), rel=1e-12)
    assert climb(normal, Y, num_steps=15).trend() == (np.inf, 0.0)


def test_a_site_in_a_scan_has_a_leaf_for_each_step():
    def program():
        su.scan(lambda c, t: (su.sample("z", dist.Normal(t, 1.0)), None), double(0.0), double([1.0, 2.0, -4.0]))

    found = climb(program, num_steps=1)
    torch.testing.assert_close(found.values()["z"], double([0.01, 0.02, -0.04]), rtol=1e-12, atol=0)
    assert found.log_density[0] == pytest.approx(-0.5 * (1 + 4 + 16) - 1.5 * np.log(2 * np.pi), rel=1e-12)


def test_a_point_mass_is_where_it_is():
    def program():
        c = su.sample("c", dist.Delta(double(2.0)))
        su.sample("y", dist.Normal(su.param("mu", double(0.0)) + c, 1.0), obs=double(0.0))

    assert climb(program, lr=0.0).log_density[0] == pytest.approx(-2.0 - 0.5 * np.log(2 * np.pi), rel=1e-7)


@pytest.mark.parametrize(
    ("program", "error", "said"),
    [
        (
            lambda: su.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0)),
            DensityError,
            "no latent site and no parameter, so there is nothing to fit",
        ),
        (lambda: su.sample("k", dist.Poisson(2.0)), DensityError, r"'k' .* is discrete \(Poisson\)"),
        (
            lambda: su.factor("f", su.param("a", double(0.0)).log()),
            OptimisationError,
            r"not finite at step 0, by 'f' \(test_torch",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:no site is observed")
def test_what_cannot_be_climbed(program, error, said):
    with pytest.raises(error, match=said):
        climb(program)


def mixture(y, size):
    weight = su.param("weight", double(0.5), constraint=dist.constraints.unit_interval)
    means = su.param("means", torch.tensor([-1.0, 1.0], dtype=torch.float64))
    with su.plate("data", len(y), subsample_size=size) as present:
        z = su.sample("z", dist.Bernoulli(weight)).long()
        su.sample("y", dist.Normal(means[z], 1.0), obs=y[present])


def test_discrete_sites_are_summed_out():
    y = torch.tensor([-2.3, -1.8, -2.1, 2.2, 1.7, 2.4, -1.9], dtype=torch.float64)
    optim = su.optim.Adam({"lr": 0.05})
    exact = su.infer.Fit(mixture).run(y, 7)
    found = su.infer.Fit(mixture, optim=optim, num_steps=600).run(y, 7)
    for name in ("weight", "means"):
        torch.testing.assert_close(found[name], exact[name], atol=1e-3, rtol=0.0)
    # On all subsamples of six elements the mean of the scaled log density is that of all.
    step = su.infer.Fit(mixture, optim=su.optim.Adam({"lr": 1e-12}), num_steps=40, seed=0).run(y, 6)
    whole = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(probs=torch.tensor([0.5, 0.5], dtype=torch.float64)),
        torch.distributions.Normal(torch.tensor([-1.0, 1.0], dtype=torch.float64), 1.0),
    ).log_prob(y)
    # The mean of the last 40 steps; each leaves out one element, of 7, with these sds.
    error = float((7 / 6 * whole).std()) / 40**0.5
    assert abs(step.log_density - float(whole.sum())) < 4 * error
