"""For ArviZ, of either major version: the groups, their dimensions and labels, and that its tools work on the result.

The tests run under ArviZ 0.x and 1.x alike. Where 0.x is installed, the container for 1.x is made for a stand-in as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.support.arviz_groups import groups_of

import sursum as su
import sursum.distributions as dist
from sursum.draws import arviz
from sursum.errors import ExportError, PredictionError, StorageError
from sursum.posterior.posterior import Posterior

arviz = arviz._arviz()
ONE = int(arviz.__version__.split(".")[0]) >= 1

EFFECT = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
SCHOOLS = list("ABCDEFGH")

# ArviZ and what it draws with have announcements of their own, and warn of our few draws.
theirs = pytest.mark.filterwarnings("ignore")


def pooled(error, effect=None):
    mu = su.sample("mu", dist.Normal(0.0, 5.0))
    with su.plate("school", len(error)):
        su.sample("effect", dist.Normal(mu, error), obs=effect)


def schools(error, effect=None):
    mu = su.sample("mu", dist.Normal(0.0, 5.0))
    tau = su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("school", len(error)):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        theta = su.deterministic("theta", mu + tau * z)
        su.sample("effect", dist.Normal(theta, error), obs=effect)


def sampled(model):
    mcmc = su.infer.MCMC(su.infer.NUTS(model, target_accept=0.95), num_warmup=1000, num_samples=1000, seed=0, progress=False)
    return mcmc.run(ERROR, EFFECT)


@pytest.fixture(scope="module")
def posterior():
    found = sampled(schools)
    prior = su.infer.Predictive(schools, num_samples=200, seed=1)(ERROR)
    return found.with_groups(posterior_predictive=found.predict(seed=1), prior=prior, constant_data={"error": ERROR})


@pytest.fixture(scope="module")
def data(posterior):
    return posterior.to_arviz(coords={"school": SCHOOLS}, dims={"error": ["school"]}, log_likelihood=True)


def test_the_groups_of(data):
    assert groups_of(data) == {
        *("posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats", "observed_data", "constant_data"),
        *("log_likelihood", "posterior_predictive", "prior", "prior_predictive"),
    }
    wanted = {"diverging", "energy", "tree_depth", "n_steps", "step_size", "acceptance_rate", "lp"}
    assert wanted <= set(data["sample_stats"].data_vars)
    assert set(data["posterior"].data_vars) == {"mu", "tau", "z", "theta"}
    assert set(data["posterior_predictive"].data_vars) == {"effect"}
    assert set(data["prior"].data_vars) == {"mu", "tau", "z", "theta"}


def test_dimensions_and_labels(data):
    for group, name in (
        *(("posterior", "theta"), ("warmup_posterior", "z"), ("posterior_predictive", "effect")),
        *(("log_likelihood", "effect"), ("prior", "theta"), ("prior_predictive", "effect")),
    ):
        assert data[group][name].dims == ("chain", "draw", "school")
        assert list(data[group]["school"].values) == SCHOOLS
    for group, name in (("observed_data", "effect"), ("constant_data", "error")):
        assert data[group][name].dims == ("school",)
        assert list(data[group]["school"].values) == SCHOOLS
    assert list(data["posterior"]["draw"].values) == list(range(1000))
    picked = data["posterior"]["theta"].sel(school="C").values
    np.testing.assert_array_equal(picked, data["posterior"]["theta"].values[..., 2])


def test_values(data, posterior):
    np.testing.assert_array_equal(data["posterior"]["theta"].values, posterior["theta"].numpy())
    np.testing.assert_array_equal(data["warmup_sample_stats"]["lp"].values, posterior.warmup.stats["lp"])
    np.testing.assert_array_equal(data["observed_data"]["effect"].values, EFFECT.numpy())
    np.testing.assert_array_equal(data["constant_data"]["error"].values, ERROR.numpy())
    theta, error, effect = posterior["theta"].numpy(), ERROR.double().numpy(), EFFECT.double().numpy()
    wanted = -0.5 * ((effect - theta) / error) ** 2 - np.log(error) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(data["log_likelihood"]["effect"].values, wanted, rtol=1e-5, atol=1e-5)
    assert data["prior"]["mu"].shape == (1, 200)


def test_the_log_likelihood_is_there_when_it_is_asked_for(posterior):
    assert "log_likelihood" not in groups_of(posterior.to_arviz())
    loaded = Posterior(posterior.sites, posterior.stats, posterior.unconstrained)
    with pytest.raises(PredictionError, match="this posterior has no program to log_likelihood with"):
        loaded.to_arviz(log_likelihood=True)


@theirs
def test_loo_and_compare(data):
    other = sampled(pooled).to_arviz(log_likelihood=True)
    loo = arviz.loo(data)
    # Vehtari, Gelman & Gabry (2017), section 4.2 and figure 2: −30.7 or so for the hierarchical model, with an SE of 1.4.
    assert abs(float(loo.elpd_loo if not ONE else loo.elpd) + 30.8) < 0.6
    table = arviz.compare({"schools": data, "pooled": other})
    assert set(table.index) == {"schools", "pooled"}


@theirs
@pytest.mark.parametrize("plot", ["rank", "forest", "pair", "ppc", "trace"])
def test_plots(data, plot):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    try:
        if plot == "rank":
            arviz.plot_rank(data, var_names=["mu", "tau"])
        elif plot == "forest":
            arviz.plot_forest(data, var_names=["theta"])
        elif plot == "pair":
            arviz.plot_pair(data, var_names=["mu", "tau"])
        elif plot == "trace":
            arviz.plot_trace(data, var_names=["mu", "tau"])
        elif ONE:
            arviz.plot_ppc_dist(data)
        else:
            arviz.plot_ppc(data, num_pp_samples=20)
        figure = plt.gcf()
        figure.canvas.draw()
        assert len(figure.axes) >= 1
        assert np.asarray(figure.canvas.buffer_rgba()).std() > 1.0, "an empty picture"
    finally:
        plt.close("all")


def test_a_stand_in_for_the_other_major_version(posterior, monkeypatch):
    """Under ArviZ 0.x the container for 1.x is made all the same: it needs xarray only."""
    import xarray

    monkeypatch.setattr(arviz, "__version__", "1.0.0")
    tree = posterior.to_arviz(coords={"school": SCHOOLS})
    assert isinstance(tree, xarray.DataTree)
    assert {"posterior", "sample_stats", "observed_data", "posterior_predictive", "prior"} <= set(tree.children)
    assert list(tree["posterior"]["school"].values) == SCHOOLS


def test_labels_that_do_not_fit(posterior):
    with pytest.raises(ExportError, match=r"`coords` has labels for 'schol', and no site has a.+ Did you mean 'school'"):
        posterior.to_arviz(coords={"schol": SCHOOLS})
    with pytest.raises(ExportError, match=r"`coords` has 3 labels for 'school', but that dimension has 8 elements\. Give one"):
        posterior.to_arviz(coords={"school": ["A", "B", "C"]})


def test_groups_that_cannot_be_added(posterior):
    with pytest.raises(ExportError, match=r"group 'posterior_predictve' does not exist\. Did you mean 'posterior_pr"):
        posterior.with_groups(posterior_predictve={})
    with pytest.raises(ExportError, match="group 'posterior' does not exist"):
        posterior.with_groups(posterior={})
    with pytest.raises(ExportError, match="the group 'prior' is a Tensor. Give a mapping from names to draws, or a Prediction"):
        posterior.with_groups(prior=torch.zeros(3))
    with pytest.raises(ExportError, match=r"the draws of 'y' in 'predictions' have shape \(3,\), but 2 leading dimensions"):
        posterior.with_groups(predictions={"y": torch.zeros(3)})


def same(one, other):
    assert one.groups.keys() == other.groups.keys()
    for group, values in one.groups.items():
        assert list(values) == list(other.groups[group])
        for name, value in values.items():
            assert value.dtype == other.groups[group][name].dtype
            assert torch.equal(value, other.groups[group][name])


def test_groups_are_saved(posterior, tmp_path):
    posterior.save(tmp_path / "run.npz")
    same(Posterior.load(tmp_path / "run.npz"), posterior)


@theirs
def test_groups_go_to_the_store_of_the_run(posterior, tmp_path):
    path = tmp_path / "run.zarr"
    mcmc = su.infer.MCMC(
        su.infer.NUTS(schools), num_warmup=50, num_samples=40, num_chains=2, seed=0, progress=False, store=path
    )
    found = mcmc.run(ERROR, EFFECT)
    prior = su.infer.Predictive(schools, num_samples=1500, seed=1)(ERROR)
    whole = found.with_groups(
        store=path,
        log_likelihood=found.log_likelihood(),
        posterior_predictive=found.predict(seed=1),
        prior=prior,
        constant_data={"error": ERROR},
    )
    again = Posterior.load(path)
    same(again, Posterior.load(path))
    assert set(again.groups) == set(whole.groups)
    for group, values in whole.groups.items():
        for name, value in values.items():
            assert torch.equal(value, again.groups[group][name])
    assert groups_of(again.to_arviz()) >= set(whole.groups)
    with pytest.raises(StorageError, match="already has a group 'prior', and stored data are never"):
        found.with_groups(store=path, prior=prior)


@pytest.mark.parametrize(
    ("dims", "says"),
    [
        ({"slop": ["a"]}, "'slop', but that site does not exist. Did you mean 'slope'"),
        ({"slope": ["a"]}, "for 'slope', which has 0 dimensions"),
        ({"weight": ["a", "b"]}, "for 'weight', which has 1 dimensions"),
        ({"weight": "a"}, "Give a list"),
    ],
)
def test_names_of_dimensions_that_are_not_there_are_refused(dims: Any, says: str) -> None:
    posterior = su.Posterior({"slope": torch.zeros(2, 10), "weight": torch.zeros(2, 10, 3)}, {}, np.zeros((2, 10, 1)))
    with pytest.raises(ExportError, match=says):
        posterior.to_arviz(dims=dims)


def counted(hits, more=2):
    with su.plate("player", len(hits)):
        rate = su.sample("rate", dist.Beta(2.0, 2.0))
        su.sample("hits", dist.Binomial(10.0, rate), obs=hits)
    with su.plate("year", more):
        su.sample("extra", dist.Normal(0.0, 1.0), obs=torch.zeros(more))


HITS = pd.Series([3.0, 5.0, 8.0], index=pd.Index(["Clemente", "Robinson", "Howard"], name="player"))
QUICK = {"num_warmup": 500, "num_samples": 500, "num_chains": 4, "seed": 0, "progress": False}


@pytest.fixture(scope="module")
def labelled():
    return su.infer.MCMC(su.infer.NUTS(counted), **QUICK).run(HITS)


def test_the_index_of_a_column_labels_its_plate(labelled):
    whole = labelled.with_groups(
        posterior_predictive=labelled.predict(seed=1),
        predictions=labelled.predict(pd.Series([1.0, 2.0, 3.0], index=list("xyz")), seed=1, replicate=True),
    )
    data = whole.to_arviz(log_likelihood=True)
    for group in ("posterior", "warmup_posterior", "observed_data", "posterior_predictive", "log_likelihood"):
        assert list(data[group]["player"].values) == list(HITS.index)
    picked = data["posterior"]["rate"].sel(player="Robinson").values
    np.testing.assert_array_equal(picked, labelled["rate"].numpy()[..., 1])
    assert list(data["observed_data"]["year"].values) == [0, 1]
    # Other data have other players, whatever their number.
    assert list(data["predictions"]["player"].values) == [0, 1, 2]
    assert list(labelled.to_arviz(coords={"player": [7, 8, 9]})["posterior"]["player"].values) == [7, 8, 9]


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_labels_are_kept(labelled, tmp_path):
    labelled.save(tmp_path / "run.npz")
    few = {"num_warmup": 20, "num_samples": 20, "num_chains": 1, "seed": 0, "progress": False}
    stored = su.infer.MCMC(su.infer.NUTS(counted), **few, store=tmp_path / "run").run(HITS)
    for one in (Posterior.load(tmp_path / "run.npz"), stored, Posterior.load(tmp_path / "run")):
        assert list(one.to_arviz()["posterior"]["player"].values) == list(HITS.index)


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_labels_of_approximations():
    guide = su.infer.autoguide.AutoNormal(counted)
    svi = su.infer.SVI(counted, guide, su.optim.Adam({"lr": 0.1}), seed=0, engine="eager", progress=False)
    svi.run(2, HITS)
    found = (svi.sample(5), su.infer.Laplace(counted, num_samples=5, seed=0).run(HITS[::-1]))
    assert [one.coords["player"].tolist() for one in found] == [list(HITS.index), list(HITS.index)[::-1]]


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_labels_of_noisy_gradients():
    few = {"num_samples": 2, "seed": 0, "engine": "eager"}
    chain = su.infer.SGMCMC(su.infer.SGLD(counted, 0.01), num_warmup=0, num_chains=1, **few).run(HITS)
    swag = su.infer.SWAG(counted, su.optim.Adam({"lr": 0.01}), num_steps=4, every=1, **few).run(hits=HITS[::-1])
    assert [one.coords["player"].tolist() for one in (chain, swag)] == [list(HITS.index), list(HITS.index)[::-1]]
    assert list(chain.to_arviz()["posterior"]["player"].values) == list(HITS.index)


def test_labels_of_one_of_two_plates_of_a_length_are_not_guessed(labelled):
    density = su.infer.LogDensity(counted, (HITS, 3))
    assert not density.coords
    assert list(su.infer.LogDensity(counted, (HITS, 4)).coords) == ["player"]


def test_a_plate_with_the_name_of_a_site():
    def model(y):
        with su.plate("y", len(y)):
            su.sample("y", dist.Normal(su.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    days = pd.date_range("2026-01-01", periods=3)
    data = su.infer.Laplace(model, num_samples=20, seed=0).run(pd.Series([0.1, 0.2, 0.3], index=days)).to_arviz()
    np.testing.assert_array_equal(
        data["posterior"]["z"].sel(y_plate="2026-01-02").values, data["posterior"]["z"].values[..., 1]
    )
