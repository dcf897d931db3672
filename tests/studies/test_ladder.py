"""The ladder: where it stops, what each rung says on posteriors with a known answer, and what is said of rungs that fail."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.draws.psis import smooth, upper_k
from sursum.errors import OptimisationError, OptionError
from sursum.studies.ladder import _change
from sursum.studies.ladder_result import Rung

Y = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def normal(y: torch.Tensor) -> None:
    mu = su.param("mu", torch.tensor(0.0, dtype=torch.float64))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


LIFTED = su.lift(normal, {"mu": dist.Normal(0.0, 1.0)})


def schools(y: torch.Tensor) -> None:
    mu, tau = su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("schools", 8):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        sd = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
        su.sample("y", dist.Normal(su.deterministic("theta", mu + tau * z), sd), obs=y)


def test_a_normal_posterior_needs_no_more_than_laplace() -> None:
    found = su.infer.Ladder(LIFTED, seed=0).run(Y)
    assert [rung.method for rung in found.rungs] == ["mode", "laplace"]
    assert found["mode"].means["mu"] == pytest.approx(1.5, abs=1e-6)
    # 4,000 independent draws: errors of mean and sd in sds are 1/63 and 1/89.
    assert abs(found["laplace"].means["mu"] - 1.5) < 4 * 0.5 / 4000**0.5
    assert abs(found["laplace"].sds["mu"] - 0.5) < 4 * 0.5 / 8000**0.5
    assert found.reason.startswith("laplace is enough")
    assert found.posterior is found["laplace"].posterior


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_skewed_posterior_is_climbed_to_nuts() -> None:
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    found = su.infer.Ladder(schools, ["mu", "tau"], seed=0, methods=["mode", "laplace", "nuts"]).run(y)
    assert [rung.method for rung in found.rungs] == ["mode", "laplace", "nuts"]
    assert found["laplace"].pareto_k is not None
    assert found["laplace"].pareto_k > 0.7
    assert found["laplace"].change is None
    # posteriordb's eight_schools_noncentered: mu 4.41 ± 3.31, tau 3.60 ± 3.21; 4,000 draws are worth at least 1,000.
    assert abs(found.posterior["mu"].mean() - 4.41) < 4 * 3.31 / 1000**0.5
    assert abs(found.posterior["tau"].mean() - 3.60) < 4 * 3.21 / 1000**0.5
    assert "tau" in str(found)
    assert "NUTS was run" in found.reason


def test_each_rung_is_near_a_posterior_that_no_gaussian_is() -> None:
    def counts(y: torch.Tensor) -> None:
        su.sample("y", dist.Poisson(su.sample("rate", dist.Gamma(2.0, 1.0))), obs=y)

    found = su.infer.Ladder(counts, seed=0, tolerance=1e-9).run(torch.tensor(3.0))
    assert [rung.method for rung in found.rungs] == ["mode", "laplace", "pathfinder", "vi", "nuts"]
    # The posterior is Gamma(5, 2), with mean 2.5, sd √5 / 2, and mode 2.
    mean, sd = 2.5, 5**0.5 / 2
    assert found["mode"].means["rate"] == pytest.approx(2.0, abs=1e-5)
    for method in ("pathfinder", "nuts"):  # both are exact up to the error of 1,000 independent draws
        assert abs(found[method].means["rate"] - mean) < 4 * sd / 1000**0.5
    change = found["laplace"].change
    assert change is not None
    assert change == pytest.approx(abs(found["laplace"].means["rate"] - mean) / sd, abs=0.1)
    # Where the bound is stationary in the guide's mean, 5 − 2 E[rate] = 0. Steps of 0.02 leave the mean within some per cent.
    assert abs(found["vi"].means["rate"] - mean) < 0.15 * sd
    assert found.posterior.num_chains == 4
    assert found.posterior.warmup.num_samples == 200


@pytest.mark.filterwarnings("ignore::sursum.errors.UnusedSiteWarning")
def test_a_site_may_be_empty() -> None:
    def program(y: torch.Tensor) -> None:
        su.sample("none", dist.Normal(torch.zeros(0), 1.0).to_event(1))
        normal(y)

    found = su.infer.Ladder(su.lift(program, {"mu": dist.Normal(0.0, 1.0)}), seed=0).run(Y)
    assert found["laplace"].means["none"].shape == (0,)
    assert "nan" not in repr(found["laplace"])


def test_quantities_may_be_predictions() -> None:
    found = su.infer.Ladder(LIFTED, lambda posterior: {"twice": 2 * posterior["mu"]}, seed=0).run(Y)
    assert list(found.rungs[-1].means) == ["twice"]
    assert abs(found.rungs[-1].means["twice"] - 3.0) < 4 / 4000**0.5


def test_the_change_is_the_shift_that_weights_make() -> None:
    z = np.random.default_rng(0).normal(size=200_000)
    # From N(0, 1) to N(0.3, 1) the mean moves by 0.3 sds; to N(0, 0.8²) the log sd by −log 0.8.
    assert _change({"z": z}, 0.3 * z) == pytest.approx(0.3, abs=0.02)
    narrower = 0.5 * z**2 - 0.5 * (z / 0.8) ** 2
    assert _change({"z": z[:, None]}, narrower) == pytest.approx(-np.log(0.8), abs=0.02)


def test_a_rung_that_fails_is_passed_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: su.infer.Laplace, *args: object) -> su.Posterior:
        raise OptimisationError("there is no mode. Use MCMC.")

    monkeypatch.setattr(su.infer.Laplace, "run", fail)
    found = su.infer.Ladder(LIFTED, seed=0, methods=["laplace", "nuts"]).run(Y)
    assert found["laplace"].failure == "there is no mode"
    assert "failed: there is no mode" in str(found)
    assert found.posterior.num_samples == 1000
    with pytest.raises(OptimisationError, match="there is no mode"):
        su.infer.Ladder(LIFTED, seed=0, methods=["mode", "laplace"]).run(Y)


def test_settings_are_checked() -> None:
    with pytest.raises(OptionError, match="methods"):
        su.infer.Ladder(LIFTED, methods=["advi"])
    with pytest.raises(OptionError, match="tolerance"):
        su.infer.Ladder(LIFTED, tolerance=0.0)
    with pytest.raises(OptionError, match="quantities"):
        su.infer.Ladder(LIFTED, "mu")
    with pytest.raises(OptionError, match="no rung with draws"):
        su.infer.Ladder(LIFTED, methods=["mode"]).run(Y)
    with pytest.raises(KeyError, match="nu"):
        su.infer.Ladder(LIFTED, ["nu"]).run(Y)


def test_a_rung_is_enough_by_weights_alone() -> None:
    def rung(k: float | None, change: float | None) -> Rung:
        posterior = su.Posterior({}, {}, np.zeros((1, 1, 0)))
        return Rung("laplace", posterior, {}, {}, k, change, 0.0, upper_k=None if k is None else upper_k(k, 4000))

    assert rung(0.3, 0.05).is_enough(0.1)
    assert rung(float("nan"), 0.0).is_enough(0.1)
    assert not rung(0.3, 0.2).is_enough(0.1)
    assert not rung(0.9, 0.0).is_enough(0.1)
    # By the standard error of an estimate from 4,000 draws, (1 + k) / √190, the true k may be above 0.7.
    assert not rung(0.6, 0.0).is_enough(0.1)
    assert rung(0.45, 0.0).is_enough(0.1)
    assert not rung(None, None).is_enough(0.1)


def test_the_picture_has_a_panel_for_each_element() -> None:
    pytest.importorskip("matplotlib")
    figure = su.infer.Ladder(LIFTED, seed=0).run(Y).plot()
    assert [axes.get_title() for axes in figure.axes] == ["mu"]


def test_an_approximation_that_is_not_to_be_trusted_hardly_ever_ends_the_climb() -> None:
    """Draws of N(0, 1) for N(0, c): the weights have k = 1 − 1 / c, here 0.8."""
    z = np.random.default_rng(0).normal(size=(300, 4000))
    k = np.array([smooth(0.5 * 0.8 * row**2).pareto_k for row in z])
    assert (k <= 0.7).mean() > 0.3  # the estimate alone is often too low
    assert np.mean([upper_k(one, 4000) <= 0.7 for one in k]) < 0.05


def test_it_says_which_rung_is_climbed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sursum.studies.ladder.SOON", 0.0)
    monkeypatch.setattr("sursum.common.progress.Terminal.EVERY", 0.0)
    plain = su.infer.Laplace.run

    def slowly(self: su.infer.Laplace, *args: object) -> su.Posterior:
        time.sleep(0.4)
        return plain(self, *args)

    monkeypatch.setattr(su.infer.Laplace, "run", slowly)
    su.infer.Ladder(LIFTED, seed=0, progress=True).run(Y)
    assert "rung 2 of 5: laplace" in capsys.readouterr().err
    su.infer.Ladder(LIFTED, seed=0, progress=False).run(Y)
    assert capsys.readouterr().err == ""
