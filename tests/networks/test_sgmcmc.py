"""Stochastic-gradient dynamics: normal posteriors, whose moments under each scheme are known, with and without batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.errors import CaptureError, DensityError, HeldParameterWarning, SamplingError
from sursum.infer import SGHMC, SGLD, SGMCMC, SGNHT
from sursum.networks.preconditioner import Preconditioner

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

SD = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
MEAN = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
COPIES = 4000


def normal() -> None:
    """Three normal laws, and many independent copies of each: one draw of all is a sample of every law."""
    su.sample("z", dist.Normal(MEAN, SD).expand([COPIES, 3]).to_event(2))


@pytest.mark.filterwarnings("ignore::sursum.errors.ObservationWarning")
@pytest.mark.parametrize("kind", ["SGLD", "SGHMC", "SGNHT"])
def test_a_normal_posterior_without_batches(kind: str) -> None:
    h, steps = 0.4, 250
    dynamics = {"SGLD": SGLD(normal, h), "SGHMC": SGHMC(normal, h), "SGNHT": SGNHT(normal, h)}[kind]
    draws = SGMCMC(dynamics, num_samples=1, num_warmup=steps - 1, num_chains=1, seed=1).run()["z"][0, 0]
    expected = SD**2
    if kind == "SGLD":
        expected = expected / (1.0 - h * h / (4.0 * SD**2))  # the variance of the scheme itself
        expected = expected * (1.0 - (1.0 - h * h / (2.0 * SD**2)) ** (2 * steps))  # and it started at a point
    ratio = draws.var(0) / expected
    assert ((ratio - 1.0).abs() < 4.5 * (2.0 / COPIES) ** 0.5).all(), ratio
    # The start, at 0, is forgotten up to this share.
    left = (1.0 - h * h / (2.0 * SD**2)) ** steps if kind == "SGLD" else 0.02
    assert ((draws.mean(0) - MEAN).abs() < 4.5 * expected.sqrt() / COPIES**0.5 + left * MEAN.abs()).all()


COLUMNS = 400
Y = torch.randn(60, COLUMNS, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1.0
PRECISION = 1.0 + 60 / 4.0
CENTRE = Y.sum(0) / 4.0 / PRECISION
# The variance of the gradient of 12 of 60 rows that are drawn without replacement, for each column.
NOISE = float((60 / 4.0) ** 2 * Y.var(0).mean() / 12 * (1 - 12 / 60))


def conjugate(y: Tensor) -> None:
    mu = su.sample("mu", dist.Normal(torch.zeros(COLUMNS, dtype=torch.float64), 1.0).to_event(1))
    with su.plate("data", 60, subsample_size=12) as rows:
        su.sample("y", dist.Normal(mu, 2.0).to_event(1), obs=y[rows])


def for_batches(y: Tensor) -> None:
    mu = su.sample("mu", dist.Normal(torch.zeros(COLUMNS, dtype=torch.float64), 1.0).to_event(1))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, 2.0).to_event(1), obs=y)


def spread(posterior: su.Posterior) -> float:
    """The variance around the exact mean, over columns and draws, times the exact precision."""
    return float((posterior["mu"] - CENTRE).square().mean()) * PRECISION


@pytest.mark.parametrize("loader", [False, True])
def test_batches_of_the_data_with_sgld(loader: bool) -> None:
    """A linear recursion, whose variance is known, that of the batches' noise included."""
    h = 0.1
    data: Any = DataLoader(TensorDataset(Y), batch_size=12, shuffle=True) if loader else Y
    dynamics = SGLD(for_batches if loader else conjugate, h)
    posterior = SGMCMC(dynamics, num_samples=40, num_warmup=80, thinning=10, num_chains=1, seed=0).run(data)
    kept = 1.0 - 0.5 * h * h * PRECISION
    without = h**2 / (1.0 - kept**2) * PRECISION
    noisy = (h**2 + 0.25 * h**4 * NOISE) / (1.0 - kept**2) * PRECISION
    error = (2.0 / (40 * COLUMNS * (1 - kept**10) / (1 + kept**10))) ** 0.5
    if loader:  # an epoch sees every row once, so that the batches' noise cancels in part
        assert without * (1 - 4.5 * error) < spread(posterior) < noisy * (1 + 4.5 * error)
    else:
        assert spread(posterior) == pytest.approx(noisy, rel=4.5 * error)
    mean = (posterior["mu"].mean((0, 1)) - CENTRE).square().mean().sqrt()
    assert float(mean) < 2.0 * (noisy / PRECISION / 40 * (1 + kept**10) / (1 - kept**10)) ** 0.5


@pytest.mark.slow
def test_the_thermostat_meets_noise_that_friction_alone_does_not() -> None:
    h = 0.06
    heated, met = (
        spread(SGMCMC(dynamics, num_samples=40, num_warmup=400, thinning=10, num_chains=1, seed=2).run(Y))
        for dynamics in (SGHMC(conjugate, h, friction=1.0), SGNHT(conjugate, h, diffusion=1.0))
    )
    assert heated == pytest.approx(1.0 + 0.5 * h * NOISE, rel=0.15)
    assert met == pytest.approx(1.0, abs=0.1)


@pytest.mark.filterwarnings("ignore::sursum.errors.ObservationWarning")
def test_the_preconditioner_and_thinning() -> None:
    wide = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    start = {"z": (wide * torch.randn(1000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))}
    model = lambda: su.sample("z", dist.Normal(torch.zeros(3, dtype=torch.float64), wide).expand([1000, 3]).to_event(2))
    dynamics = SGHMC(model, 0.15, precondition=True)
    run = SGMCMC(dynamics, num_samples=5, num_warmup=400, num_chains=1, thinning=30, seed=0, init=start)
    draws = run.run()["z"]
    assert draws.shape == (1, 5, 1000, 3)
    assert ((draws[0].std((0, 1)) / wide - 1.0).abs() < 0.1).all()
    assert not torch.allclose(draws[0, 0], draws[0, 1], rtol=0.1)
    assert Preconditioner().root == 1.0


def test_cycles_reach_both_modes() -> None:
    """A mixture of two narrow normals, so far apart that a step of their width does not cross."""

    def model() -> None:
        z = su.sample("z", dist.ImproperUniform(dist.constraints.real, (), ()))
        su.factor(
            "two", torch.logaddexp(-2.0 * torch.log1p(((z - 2.0) / 0.3) ** 2), -2.0 * torch.log1p(((z + 2.0) / 0.3) ** 2))
        )

    dynamics = SGHMC(model, 0.9, friction=0.3)
    run = SGMCMC(dynamics, num_samples=400, num_warmup=0, num_chains=1, cycles=20, exploration=0.5, seed=0)
    z = run.run()["z"]
    assert 0.1 < float((z > 0.0).double().mean()) < 0.9
    plan = list(run._plan())
    assert [place for *_, place in plan if place is not None] == list(range(400))
    assert len(plan) == 20 * 40
    assert not any(noisy for _, noisy, _ in plan[:20])
    assert all(noisy for _, noisy, _ in plan[20:40])
    assert plan[0][0] == plan[40][0] == pytest.approx(0.9)


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))


def regression(net: nn.Module) -> Any:
    def program(x: Tensor, y: Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(x).squeeze(-1))
        sigma = su.sample("sigma", dist.LogNormal(-1.0, 0.3))
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, sigma), obs=y)

    return program


X = torch.linspace(-1.0, 1.0, 40).reshape(20, 2)


@pytest.mark.slow
def test_the_posterior_of_a_network() -> None:
    net = mlp()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    lifted = su.lift(regression(net), {"net.**": dist.Normal(0.0, 1.0)})
    run = SGMCMC(SGHMC(lifted, 0.01), num_samples=20, num_warmup=30, num_chains=2, seed=3)
    posterior = run.run(X, X[:, 0])
    assert posterior["net.0.weight"].shape == (2, 20, 3, 2)
    assert posterior["sigma"].min() > 0.0
    assert posterior.unconstrained.shape == (2, 20, 14)
    torch.testing.assert_close(posterior["sigma"].log().flatten(), torch.from_numpy(posterior.unconstrained[..., -1]).flatten())
    assert posterior.coordinates[-1] == "sigma"
    assert posterior.predict(X, seed=0)["y"].shape == (2, 20, 20)
    assert posterior.module("net")(X).shape == (40, 20, 1)
    assert posterior.stats["lp"].shape == (2, 20)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    again = run.run(X, X[:, 0])
    assert torch.equal(again["net.2.weight"], posterior["net.2.weight"])
    eager = SGMCMC(SGHMC(lifted, 0.01), num_samples=20, num_warmup=30, num_chains=2, seed=3, engine="eager").run(X, X[:, 0])
    torch.testing.assert_close(eager["net.2.weight"], posterior["net.2.weight"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [SGLD, SGHMC, SGNHT])
def test_chains_together_are_the_chains_in_turn(kind: Any) -> None:
    """Each has its own batches, of which the last is smaller, and its own noise."""
    lifted = su.lift(regression(mlp()), {"net.**": dist.Normal(0.0, 1.0)})
    loader = DataLoader(TensorDataset(X, X[:, 0]), batch_size=8, shuffle=True)
    runs = {
        together: SGMCMC(
            kind(lifted, 0.01, precondition=True),
            num_samples=4,
            num_warmup=6,
            num_chains=3,
            seed=1,
            jitter=0.1,
            together=together,
        ).run(loader)
        for together in (True, False, None)
    }
    for name, value in runs[True].items():
        torch.testing.assert_close(value, runs[False][name], rtol=1e-4, atol=1e-5)
        assert torch.equal(value, runs[None][name])
    torch.testing.assert_close(runs[True].stats["lp"], runs[False].stats["lp"], rtol=1e-4, atol=1e-3)
    assert len(torch.unique(runs[True]["sigma"])) == 12


def test_convolutions_in_a_row_are_mapped_together() -> None:
    """Each has weights and inputs of its own for a chain; where torch fell back to a loop it would warn."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Conv2d(3, 2, 2), nn.Flatten(), nn.Linear(8, 1))
    images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    lifted = su.lift(regression(net), {"net.**": dist.Normal(0.0, 1.0)})
    settings: dict[str, Any] = {"num_samples": 2, "num_warmup": 1, "num_chains": 2, "seed": 0, "jitter": 0.1}
    both = [SGMCMC(SGHMC(lifted, 0.01), together=one, **settings).run(images, images.sum((1, 2, 3))) for one in (True, False)]
    torch.testing.assert_close(both[0]["net.0.weight"], both[1]["net.0.weight"], rtol=1e-4, atol=1e-5)
    assert len(torch.unique(both[0]["net.2.bias"][..., 0])) == 4


@pytest.mark.parametrize(
    ("layer", "why"), [(nn.Dropout(0.5), "the program draws numbers"), (nn.BatchNorm1d(3), "a batch norm in training mode")]
)
def test_what_makes_chains_run_in_turn(layer: nn.Module, why: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), layer, nn.Linear(3, 1))
    lifted = su.lift(regression(net), {"net.**": dist.Normal(0.0, 1.0)})
    settings: dict[str, Any] = {"num_samples": 2, "num_warmup": 0, "num_chains": 2, "seed": 0}
    with pytest.raises(SamplingError, match=f"cannot take their steps together: {why}"):
        SGMCMC(SGHMC(lifted, 0.01), together=True, **settings).run(X, X[:, 0])
    found, alone = (SGMCMC(SGHMC(lifted, 0.01), together=one, **settings).run(X, X[:, 0]) for one in (None, False))
    assert torch.equal(found["net.0.weight"], alone["net.0.weight"])


def test_what_is_refused() -> None:
    lifted = su.lift(regression(mlp()), {"net.2.*": dist.Normal(0.0, 1.0)})
    with pytest.warns(HeldParameterWarning, match=r"'net\.0\.weight', 'net\.0\.bias' are not lifted"):
        SGMCMC(SGLD(lifted, 1e-3), num_samples=2, num_warmup=0, num_chains=1, seed=0).run(X, X[:, 0])
    with pytest.raises(SamplingError, match=r"SGLD left the (numbers|parameters)"), pytest.warns(HeldParameterWarning):
        SGMCMC(SGLD(lifted, 1000.0, precondition=False), num_samples=200, num_chains=1, seed=0).run(X, X[:, 0])

    def local(y: Tensor) -> None:
        with su.plate("data", len(y)):
            z = su.sample("z", dist.Normal(0.0, 1.0))
            su.sample("y", dist.Normal(z, 1.0), obs=y)

    loader = DataLoader(TensorDataset(Y[:, 0]), batch_size=12)
    with pytest.raises(DensityError, match=r"latent site 'z' .* is in a plate, and a data loader"):
        SGMCMC(SGLD(local, 0.1), num_samples=2, seed=0).run(loader)
    for settings, text in (
        ({"num_samples": 0}, "`num_samples` is 0"),
        ({"cycles": 3}, "`cycles` is 3, but must be a divisor of 1000 draws"),
        ({"exploration": 1.0}, "`exploration` is 1.0"),
        ({"engine": "c"}, "`engine` is 'c'"),
        ({"together": 1.5}, "`together` is 1.5"),
    ):
        with pytest.raises(SamplingError, match=text):
            SGMCMC(SGLD(local, 0.1), **settings)  # type: ignore[arg-type]
    with pytest.raises(SamplingError, match="`step_size` is 0.0"):
        SGLD(local, 0.0)
    with pytest.raises(SamplingError, match="`friction` is -1"):
        SGHMC(local, 0.1, friction=-1)


def seen(x: Tensor) -> None:
    w = su.sample("w", dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))
    s = su.sample("s", dist.Gamma(torch.tensor(3.0, dtype=torch.float64), 2.0))
    with su.plate("data", 40, subsample_size=8) as rows:
        su.sample("x", dist.Normal(w, s).to_event(1), obs=x[rows])


def test_the_steps_in_c_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same batches, noise and preconditioner; the chains together or one after another."""
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings: dict[str, Any] = {"num_samples": 6, "num_warmup": 12, "num_chains": 2, "jitter": 0.1, "seed": 3}
    dynamics = SGHMC(seen, 0.02, precondition=True)
    found = {engine: SGMCMC(dynamics, engine=engine, **settings).run(x) for engine in ("native", "torch")}
    assert found["native"].engine == "native"
    torch.testing.assert_close(found["native"]["w"], found["torch"]["w"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found["native"]["s"], found["torch"]["s"], rtol=1e-9, atol=1e-9)
    assert found["native"].stats["lp"] == pytest.approx(found["torch"].stats["lp"], rel=1e-9)
    monkeypatch.setattr("sursum.training.work.FEWEST", 18)
    assert SGMCMC(dynamics, **settings, together=False).run(x).engine == "native"
    assert SGMCMC(dynamics, **settings).run(x).engine == "torch"
    with pytest.raises(SamplingError, match="cannot take their steps together in C"):
        SGMCMC(dynamics, **settings, together=True, engine="native").run(x)
    with pytest.raises(CaptureError, match="takes no data loader"):
        SGMCMC(SGLD(for_batches, 0.1), **settings, engine="native").run(DataLoader(TensorDataset(Y), batch_size=12))


def test_a_step_in_c_that_leaves_the_support_says_so() -> None:
    def bounded() -> None:
        z = su.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        su.sample("x", dist.Normal(0.0, 0.5 - z), obs=torch.tensor(0.0, dtype=torch.float64))

    with pytest.raises(SamplingError, match="SGLD left the parameters at which the log density is defined"):
        SGMCMC(SGLD(bounded, 1.5), num_samples=50, num_warmup=0, num_chains=1, seed=0, engine="native").run()
