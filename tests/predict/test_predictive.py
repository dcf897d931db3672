"""Prediction from prior and posterior: closed forms, any program, any chunk, any distribution; and what cannot be."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.line import LIFTED, X, by_hand, line
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.core.calling import Program
from sursum.core.messages import Sample
from sursum.errors import ObservationWarning, PredictionError, UnusedSiteWarning
from sursum.infer import Predictive
from sursum.predict import vectorise


def gaussian(chains: int = 2, draws: int = 2000) -> su.Posterior:
    """slope ~ N(2, 0.3²), sigma = 0.5: then y at x is N(2x, 0.25 + 0.09 x²)."""
    generator = torch.Generator().manual_seed(3)
    slope = 2.0 + 0.3 * torch.randn(chains, draws, generator=generator, dtype=torch.float64)
    return by_hand(slope=slope, sigma=torch.full((chains, draws), 0.5, dtype=torch.float64))


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each piece could be mapped."""
    seen: list[bool] = []
    original = vectorise._map

    def watched(*args: Any) -> Any:
        result = original(*args)
        seen.append(result is not None)
        return result

    monkeypatch.setattr(vectorise, "_map", watched)
    return seen


# The law of predictions.


def test_predictions_have_the_closed_form_law() -> None:
    posterior = gaussian()
    new = torch.tensor([-3.0, 0.0, 4.0])
    prediction = posterior.predict(new, seed=0)
    assert prediction["y"].shape == prediction["mean"].shape == (2, 2000, 3)
    assert prediction["y"].dtype == torch.float64
    sd = torch.sqrt(0.25 + 0.09 * new**2)
    error = sd / np.sqrt(4000)
    assert ((prediction.mean() - 2 * new).abs() < 4 * error).all()
    assert ((prediction.sd() - sd).abs() < 4 * error).all()
    low, high = prediction.interval(0.8)
    # The standard error of a quantile p of a normal is √(p(1 − p)) / φ(z) in those of the mean: 1.71 at 10 %.
    assert ((low - (2 * new - 1.2816 * sd)).abs() < 4 * 1.71 * error).all()
    assert ((high - (2 * new + 1.2816 * sd)).abs() < 4 * 1.71 * error).all()
    torch.testing.assert_close(prediction["mean"], posterior["slope"][..., None] * new)


def test_quantiles_are_numpys() -> None:
    prediction = gaussian(draws=30).predict(X, seed=0)
    flat = prediction["y"].flatten(0, 1).numpy()
    for q in (0.0, 0.3, 1.0, [0.05, 0.5]):
        np.testing.assert_allclose(prediction.quantile(q).numpy(), np.quantile(flat, q, axis=0), rtol=1e-5)
    table = prediction.summary(["y"])["y"]
    np.testing.assert_allclose(table["mean"], flat.astype(float).mean(0), rtol=1e-6)
    assert table["r_hat"].shape == (6,)


def test_the_prior_predictive_has_its_law() -> None:
    prediction = Predictive(LIFTED, num_samples=4000, seed=0)(X)
    assert set(prediction) == {"slope", "sigma", "mean", "y"}
    assert prediction["y"].shape == (4000, 6)
    # Var y = E σ² + x² Var slope = 1 + x².
    variance = 1.0 + X**2
    assert ((prediction["y"].var(0) - variance).abs() < 5 * variance * np.sqrt(6 / 4000)).all()


def test_replicated_data_need_no_arguments() -> None:
    posterior = gaussian()
    assert torch.equal(posterior.predict(seed=1)["y"], posterior.predict(X, seed=1)["y"])
    # What the program observes is drawn, whoever observes it.
    observed = su.condition(LIFTED, data={"y": torch.ones(6)})
    for again in (Predictive(observed, posterior, seed=1, replicate=True)(X), posterior.predict(X, X, seed=1, replicate=True)):
        assert torch.equal(again["y"], posterior.predict(X, seed=1)["y"])
        assert again.drawn == ("y",)


def test_what_the_call_observes_keeps_its_data() -> None:
    posterior, data = gaussian(draws=20), torch.arange(6.0)
    observed = su.condition(LIFTED, data={"y": data})
    for run in (
        lambda: Predictive(LIFTED, posterior, seed=1)(X, data),
        lambda: Predictive(observed, posterior, seed=1)(X),
        lambda: posterior.predict(X, data, seed=1),
        lambda: posterior.predict(X, y=data),
    ):
        with pytest.warns(ObservationWarning, match=r"nothing was drawn: 'y' is observed .* keep their data"):
            prediction = run()
        assert prediction.drawn == ()
        assert torch.equal(prediction["y"], data.expand(2, 20, 6))
        torch.testing.assert_close(prediction["mean"], posterior["slope"][..., None] * X)
    # One that is asked for deterministic sites alone is not told of it.
    assert list(Predictive(LIFTED, posterior, sites=["mean"])(X, data)) == ["mean"]


def autoregression(y: Tensor | None, future: int = 0, length: int | None = None) -> None:
    slope = su.sample("slope", dist.Normal(0.0, 1.0))

    def step(last: Tensor, now: Tensor | None) -> tuple[Tensor, None]:
        return su.sample("y", dist.Normal(slope * last, 0.5), obs=now), None

    last, _ = su.scan(step, torch.tensor(1.0), y, length=length)

    def ahead(last: Tensor, _: None) -> tuple[Tensor, None]:
        return su.sample("ahead", dist.Normal(slope * last, 0.5)), None

    if future:
        su.scan(ahead, last, length=future)


def test_a_forecast_goes_on_from_the_data() -> None:
    series = torch.tensor([0.5, -1.0, 8.0])
    slopes = {"slope": torch.full((4000,), 0.5)}
    found = Predictive(autoregression, slopes, seed=0)(series, 2)
    assert found.drawn == ("ahead",)
    assert torch.equal(found["y"], series.expand(4000, 3))
    # 8 · 0.5 and 8 · 0.25, of variance 0.25 and 0.25 (1 + 0.25).
    sd = torch.tensor([0.5, 0.3125**0.5])
    assert ((found.mean("ahead") - torch.tensor([4.0, 2.0])).abs() < 4.5 * sd / 4000**0.5).all()
    assert ((found.sd("ahead") - sd).abs() < 4.5 * sd / 8000**0.5).all()
    # Replicated, the series goes from 1, and the forecast on from there: 1/16.
    again = Predictive(autoregression, slopes, seed=0, replicate=True)(series, 1)
    assert again.drawn == ("y", "ahead")
    assert abs(float(again.mean("ahead")) - 0.0625) < 4.5 * 0.6 / 4000**0.5


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
@pytest.mark.parametrize("way", ["nuts", "laplace", "pathfinder"])
def test_a_scan_of_observed_sites_is_replicated_and_forecast(way: str) -> None:
    series = torch.tensor([0.9, 0.7, 0.2, 0.3, 0.1])
    posterior = {
        "nuts": lambda: su.infer.MCMC(
            su.infer.NUTS(autoregression), num_warmup=100, num_samples=50, num_chains=2, seed=0, progress=False
        ).run(series),
        "laplace": lambda: su.infer.Laplace(autoregression, seed=0).run(series),
        "pathfinder": lambda: su.infer.Pathfinder(autoregression, seed=0).run(series),
    }[way]()
    draws = posterior["slope"].shape
    replicated = posterior.predict(seed=0)
    assert replicated.drawn == ("y",)
    assert replicated["y"].shape == (*draws, 5)
    errors = (
        replicated["y"] - posterior["slope"][..., None] * torch.cat([torch.ones(*draws, 1), replicated["y"][..., :-1]], -1)
    ) / 0.5
    count = errors.numel()
    assert abs(float(errors.mean())) < 4.5 / count**0.5
    assert abs(float(errors.std()) - 1.0) < 4.5 / (2 * count) ** 0.5
    assert posterior.predict(None, length=3, seed=0)["y"].shape == (*draws, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert posterior.predict(series, 4, seed=0)["ahead"].shape == (*draws, 4)
        posterior.log_likelihood()


def test_replicated_data_have_the_shape_of_the_data() -> None:
    def model(y: Tensor | None = None) -> None:
        f = su.sample("f", dist.Beta(1.0, 1.0).expand_by([2]).to_event(1))
        su.sample("y", dist.Bernoulli(f), obs=y)

    f, data = torch.tensor([[[0.1, 0.9]] * 50] * 2), torch.ones(30, 2)
    program = Program(model, (data,))
    posterior = su.Posterior({"f": f}, {}, np.zeros((2, 50, 2)), latents=("f",), observed={"y": data}, program=program)
    replicated = posterior.predict(seed=0)["y"]
    assert replicated.shape == (2, 50, 30, 2)
    assert ((replicated.mean((0, 1, 2)) - f[0, 0]).abs() < 4.5 * 0.3 / 3000**0.5).all()
    with pytest.warns(ObservationWarning, match=r"'y' was observed with shape \(30, 2\), but is predicted with shape \(2,\)"):
        assert posterior.predict(None, seed=0)["y"].shape == (2, 50, 2)


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_run_predicts() -> None:
    y = 2.0 * X
    posterior = su.infer.MCMC(su.infer.NUTS(LIFTED), num_warmup=100, num_samples=50, num_chains=2, seed=0).run(X, y)
    assert posterior.predict(torch.zeros(4), seed=0)["y"].shape == (2, 50, 4)
    for other in (copy.deepcopy(posterior), copy.copy(posterior)):
        assert other.predict(seed=0)["y"].shape == (2, 50, 6)


# Whatever the chunk, whatever the way.


@pytest.mark.parametrize("chunk", [1, 3, 7, 100, 4000])
def test_the_chunk_does_not_matter(chunk: int, mapped: list[bool]) -> None:
    posterior = gaussian(draws=20)
    expected = posterior.predict(X, seed=5)
    torch.testing.assert_close(posterior.predict(X, seed=5, chunk=chunk)["y"], expected["y"])
    assert all(mapped)


def test_draws_one_by_one_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = gaussian(draws=20)
    fast = posterior.predict(X, seed=5)
    monkeypatch.setattr(vectorise, "_map", lambda *args: None)
    torch.testing.assert_close(posterior.predict(X, seed=5)["y"], fast["y"])


def test_seeds_and_the_global_generator() -> None:
    posterior = gaussian(draws=10)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (posterior.predict(X, seed=s)["y"] for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    unseeded = posterior.predict(X)["y"]
    torch.manual_seed(0)
    assert torch.equal(posterior.predict(X)["y"], unseeded)
    # The first draws of a longer run are those of a shorter one.
    assert torch.equal(Predictive(LIFTED, num_samples=5, seed=1)(X)["y"], Predictive(LIFTED, num_samples=9, seed=1)(X)["y"][:5])


DISTRIBUTIONS: dict[str, Callable[[Tensor], Any]] = {
    "normal": lambda a: dist.Normal(a.expand(3), 1.0),
    "fixed": lambda a: dist.Normal(torch.zeros(3), 1.0),
    "gamma": lambda a: dist.Gamma(a, torch.ones(3)),
    "beta": lambda a: dist.Beta(a.expand(3), a),
    "bernoulli": lambda a: dist.Bernoulli(logits=a.expand(3)),
    "categorical": lambda a: dist.Categorical(logits=torch.stack([a, 2 * a, 3 * a]).expand(4, 3)),
    "poisson": lambda a: dist.Poisson(a.expand(3)),
    "binomial": lambda a: dist.Binomial(10, logits=a.expand(3)),
    "exponential": lambda a: dist.Exponential(a.expand(3)),
    "student t": lambda a: dist.StudentT(a.expand(3) + 2.0),
    "dirichlet": lambda a: dist.Dirichlet(a.expand(3)),
    "multivariate": lambda a: dist.MultivariateNormal(torch.zeros(3), torch.eye(3) * a),
    "cauchy": lambda a: dist.HalfCauchy(a.expand(3)),
    "negative binomial": lambda a: dist.NegativeBinomial(a.expand(3), 0.5),
    "multinomial": lambda a: dist.Multinomial(5, logits=torch.stack([a, a, a])),
    "log-normal": lambda a: dist.LogNormal(a.expand(3), 1.0),
    "mixture": lambda a: dist.MixtureSameFamily(
        dist.Categorical(logits=torch.stack([a, a])), dist.Normal(torch.stack([a, -a]), 1.0)
    ),
    "von mises": lambda a: dist.VonMises(a.expand(3), 1.0),
    "correlations": lambda a: dist.LKJCholesky(3, a),
    "events": lambda a: dist.Normal(a.expand(2, 3), 1.0).to_event(1),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_any_distribution_maps_and_draws_the_same_one_by_one(name: str, mapped: list[bool]) -> None:
    def program() -> None:
        a = su.sample("a", dist.LogNormal(0.0, 0.3))
        su.sample("y", DISTRIBUTIONS[name](a))

    fast = Predictive(program, num_samples=25, seed=1)()
    assert all(mapped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectorise, "_map", lambda *args: None)
        slow = Predictive(program, num_samples=25, seed=1)()
    for site in slow:
        torch.testing.assert_close(fast[site], slow[site])
    assert fast["y"].reshape(25, -1).double().std(0).max() > 0.05


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_all_rows_of_any_distribution_are_drawn_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[None] = []
    monkeypatch.setattr(vectorise._Counters, "alone", lambda self: alone.append(None))

    def program() -> None:
        su.sample("y", DISTRIBUTIONS[name](su.sample("a", dist.LogNormal(0.0, 0.3))))

    Predictive(program, num_samples=3, seed=1)()
    assert alone == []


def test_programs_that_vmap_cannot_map(mapped: list[bool]) -> None:
    def program() -> None:
        a = su.sample("a", dist.Normal(0.0, 1.0))
        b = a.exp() if a > 0 else -a
        su.sample("y", dist.Normal(b, 1e-4))

    prediction = Predictive(program, num_samples=40, seed=0)()
    assert mapped == [False]
    a = prediction["a"]
    torch.testing.assert_close(prediction["y"], torch.where(a > 0, a.exp(), -a), atol=1e-3, rtol=0)


def test_noise_inside_the_program_comes_from_the_draws_own_stream() -> None:
    net = nn.Sequential(nn.Linear(1, 4), nn.Dropout())

    def program(x: Tensor) -> None:
        su.deterministic("f", su.module("net", net)(x))

    torch.manual_seed(1)
    before = torch.get_rng_state()
    lifted = su.lift(program, dist.Normal(0.0, 1.0))
    first, again = (Predictive(lifted, num_samples=6, seed=0, chunk=c)(torch.ones(2, 1))["f"] for c in (2, 6))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    assert (first == 0).any()


def test_a_check_that_fails_for_one_draw_is_raised_for_it() -> None:
    posterior = by_hand(slope=torch.ones(1, 50), sigma=torch.ones(1, 50))
    posterior["sigma"][0, 31] = -1.0
    with pytest.raises(ValueError, match=r"scale .*satisfy the constraint GreaterThan"):
        posterior.predict(X, seed=0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw makes tensors of some 400 kB, so 10 of them fit into 4 MB."""
    sizes: list[int] = []
    original = vectorise._map

    def watched(run: Any, values: Any, rows: range, streams: Any) -> Any:
        sizes.append(len(rows))
        return original(run, values, rows, streams)

    monkeypatch.setattr(vectorise, "_map", watched)
    monkeypatch.setattr(vectorise, "BUDGET", 4_000_000)

    def program() -> None:
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.deterministic("f", (z * torch.ones(100_000)).sum())

    Predictive(program, num_samples=40, seed=0)()
    assert sum(sizes) == 40
    assert 1 <= max(sizes) <= 10


def test_plates_are_whole() -> None:
    def program(x: Tensor) -> None:
        slope = su.sample("slope", dist.Normal(0.0, 1.0))
        with su.plate("data", len(x), subsample_size=2) as present:
            su.sample("y", dist.Normal(slope * x[present], 1e-3))

    prediction = Predictive(program, {"slope": torch.ones(7)}, seed=0)(X)
    torch.testing.assert_close(prediction.mean(), X.double(), atol=3e-3, rtol=0)


def test_values_are_given_under_reparameterisation_and_for_parameters() -> None:
    centred = {"slope": su.infer.reparam.LocScaleReparam(0.0)}
    reparameterised = su.reparam(su.lift(line, {"slope": dist.Normal(1.0, 2.0)}), centred)
    prediction = Predictive(reparameterised, {"slope_decentered": torch.tensor([0.0, 1.0])}, seed=0)(X)
    torch.testing.assert_close(prediction["slope"], torch.tensor([1.0, 3.0], dtype=torch.float64))
    plain = Predictive(line, {"slope": torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)}, seed=0)(X)
    assert plain["mean"].dtype == torch.float64
    torch.testing.assert_close(plain["mean"], torch.tensor([0.0, 1.0, 2.0]).double()[:, None] * X)


def test_sites_and_leading_dimensions() -> None:
    posterior = gaussian(draws=10)
    assert list(Predictive(LIFTED, posterior, sites=["mean"])(X)) == ["mean"]
    as_mapping = Predictive(LIFTED, dict(posterior), batch_ndims=2, seed=0)(X)
    assert torch.equal(as_mapping["y"], posterior.predict(X, seed=0)["y"])
    assert repr(as_mapping) == "<Prediction: 2 × 10 draws of mean (6,), y (6,)>"


# What cannot be.


def test_a_posterior_without_its_program(tmp_path: Any) -> None:
    posterior = gaussian(draws=10)
    posterior.save(tmp_path / "run")
    for other in (su.Posterior.load(tmp_path / "run"), pickle.loads(pickle.dumps(posterior))):
        assert other.program is None
        with pytest.raises(PredictionError, match=r"no program to predict with.*su\.infer\.Predictive\(model, posterior\)"):
            other.predict(X)
        with pytest.raises(PredictionError, match=r"no program.*su\.infer\.log_likelihood\(model, posterior, …\)"):
            other.log_likelihood()
        assert torch.equal(Predictive(LIFTED, other, seed=0)(X)["y"], posterior.predict(X, seed=0)["y"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Predictive(None), r"`model` is None, but must be a program"),
        (lambda: Predictive(line, num_samples=0), r"`num_samples` is 0, but must be an integer of at least 1"),
        (lambda: Predictive(line, chunk=-1), r"`chunk` is -1"),
        (lambda: Predictive(line, seed=1.5), r"`seed` is 1.5, but must be an integer of at least 0"),
        (lambda: Predictive(line, {}), r"the posterior samples are empty"),
        (lambda: Predictive(line, {"slope": torch.ones(0)}), r"there are no draws"),
        (lambda: Predictive(line, [1.0]), r"the posterior samples are a list"),
        (lambda: Predictive(line, {"slope": torch.ones(3)}, num_samples=4), r"`num_samples` is 4, but there are 3"),
        (
            lambda: Predictive(line, {"slope": torch.ones(3), "sigma": torch.ones(4)}),
            r"of site 'sigma' have shape \(4,\), but the first 1 dimensions of 'slope'.* are \(3,\)",
        ),
        (lambda: Predictive(line, {"slope": torch.tensor(1.0)}), r"site 'slope' have shape \(\)"),
        (
            lambda: Predictive(line, sites=["z"])(X),
            r"`sites` names 'z', which does not exist in the program. There are: 'mean', 'y'",
        ),
        (lambda: gaussian(draws=5).predict(X).quantile(1.5), r"q is 1.5, but must be .* from 0 to 1"),
        (lambda: gaussian(draws=5).predict(X).interval(1.0), r"the mass is 1.0, but must lie strictly between"),
        (lambda: Predictive(LIFTED)(X).mean(), r"several sites to choose from, 'slope', 'sigma', 'y'"),
    ],
)
def test_bad_input(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        make()


def test_a_site_that_is_not_there_names_the_close_ones() -> None:
    with pytest.raises(KeyError, match=r"no site 'yy' in this prediction\. Did you mean 'y'\? It has 'mean', 'y'"):
        gaussian(draws=5).predict(X)["yy"]


def test_draws_that_no_site_takes_are_warned_of() -> None:
    with pytest.warns(UnusedSiteWarning, match=r"draws of 'slop' were not used.*Did you mean 'slope'"):
        Predictive(LIFTED, {"slop": torch.ones(3)}, seed=0)(X)


def groups(count: int) -> None:
    with su.plate("groups", count):
        su.sample("y", dist.Normal(su.sample("effect", dist.Normal(0.0, 1.0)), 0.1))


def test_draws_of_another_shape() -> None:
    with pytest.raises(PredictionError, match=r"'effect'.*shape \(4,\).*redrawn if its draws are left out"):
        Predictive(groups, {"effect": torch.zeros(5, 4)}, seed=0)(2)


def test_another_shape_at_another_draw() -> None:
    def program() -> None:
        n = 1 + int(su.sample("n", dist.Bernoulli(0.5)))
        su.sample("y", dist.Normal(torch.zeros(n), 1.0))

    with pytest.raises(PredictionError, match=r"site 'y' has shape \([12],\) at the first draw and \([12],\) at draw \d+"):
        Predictive(program, num_samples=50, seed=0)()


# Devices. There is one here: what belongs on another is looked at with fake tensors.


def test_draws_follow_the_device_of_the_program() -> None:
    from torch._subclasses import FakeTensorMode

    from sursum.predict.at_draw import _give

    with FakeTensorMode(allow_non_fake_inputs=True):
        loc = torch.zeros(3, device="cuda")
        site = Sample(name="z", fn=dist.Normal(loc, torch.ones(3, device="cuda"), validate_args=False))
        assert _give(site, torch.zeros(3, dtype=torch.float64)).value.device.type == "cuda"
        lifted = site.but(init=torch.zeros(3, device="cuda", dtype=torch.float16))
        value = _give(lifted, torch.zeros(3, dtype=torch.float64)).value
        assert (value.device.type, value.dtype) == ("cuda", torch.float16)


def test_a_draw_on_another_device_has_a_generator_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from sursum.distributions import randomness

    class There:
        """A generator of a device that this machine has not."""

        def __init__(self, device: torch.device) -> None:
            self.device, self.seed = device, -1

        def manual_seed(self, seed: int) -> There:
            self.seed = seed
            return self

    here, cuda = torch.Generator().manual_seed(0), torch.device("cuda:0")
    drawing = randomness.drawing_from(here)
    assert drawing._on(torch.device("cpu")) is here
    assert drawing._on(torch.device("meta")) is here
    monkeypatch.setattr(torch, "Generator", There)
    first, second = drawing._on(cuda), drawing._on(torch.device("cuda:1"))
    assert (first.device, drawing._on(cuda)) == (cuda, first)
    assert first.seed != second.seed
    monkeypatch.undo()
    assert randomness._device(((), {"device": "cuda:0"})) == cuda
    assert randomness._device((([torch.ones(2, device="meta")],), {})).type == "meta"
    assert randomness._device(((2,), {})).type == "cpu"
