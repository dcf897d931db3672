"""Automatic guides of programs with a scan: all steps of a site are drawn at once, with time as the first dimension."""

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR

import sursum as su
import sursum.distributions as dist
from sursum.errors import DiagnosticWarning, GuideError
from sursum.infer import SVI, autoguide

T, LEVEL, NOISE = 6, 0.7, 0.5
D = torch.float64
Y = torch.tensor([0.1, -0.3, 0.4, 1.2, 1.0, 0.6], dtype=D)


def level(y=Y):
    """A random walk seen with noise: its posterior is normal."""

    def step(x, y):
        x = su.sample("x", dist.Normal(x, LEVEL))
        su.sample("y", dist.Normal(x, NOISE), obs=y)
        return x, x

    su.deterministic("path", su.scan(step, torch.tensor(0.0, dtype=D), y)[1])


def exact():
    difference = np.eye(T) - np.eye(T, k=-1)
    precision = difference.T @ difference / LEVEL**2 + np.eye(T) / NOISE**2
    return np.linalg.solve(precision, Y.numpy() / NOISE**2), np.linalg.inv(precision)


def fitted(model, guide, *args, steps=8000):
    decay = (1e-4 / 0.03) ** (1 / steps)
    optim = su.optim.Adam({"lr": 0.03}, scheduler=lambda optimizer: ExponentialLR(optimizer, decay))
    svi = SVI(model, guide, optim, seed=0)
    assert svi.run(steps, *args).engine == "native"
    return svi


def test_a_normal_guide_has_the_posterior_of_a_random_walk():
    mean, covariance = exact()
    svi = fitted(level, autoguide.AutoMultivariateNormal(level), Y, steps=40000)
    factor = svi.guide.scale_tril(svi.params).numpy()
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(svi.guide.median(svi.params)["x"].numpy(), mean, rtol=0, atol=0.03 * sd.min())
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=0, atol=0.05 * covariance.diagonal().min())
    # With the exact posterior every draw gives the evidence.
    marginal = LEVEL**2 * np.minimum.outer(np.arange(1, T + 1), np.arange(1, T + 1)) + NOISE**2 * np.eye(T)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(T, dtype=D), torch.from_numpy(marginal)).log_prob(Y)
    losses = svi.losses[-100:]
    assert float(losses.mean()) == pytest.approx(-float(evidence), abs=4 * float(losses.std()) / 10 + 1e-3)
    posterior = svi.sample(2000)
    assert posterior["x"].shape == (1, 2000, T)
    torch.testing.assert_close(posterior["x"], posterior["path"])
    assert posterior.pareto_k < 0.7
    assert (np.abs(posterior["x"][0].mean(0).numpy() - mean) < 4.5 * sd / 2000**0.5 + 0.03 * sd).all()


@pytest.mark.parametrize("kind", ["AutoNormal", "AutoDelta", "AutoDiagonalNormal"])
def test_guides_without_a_covariance_have_its_mean(kind):
    mean, covariance = exact()
    svi = fitted(level, getattr(autoguide, kind)(level), Y)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(svi.guide.median(svi.params)["x"].numpy(), mean, rtol=0, atol=0.04 * sd.min())
    if kind != "AutoDelta":
        quantiles = svi.guide.quantiles(svi.params, [0.025, 0.975])["x"]
        # The best factorised guide has the variances given all others.
        given = 1.0 / np.sqrt(np.diag(np.linalg.inv(covariance)))
        np.testing.assert_allclose(((quantiles[1] - quantiles[0]) / 3.919928).numpy(), given, rtol=0.05)


def test_laplace_is_exact_for_a_random_walk_and_chains_start_from_it():
    covariance = exact()[1]
    svi = fitted(level, autoguide.AutoLaplaceApproximation(level), Y, steps=3000)
    factor = svi.guide.laplace_approximation(svi.params).scale_tril(svi.params).numpy()
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=1e-6, atol=1e-9)
    chains = su.infer.MCMC(su.infer.NUTS(level), num_warmup=50, num_samples=50, num_chains=1, seed=0, init=svi, progress=False)
    with pytest.warns(DiagnosticWarning):  # they are short
        assert chains.run(Y)["x"].shape == (1, 50, T)


def test_a_list_takes_a_scan_and_what_is_outside_of_it_supports_and_plates_included():
    def model(y):
        s = su.sample("s", dist.HalfNormal(torch.tensor(1.0, dtype=D)))

        def step(x, y):
            r = su.sample("r", dist.Gamma(torch.tensor(4.0, dtype=D), 4.0))
            with su.plate("series", 2):
                x = su.sample("x", dist.Normal(x, s))
                su.sample("y", dist.Normal(x, r), obs=y)
            return x, None

        su.scan(step, torch.zeros(2, dtype=D), y)

    guide = autoguide.AutoGuideList(model)
    guide.append(autoguide.AutoMultivariateNormal(su.poutine.block(model, expose=["x", "s"])))
    guide.append(autoguide.AutoNormal(su.poutine.block(model, expose=["r"])))
    y = torch.stack([Y, -Y], dim=1)
    svi = SVI(model, guide, su.optim.Adam({"lr": 0.01}), seed=0)
    assert svi.run(50, y).engine == "native"
    # The loss is what the handlers' own log densities say of the guide's draws.
    native = svi.evaluate_loss(y)
    assert np.isfinite(native)
    medians = guide.median(svi.params)
    assert {name: tuple(value.shape) for name, value in medians.items()} == {"s": (), "r": (T,), "x": (T, 2)}
    assert (medians["r"] > 0).all()
    with pytest.warns(DiagnosticWarning, match="Pareto k"):  # it has hardly been trained
        draws = svi.sample(100)
    for name, values in medians.items():
        assert draws[name].shape == (1, 100, *values.shape)
    density = su.infer.LogDensity(model, (y,), {})
    for k in range(3):
        q = density.ravel({name: draws[name][0, k] for name in ("s", "r", "x")})
        assert float(density(q)) == pytest.approx(float(draws.stats["lp"][0, k]), rel=1e-9)


def test_engines_agree_on_a_scan():
    torch_run, native, eager = (
        SVI(level, autoguide.AutoNormal(level), su.optim.Adam({"lr": 0.01}), seed=0, engine=engine)
        for engine in ("torch", "native", "eager")
    )
    assert [svi.run(20, Y).engine for svi in (torch_run, native)] == ["torch", "native"]
    # The same in expectation: 100 steps at a rate too small to move, with other noise.
    still = [
        SVI(level, autoguide.AutoNormal(level), su.optim.SGD({"lr": 1e-12}), seed=0, engine=engine).run(100, Y).losses
        for engine in ("native", "eager")
    ]
    error = float(torch.stack([one.var() / 100 for one in still]).sum().sqrt())
    assert abs(float(still[0].mean() - still[1].mean())) < 4.5 * error
    assert eager.run(2, Y).engine == "eager"


def test_where_a_guide_starts_in_a_scan():
    path = torch.arange(T, dtype=D)
    whole = autoguide.AutoNormal(level, init_loc_fn=autoguide.init_to_value({"x": path}))
    each = autoguide.AutoNormal(level, init_loc_fn=autoguide.init_to_value({"x": torch.tensor(2.0, dtype=D)}))
    for guide, wanted in ((whole, path), (each, torch.full((T,), 2.0, dtype=D))):
        with su.ParamStore() as store:
            guide(Y)
        torch.testing.assert_close(store["auto.loc.x"].detach(), wanted)


# Bad input.


def test_what_may_differ_between_steps_is_refused():
    def masked(y):
        def step(x, row):
            with su.poutine.mask(mask=row[1] > 0):
                x = su.sample("x", dist.Normal(x, 1.0))
            return x, None

        su.scan(step, torch.tensor(0.0, dtype=D), torch.stack([y, y], 1))

    with pytest.raises(GuideError, match=r"latent site 'x' .* is in a scan and in a mask, .*draw all steps at once"):
        SVI(masked, autoguide.AutoNormal(masked), su.optim.Adam({"lr": 0.01})).run(1, Y)

    def growing(y):
        def step(x, y):
            x = su.sample("x", dist.Uniform(x, x + 1.0))
            return x, None

        su.scan(step, torch.tensor(0.0, dtype=D), y)

    with pytest.raises(GuideError, match=r"latent site 'x' .* has the support .* in this step of a scan and .* in the first"):
        SVI(growing, autoguide.AutoNormal(growing), su.optim.Adam({"lr": 0.01})).run(1, Y)
