"""The examples run, and their numbers are right."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from benchmarks.posteriordb.rule import bound, judge, scalars
from benchmarks.posteriordb.run import CASES

import sursum as su
from tests.support.examples import load
from tests.support.monte_carlo import standard_error


@pytest.fixture(scope="module")
def radon() -> ModuleType:
    return load("radon")


def least_squares(county: np.ndarray, floor: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """The maximum-likelihood fit in closed form: coefficients of county dummies and floor, and sigma."""
    design = np.concatenate([np.eye(85)[county], floor[:, None]], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    return coefficients, float(np.sqrt(np.mean((y - design @ coefficients) ** 2)))


def test_radon_maximum_likelihood_is_least_squares(radon: ModuleType) -> None:
    county, floor, y = radon.read_survey()
    coefficients, sigma = least_squares(county.numpy(), floor.double().numpy(), y.double().numpy())
    fitted = radon.maximum_likelihood(county, floor, y)
    np.testing.assert_allclose(fitted["intercept"].numpy(), coefficients[:85], atol=2e-3)
    np.testing.assert_allclose(float(fitted["slope"]), coefficients[85], atol=1e-3)
    np.testing.assert_allclose(float(fitted["sigma"]), sigma, atol=1e-3)


def test_radon_lifted_agrees_with_the_marginal_posterior(radon: ModuleType) -> None:
    """Given (spread, sigma) everything else is Gaussian: integrate that out and sum the rest on a grid."""
    county, floor, y = (value.double().numpy() for value in radon.read_survey())
    posterior = radon.posterior(*radon.read_survey(), draws=1000)
    assert posterior.warnings == ()
    exact_mean, exact_sd = marginal_moments(county.astype(int), floor, y)
    for name in ("spread", "sigma", "slope", "mean"):
        draws = posterior[name].numpy()
        error = standard_error(draws)
        assert abs(draws.mean() - exact_mean[name]) < 4 * error + 1e-3, name
        # The standard error of an sd of nearly normal draws is that of the mean over √2; √2 spared for the tails.
        assert abs(draws.std() - exact_sd[name]) < 4 * error + 1e-3, name


def marginal_moments(county: np.ndarray, floor: np.ndarray, y: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Posterior means and sds, by a grid over (spread, sigma) and closed forms for (mean, slope) given these."""
    counts = np.bincount(county, minlength=85).astype(float)
    by_county = [np.bincount(county, weights=v, minlength=85) for v in (np.ones_like(y), floor, y)]
    design = np.stack([np.ones_like(y), floor], axis=1)
    sums = np.stack(by_county[:2], axis=1)
    log_weights, first, second, grid = [], [], [], []
    for spread in np.linspace(0.15, 0.60, 61):
        for sigma in np.linspace(0.64, 0.82, 61):
            # Covariance of y: sigma² I + spread² on counties; its inverse acts as the identity minus a county average.
            shrink = spread**2 / (sigma**2 + counts * spread**2)
            xx = (design.T @ design - (sums * shrink[:, None]).T @ sums) / sigma**2
            xy = (design.T @ y - (sums * shrink[:, None]).T @ by_county[2]) / sigma**2
            yy = (y @ y - (by_county[2] ** 2 * shrink).sum()) / sigma**2
            log_det = len(y) * 2 * np.log(sigma) + np.log1p(counts * spread**2 / sigma**2).sum()
            precision = xx + np.eye(2) / 100.0
            mode = np.linalg.solve(precision, xy)
            evidence = -0.5 * (log_det + yy - xy @ mode + np.linalg.slogdet(precision)[1])
            log_weights.append(evidence - spread**2 / 2 - sigma**2 / 2)
            first.append(mode)
            second.append(np.diag(np.linalg.inv(precision)) + mode**2)
            grid.append((spread, sigma))
    weights = np.exp(np.array(log_weights) - max(log_weights))
    weights /= weights.sum()
    points = np.array(grid)
    moments = {
        "spread": (points[:, 0], points[:, 0] ** 2),
        "sigma": (points[:, 1], points[:, 1] ** 2),
        "mean": (np.array(first)[:, 0], np.array(second)[:, 0]),
        "slope": (np.array(first)[:, 1], np.array(second)[:, 1]),
    }
    means = {name: float(weights @ one) for name, (one, _) in moments.items()}
    sds = {name: float(np.sqrt(weights @ two - means[name] ** 2)) for name, (_, two) in moments.items()}
    return means, sds


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")  # a short run: what it prints is looked at
def test_radon_from_the_command_line(
    radon: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["radon.py", "--draws", "500", "--out", str(tmp_path)])
    radon.main()
    printed = capsys.readouterr().out
    assert "Maximum likelihood" in printed
    assert "spread" in printed
    assert (tmp_path / "radon.png").read_bytes().startswith(b"\x89PNG")


def test_eight_schools_agree_with_the_reference() -> None:
    schools = load("eight_schools")
    case = next(case for case in CASES if case.name.startswith("eight_schools"))
    known = case.load()
    assert (known["data"]["y"], known["data"]["sigma"]) == (schools.EFFECT.tolist(), schools.ERROR.tolist())
    kernel = su.infer.NUTS(schools.lifted(), target_accept=0.95)
    mcmc = su.infer.MCMC(kernel, num_warmup=1000, num_samples=2500, num_chains=4, seed=3)
    posterior = mcmc.run(schools.ERROR, schools.EFFECT)
    judgement = judge(scalars(posterior, known["parameters"]), known["reference"], posterior.stats["diverging"].mean())
    assert judgement.unfit == ()
    assert abs(judgement.worst[1]) <= bound(len(judgement.scores)), judgement.worst


def test_the_program_is_not_touched_by_lifting_it(radon: ModuleType) -> None:
    county, floor, y = radon.read_survey()
    before = su.trace(radon.radon).get_trace(county, floor, y)
    su.trace(su.lift(radon.radon, {"slope": su.distributions.Normal(0.0, 1.0)})).get_trace(county, floor, y)
    after = su.trace(radon.radon).get_trace(county, floor, y)
    assert before.param_nodes == after.param_nodes == ["intercept", "slope", "sigma"]
    assert torch.equal(before.log_prob_sum(), after.log_prob_sum())
