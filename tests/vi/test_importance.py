"""Importance sampling: evidence, effective sample size and moments against closed forms; discrete sites; bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import DiagnosticWarning, GuideError, VariationalError

Importance = su.infer.Importance
double = lambda value: torch.tensor(value, dtype=torch.float64)
Normal = torch.distributions.Normal
SEEN, NOISE = 0.8, 1.0


def model(seen=SEEN):
    z = su.sample("z", dist.Normal(double(0.0), 1.0))
    su.deterministic("square", z**2)
    su.sample("y", dist.Normal(z, NOISE), obs=double(seen))


def guide(seen=SEEN):
    su.sample("z", dist.Normal(double(0.3), double(0.9)))


@pytest.mark.parametrize("proposal", [None, guide], ids=["prior", "guide"])
def test_evidence_and_moments(proposal):
    found = Importance(model, proposal, num_samples=600, seed=0).run()
    exact = float(Normal(0.0, np.sqrt(2.0)).log_prob(double(SEEN)))
    assert abs(found.log_evidence - exact) < 4 * found.log_evidence_error
    assert 0 < found.log_evidence_error < 0.05
    # The posterior is N(y/2, 1/2).
    assert abs(float(found.mean("z")) - SEEN / 2) < 4 * (0.5 / found.ess) ** 0.5
    assert abs(float(found.mean("square")) - (0.5 + SEEN**2 / 4)) < 4 * (2 * 0.25 + 4 * 0.16 * 0.5) ** 0.5 / found.ess**0.5
    assert found.pareto_k < 0.7


def test_effective_sample_size():
    """E[w]² / E[w²] under the prior, both in closed form: a product of two normal likelihoods is one of sd s/√2."""
    found = Importance(model, num_samples=1000, seed=1).run()
    first = Normal(0.0, np.sqrt(1 + NOISE**2)).log_prob(double(SEEN)).exp()
    second = Normal(0.0, np.sqrt(1 + NOISE**2 / 2)).log_prob(double(SEEN)).exp() / (2 * NOISE * np.sqrt(np.pi))
    np.testing.assert_allclose(found.ess / 1000, float(first**2 / second), rtol=0.1)


def test_resampled_draws_have_no_weights():
    found = Importance(model, guide, num_samples=600, seed=2).run()
    posterior = found.resample(2000, seed=0)
    assert posterior["z"].shape == (1, 2000)
    assert posterior.pareto_k == found.pareto_k
    assert abs(float(posterior["z"].mean() - found.mean("z"))) < 4 * (0.5 / 2000) ** 0.5
    assert torch.equal(posterior["square"], posterior["z"] ** 2)
    np.testing.assert_array_equal(posterior.unconstrained[0, :, 0], posterior["z"][0])


def test_a_discrete_site():
    """k ~ Bernoulli(0.3), y ~ N(k, 1) at 1: the posterior odds are 3/7 · exp(1/2)."""

    def switch():
        k = su.sample("k", dist.Bernoulli(double(0.3)))
        su.sample("y", dist.Normal(k, 1.0), obs=double(1.0))

    found = Importance(switch, num_samples=500, seed=0).run()
    odds = 3 / 7 * np.exp(0.5)
    p = odds / (1 + odds)
    assert abs(float(found.mean("k")) - p) < 4 * (p * (1 - p) / found.ess) ** 0.5


def test_parameters_come_from_a_store():
    def moving():
        su.sample("z", dist.Normal(su.param("loc", double(5.0)), 1.0))

    with su.ParamStore() as store:
        moving()
    store.unconstrained["loc"] = double(-3.0)
    with pytest.warns(DiagnosticWarning, match="Pareto k"):
        found = Importance(model, moving, num_samples=200, seed=0, params=store).run()
    assert float(found.draws["z"].mean()) < -2.5


def test_a_seed_decides_and_torchs_generator_is_left_alone():
    before = torch.random.get_rng_state()
    first, again, other = (Importance(model, num_samples=20, seed=s).run() for s in (0, 0, 1))
    assert np.array_equal(first.log_weights, again.log_weights)
    assert not np.array_equal(first.log_weights, other.log_weights)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert "20 draws, worth" in repr(first)


class TestBadInput:
    def test_a_guide_with_other_sites(self):
        with pytest.raises(GuideError, match="Only in the model: 'z'; only in the guide: 'x'"):
            Importance(model, lambda: su.sample("x", dist.Normal(0.0, 1.0)), num_samples=2).run()

    def test_impossible_data(self):
        def wall():
            su.factor("wall", torch.tensor(-torch.inf) + 0 * su.sample("z", dist.Normal(0.0, 1.0)))

        with pytest.raises(VariationalError, match="all 30 weights are 0: the data are impossible at every draw"):
            Importance(wall, num_samples=30, seed=0).run()

    def test_a_weight_that_is_not_a_number(self):
        def broken():
            su.factor("log", su.sample("z", dist.Normal(0.0, 1.0)).log())

        with pytest.raises(VariationalError, match="a weight is not a number"):
            Importance(broken, num_samples=30, seed=0).run()

    def test_settings(self):
        with pytest.raises(VariationalError, match="`model` is 3, but must be a program"):
            Importance(3)
        with pytest.raises(VariationalError, match="`guide` is 3, but must be a program"):
            Importance(model, 3)
        with pytest.raises(VariationalError, match="`num_samples` is 0, but must be an integer of at least 1"):
            Importance(model, num_samples=0)
        with pytest.raises(VariationalError, match="`seed` is -1, but must be an integer of at least 0"):
            Importance(model, seed=-1)
        with pytest.raises(VariationalError, match="`num_samples` is 0"):
            Importance(model, num_samples=5, seed=0).run().resample(0)


def test_it_shows_how_many_draws_there_are(monkeypatch, capsys):
    monkeypatch.setattr("sursum.vi.importance.SOON", 0.0)

    def model(y):
        su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    def branching(y):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(z if float(z.detach()) > 0 else 2 * z, 1.0), obs=y)

    for program, count in ((model, 2500), (branching, 30)):
        su.infer.Importance(program, num_samples=count, seed=0, progress=True).run(torch.tensor(1.0))
        assert capsys.readouterr().err.rstrip().endswith(f"{count}/{count} draws\x1b[K")
    su.infer.Importance(model, num_samples=50, seed=0, progress=False).run(torch.tensor(1.0))
    assert capsys.readouterr().err == ""
