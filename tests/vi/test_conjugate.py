"""Models whose posterior is known in closed form: what every guide and bound should find there."""

import math

import pytest
import torch
from tests.support.few import few
from torch.optim.lr_scheduler import ExponentialLR

import sursum as su
import sursum.distributions as dist
from sursum.errors import EngineWarning
from sursum.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO, autoguide
from sursum.vi.autoguide.joint import AffineLower, standard

D = torch.float64
POSITIVE = dist.constraints.positive
EXACT = [Trace_ELBO(), Trace_ELBO(num_particles=3), RenyiELBO(num_particles=2), RenyiELBO(0.5)]


def fitted(model, guide, loss, args=(), steps=6000, rate=0.03, final=1e-4):
    """A run whose learning rate shrinks, so that its noise does."""
    decay = (final / rate) ** (1 / steps)
    optim = su.optim.Adam({"lr": rate}, scheduler=lambda optimizer: ExponentialLR(optimizer, decay))
    svi = SVI(model, guide, optim, loss, seed=0)
    result = svi.run(steps, *args)
    assert result.engine == "native"
    return svi


# With the exact posterior for a guide the bound is the evidence, at every draw, whatever the bound's order.


def normal_normal():
    mu = su.sample("mu", dist.Normal(torch.tensor(0.0, dtype=D), 2.0))
    with su.plate("data", 3):
        su.sample("y", dist.Normal(mu, 1.0), obs=torch.tensor([1.0, 2.0, 0.3], dtype=D))


def exact_normal():
    precision = 1 / 4 + 3
    su.sample("mu", dist.Normal(su.param("m", torch.tensor(3.3 / precision, dtype=D)), precision**-0.5))


def gamma_poisson():
    rate = su.sample("rate", dist.Gamma(torch.tensor(2.0, dtype=D), 0.5))
    with su.plate("data", 3):
        su.sample("y", dist.Poisson(rate), obs=torch.tensor([3.0, 5.0, 1.0], dtype=D))


def exact_gamma():
    su.sample("rate", dist.Gamma(su.param("a", torch.tensor(11.0, dtype=D)), torch.tensor(3.5, dtype=D)))


def beta_binomial():
    p = su.sample("p", dist.Beta(torch.tensor(2.0, dtype=D), 1.0))
    su.sample("y", dist.Binomial(10, p), obs=torch.tensor(7.0, dtype=D))


def exact_beta():
    su.sample("p", dist.Beta(su.param("a", torch.tensor(9.0, dtype=D)), torch.tensor(4.0, dtype=D)))


def log_beta(a, b):
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


COVARIANCE = 4.0 * torch.ones(3, 3, dtype=D) + torch.eye(3, dtype=D)
EVIDENCE = {
    "normal": float(
        torch.distributions.MultivariateNormal(torch.zeros(3, dtype=D), COVARIANCE).log_prob(
            torch.tensor([1.0, 2.0, 0.3], dtype=D)
        )
    ),
    "gamma": 2 * math.log(0.5) - math.lgamma(2) + math.lgamma(11) - 11 * math.log(3.5) - math.log(6 * 120 * 1),
    "beta": math.log(math.comb(10, 7)) + log_beta(9, 4) - log_beta(2, 1),
}
CONJUGATE = {
    "normal": (normal_normal, exact_normal),
    "gamma": (gamma_poisson, exact_gamma),
    "beta": (beta_binomial, exact_beta),
}


@pytest.mark.parametrize("loss", EXACT, ids=str)
@pytest.mark.parametrize("name", CONJUGATE)
def test_at_the_exact_posterior_the_bound_is_the_evidence(name, loss):
    with su.poutine.seed(rng_seed=1), su.ParamStore(double=True):
        for _ in range(3):
            assert loss.loss(*CONJUGATE[name]) == pytest.approx(-EVIDENCE[name], rel=1e-9)


@pytest.mark.parametrize("name", CONJUGATE)
def test_at_the_exact_posterior_the_mean_field_bound_is_the_evidence_on_average(name):
    with su.poutine.seed(rng_seed=1), su.ParamStore(double=True):
        losses = torch.tensor([TraceMeanField_ELBO().loss(*CONJUGATE[name]) for _ in range(200)])
    error = float(losses.std()) / 200**0.5
    assert 0.0 < error < 0.2
    assert abs(float(losses.mean()) + EVIDENCE[name]) < 4 * error


# Gaussian posteriors: a linear regression with correlated coefficients.

GAUSSIAN = {
    "multivariate": lambda model: autoguide.AutoMultivariateNormal(model),
    "low rank": lambda model: autoguide.AutoLowRankMultivariateNormal(model, rank=2),
    "list": lambda model: listed(model),
}


def listed(model):
    guide = autoguide.AutoGuideList(model)
    guide.append(autoguide.AutoMultivariateNormal(su.poutine.block(model, expose=["w"])))
    return guide


def moments(posterior, name="w"):
    draws = posterior[name][0]
    return draws.mean(0), torch.cov(draws.T)


BOUNDS = {"trace": Trace_ELBO(), "renyi": RenyiELBO(0.5, num_particles=2)}
JOINED = [(name, guide) for name in BOUNDS for guide in GAUSSIAN]


@pytest.mark.parametrize(("name", "guide"), few(JOINED, [*JOINED[: len(GAUSSIAN)], ("renyi", "multivariate")]))
def test_guides_with_a_covariance_find_the_exact_posterior(normal_normal, name, guide):
    loss = BOUNDS[name]
    model, args, mean, precision, evidence = normal_normal
    svi = fitted(model, GAUSSIAN[guide](model), loss, args, steps=40000)
    # There every draw gives the evidence, so that the noise of the gradient goes to zero as well.
    losses = svi.losses[-100:]
    assert float(losses.std()) < 0.05
    assert float(losses.mean()) == pytest.approx(-float(evidence), abs=4 * float(losses.std()) / 10 + 1e-3)
    covariance = torch.linalg.inv(precision)
    sd = covariance.diagonal().sqrt()
    torch.testing.assert_close(svi.guide.median(svi.params)["w"].double(), mean, rtol=0, atol=0.03 * float(sd.min()))
    quantiles = svi.guide.quantiles(svi.params, [0.025, 0.975])["w"]
    torch.testing.assert_close((quantiles[1] - quantiles[0]).double() / 3.919928, sd, rtol=0.05, atol=0)
    if guide == "multivariate":
        factor = svi.guide.scale_tril(svi.params)
        torch.testing.assert_close(factor @ factor.T, covariance, rtol=0, atol=0.05 * float(covariance.diagonal().min()))
    found_mean, found = moments(svi.sample(4000))
    assert (abs(found_mean - mean) < 4 * sd / 4000**0.5 + 0.03 * sd).all()
    # The sd of a sample covariance is (σᵢσⱼ)√((1 + ρ²)/N).
    scale = sd.unsqueeze(0) * sd.unsqueeze(1)
    assert (abs(found - covariance) < 5 * scale * (2 / 4000) ** 0.5 + 0.06 * scale).all()


def test_densities_of_guides_at_values_that_they_did_not_draw():
    """A pushforward without a draw of its own inverts the map."""
    loc, scale = torch.tensor([1.0, -2.0, 0.5], dtype=D), torch.tensor([0.5, 2.0, 1.0], dtype=D)
    lower = torch.tensor([[0.0, 0, 0], [0.4, 0, 0], [-1.0, 0.3, 0]], dtype=D)
    factor = scale.unsqueeze(-1) * (lower + torch.eye(3, dtype=D))
    exact = torch.distributions.MultivariateNormal(loc, scale_tril=factor)
    found = standard(3, loc, AffineLower(loc, scale, lower))
    value = torch.tensor([0.3, 0.1, -0.7], dtype=D)
    assert float(found.log_prob(value)) == pytest.approx(float(exact.log_prob(value)), rel=1e-12)
    drawn = found.rsample()
    assert float(found.log_prob(drawn)) == pytest.approx(float(exact.log_prob(drawn)), rel=1e-12)


@pytest.mark.parametrize("guide", [autoguide.AutoNormal, autoguide.AutoDiagonalNormal])
@pytest.mark.parametrize(
    "loss", [Trace_ELBO(num_particles=4), TraceMeanField_ELBO(num_particles=4)], ids=["trace", "mean field"]
)
def test_mean_field_guides_find_the_mean_and_the_conditional_scales(normal_normal, guide, loss):
    """The best mean-field approximation of N(m, Λ⁻¹) has mean m and variances 1/Λᵢᵢ (Bishop, PRML, section 10.1.2)."""
    model, args, mean, precision, evidence = normal_normal
    svi = fitted(model, guide(model), loss, args)
    sd = precision.diagonal().rsqrt()
    torch.testing.assert_close(svi.guide.median(svi.params)["w"].double(), mean, rtol=0, atol=0.03 * float(sd.min()))
    quantiles = svi.guide.quantiles(svi.params, [0.5, 0.8413447])["w"]
    torch.testing.assert_close((quantiles[1] - quantiles[0]).double(), sd, rtol=0.05, atol=0)
    gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    losses = svi.losses[-2000:]
    assert float(losses.mean()) == pytest.approx(float(gap - evidence), abs=4 * float(losses.std()) / 2000**0.5 + 2e-3)


def test_a_point_finds_the_mode(normal_normal):
    model, args, mean, _, _ = normal_normal
    svi = fitted(model, autoguide.AutoDelta(model), Trace_ELBO(), args, steps=2000)
    torch.testing.assert_close(svi.guide.median(svi.params)["w"].double(), mean, rtol=0, atol=1e-4)


def test_a_point_finds_the_mode_on_the_sites_own_scale():
    svi = fitted(gamma_poisson, autoguide.AutoDelta(gamma_poisson), Trace_ELBO(), steps=2000)
    # The posterior is Gamma(11, 3.5); the mode of log-rate would be 11/3.5.
    assert float(svi.guide.median(svi.params)["rate"]) == pytest.approx(10 / 3.5, rel=1e-4)


def test_a_flow_comes_near_a_posterior_that_is_not_normal():
    """A funnel, whose evidence is 1: one autoregressive transform can be it, and no normal distribution can."""

    def funnel():
        v = su.sample("v", dist.Normal(torch.tensor(0.0, dtype=D), 1.5))
        su.sample("x", dist.Normal(torch.tensor(0.0, dtype=D), (v / 2).exp()))

    gaps = {}
    for guide in (autoguide.AutoMultivariateNormal(funnel), autoguide.AutoNormalizingFlow(funnel)):
        svi = fitted(funnel, guide, Trace_ELBO(num_particles=8), steps=6000, rate=0.01)
        gaps[type(guide).__name__] = float(svi.losses[-2000:].mean())
    assert gaps["AutoMultivariateNormal"] > 0.1
    assert -5e-3 < gaps["AutoNormalizingFlow"] < 0.02
    assert float(svi.sample(4000)["v"].std()) == pytest.approx(1.5, rel=0.1)


def test_importance_weighting_tightens_the_bound(normal_normal):
    """Evidence ≥ the bound of K particles, which grows with K (Burda et al., 2016, theorem 1)."""
    model, args, _, _, evidence = normal_normal
    bounds = []
    for count in (1, 5, 50):
        loss = RenyiELBO(num_particles=count) if count > 1 else Trace_ELBO()
        svi = fitted(model, autoguide.AutoNormal(model), loss, args, steps=3000)
        bounds.append(-float(svi.losses[-1500:].mean()))
    assert bounds[0] + 0.05 < bounds[1] < bounds[2] < float(evidence) + 0.01


@pytest.mark.parametrize("name", ["gamma", pytest.param("beta", marks=pytest.mark.slow)])
def test_guides_with_draws_that_only_torch_can_differentiate_find_the_posterior(name):
    """Gamma and Beta draw by rejection, with implicit derivatives: the programs run at every step."""
    one = torch.tensor(1.0, dtype=D)
    parameters = lambda: (su.param("a", 5 * one, constraint=POSITIVE), su.param("b", 2 * one, constraint=POSITIVE))
    guides = {
        "gamma": lambda: su.sample("rate", dist.Gamma(*parameters())),
        "beta": lambda: su.sample("p", dist.Beta(*parameters())),
    }
    optim = su.optim.Adam({"lr": 0.1}, scheduler=lambda optimizer: ExponentialLR(optimizer, 0.01 ** (1 / 300)))
    svi = SVI(CONJUGATE[name][0], guides[name], optim, Trace_ELBO(num_particles=2), seed=0)
    with pytest.warns(EngineWarning, match="draws from a generator of its own|is not a smooth function of normal"):
        assert svi.run(300).engine == "eager"
    a, b = float(svi.params["a"].detach()), float(svi.params["b"].detach())
    mean, right = (a / b, 11 / 3.5) if name == "gamma" else (a / (a + b), 9 / 13)
    assert mean == pytest.approx(right, rel=0.05)
    losses = svi.losses[-50:]
    assert float(losses.mean()) == pytest.approx(-EVIDENCE[name], abs=4 * float(losses.std()) / 50**0.5 + 0.01)


def test_a_small_amortised_autoencoder():
    """Factor analysis by an amortised guide: y = z·w + noise, whose posterior is linear in y, is found by a linear net."""
    generator = torch.Generator().manual_seed(0)
    w = torch.tensor([1.0, -2.0, 0.5], dtype=D)
    z = torch.randn(60, 1, generator=generator, dtype=D)
    y = z * w + 0.5 * torch.randn(60, 3, generator=generator, dtype=D)
    torch.manual_seed(0)
    encoder = torch.nn.Linear(3, 1, bias=False).double()
    decoder = torch.nn.Linear(1, 3, bias=False).double()

    def model(y):
        f = su.module("decoder", decoder)
        with su.plate("data", len(y)):
            z = su.sample("z", dist.Normal(torch.zeros(len(y), 1, dtype=D), 1.0).to_event(1))
            su.sample("y", dist.Normal(f(z), 0.5).to_event(1), obs=y)

    def guide(y):
        loc = su.module("encoder", encoder)(y)
        scale = su.param("scale", torch.tensor(0.5, dtype=D), constraint=POSITIVE)
        with su.plate("data", len(y)):
            su.sample("z", dist.Normal(loc, scale).to_event(1))

    svi = fitted(model, guide, Trace_ELBO(num_particles=4), (y,))
    found = svi.params["decoder.weight"].detach()[:, 0]
    precision = 1 + float(found @ found) / 0.25
    # Given the decoder the posterior is N(wᵀy/(σ²Λ), 1/Λ): the encoder and the scale are that.
    torch.testing.assert_close(svi.params["encoder.weight"].detach()[0], found / 0.25 / precision, rtol=0, atol=0.02)
    assert float(svi.params["scale"].detach()) == pytest.approx(precision**-0.5, rel=0.05)
    # And the decoder is the maximum of the evidence, N(0, wwᵀ + σ²I): the first principal axis.
    values, vectors = torch.linalg.eigh(y.T @ y / 60)
    best = (values[-1] - 0.25).sqrt() * vectors[:, -1]
    torch.testing.assert_close(found * torch.sign(found @ best), best, rtol=0, atol=0.03)
    assert not torch.equal(svi.params["encoder.weight"].detach(), encoder.weight.detach())
