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
from sursum.studies.again import observe_again

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
            schedule._chains.append(schedule.start(0, lambda: None))
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


@pytest.mark.slow
def test_workers_give_the_same_ranks():
    few = QUICK | {"num_simulations": 6}
    here = su.infer.SBC(model, **few).run(ZEROS)
    elsewhere = su.infer.SBC(model, **few, on=su.cluster.Local(num_workers=2)).run(ZEROS)
    np.testing.assert_array_equal(elsewhere.ranks["mu"], here.ranks["mu"])
    with pytest.raises(SamplingError, match="`on` is 'cluster'"):
        su.infer.SBC(model, on="cluster")


OBSERVED = torch.tensor([0.4, 1.3, 0.9, 1.6, 0.2])


class TestAroundAPosterior:
    """The posterior of the data in place of the prior: everything known in closed form."""

    def posterior(self, scale=1.0):
        """Draws of N(Σy / 6, 1/6), or of one whose sd is wrong by a factor."""
        mu = OBSERVED.sum() / 6 + scale * torch.randn(1, 500, generator=torch.Generator().manual_seed(0)).double() / 6**0.5
        empty = np.zeros((1, 500, 1))
        return su.Posterior({"mu": mu, "twice": 2 * mu}, {}, empty, latents=("mu",))

    def test_both_data_are_observed(self):
        """The posterior of mu by 5 data and 5 more is N((Σy + Σy′) / 11, 1/11)."""
        beside = observe_again(model)
        density = su.infer.LogDensity(beside, ({"y": OBSERVED + 1.0}, OBSERVED))
        q = torch.tensor([0.3], dtype=torch.float64)
        normal = lambda y: -0.5 * ((y - 0.3) ** 2).sum() - 2.5 * np.log(2 * np.pi)
        expected = normal(OBSERVED) + normal(OBSERVED + 1.0) - 0.5 * 0.09 - 0.5 * np.log(2 * np.pi)
        assert float(density(q)) == pytest.approx(float(expected), rel=1e-6)
        assert list(density.observed) == ["y", "y_again"]

    def test_a_right_posterior_passes_and_a_wrong_one_does_not(self):
        short = QUICK | {"num_simulations": 30, "num_warmup": 80, "num_samples": 100, "num_chains": 1}
        right = su.infer.SBC(model, posterior=self.posterior(), **short).run(OBSERVED)
        assert right.passed()
        # Draws three times as wide as the posterior: what is drawn from them lies far out in the posterior of both data.
        wrong = su.infer.SBC(model, posterior=self.posterior(3.0), **short).run(OBSERVED)
        assert not wrong.passed()
        assert (wrong.ranks["mu"] / 49).std() > 0.33

    def test_each_simulation_has_a_draw_of_its_own(self):
        few = self.posterior()
        short = su.Posterior({"mu": few["mu"][:, :30]}, {}, np.zeros((1, 30, 1)), latents=("mu",))
        with pytest.raises(SamplingError, match="`posterior` has 30 draws, and each of 40 simulations"):
            su.infer.SBC(model, posterior=short, **QUICK).run(OBSERVED)

    def test_steps_of_a_scan_and_other_coordinates(self):
        """A local level: its states are latent, and what is observed again belongs to the same states."""

        def level(y):
            spread = su.sample("spread", dist.HalfNormal(1.0))

            def step(x, value):
                x = su.sample("x", dist.Normal(x, spread))
                su.sample("y", dist.Normal(x, 1.0), obs=value)
                return x, x

            su.scan(step, torch.tensor(0.0), y)

        program = su.reparam(level, {"x": su.infer.reparam.LocScaleReparam(0.0)})
        q = torch.tensor([0.2, 0.1, -0.4, 0.3], dtype=torch.float64)
        y, again = torch.tensor([0.5, 1.0, -0.2]), torch.tensor([0.1, 0.9, 0.4])
        both = su.infer.LogDensity(observe_again(program), ({"y": again}, y))
        x = both.transform(q)["x"]
        alone = su.infer.LogDensity(program, (y,))
        more = torch.distributions.Normal(x, 1.0).log_prob(again.double()).sum()
        assert float(both(q)) == pytest.approx(float(alone(q) + more), rel=1e-12)


def exact(program, seed, scale=1.0):
    """Draws of the posterior of `model` in closed form: what a fit without an error, or too narrow by `scale`, gives."""
    y = su.trace(su.seed(program, 0)).get_trace()["y"].value.double()
    noise = torch.randn(1, 200, generator=torch.Generator().manual_seed(seed)).double()
    mu = y.sum() / 6 + scale * noise / 6**0.5
    return su.Posterior({"mu": mu, "twice": 2 * mu}, {}, np.zeros((1, 200, 1)), latents=("mu",))


def test_any_method_with_draws_can_be_checked():
    settings = {"seed": 0, "num_simulations": 100, "max_rank": 49}
    assert su.infer.SBC(model, method=exact, **settings).run(ZEROS).passed()
    narrow = su.infer.SBC(model, method=lambda program, seed: exact(program, seed, 0.5), **settings).run(ZEROS)
    assert not narrow.passed()
    laplace = lambda program, seed: su.infer.Laplace(program, num_samples=200, seed=seed).run()
    found = su.infer.SBC(model, method=laplace, seed=0, num_simulations=5, max_rank=49).run(ZEROS)
    assert found.ranks["mu"].shape == (5,)
    with pytest.raises(SamplingError, match="gave 200 draws, fewer than `max_rank`, 300"):
        su.infer.SBC(model, method=exact, seed=0, num_simulations=2, max_rank=300).run(ZEROS)
    with pytest.raises(SamplingError, match="must return a Posterior"):
        su.infer.SBC(model, method=lambda program, seed: 3, seed=0, num_simulations=2).run(ZEROS)


@pytest.mark.slow
def test_variational_inference_with_a_gaussian_guide_is_right_here():
    def fit(program, seed):
        guide = su.infer.autoguide.AutoNormal(program)
        svi = su.infer.SVI(program, guide, su.optim.Adam({"lr": 0.02}), seed=seed, progress=False)
        svi.run(1500)
        return svi.sample(500)

    found = su.infer.SBC(model, method=fit, seed=0, num_simulations=60, max_rank=49).run(ZEROS)
    assert found.passed(), found


def test_sites_of_different_shapes_are_not_compared():
    def other(y):
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        su.deterministic("twice", 2 * mu.expand(3))
        with su.plate("data", 5):
            su.sample("y", dist.Normal(mu, 1.0), obs=y)

    settings = QUICK | {"num_simulations": 2, "num_samples": 25, "num_warmup": 25}
    with pytest.raises(SamplingError, match=r"'twice' has shape \(3,\) in the program that is fitted, and \(\) in the one"):
        su.infer.SBC(model, fitted=other, **settings).run(ZEROS)
