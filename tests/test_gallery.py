"""Every example of the gallery runs from the command line, draws its picture, and its numbers are right.

Where the posterior can be had exactly (a conjugate form, a sum over a grid) the run is held to that within its Monte-Carlo
error; elsewhere to the maximum of the likelihood with latent effects integrated out, or to the truth behind simulated data.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import change_point
import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, gammaln, logsumexp
from scipy.stats import norm, poisson

import sursum as su
import sursum.distributions as dist
from tests.support.monte_carlo import standard_error
from tests.support.paths import EXAMPLES

# Runs are short, and the diagnostics say so.
pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

Run = Callable[[str, int], tuple[ModuleType, su.Posterior]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an example as from the command line; gives the module and its posterior."""

    def command(name: str, draws: int) -> tuple[ModuleType, su.Posterior]:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--draws", str(draws), "--out", str(tmp_path)])
        posterior = module.main()
        assert "ess_bulk" in capsys.readouterr().out
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        return module, posterior

    return command


def agrees(draws: torch.Tensor, mean: float, sd: float | None = None, grid: float = 0.0) -> None:
    """Mean (and sd) of draws within four Monte-Carlo errors, and what the grid may be off."""
    values = draws.numpy()
    error = 4 * standard_error(values) + grid
    assert abs(values.mean() - mean) < error, (values.mean(), mean, error)
    if sd is not None:
        # The standard error of an sd is that of the mean over √2 for normal tails; √2 is spared for heavier ones.
        assert abs(values.std() - sd) < error, (values.std(), sd, error)


def near(draws: torch.Tensor, estimate: Any, share: float = 0.5) -> None:
    """The posterior mean is within a share of the posterior sd of an estimate that uses the likelihood alone."""
    values = draws.flatten(0, 1).numpy()
    assert np.all(np.abs(values.mean(0) - estimate) < share * values.std(0)), (values.mean(0), estimate, values.std(0))


def maximum(log_likelihood: Callable[[np.ndarray], float], start: list[float]) -> np.ndarray:
    found = minimize(lambda x: -log_likelihood(x), np.array(start), method="BFGS", options={"gtol": 1e-3})
    assert found.success or found.status == 2, found.message
    return found.x


def test_change_point(run: Run) -> None:
    """Exponential(1) is Gamma(1, 1): given the year the rates are Gamma, and the year's weights are known."""
    module, posterior = run("change_point", 500)
    y = module.read_disasters()[1].numpy()
    k = np.arange(1, len(y))
    early, late = np.cumsum(y)[:-1], y.sum() - np.cumsum(y)[:-1]
    weights = gammaln(1 + early) - (1 + early) * np.log(1 + k) + gammaln(1 + late) - (1 + late) * np.log(1 + len(y) - k)
    weights = np.exp(weights - logsumexp(weights))
    agrees(posterior["early"], float(weights @ ((1 + early) / (1 + k))))
    agrees(posterior["late"], float(weights @ ((1 + late) / (1 + len(y) - k))))
    switch = su.infer.discrete_probabilities(posterior)["switch"]
    for year in np.argsort(weights)[-5:]:
        agrees(switch[..., year], float(weights[year]))


def test_change_point_sums_over_all_years() -> None:
    y = change_point.read_disasters()[1]
    by_hand = logsumexp([poisson.logpmf(y, 2.0).sum() for k in range(1, len(y))])
    flat = su.lift(change_point.mining, {name: dist.Uniform(0.0, 4.0) for name in ("early", "late")})
    density = su.infer.LogDensity(flat, (y,)).without_jacobian()
    prior = -2 * np.log(4.0)
    assert float(density(torch.zeros(2).double())) == pytest.approx(by_hand - np.log(len(y) - 1) + prior, rel=1e-9)


@pytest.mark.slow
def test_hidden_markov(run: Run) -> None:
    """The probabilities of the states at a draw are those of the forward and backward algorithms, and the path is found."""
    module, posterior = run("hidden_markov", 150)
    path, customers = module.simulate()
    rates, stays = posterior["rates"][0, 7].numpy(), np.log(posterior["stays"][0, 7].numpy())
    seen = poisson.logpmf(customers.numpy()[:, None], rates)
    forward, backward = [stays[0] + seen[0]], [np.zeros(3)]
    for t in range(1, len(seen)):
        forward.append(logsumexp(forward[-1][:, None] + stays, 0) + seen[t])
        backward.append(logsumexp(stays + seen[-t] + backward[-1], 1))
    exact = np.stack(forward) + np.stack(backward[::-1])
    exact = np.exp(exact - logsumexp(exact, 1, keepdims=True))
    np.testing.assert_allclose(su.infer.discrete_probabilities(posterior)["state"][0, 7], exact, atol=1e-6)
    best = su.infer.infer_discrete(posterior, temperature=0)["state"].flatten(0, 1).mode(0).values
    assert float((best == path).double().mean()) > 0.85
    near(posterior["rates"], module.RATES.numpy(), 3.0)


@pytest.mark.slow
def test_capture_recapture(run: Run) -> None:
    """The density is that of Cormack, Jolly and Seber: survival between sightings, and not being seen after the last."""
    module, posterior = run("capture_recapture", 200)
    alive, seen = module.simulate()

    def likelihood(survives: float, detected: float) -> float:
        total, years = 0.0, seen.shape[0]
        for bird in seen.T.numpy():
            sightings = np.flatnonzero(bird)
            first, last = sightings[0], sightings[-1]
            for year in range(first + 1, last + 1):
                total += np.log(survives * (detected if bird[year] else 1 - detected))
            never = 1.0  # to be seen after a year, backwards
            for _ in range(years - 1 - last):
                never = 1 - survives + survives * (1 - detected) * never
            total += np.log(never)
        return float(total)

    density = su.compile(module.birds, seen)
    for q in ([0.0, 0.0], [1.0, -0.5], [-0.3, 1.7]):
        p = expit(q)
        exact = likelihood(*p) + np.log(p * (1 - p)).sum()
        assert density.value_and_grad(np.array(q))[0] == pytest.approx(exact, rel=1e-10)
    near(posterior["survives"], module.SURVIVES, share=3.0)
    near(posterior["detected"], module.SEEN, share=3.0)
    last = su.infer.discrete_probabilities(posterior)["alive"][:, :, -1, :, 1].mean((0, 1))
    assert (last[seen[-1] == 1.0] > 0.999).all()
    assert abs(float((last - alive[-1]).sum())) < 8.0


def test_guessing(run: Run) -> None:
    """The density is a mixture for each student, and those who guessed are found."""
    module, posterior = run("guessing", 150)
    guesses, answers = module.simulate()
    values = {name: posterior[name][0, 3] for name in ("share", "difficulty", "ability")}
    right = answers.double().numpy() == 1.0
    solves = expit(values["ability"].numpy() - values["difficulty"].numpy())
    log_solves = np.log(np.where(right, solves, 1 - solves)).sum(1)
    log_guesses = np.log(np.where(right, module.CHANCE, 1 - module.CHANCE)).sum(1)
    share = float(values["share"])
    exact = 1 / (1 + np.exp(log_solves - log_guesses) * (1 - share) / share)
    found = su.infer.discrete_probabilities(posterior)["guesses"][..., 0, 1]
    np.testing.assert_allclose(found[0, 3], exact, atol=1e-6)
    told = found.mean((0, 1)) > 0.5
    assert float((told == guesses).double().mean()) > 0.8
    near(posterior["difficulty"], module.DIFFICULTY.numpy(), share=3.5)


@pytest.mark.slow
def test_topics(run: Run) -> None:
    """A word's topic given shares and topics is by Bayes' rule, and the bars are found."""
    module, posterior = run("topics", 150)
    words = module.simulate()
    share, topic = posterior["share"][1, 7], posterior["topic"][1, 7]
    joint = share * topic[:, words].permute(1, 2, 0)
    exact = joint / joint.sum(-1, keepdim=True)
    found = su.infer.discrete_probabilities(posterior)["which"]
    np.testing.assert_allclose(found[1, 7], exact, atol=1e-6)
    # Of some 600 words of a topic the share of a pixel is known to 0.018 (one deviation); half of four errors of three
    # deviations is 0.11, and the prior adds 12 · 1.1 / 600 = 0.02 on pixels outside the bar.
    assert float(module.nearest(posterior["topic"].mean((0, 1)))[1].max()) < 0.15


def test_eight_schools(run: Run) -> None:
    """Everything is normal given tau: a sum over a grid of it."""
    module, posterior = run("eight_schools", 500)
    y, sigma = module.EFFECT.double().numpy(), module.ERROR.double().numpy()
    tau = np.linspace(0.0, 80.0, 4001)[1:]
    precision = 1 / (sigma**2 + tau[:, None] ** 2)
    total = precision.sum(1) + 1 / 25
    mu = (precision * y).sum(1) / total
    log_weights = 0.5 * (np.log(precision).sum(1) - np.log(total) - (precision * y**2).sum(1) + total * mu**2)
    log_weights -= np.log1p((tau / 5) ** 2)
    w = np.exp(log_weights - logsumexp(log_weights))
    agrees(posterior["tau"], w @ tau)
    agrees(posterior["mu"], w @ mu, np.sqrt(w @ (1 / total + mu**2) - (w @ mu) ** 2))
    first = (y[0] / sigma[0] ** 2 + mu / tau**2) / (1 / sigma[0] ** 2 + 1 / tau**2)
    agrees(posterior["theta"][..., 0], w @ first)


@pytest.mark.slow
def test_horseshoe(run: Run) -> None:
    module, posterior = run("horseshoe", 150)
    low, high = np.quantile(posterior["beta"].flatten(0, 1).numpy(), [0.05, 0.95], axis=0)
    found = np.flatnonzero((low > 0) | (high < 0))
    assert set(np.flatnonzero(module.TRUTH.numpy())) <= set(found)
    assert len(found) <= 5
    assert float(posterior["beta"].mean((0, 1))[module.TRUTH == 0].abs().max()) < 0.4


@pytest.mark.slow
def test_varying_effects(run: Run) -> None:
    module, posterior = run("varying_effects", 500)
    county, floor, y = (value.double().numpy() for value in module.read_survey())
    houses = [county == k for k in range(module.COUNTIES)]

    def marginal(at: np.ndarray) -> float:
        """Counties' effects integrated out: the y of a county are jointly normal."""
        spread, total = np.exp(at[2:4]), 0.0
        covariance = np.array([[spread[0] ** 2, (r := np.tanh(at[4]) * spread.prod())], [r, spread[1] ** 2]])
        for mine in houses:
            x = np.stack([np.ones(mine.sum()), floor[mine]], 1)
            cov, rest = x @ covariance @ x.T + np.exp(2 * at[5]) * np.eye(len(x)), y[mine] - x @ at[:2]
            total -= 0.5 * (np.linalg.slogdet(cov)[1] + rest @ np.linalg.solve(cov, rest))
        return total

    best = maximum(marginal, [1.5, -0.7, -1.0, -1.0, 0.0, -0.3])
    near(posterior["mean"], best[:2])
    near(posterior["sigma"], np.exp(best[5]))
    near(posterior["spread"], np.exp(best[2:4]), share=1.0)
    factor = posterior["factor"]
    assert torch.allclose(factor @ factor.mT * torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    standardised = posterior["standardised"] @ (posterior["spread"][..., None] * factor).mT
    assert torch.allclose(posterior["effect"], posterior["mean"][..., None, :] + standardised)


@pytest.mark.slow
def test_gaussian_process(run: Run) -> None:
    module, posterior = run("gaussian_process", 500)
    x, y = module.simulate()
    names = ("length", "height", "noise")
    priors = (torch.distributions.InverseGamma(3.0, 5.0), su.distributions.HalfNormal(2.0), su.distributions.HalfNormal(1.0))
    axes = [torch.linspace(*ends, 20, dtype=torch.float64) for ends in ((0.5, 4.0), (0.5, 7.0), (0.17, 0.75))]
    grid = torch.cartesian_prod(*axes)
    length, height, noise = (grid[:, k, None, None] for k in range(3))
    covariance = module.kernel(x, x, length, height) + noise.square() * torch.eye(len(x), dtype=x.dtype)
    log_weights = torch.distributions.MultivariateNormal(torch.zeros_like(x), covariance).log_prob(y)
    log_weights += sum(prior.log_prob(grid[:, k]) for k, prior in enumerate(priors))
    weights = log_weights.softmax(0)
    for k, name in enumerate(names):
        mean = weights @ grid[:, k]
        agrees(posterior[name], float(mean), float((weights @ (grid[:, k] - mean).square()).sqrt()), grid=1e-2)
    # Given the parameters the function is normal: its moments are those of a mixture over the grid.
    places = torch.tensor([1.0, 6.0, 8.0], dtype=torch.float64)
    across = module.kernel(places, x, length, height)
    solved = torch.linalg.solve(covariance, across.mT)
    means, variances = (solved * y[:, None]).sum(1), height[:, 0].square() - (across.mT * solved).sum(1)
    mean = weights @ means
    sd = (weights @ (variances + means.square()) - mean.square()).sqrt()
    values = module.function_values(posterior, x, y, places).unflatten(0, posterior["length"].shape)
    for k in range(len(places)):
        agrees(values[..., k], float(mean[k]), float(sd[k]), grid=2e-3)
    assert torch.all((mean - module.truth(places)).abs() < 2 * sd)
    assert sd[1] > 1.5 * sd[0]  # nothing was measured near 6


def test_stochastic_volatility(run: Run) -> None:
    module, posterior = run("stochastic_volatility", 200)
    h = module.simulate()[1].numpy()
    low, high = np.quantile(posterior["h"].flatten(0, 1).numpy(), [0.05, 0.95], axis=0)
    assert 0.8 < ((low < h) & (h < high)).mean() <= 1.0
    for name, value in module.TRUTH.items():
        near(posterior[name], value, share=2.0)


def test_item_response(run: Run) -> None:
    module, posterior = run("item_response", 300)
    answers = module.read_answers().numpy()
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    patterns, students = np.unique(answers, axis=0, return_counts=True)

    def marginal(at: np.ndarray) -> float:
        """Abilities integrated out by Gauss–Hermite quadrature."""
        right = expit(np.exp(at[5]) * nodes[:, None] - at[:5])[:, None]
        likelihood = np.where(patterns == 1, right, 1 - right).prod(-1)
        return float(students @ np.log(weights @ likelihood / weights.sum()))

    best = maximum(marginal, [-2.0, -1.0, 0.0, -1.0, -2.0, 0.0])
    near(posterior["difficulty"], best[:5], share=0.35)
    near(posterior["spread"], np.exp(best[5]), share=0.5)


def test_survival(run: Run) -> None:
    module, posterior = run("survival", 500)
    weeks, relapsed, treated = (value.double().numpy() for value in module.read_trial())
    scale, effect, shape = np.meshgrid(
        np.linspace(1.4, 3.4, 61), np.linspace(-0.3, 3.5, 61), np.linspace(0.5, 2.4, 61), indexing="ij"
    )
    log_weights = norm.logpdf(scale, 2, 2) + norm.logpdf(effect, 0, 2) + norm.logpdf(np.log(shape)) - np.log(shape)
    for t, event, group in zip(weeks, relapsed, treated, strict=True):
        z = np.log(t) - scale - effect * group
        log_weights += event * (np.log(shape) + shape * z - np.log(t)) - np.exp(shape * z)
    w = np.exp(log_weights - logsumexp(log_weights))
    for name, values in (("log_scale", scale), ("effect", effect), ("shape", shape)):
        mean = (w * values).sum()
        agrees(posterior[name], mean, np.sqrt((w * (values - mean) ** 2).sum()), grid=2e-3)


def test_mixture(run: Run) -> None:
    module, posterior = run("mixture", 400)
    y = module.read_waits().double().numpy()

    def likelihood(at: np.ndarray) -> float:
        parts = norm.logpdf(y[:, None], at[:2], np.exp(at[2:4])) + np.log([expit(at[4]), expit(-at[4])])
        return float(logsumexp(parts, axis=1).sum())

    best = maximum(likelihood, [55.0, 80.0, 1.7, 1.7, -0.5])
    near(posterior["mean"], best[:2])
    near(posterior["sigma"], np.exp(best[2:4]))
    near(posterior["share"], expit(best[4]))
    at = torch.linspace(0, 140, 300, dtype=torch.float64)
    total = torch.trapezoid(module.densities(posterior, at).sum(-1).mean(0), at)
    assert abs(float(total) - 1.0) < 1e-3


def test_missing_data(run: Run) -> None:
    module, posterior = run("missing_data", 400)
    x, y, _ = (value.double().numpy() for value in module.simulate())
    known = ~np.isnan(x)

    def marginal(at: np.ndarray) -> float:
        """Missing x integrated out: what is left of them is y, normal."""
        centre, spread, intercept, slope, sigma = at[0], np.exp(at[1]), at[2], at[3], np.exp(at[4])
        total = norm.logpdf(x[known], centre, spread).sum() + norm.logpdf(y[known], intercept + slope * x[known], sigma).sum()
        alone = norm.logpdf(y[~known], intercept + slope * centre, np.hypot(slope * spread, sigma))
        return float(total + alone.sum())

    best = maximum(marginal, [0.0, 0.0, 0.0, 1.0, 0.0])
    near(posterior["slope"], best[3], share=0.3)
    near(posterior["intercept"], best[2], share=0.3)
    near(posterior["sigma"], np.exp(best[4]))
    near(posterior["slope"], module.SLOPE, share=2.0)
    slope, error = module.complete_cases(*module.simulate()[:2])
    assert slope < module.SLOPE - 2 * error
