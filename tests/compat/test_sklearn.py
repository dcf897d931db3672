"""The scikit-learn estimators: exact posteriors of linear models, probabilities, pipelines, and scikit-learn's own checks."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import check_estimator

import sursum.distributions as dist
from sursum.compat.sklearn import SursumClassifier, SursumRegressor
from sursum.errors import OptionError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2)) * [1.0, 10.0] + [0.0, 5.0]
Y = 2.0 * X[:, 0] - 0.3 * X[:, 1] + 4.0 + 0.5 * RNG.normal(size=60)


@pytest.fixture(scope="module")
def line() -> SursumRegressor:
    return SursumRegressor(prior=dist.Normal(0.0, 1.0), num_samples=500, random_state=0).fit(X, Y)


def test_a_linear_model_has_the_conjugate_mean_and_spread(line: SursumRegressor) -> None:
    x = np.column_stack([(X - X.mean(0)) / X.std(0), np.ones(60)])
    y = (Y - Y.mean()) / Y.std()
    sigma = line.posterior_["sigma"].numpy().ravel()
    variance = float(np.mean(sigma**2))
    # Given σ the weights are normal; σ is known to some per cent, which moves them by far less than their sds.
    covariance = np.linalg.inv(x.T @ x / variance + np.eye(3))
    mean = covariance @ x.T @ y / variance
    at = np.column_stack([(X[:5] - X.mean(0)) / X.std(0), np.ones(5)])
    sd = np.sqrt(np.einsum("ri,ij,rj->r", at, covariance, at))
    found, std = line.predict(X[:5], return_std=True)
    # 2,000 draws, worth at least 500.
    assert np.all(np.abs(found - (Y.mean() + Y.std() * at @ mean)) < 4 * Y.std() * sd / 500**0.5 + 1e-3)
    np.testing.assert_allclose(std, Y.std() * np.sqrt(sd**2 + variance), rtol=0.02)


def test_it_agrees_with_bayesian_ridge(line: SursumRegressor) -> None:
    other = BayesianRidge().fit(X, Y)
    mean, std = line.predict(X, return_std=True)
    theirs, their_std = other.predict(X, return_std=True)
    np.testing.assert_allclose(mean, theirs, atol=0.1 * 0.5)
    np.testing.assert_allclose(std, their_std, rtol=0.1)
    assert line.score(X, Y) == pytest.approx(other.score(X, Y), abs=0.002)


def test_probabilities_are_averaged_over_the_posterior() -> None:
    x = RNG.normal(size=(100, 1))
    labels = np.where(RNG.uniform(size=100) < 1 / (1 + np.exp(-2 * x[:, 0])), "yes", "no")
    model = SursumClassifier(method="laplace", random_state=0).fit(x, labels)
    p = model.predict_proba([[-3.0], [0.0], [3.0]])
    np.testing.assert_allclose(p.sum(1), 1.0)
    assert p[0, 1] < 0.1 < 0.3 < p[1, 1] < 0.7 < 0.9 < p[2, 1]
    assert model.predict([[-3.0], [3.0]]).tolist() == ["no", "yes"]
    net = model.posterior_.module("net", model.net_)
    logits = net(torch.from_numpy((np.array([[3.0]]) - model.x_mean_) / model.x_scale_))
    assert p[2, 1] == pytest.approx(float(torch.softmax(logits, -1)[:, 0, 1].mean()))


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_networks_pipelines_and_pickles() -> None:
    def net(features: int, outputs: int) -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(features, 4), torch.nn.Tanh(), torch.nn.Linear(4, outputs))

    model = SursumRegressor(net, method="laplace", num_samples=100, random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.9
    again = pickle.loads(pickle.dumps(SursumRegressor(method="laplace", num_samples=50, random_state=0).fit(X, Y)))
    assert again.predict(X[:3]).shape == (3,)
    whole = make_pipeline(PolynomialFeatures(2), SursumRegressor(method="laplace", num_samples=50, random_state=0))
    assert cross_val_score(whole, X, Y, cv=2).min() > 0.9
    assert clone(model).get_params()["net"] is net
    module = torch.nn.Linear(2, 1)
    before = module.weight.detach().clone()
    SursumRegressor(module, method="laplace", num_samples=10, random_state=0).fit(X, Y)
    assert torch.equal(module.weight, before)


def test_mistakes_are_said() -> None:
    with pytest.raises(OptionError, match="'nuts', 'laplace', 'pathfinder'"):
        SursumRegressor(method="advi").fit(X, Y)
    with pytest.raises(OptionError, match="must be a torch module"):
        SursumRegressor(lambda features, outputs: 3).fit(X, Y)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [SursumRegressor, SursumClassifier])
def test_scikit_learns_own_checks(kind: type) -> None:
    check_estimator(kind(method="laplace", num_samples=200, random_state=0))
