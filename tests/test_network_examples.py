"""The examples with networks and a Gaussian process: their scores, in short runs, and their pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import sursum as su
from tests.support.examples import load

SHORT = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")


@pytest.fixture(scope="module")
def diabetes() -> ModuleType:
    return load("diabetes_network")


@pytest.fixture(scope="module")
def digits() -> ModuleType:
    return load("digits_last_layer")


@pytest.fixture(scope="module")
def gp() -> ModuleType:
    return load("sparse_gp")


# A regression network, lifted whole.


@SHORT
@pytest.mark.slow
def test_intervals_of_the_lifted_network_cover_what_they_promise(diabetes: ModuleType) -> None:
    data = diabetes.read_patients()
    assert (data.x.shape, data.x_new.shape) == ((331, 10), (111, 10))
    net = diabetes.network()
    sigma = diabetes.train(net, data)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    posterior = diabetes.sample(diabetes.program(net, sigma), data, draws=100, chains=2)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    trained, lifted = diabetes.score_network(net, sigma, data), diabetes.score_posterior(posterior, data)
    for level, covered in zip(diabetes.LEVELS, lifted.coverage, strict=True):
        # The share of 111 rows inside an interval of the right level has a binomial standard error.
        assert abs(covered - level) < 3 * (level * (1 - level) / 111) ** 0.5
    assert lifted.log_score > trained.log_score - 0.01
    assert lifted.rmse < trained.rmse * 1.03
    # In function space the chains agree, whatever the weights do.
    table = posterior.predict(data.x_new, seed=0).summary(["f"])["f"]
    assert table["r_hat"].max() < 1.1
    # The ensemble is what the predictions are made of.
    nets = posterior.module("net")
    assert nets(data.x_new).shape == (200, 111, 1)
    torch.testing.assert_close(
        nets(data.x_new).squeeze(-1).double(), posterior.predict(data.x_new, seed=0)["f"].flatten(0, 1), rtol=1e-4, atol=1e-5
    )


def test_scores_of_a_network_that_is_right(diabetes: ModuleType) -> None:
    """With errors of known quantiles, coverage and log score are known."""
    n = 4001
    z = torch.special.ndtri((torch.arange(n) + 0.5) / n)
    data = diabetes.Data(torch.zeros(1, 1), torch.zeros(1), torch.zeros(n, 1), 2.0 * z, 0.0, 1.0)
    zero = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(zero.weight)
    torch.nn.init.zeros_(zero.bias)
    found = diabetes.score_network(zero, 2.0, data)
    assert found.coverage == pytest.approx(diabetes.LEVELS, abs=1e-3)
    assert found.rmse == pytest.approx(2.0, abs=5e-3)
    # The negative entropy of N(0, 2²).
    assert found.log_score == pytest.approx(-0.5 - 0.5 * torch.tensor(2 * torch.pi * 4.0).log().item(), abs=5e-3)


# A classifier whose last layer is lifted.


@SHORT
@pytest.mark.slow
def test_the_last_layer_of_a_classifier(digits: ModuleType) -> None:
    data = digits.read_digits()
    net = digits.train(data)
    lifted = digits.program(net)
    assert su.report(lifted, data.x, data.y).count("lifted") == 170
    posterior = digits.sample(lifted, data, draws=40, chains=2)
    with torch.no_grad():
        trained = digits.score(net(data.x_new).softmax(-1), data.y_new)
    p = digits.probabilities(posterior, data.x_new)
    torch.testing.assert_close(p.sum(-1), torch.ones(len(p), dtype=torch.float64))
    bayesian = digits.score(p, data.y_new)
    # 899 rows: a standard error of accuracy is 0.7 %.
    assert bayesian.accuracy > trained.accuracy - 0.02
    assert trained.accuracy > 0.93
    assert bayesian.log_score > trained.log_score
    assert bayesian.calibration < trained.calibration + 0.005
    # The normal distribution of the same mode is wider than the posterior: as right, and less sure.
    p_normal = digits.probabilities(digits.laplace(lifted, data, draws=200), data.x_new)
    normal = digits.score(p_normal, data.y_new)
    assert normal.accuracy == pytest.approx(bayesian.accuracy, abs=0.02)
    assert normal.log_score == pytest.approx(-0.21, abs=0.03)
    assert digits.entropy(p_normal).mean() > digits.entropy(p).mean()
    noise = torch.rand(300, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sure = digits.entropy(net(noise).softmax(-1)).mean()
    assert digits.entropy(digits.probabilities(posterior, noise)).mean() > sure + 0.2


@pytest.mark.slow
@SHORT
def test_methods_for_all_weights_stay_as_accurate(digits: ModuleType) -> None:
    data = digits.read_digits()
    net = digits.train(data)
    with torch.no_grad():
        trained = digits.score(net(data.x_new).softmax(-1), data.y_new)
    for name, run in digits.methods(net, data, draws=20).items():
        posterior, p = run()
        assert posterior["net.0.weight"].shape[2:] == (32, 64)
        found = digits.score(p, data.y_new)
        assert found.accuracy > trained.accuracy - 0.02, name
        assert found.log_score > -0.35, name


@pytest.mark.slow
@SHORT
def test_other_methods_beside_nuts(diabetes: ModuleType) -> None:
    data, net = diabetes.read_patients(), diabetes.network()
    sigma = diabetes.train(net, data)
    for name, run in diabetes.methods(net, sigma, data, draws=40).items():
        found = run()
        assert found.log_score > -1.15, name
        assert found.calibration < 0.12, name


def test_calibration_error_by_hand(digits: ModuleType) -> None:
    """Four rows at 0.9, of which half are right, and one at 0.55 that is right: 0.8 · 0.4 + 0.2 · 0.45."""
    p = torch.tensor([[0.9, 0.1]] * 4 + [[0.45, 0.55]])
    found = digits.score(p, torch.tensor([0, 0, 1, 1, 1]))
    assert found.accuracy == pytest.approx(0.6)
    assert found.calibration == pytest.approx(0.8 * 0.4 + 0.2 * 0.45, abs=1e-6)
    assert found.log_score == pytest.approx(torch.tensor([0.9, 0.9, 0.1, 0.1, 0.55]).log().mean().item(), abs=1e-6)


# A Gaussian process with a sparsity prior.


@SHORT
@pytest.mark.slow
def test_saas_finds_the_inputs_that_matter(gp: ModuleType) -> None:
    data = gp.measure()
    posterior = gp.sample(data, draws=80, chains=2)
    rho = posterior["rho"].flatten(0, 1)
    others = [i for i in range(gp.INPUTS) if i not in gp.MATTER]
    assert (rho[:, others].median(0).values < 0.1 * rho[:, list(gp.MATTER)].median(0).values.min()).all()
    fitted = su.infer.Fit(gp.process).run(data.x, data.y)
    point = {name: fitted[name][None] for name in ("rho", "amplitude", "noise", "mean")}
    ours, theirs = gp.score(*gp.predict(posterior, data), data.y_new), gp.score(*gp.predict(point, data), data.y_new)
    assert ours.log_score > theirs.log_score + 0.5
    # The function has variance 1: a quarter of it is left at most.
    assert ours.rmse < 0.5


def test_the_gaussian_process_conditions_as_the_joint_density_says(gp: ModuleType) -> None:
    """Mean and sd given y are those of the joint normal of old and new points, by the textbook formula."""
    data = gp.measure()
    x, new = data.x[:12], data.x_new[:3]
    generator = torch.Generator().manual_seed(1)
    rho = torch.rand(2, gp.INPUTS, generator=generator, dtype=torch.float64)
    values = {
        "rho": rho,
        "amplitude": torch.tensor([1.5, 0.7]),
        "noise": torch.tensor([0.2, 0.05]),
        "mean": torch.tensor([0.1, -0.3]),
    }
    values = {name: value.double() for name, value in values.items()}
    found = su.infer.Predictive(gp.process, values, sites=["mean_new", "sd_new"], seed=0)(x, data.y[:12], new)
    for s in range(2):
        both = torch.cat([x, new])
        distance = ((both[:, None] - both[None]).square() * rho[s]).sum(-1).sqrt() * 5**0.5
        k = values["amplitude"][s] * (1 + distance + distance**2 / 3) * (-distance).exp()
        noise = values["noise"][s]
        inverse = torch.linalg.inv(k[:12, :12] + (noise + gp.JITTER * values["amplitude"][s]) * torch.eye(12))
        mean = values["mean"][s] + k[12:, :12] @ inverse @ (data.y[:12] - values["mean"][s])
        variance = (k[12:, 12:] - k[12:, :12] @ inverse @ k[:12, 12:]).diagonal() + noise
        torch.testing.assert_close(found["mean_new"][s], mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found["sd_new"][s], variance.sqrt(), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@SHORT
@pytest.mark.parametrize("name", ["diabetes_network", "digits_last_layer", "sparse_gp"])
def test_from_the_command_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--draws", "100", "--out", str(tmp_path)])
    trained, lifted = load(name).main()
    assert lifted.log_score > trained.log_score
    assert "held-out" in capsys.readouterr().out
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
