"""Simulate and recover: values that are given or drawn, and what the posterior of their data says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import SamplingError
from sursum.studies.recovery import _simulate

X = torch.linspace(-1.0, 1.0, 40)


def line(x, y):
    slope = su.sample("slope", dist.Normal(0.0, 1.0))
    with su.plate("data", len(x)):
        su.sample("y", dist.Normal(slope * x, 0.1), obs=y)


@pytest.fixture(scope="module")
def found():
    mcmc = su.infer.MCMC(su.infer.NUTS(line), num_warmup=200, num_samples=300, num_chains=2, progress=False)
    return su.infer.Recovery(mcmc, {"slope": 0.7}, seed=0).run(X, torch.zeros(40))


def test_the_posterior_is_that_of_the_simulated_data(found):
    y = found.data["y"].double()
    precision = 1.0 + 100 * float((X.double() ** 2).sum())
    mean = 100 * float((X.double() * y).sum()) / precision
    assert abs(float(found.posterior["slope"].mean()) - mean) < 4.5 * precision**-0.5 / 150**0.5
    assert float(found.truth["slope"]) == 0.7
    # The data are those of the value: residuals of sd 0.1.
    assert float((y - 0.7 * X).std()) == pytest.approx(0.1, rel=4 / 80**0.5)
    assert found.z("slope") == pytest.approx((mean - 0.7) * precision**0.5, abs=0.5)


def test_values_that_are_not_given_are_drawn():
    one, other = (su.infer.Recovery(line, seed=seed).run(X, torch.zeros(40)) for seed in (1, 2))
    assert one.truth["slope"] != other.truth["slope"]
    assert abs(float(one.z("slope"))) < 4.5
    assert one.share_inside in (0.0, 1.0)


def test_what_is_said(found):
    assert str(found).splitlines()[2].split()[:2] == ["site", "value"]
    assert "0.7" in str(found)
    assert found._repr_html_().count("<tr>") == 2
    assert repr(su.infer.Recovery(line, {"slope": 0.7})) == "Recovery(line, {'slope': 0.7})"


def test_what_is_refused():
    with pytest.raises(SamplingError, match="`truth` has a value for 'slop', which is not a latent site"):
        su.infer.Recovery(line, {"slop": 1.0}, seed=0).run(X, torch.zeros(40))
    with pytest.raises(SamplingError, match="observes nothing"):
        su.infer.Recovery(lambda: su.sample("z", dist.Normal(0.0, 1.0)), seed=0).run()
    with pytest.raises(SamplingError, match="a mapping"):
        su.infer.Recovery(line, [1.0])


def test_the_picture(found):
    pytest.importorskip("matplotlib")
    assert [label.get_text() for label in found.plot().axes[0].get_yticklabels()] == ["slope"]
    assert np.isfinite(found.plot().axes[0].get_xlim()).all()


def groups(x, y):
    with su.plate("groups", 3):
        a = su.sample("a", dist.Normal(0.0, 1.0))
    k = su.sample("k", dist.Poisson(2.0))
    with su.plate("data", len(x)):
        su.sample("y", dist.Normal(a.sum() * x + k, 0.1), obs=y)


@pytest.mark.parametrize(
    "a", [[0.5, 1.0, 1.5], np.array([0.5, 1.0, 1.5]), torch.tensor([0.5, 1.0, 1.5]).double(), torch.ones(3, requires_grad=True)]
)
def test_values_in_any_form_are_those_of_the_site(a):
    truth, data = _simulate(groups, {"a": a, "k": 3.0}, (X, torch.zeros(40)), {}, 0)
    assert truth["a"].tolist() == torch.as_tensor(a).detach().tolist()
    assert not truth["a"].requires_grad
    mean = float(torch.as_tensor(a).detach().sum()) * X + 3
    assert float((data["y"] - mean).detach().abs().max()) < 0.5


def test_one_number_is_that_of_every_element():
    truth, _ = _simulate(groups, {"a": 2.0}, (X, torch.zeros(40)), {}, 0)
    assert truth["a"].tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({"a": torch.ones(1)}, r"of shape \(1,\) for 'a', and that site has shape \(3,\)"),
        ({"a": torch.ones(3, 1)}, r"of shape \(3, 1\) for 'a'"),
        ({"k": [1.0]}, r"of shape \(1,\) for 'k', and that site has shape \(\)"),
        ({"a": "one"}, "'one' for 'a', and values are numbers"),
        ({"y": torch.zeros(40)}, "'y', which is not a latent site"),
    ],
)
def test_values_of_another_shape_are_refused(truth, said):
    with pytest.raises(SamplingError, match=said):
        su.infer.Recovery(groups, truth, seed=0).run(X, torch.zeros(40))


def test_whole_numbers_stay_whole():
    def mixture(y):
        k = su.sample("k", dist.Categorical(torch.tensor([0.5, 0.5])))
        su.sample("y", dist.Normal(torch.tensor([-5.0, 5.0])[k], 1.0), obs=y)

    _, data = _simulate(mixture, {"k": 1.0}, (torch.tensor(0.0),), {}, 0)
    assert float(data["y"]) > 0
    with pytest.raises(SamplingError, match="0.5 for 'k', whose values are whole numbers"):
        _simulate(mixture, {"k": 0.5}, (torch.tensor(0.0),), {}, 0)
