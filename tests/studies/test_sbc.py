"""Simulation-based calibration: right programs pass, wrong ones do not, and the test statistic has its distribution."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from tests.support.paths import EXAMPLES

import sursum as su
import sursum.distributions as dist
from sursum.errors import SamplingError
from sursum.mcmc.chain_pool import Schedule

ZEROS = torch.zeros(5)


def model(y):
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    su.deterministic("twice", 2 * mu)
    with su.plate("data", 5):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


def narrow(y):
    """The same, but for its noise: the posterior is too narrow."""
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    su.deterministic("twice", 2 * mu)
    with su.plate("data", 5):
        su.sample("y", dist.Normal(mu, 0.4), obs=y)


QUICK = {"seed": 0, "num_simulations": 40, "num_warmup": 150, "num_samples": 150, "max_rank": 49}


@pytest.fixture(scope="module")
def right():
    return su.infer.SBC(model, **QUICK).run(ZEROS)


def test_a_right_program_passes(right):
    assert right.passed()
    assert right.num_simulations == 40
    assert right.ranks["mu"].min() >= 0
    assert right.ranks["mu"].max() <= 49
    np.testing.assert_array_equal(right.ranks["mu"], right.ranks["twice"])
    assert "40 simulations, ranks among 49 draws: passed." in str(right)


def test_a_wrong_program_fails():
    wrong = su.infer.SBC(model, fitted=narrow, **QUICK).run(ZEROS)
    assert not wrong.passed()
    assert wrong.p_values["mu"] < 0.001
    assert "FAILED: the ranks are not uniform" in str(wrong)
    # Too narrow: ranks crowd at both ends.
    assert (wrong.ranks["mu"] / 49).std() > 0.33


def test_the_density_is_compiled_once(monkeypatch):
    from sursum.compiler.native.library import toolchain

    compiled = []
    compile_ = toolchain.Toolchain.compile
    monkeypatch.setattr(toolchain.Toolchain, "compile", lambda *a, **k: compiled.append(1) or compile_(*a, **k))
    su.infer.SBC(model, seed=0, num_simulations=4, num_warmup=50, num_samples=50, max_rank=9, engine="native").run(ZEROS)
    assert len(compiled) <= 1


def test_the_same_seed_gives_the_same_ranks():
    settings = {"num_simulations": 5, "num_warmup": 60, "num_samples": 60, "max_rank": 19}
    state = torch.get_rng_state()
    one, two, other = (su.infer.SBC(model, seed=seed, **settings).run(ZEROS) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one.ranks["mu"], two.ranks["mu"])
    assert not np.array_equal(one.ranks["mu"], other.ranks["mu"])


def test_ctrl_c_ends_the_study(monkeypatch):
    """And not only the run that is going on, whose draws are too few for ranks."""
    watch, begun = Schedule._watch, []

    def interrupted(schedule):
        begun.append(schedule)
        if len(begun) == 3:
            schedule._chains.append(schedule.start(0))
            raise KeyboardInterrupt
        return watch(schedule)

    monkeypatch.setattr(Schedule, "_watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        su.infer.SBC(model, seed=0, num_simulations=10, num_warmup=50, num_samples=50, max_rank=9).run(ZEROS)
    assert len(begun) == 3


def test_the_picture(right, tmp_path):
    figure = right.plot(tmp_path / "sbc.png")
    assert (tmp_path / "sbc.png").stat().st_size > 5000
    assert [axes.get_title().split()[0] for axes in figure.axes] == ["mu", "twice"]


def test_what_cannot_be_calibrated():
    with pytest.raises(
        SamplingError, match="the program observes nothing with these arguments, so there is nothing to simulate"
    ):
        su.infer.SBC(lambda: su.sample("z", dist.Normal(0.0, 1.0))).run()
    with pytest.raises(SamplingError, match="`max_rank` is 500, but must be from 1 to the 200 draws of 2 chains of 100"):
        su.infer.SBC(model, max_rank=500, num_samples=100).run(ZEROS)

    def other(y):
        m = su.sample("m", dist.Normal(0.0, 1.0))
        with su.plate("data", 5):
            su.sample("y", dist.Normal(m, 1.0), obs=y)

    with pytest.raises(SamplingError, match="site 'm' is in the program that is fitted, but not in the one that simulates"):
        su.infer.SBC(model, fitted=other, num_simulations=2, seed=0, num_warmup=50, num_samples=50, max_rank=9).run(ZEROS)


def example(name):
    spec = importlib.util.spec_from_file_location(f"sbc_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_eight_schools():
    schools = example("eight_schools")
    found = su.infer.SBC(schools.lifted(), seed=0, num_simulations=200, target_accept=0.95).run(schools.ERROR, schools.EFFECT)
    assert found.passed(), found


@pytest.mark.slow
def test_radon():
    """The radon program on a part of its houses, and of its counties, with the hierarchical prior of the example."""
    radon = example("radon")
    county, floor, log_radon = (data[:120] for data in radon.read_survey())
    priors = {"intercept": radon.counties_alike, "slope": dist.Normal(0.0, 10.0), "sigma": dist.HalfNormal(1.0)}
    lifted = su.reparam(su.lift(radon.radon, priors), {"intercept": su.infer.reparam.LocScaleReparam(0.0)})
    found = su.infer.SBC(lifted, seed=0, num_simulations=100).run(county, floor, log_radon)
    assert found.passed(), found


@pytest.mark.slow
def test_a_lifted_network():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    x = torch.linspace(-2.0, 2.0, 20)

    def regression(y):
        f = su.module("net", net)(x[:, None]).squeeze(-1)
        su.deterministic("f", f)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 0.5), obs=y)

    lifted = su.lift(regression, prior={"net.**": dist.Normal(0.0, 1.0)})
    # Weights of hidden units can be exchanged, and signs turned, so the chains look at one mode each of several: the
    # function is what can be compared.
    found = su.infer.SBC(lifted, seed=0, num_simulations=100, num_samples=1000, num_warmup=500).run(torch.zeros(20))
    p = found.p_values["f"]
    assert p.min() > 0.01 / p.size, found


def test_workers_give_the_same_ranks():
    few = QUICK | {"num_simulations": 6}
    here = su.infer.SBC(model, **few).run(ZEROS)
    elsewhere = su.infer.SBC(model, **few, on=su.cluster.Local(num_workers=2)).run(ZEROS)
    np.testing.assert_array_equal(elsewhere.ranks["mu"], here.ranks["mu"])
    with pytest.raises(SamplingError, match="`on` is 'cluster'"):
        su.infer.SBC(model, on="cluster")
