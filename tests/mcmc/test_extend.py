"""More draws of a posterior that is there: they go on from it, are draws of it, and it says what was done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.support.monte_carlo import agree

import sursum as su
import sursum.distributions as dist
from sursum.errors import SamplingError
from sursum.mcmc.extend import states_after
from sursum.posterior.posterior import Posterior

short = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

SCALES = torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64)


def model(y):
    """A posterior of very different scales: normal, with mean y and these standard deviations."""
    z = su.sample("z", dist.Normal(torch.zeros(3, dtype=torch.float64), 1e6).to_event(1))
    su.deterministic("double", 2 * z)
    su.sample("y", dist.Normal(z, SCALES).to_event(1), obs=y)


Y = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def mcmc(**settings):
    return su.infer.MCMC(su.infer.NUTS(model), **{"num_chains": 3, "seed": 0, "progress": False, **settings})


@pytest.fixture(scope="module")
def posterior():
    return mcmc().run(Y)


@short
def test_the_added_draws_are_draws_of_the_posterior(posterior):
    whole = mcmc().extend(posterior, 1500)
    assert whole.unconstrained.shape == (3, 2500, 3)
    np.testing.assert_array_equal(whole.unconstrained[:, :1000], posterior.unconstrained)
    new = whole["z"][:, 1000:].numpy()
    assert agree(new, Y.numpy(), np.diag(SCALES.numpy() ** 2))
    assert torch.equal(whole["double"], 2 * whole["z"])
    density = su.compile(model, Y)
    wanted = [[density.value_and_grad(q)[0] for q in chain[-5:]] for chain in whole.unconstrained]
    np.testing.assert_allclose(whole.stats["lp"][:, -5:], wanted, rtol=1e-9)
    assert whole.warmup is posterior.warmup
    assert whole.notes == (
        "1500 draws of each chain were added after the first 1000: each chain continued as if it had been longer from the "
        "beginning.",
    )


@short
def test_a_chain_that_is_extended_is_the_longer_chain(posterior):
    """Bit for bit, whatever it was cut into."""
    whole = mcmc(num_samples=1100).run(Y)
    pieces = mcmc(cores=2).extend(mcmc().extend(posterior, 60), 40)
    np.testing.assert_array_equal(pieces.unconstrained, whole.unconstrained)
    for name, values in whole.stats.items():
        np.testing.assert_array_equal(pieces.stats[name], values)


@short
def test_without_the_states_it_goes_on_with_the_metric_of_the_draws(posterior):
    bare = replace(posterior, states=())
    whole = mcmc().extend(bare, 1500)
    assert agree(whole["z"][:, 1000:].numpy(), Y.numpy(), np.diag(SCALES.numpy() ** 2))
    assert whole.stats["n_steps"][:, 1000:].mean() < 8.0
    assert whole.notes == (
        "1500 draws of each chain were added after the first 1000: from its last draw on, with the metric of the draws, after "
        "200 draws of warm-up, which are discarded.",
    )
    one, two = (mcmc(cores=cores).extend(bare, 50) for cores in (1, 3))
    np.testing.assert_array_equal(one.unconstrained, two.unconstrained)
    cut = replace(posterior, unconstrained=posterior.unconstrained[:, :900], stats={"lp": posterior.stats["lp"][:, :900]})
    fields = su.infer.NUTS(model).fields()
    assert states_after(posterior, fields)
    assert not states_after(posterior, fields | {"target": 0.9})
    assert not states_after(cut, fields)
    assert not states_after(replace(posterior, states=(b"", b"", b"")), fields)


@short
def test_the_same_seed_gives_the_same_and_not_the_first_draws_again(posterior):
    one, two = (mcmc(cores=cores).extend(posterior, 50) for cores in (1, 3))
    np.testing.assert_array_equal(one.unconstrained, two.unconstrained)
    again = mcmc().extend(one, 50)
    assert not np.equal(again.unconstrained[:, -50:], one.unconstrained[:, -50:]).any()
    assert len(again.notes) == 2


@short
def test_a_stored_posterior_is_extended_into_another_store(tmp_path):
    mcmc(num_warmup=200, num_samples=100, num_chains=2, store=tmp_path / "a.zarr").run(Y)
    loaded = Posterior.load(tmp_path / "a.zarr")
    longer = mcmc(num_warmup=200, num_samples=180, num_chains=2).run(Y)
    whole = mcmc(store=tmp_path / "b.zarr").extend(loaded, 80, Y)
    assert whole["z"].shape == (2, 180, 3)
    np.testing.assert_array_equal(whole.unconstrained, longer.unconstrained)
    added = Posterior.load(tmp_path / "b.zarr")
    np.testing.assert_array_equal(added.unconstrained, whole.unconstrained[:, 100:])
    assert torch.equal(added["double"], whole["double"][:, 100:])
    whole.save(tmp_path / "whole.npz")
    assert Posterior.load(tmp_path / "whole.npz").notes == whole.notes


def test_other_data_and_other_programs_are_refused(posterior):
    with pytest.raises(
        SamplingError, match=r"not one of these data: at the last draw of chain 0 the log density was .+, and is"
    ):
        mcmc().extend(posterior, 10, Y + 1)

    def other(y):
        w = su.sample("w", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(w, SCALES).to_event(1), obs=y)

    elsewhere = su.infer.MCMC(su.infer.NUTS(other), seed=0, progress=False)
    with pytest.raises(SamplingError, match=r"not one of this program.+'z\[0\]'"):
        elsewhere.extend(posterior, 10, Y)
    with pytest.raises(SamplingError, match="`num_samples` is 0, but must be an integer of at least 1"):
        mcmc().extend(posterior, 0)
    empty = Posterior({}, {}, np.empty((2, 0, 3)), coordinates=posterior.coordinates)
    with pytest.raises(SamplingError, match="has no draws to continue from"):
        mcmc().extend(empty, 10, Y)
