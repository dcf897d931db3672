"""The search for coordinates, where it is known which are best; and what MCMC does with them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import DiagnosticWarning, HandlerError, SamplingError
from sursum.infer.reparam import LocScaleReparam
from sursum.mcmc.coordinates import Pilot, ReparamChoice

SHORT = {"num_warmup": 200, "num_samples": 200}


def funnel():
    v = su.sample("v", dist.Normal(0.0, 3.0))
    with su.plate("elements", 4):
        su.sample("x", dist.Normal(0.0, (v / 2).exp()))


def schools(y, sd):
    mu, tau = su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("schools", len(y)):
        theta = su.sample("theta", dist.Normal(mu, tau))
        su.sample("y", dist.Normal(theta, sd), obs=y)


Y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64)
SD = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def precise() -> ReparamChoice:
    return su.infer.ReparamSearch(schools, **SHORT).run(Y, SD / 20)


def test_a_funnel_is_not_centred() -> None:
    found = su.infer.ReparamSearch(funnel, **SHORT).run()
    assert found["x"].way == "non-centred"
    assert found.config == {"x": LocScaleReparam(0.0)}
    # Centred, chains do not reach the neck: that run is not trusted, whatever it cost.
    assert [one.is_safe for one in found.pilots if one.ways == ("centred",)] == [False]
    trace = su.trace(su.seed(found.model, 0)).get_trace()
    assert "x_decentered" in trace


def test_a_site_that_data_determine_stays_centred(precise: ReparamChoice) -> None:
    assert precise["theta"].way == "centred"
    assert precise.model is schools
    assert not precise.config
    assert precise["theta"].cost["non-centred"] > 3 * precise["theta"].cost["centred"]


def test_elements_of_a_site_may_differ() -> None:
    """Half of the elements are measured well, and half not at all: only a centring of each element serves both."""
    y = torch.tensor([3.0, -2.0, 1.0, -4.0, 2.0, -1.0] * 2, dtype=torch.float64)
    sd = torch.tensor([0.02] * 6 + [200.0] * 6, dtype=torch.float64)
    found = su.infer.ReparamSearch(schools, **SHORT).run(y, sd)["theta"]
    assert found.way == "partially centred"
    assert found.centring is not None
    assert found.centring[:6].min() >= 0.9
    assert found.centring[6:].max() <= 0.1
    assert found.cost["partially centred"] < 0.7 * min(found.cost["centred"], found.cost["non-centred"])


def test_what_depends_on_nothing_has_no_choice() -> None:
    def plain(y: torch.Tensor) -> None:
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(mu, 1.0), obs=y)

    found = su.infer.ReparamSearch(plain).run(torch.tensor(1.0))
    assert found.sites == found.pilots == ()
    assert found.model is plain
    assert "No site depends on others" in str(found)
    with pytest.raises(KeyError, match="'mu' has no choice"):
        found["mu"]


def test_mcmc_finds_coordinates_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates with a log-normal prior; the posterior is that of the program as written."""

    def rates(y: torch.Tensor) -> None:
        mu, tau = su.sample("mu", dist.Normal(0.0, 1.0)), su.sample("tau", dist.HalfNormal(1.0))
        with su.plate("g", len(y)):
            su.sample("y", dist.Poisson(su.sample("rate", dist.LogNormal(mu, tau))), obs=y)

    monkeypatch.setattr("sursum.mcmc.mcmc.PILOT", 150)
    y = torch.tensor([0.0, 1.0, 3.0, 0.0, 8.0, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticWarning)
        measured = su.infer.MCMC(su.infer.NUTS(su.reparam(rates, "auto")), seed=1, progress=False).run(y)
        plain = su.infer.MCMC(su.infer.NUTS(rates), seed=2, progress=False).run(y)
        # The choice depends on program and data alone, so that more draws are in the same coordinates.
        longer = su.infer.MCMC(su.infer.NUTS(su.reparam(rates, "auto")), progress=False).extend(measured, 10)
    assert measured.notes[-1].startswith("Coordinates found by short runs: rate ")
    for name in ("mu", "tau", "rate"):
        one, other = (np.asarray(run[name]) for run in (measured, plain))
        error = np.hypot(_error(measured, name), _error(plain, name))
        assert (np.abs(one.mean((0, 1)) - other.mean((0, 1))) < 4.5 * error).all()
    assert measured.predict(seed=0)["y"].shape == (4, 1000, 6)
    assert longer.num_samples == 1010


def _error(posterior: su.Posterior, name: str) -> np.ndarray:
    summary = posterior.summary([name])[name]
    return np.asarray(summary["sd"]) / np.sqrt(np.asarray(summary["ess_bulk"]))


def test_auto_is_for_mcmc_alone() -> None:
    measured = su.reparam(schools, "auto")
    assert repr(measured) == "reparam(schools, 'auto')"
    with pytest.raises(HandlerError, match="ReparamSearch"):
        su.trace(measured).get_trace(Y, SD)
    with pytest.raises(HandlerError, match="outermost"):
        su.infer.MCMC(su.infer.NUTS(su.seed(measured, 0))).run(Y, SD)
    with pytest.raises(HandlerError, match="automatic"):
        su.reparam(schools, "automatic")  # type: ignore[arg-type]
    with pytest.raises(SamplingError, match="no program"):
        su.infer.MCMC(su.infer.NUTS(su.reparam(config="auto"))).run(Y, SD)
    with pytest.raises(SamplingError, match="a metric or a start"):
        su.infer.MCMC(su.infer.NUTS(measured, metric=np.ones(10))).run(Y, SD)
    with pytest.raises(SamplingError, match="num_samples"):
        su.infer.ReparamSearch(schools, num_samples=0)


def test_the_table_has_a_row_for_each_site(precise: ReparamChoice) -> None:
    lines = str(precise).splitlines()
    assert lines[2].split() == ["site", "shape", "coordinates", "centred*", "non-centred", "partially", "centred", "affine"]
    assert lines[4].startswith("theta  (8,)   centred")
    assert f"{precise.gradients:,} gradients" in lines[-1]
    assert precise._repr_html_().count("<tr>") == 2
    assert repr(precise) == str(precise)


def test_a_run_that_diverges_or_disagrees_is_not_trusted() -> None:
    def pilot(divergences: int = 0, r_hat: float = 1.0, failure: str = "") -> Pilot:
        return Pilot(("centred",), 1000, 1.0, divergences, r_hat, 100, failure)

    assert pilot().is_safe
    assert pilot(divergences=5).is_safe
    assert not pilot(divergences=6).is_safe
    assert not pilot(r_hat=1.06).is_safe
    assert not pilot(failure="no").is_safe


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_it_is_never_far_from_the_best_that_one_would_write() -> None:
    from benchmarks.hierarchies import HIERARCHIES
    from benchmarks.reparam import compare

    for name in HIERARCHIES:
        row = compare(name)
        assert row.share >= 0.9 - 3 * row.error, row


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
@pytest.mark.parametrize("name", ["eight_schools-eight_schools_centered", "funnel"])
def test_svi_learns_as_good_a_centring_where_there_are_few_data(name: str) -> None:
    from benchmarks.reparam import learn

    found = learn(name)
    assert found.by_svi.max() < 0.2
    assert found.share >= 0.9 - 3 * found.error


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:the latent sites:sursum.errors.UnusedSiteWarning", "ignore::sursum.errors.DiagnosticWarning"
)
def test_it_measures_beside_discrete_sites_that_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sursum.mcmc.mcmc.PILOT", 100)

    def counted(y):
        v = su.sample("v", dist.Normal(0.0, 3.0))
        with su.plate("elements", 4):
            su.sample("x", dist.Normal(0.0, (v / 2).exp()))
        su.sample("y", dist.Normal(su.sample("n", dist.Poisson(3.0)), 0.5), obs=y)

    kernel = su.infer.DiscreteGibbs(su.infer.NUTS(su.reparam(counted, "auto")))
    mcmc = su.infer.MCMC(kernel, num_warmup=200, num_samples=300, num_chains=2, seed=0, progress=False)
    posterior = mcmc.run(torch.tensor(3.0))
    assert "x_decentered" in posterior
    assert posterior.notes == ("Coordinates found by short runs: x non-centred.",)
    n = torch.arange(12.0).double()
    weight = torch.distributions.Poisson(3.0).log_prob(n).double() - 2 * (n - 3.0) ** 2
    exact = float((n * weight.softmax(0)).sum())
    assert abs(float(posterior["n"].double().mean()) - exact) < 4.5 * 0.5 / 200**0.5
