"""`lift(…, on="constrained")`: GPyTorch's parameters as the values that they stand for, against sums by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.errors import HeldParameterWarning, OptionError, PriorSupportError, PriorTypeError, UnusedPriorWarning

gpytorch = pytest.importorskip("gpytorch")

X = torch.linspace(0.0, 1.0, 8, dtype=torch.float64)[:, None] ** 1.5
Y = torch.sin(5 * X[:, 0])
KERNEL, NOISE = "gp.covar_module", "gp.likelihood.noise_covar.noise"
LENGTH, SCALE = f"{KERNEL}.base_kernel.lengthscale", f"{KERNEL}.outputscale"
D = torch.float64


class GP(gpytorch.models.ExactGP):
    def __init__(self, likelihood: Any, kernel: Any) -> None:
        super().__init__(X, Y, likelihood)
        self.mean_module, self.covar_module = gpytorch.means.ConstantMean(), kernel

    def forward(self, x: Tensor) -> Any:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def network(**priors: Any) -> Any:
    rbf = gpytorch.kernels.RBFKernel(lengthscale_prior=priors.get("length"))
    kernel = gpytorch.kernels.ScaleKernel(rbf, outputscale_prior=priors.get("scale"))
    return GP(gpytorch.likelihoods.GaussianLikelihood(noise_prior=priors.get("noise")), kernel).double()


def model(net: Any) -> None:
    gp = su.module("gp", net)
    su.sample("y", gp.likelihood(gp(X)), obs=Y)


def likelihood(u: dict[str, Tensor]) -> Tensor:
    covariance = u[SCALE] * torch.exp(-0.5 * (X - X.T).square() / u[LENGTH] ** 2) + u[NOISE] * torch.eye(8, dtype=D)
    return torch.distributions.MultivariateNormal(u["gp.mean_module.constant"].expand(8), covariance).log_prob(Y)


def gamma(a: float, b: float) -> Any:
    return torch.distributions.Gamma(torch.tensor(a, dtype=D), torch.tensor(b, dtype=D))


def by_hand(u: dict[str, Tensor]) -> Tensor:
    """Likelihood, priors of the constrained values (the noise's above its bound of 1e-4), and Jacobians."""
    low = torch.tensor(1e-4, dtype=torch.float32).to(D)
    terms = gamma(3.0, 6.0).log_prob(u[LENGTH]) + gamma(2.0, 0.5).log_prob(u[SCALE]) + gamma(2.0, 20.0).log_prob(u[NOISE])
    terms = terms - torch.log1p(-(1 - torch.exp(-20 * low) * (1 + 20 * low)))
    terms = terms + torch.distributions.Normal(0.0, 1.0).log_prob(u["gp.mean_module.constant"])
    return likelihood(u) + terms.sum() + u[LENGTH].log().sum() + u[SCALE].log() + (u[NOISE] - low).log().sum()


GIVEN = {
    LENGTH: dist.Gamma(3.0, 6.0),
    SCALE: dist.Gamma(2.0, 0.5),
    "gp.likelihood.**": dist.Gamma(2.0, 20.0),
    "gp.mean_module.constant": dist.Normal(0.0, 1.0),
}
REGISTERED = {"length": (3.0, 6.0), "scale": (2.0, 0.5), "noise": (2.0, 20.0)}


def with_registered() -> Any:
    return network(**{name: gpytorch.priors.GammaPrior(*pair) for name, pair in REGISTERED.items()})


def lifted_registered() -> Any:
    inner = su.lift(model, su.priors.registered, on="constrained")
    return su.lift(inner, {"gp.mean_module.constant": dist.Normal(0.0, 1.0)}, on="constrained")


@pytest.mark.parametrize(
    "make", [lambda: su.compile(su.lift(model, GIVEN, on="constrained"), network()),
             lambda: su.compile(lifted_registered(), with_registered())], ids=["given", "registered"],
)  # fmt: skip
def test_its_density_is_that_of_the_constrained_values(make: Any) -> None:
    density = make()
    assert density.engine == "native"
    assert [one.name for one in density.density.latents] == [NOISE, "gp.mean_module.constant", SCALE, LENGTH]
    q = np.array([-1.0, 0.2, 0.3, -0.5])
    value, gradient = density.value_and_grad(q)
    u = density.unravel(q)
    assert value == pytest.approx(float(by_hand(u)), rel=1e-7)  # the bound and the priors' numbers are floats in GPyTorch
    for i in range(4):
        step = np.eye(4)[i] * 1e-5
        slope = (density.value_and_grad(q + step)[0] - density.value_and_grad(q - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_the_networks_own_parameter_is_a_deterministic_site() -> None:
    net = network()
    trace = su.poutine.trace(su.lift(model, GIVEN, on="constrained")).get_trace(net)
    raw = net.likelihood.noise_covar.raw_noise_constraint.inverse_transform(trace[NOISE].value)
    assert trace["gp.likelihood.noise_covar.raw_noise"]["type"] == "deterministic"
    torch.testing.assert_close(trace["gp.likelihood.noise_covar.raw_noise"].value, raw)
    rows = su.report(su.lift(model, GIVEN, on="constrained"), net).rows
    assert [(row.name, row.state) for row in rows] == [
        (name, "lifted") for name in (NOISE, "gp.mean_module.constant", SCALE, LENGTH)
    ]
    assert {row.name: row.prior for row in rows}[LENGTH] == "Gamma(concentration=3, rate=6)"


def test_registered_priors_are_shown_with_their_arguments() -> None:
    rows = su.report(lifted_registered(), with_registered()).rows
    assert {row.name: row.prior for row in rows}[SCALE] == "Gamma(concentration=2, rate=0.5)"


def test_the_posterior_has_networks_of_its_draws() -> None:
    net = network()
    mcmc = su.infer.MCMC(
        su.infer.NUTS(su.lift(model, GIVEN, on="constrained")),
        num_warmup=20, num_samples=5, num_chains=1, seed=0, progress=False,
    )  # fmt: skip
    with pytest.warns():
        posterior = mcmc.run(net)
    drawn = posterior.module("gp")[3]
    torch.testing.assert_close(
        drawn.covar_module.base_kernel.lengthscale.double(), posterior[LENGTH][0, 3], rtol=1e-6, atol=0.0
    )
    torch.testing.assert_close(drawn.likelihood.noise.double(), posterior[NOISE][0, 3], rtol=1e-6, atol=1e-12)


def test_a_value_may_be_given_by_the_name_of_what_it_is() -> None:
    given = {LENGTH: torch.full((1, 1), 0.25, dtype=D)}
    trace = su.poutine.trace(su.condition(su.lift(model, GIVEN, on="constrained"), given)).get_trace(network())
    raw = trace[f"{KERNEL}.base_kernel.raw_lengthscale"].value
    torch.testing.assert_close(torch.nn.functional.softplus(raw), given[LENGTH])
    assert trace[LENGTH].is_observed


def test_other_parameters_keep_their_names() -> None:
    net = torch.nn.Linear(2, 1)
    lifted = su.lift(lambda x: su.module("net", net)(x), dist.Normal(0.0, 1.0), on="constrained")
    assert list(su.trace(lifted).get_trace(torch.ones(2))) == ["net.weight", "net.bias"]
    s = su.lift(lambda: su.param("s", torch.tensor(1.0)), {"s": dist.Exponential(1.0)}, on="constrained")
    assert list(su.trace(s).get_trace()) == ["s"]


def test_a_parameter_without_a_registered_prior_stays_one() -> None:
    with pytest.warns(HeldParameterWarning, match="gp.mean_module.raw_constant"):
        density = su.compile(su.lift(model, su.priors.registered, on="constrained"), with_registered())
    assert density.dim == 3


def test_a_hyperprior_is_normalised_above_the_bound() -> None:
    """Where the rate is latent, so is the share of the prior above the bound."""

    def prior(init: Tensor) -> Any:
        return dist.Exponential(su.sample("rate", dist.Exponential(1.0)))

    net = network()
    net.likelihood.noise_covar.register_constraint("raw_noise", gpytorch.constraints.GreaterThan(0.5))
    others = {name: dist.Delta(torch.ones(1, 1, dtype=D)) for name in (LENGTH,)}
    lifted = su.lift(model, {**GIVEN, NOISE: prior} | others, on="constrained")
    trace = su.poutine.trace(su.condition(lifted, {NOISE: torch.tensor([2.0], dtype=D), "rate": torch.tensor(0.7, dtype=D)}))
    found = trace.get_trace(net)
    assert float(found.log_prob()[NOISE]) == pytest.approx(math.log(0.7) - 0.7 * (2.0 - 0.5), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: su.lift(model, GIVEN, on="raw"), OptionError, "'parameter' or 'constrained'"),
        (lambda: su.lift(model, su.priors.registered)(network()), PriorTypeError, "on='constrained'"),
        (
            lambda: su.lift(model, {SCALE: dist.Normal(0.0, 1.0)}, on="constrained")(network()),
            PriorSupportError, "not inside the parameter's constraint",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_a_registered_prior_of_a_function_of_parameters_is_refused() -> None:
    net = network(length=gpytorch.priors.GammaPrior(3.0, 6.0))
    net.covar_module.register_prior(
        "both", gpytorch.priors.GammaPrior(1.0, 1.0), lambda m: m.outputscale * m.base_kernel.lengthscale
    )
    with pytest.raises(PriorTypeError, match="'covar_module.both' that the network has registered"):
        su.lift(model, su.priors.registered, on="constrained")(net)


def test_a_key_that_names_the_raw_parameter_is_said() -> None:
    with pytest.warns(UnusedPriorWarning, match=r"gp\.covar_module\.raw_outputscale"):
        su.lift(model, {"gp.covar_module.raw_outputscale": dist.Normal(0.0, 1.0)}, on="constrained")(network())
