"""GPyTorch's models, lifted from outside: exact and variational Gaussian processes against sums by hand."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

import sursum as su
import sursum.distributions as dist
from sursum.errors import DiagnosticWarning, EngineWarning

gpytorch = pytest.importorskip("gpytorch")

X = torch.linspace(0.0, 1.0, 12, dtype=torch.float64)[:, None] ** 1.5
Y = torch.sin(5 * X[:, 0])


def exact() -> Any:
    class GP(gpytorch.models.ExactGP):
        def __init__(self, likelihood: Any) -> None:
            super().__init__(X, Y, likelihood)
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x: Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    return GP(gpytorch.likelihoods.GaussianLikelihood()).double()


def model(net: Any) -> None:
    gp = su.module("gp", net)
    su.sample("y", gp.likelihood(gp(X)), obs=Y)


def by_hand(u: dict[str, Tensor]) -> Tensor:
    softplus = torch.nn.functional.softplus
    scale = softplus(u["gp.covar_module.base_kernel.raw_lengthscale"])
    noise = softplus(u["gp.likelihood.noise_covar.raw_noise"]) + 1e-4
    covariance = softplus(u["gp.covar_module.raw_outputscale"]) * torch.exp(-0.5 * (X - X.T).square() / scale**2)
    mean = u["gp.mean_module.raw_constant"].expand(len(X))
    return MultivariateNormal(mean, covariance + noise * torch.eye(len(X))).log_prob(Y)


def test_an_exact_process_is_its_density_by_hand() -> None:
    net = exact()
    with torch.no_grad():
        net(X)
    density = su.compile(su.lift(model, {"gp.**": dist.Normal(0.0, 1.0)}), net)
    assert density.dim == 4
    assert density.engine == "native"
    q = np.random.default_rng(0).normal(size=4)
    value, gradient = density.value_and_grad(q)
    expected = by_hand(density.unravel(q)) + Normal(0.0, 1.0).log_prob(torch.from_numpy(q)).sum()
    assert value == pytest.approx(float(expected), rel=1e-10)
    for i in range(4):
        step = np.eye(4)[i] * 1e-5
        slope = (density.value_and_grad(q + step)[0] - density.value_and_grad(q - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_an_exact_process_is_sampled() -> None:
    lifted = su.lift(model, {"gp.**": dist.Normal(0.0, 1.0)})
    kernel = su.infer.NUTS(lifted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticWarning)  # fifty draws are few
        found = su.infer.MCMC(kernel, num_warmup=100, num_samples=50, num_chains=1, seed=0, progress=False).run(exact())
    assert torch.isfinite(found["gp.likelihood.noise_covar.raw_noise"]).all()
    assert float(found["gp.likelihood.noise_covar.raw_noise"].mean()) < -1.0  # the data have no noise


def test_a_variational_process_is_trained_by_fit() -> None:
    class GP(gpytorch.models.ApproximateGP):
        def __init__(self) -> None:
            points = X[::3].clone()
            q = gpytorch.variational.CholeskyVariationalDistribution(len(points))
            super().__init__(gpytorch.variational.VariationalStrategy(self, points, q, learn_inducing_locations=False))
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x: Tensor) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    torch.manual_seed(0)
    net = GP().double()
    net(X)  # the first call writes the initial variational state into the network

    def bound() -> None:
        gp = su.module("gp", net)
        q = gp(X)
        terms = Normal(q.mean, 0.1).log_prob(Y) - 0.5 * q.variance / 0.1**2
        su.factor("elbo", terms.sum() - gp.variational_strategy.kl_divergence())

    with su.poutine.trace() as recorder:
        bound()
    before = float(recorder.trace.log_prob_sum().detach())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticWarning)  # 100 steps are few
        warnings.simplefilter("ignore", EngineWarning)  # its Kullback-Leibler divergence has branches
        found = su.infer.Fit(bound, optim=partial(torch.optim.Adam, lr=0.05), num_steps=100).run()
    assert found.log_density > before + 10.0
