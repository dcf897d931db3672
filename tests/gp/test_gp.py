"""Gaussian processes: kernels beside GPyTorch's, sums by hand, and approximations that come near what they approximate."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

import sursum as su
import sursum.distributions as dist
from sursum import gp
from sursum.errors import ArgumentError

D = torch.float64
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(7, 2, generator=GENERATOR, dtype=D)
Z = torch.randn(5, 2, generator=GENERATOR, dtype=D)
LINE = torch.linspace(-1.0, 1.0, 25, dtype=D)
SEEN = torch.sin(3 * LINE)
EACH = torch.tensor([0.7, 1.9], dtype=D)

KERNELS = {
    "rbf": gp.RBF(0.8),
    "rbf, ard": gp.RBF(EACH),
    "matern12": gp.Matern12(EACH),
    "matern32": gp.Matern32(EACH),
    "matern52": gp.Matern52(1.3),
    "rational quadratic": gp.RationalQuadratic(0.8, 1.7),
    "periodic": gp.Periodic(0.8, 1.5),
    "cosine": gp.Cosine(2.5),
    "linear": gp.Linear(0.6, 0.2),
    "polynomial": gp.Polynomial(3, 0.9),
    "constant": gp.Constant(1.4),
    "white": gp.White(0.3) + gp.RBF(1.0),
    "product": 1.5 * gp.RBF(0.8) * gp.Periodic(1.0, 2.0) + gp.Linear(0.1),
}


def theirs(name, x, z):
    kernels = pytest.importorskip("gpytorch").kernels
    made = {
        "rbf": lambda: (kernels.RBFKernel(), {"lengthscale": 0.8}),
        "rbf, ard": lambda: (kernels.RBFKernel(ard_num_dims=2), {"lengthscale": EACH}),
        "matern12": lambda: (kernels.MaternKernel(nu=0.5, ard_num_dims=2), {"lengthscale": EACH}),
        "matern32": lambda: (kernels.MaternKernel(nu=1.5, ard_num_dims=2), {"lengthscale": EACH}),
        "matern52": lambda: (kernels.MaternKernel(nu=2.5), {"lengthscale": 1.3}),
        "rational quadratic": lambda: (kernels.RQKernel(), {"lengthscale": 0.8, "alpha": 1.7}),
        "periodic": lambda: (kernels.PeriodicKernel(), {"lengthscale": 0.64, "period_length": 1.5}),
        "polynomial": lambda: (kernels.PolynomialKernel(power=3), {"offset": 0.9}),
    }[name]()
    kernel = made[0].double()
    for key, value in made[1].items():
        setattr(kernel, key, torch.as_tensor(value, dtype=D))
    with torch.no_grad():
        return kernel(x, z).to_dense()


BOTH = ("rbf", "rbf, ard", "matern12", "matern32", "matern52", "rational quadratic", "periodic", "polynomial")


@pytest.mark.parametrize("name", BOTH)
def test_kernels_are_gpytorchs(name):
    assert torch.allclose(KERNELS[name](X, Z), theirs(name, X, Z), rtol=1e-9, atol=1e-12)


def test_the_other_kernels_by_hand():
    between = X[:, None] - Z
    assert torch.allclose(KERNELS["cosine"](X, Z), torch.cos(2 * math.pi * between.sum(-1) / 2.5))
    assert torch.allclose(KERNELS["linear"](X, Z), 0.6 * (X - 0.2) @ (Z - 0.2).T)
    assert torch.equal(KERNELS["constant"](X, Z), torch.tensor(1.4).expand(7, 5))
    assert torch.equal(KERNELS["white"](X), gp.RBF(1.0)(X) + 0.3 * torch.eye(7, dtype=D))
    assert torch.equal(KERNELS["white"](X, Z), gp.RBF(1.0)(X, Z))
    wanted = 1.5 * gp.RBF(0.8)(X, Z) * gp.Periodic(1.0, 2.0)(X, Z) + 0.1 * X @ Z.T
    assert torch.allclose(KERNELS["product"](X, Z), wanted)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_covariances(name):
    matrix = KERNELS[name](X)
    assert torch.allclose(matrix.to(D), matrix.T.to(D), rtol=1e-13)
    assert torch.allclose(matrix.diagonal().to(D), KERNELS[name].diagonal(X).to(D))
    assert torch.linalg.eigvalsh(matrix.to(D)).min() > -1e-9


@pytest.mark.parametrize("kind", [gp.RBF, gp.Matern12, gp.Matern32, gp.Matern52])
def test_gradients_are_numbers_where_points_coincide(kind):
    scale = torch.tensor(0.7, dtype=D, requires_grad=True)
    same = torch.tensor([0.3, 0.3, 1.1], dtype=D)
    slope = torch.autograd.grad(kind(scale)(same).sum(), scale)[0]
    step = 1e-6
    wanted = (kind(0.7 + step)(same).sum() - kind(0.7 - step)(same).sum()) / (2 * step)
    assert math.isclose(slope, wanted, rel_tol=1e-7)


@pytest.mark.parametrize("kernel", [gp.RBF(0.6), gp.Matern12(0.6), gp.Matern32(0.6), gp.Matern52(0.6), 2.0 * gp.RBF(0.6)])
def test_spectral_densities(kernel):
    """The kernel is the Fourier transform of its spectral density."""
    w = torch.linspace(-4000.0, 4000.0, 800001, dtype=D)
    density = kernel.spectral_density(w[:, None])
    for far in (0.0, 0.5, 1.4):
        found = torch.trapezoid(density * torch.cos(w * far), w) / (2 * math.pi)
        assert math.isclose(found, kernel(torch.zeros(1, dtype=D), torch.tensor([far], dtype=D)), abs_tol=4e-4)


def test_spectral_densities_of_two_dimensions():
    w = torch.linspace(-60.0, 60.0, 601, dtype=D)
    grid = torch.cartesian_prod(w, w)
    for kernel in (gp.RBF(EACH), gp.Matern52(EACH)):
        whole = torch.trapezoid(torch.trapezoid(kernel.spectral_density(grid).reshape(601, 601), w), w)
        assert math.isclose(whole / (2 * math.pi) ** 2, 1.0, abs_tol=1e-3)
    with pytest.raises(ArgumentError, match="Periodic has no spectral density"):
        gp.Periodic().spectral_density(grid)


def test_marginal_and_conditional_by_hand():
    kernel, mean = 1.7 * gp.Matern32(0.5), 0.3
    found = gp.marginal(kernel, LINE, 0.2, mean)
    covariance = kernel(LINE) + 0.04 * torch.eye(25)
    assert torch.allclose(found.log_prob(SEEN), MultivariateNormal(mean * torch.ones(25), covariance).log_prob(SEEN))
    new = torch.tensor([-0.33, 0.71, 2.0], dtype=D)
    predicted = gp.conditional(kernel, new, LINE, SEEN, 0.2, mean, mean)
    across = kernel(new, LINE) @ torch.linalg.inv(covariance)
    assert torch.allclose(predicted.mean, mean + across @ (SEEN - mean), rtol=1e-6)
    assert torch.allclose(predicted.covariance_matrix, kernel(new) - across @ kernel(LINE, new), atol=1e-7)


def test_latent_values_have_the_covariance():
    kernel = gp.RBF(0.4)
    columns = torch.stack([gp.latent(kernel, LINE, e) for e in torch.eye(25, dtype=D)], 1)
    assert torch.allclose(columns @ columns.T, kernel(LINE), atol=1e-8)


def test_inducing_points_at_all_points_are_exact():
    kernel, new = gp.Matern52(0.4), torch.tensor([-0.9, 0.05, 1.2], dtype=D)
    exact = gp.marginal(kernel, LINE, 0.1).log_prob(SEEN)
    for sparse in (gp.fitc, gp.titsias):
        assert math.isclose(sparse(kernel, LINE, LINE, 0.1).log_prob(SEEN), exact, rel_tol=1e-5)
    wanted = gp.conditional(kernel, new, LINE, SEEN, 0.1)
    for method in ("fitc", "titsias"):
        found = gp.sparse_conditional(kernel, new, LINE, LINE, SEEN, 0.1, method=method)
        assert torch.allclose(found.mean, wanted.mean, atol=1e-5)
        assert torch.allclose(found.covariance_matrix, wanted.covariance_matrix, atol=1e-5)


def test_few_inducing_points_by_hand():
    kernel, few = gp.RBF(0.5), LINE[::6]
    q = kernel(LINE, few) @ torch.linalg.solve(kernel(few), kernel(few, LINE))
    noise = 0.04 * torch.eye(25, dtype=D)
    rest = (1 - q.diagonal()).clamp(min=0.0)
    fitc = MultivariateNormal(torch.zeros(25, dtype=D), q + torch.diag(rest) + noise)
    assert math.isclose(gp.fitc(kernel, LINE, few, 0.2).log_prob(SEEN), fitc.log_prob(SEEN), rel_tol=1e-6)
    bound = MultivariateNormal(torch.zeros(25, dtype=D), q + noise).log_prob(SEEN) - rest.sum() / 0.08
    found = gp.titsias(kernel, LINE, few, 0.2)
    assert math.isclose(found.log_prob(SEEN), bound, rel_tol=1e-6)
    assert found.log_prob(SEEN) <= gp.marginal(kernel, LINE, 0.2).log_prob(SEEN)
    assert found.expand((3,)).log_prob(SEEN).shape == (3,)


def test_basis_functions_come_near_the_kernel():
    worst = []
    for count in (6, 12, 24, 48):
        functions, frequencies = gp.hilbert_basis(LINE, count, 2.5)
        for kernel in (gp.RBF(0.4), gp.Matern52(0.4)):
            near = functions * kernel.spectral_density(frequencies) @ functions.T
            worst.append((near - kernel(LINE)).abs().max())
    assert worst[0] > worst[2] > worst[4]
    assert worst[1] > worst[3] > worst[5]
    assert worst[6] < 1e-5
    assert worst[7] < 2e-3
    # f is the sum with weights, in two dimensions too.
    functions, frequencies = gp.hilbert_basis(X, [14, 15], [6.0, 8.0])
    assert functions.shape == (7, 210)
    near = torch.stack([gp.hilbert(gp.RBF(1.5), (functions, frequencies), e) for e in torch.eye(210, dtype=D)], 1)
    assert (near @ near.T - gp.RBF(1.5)(X)).abs().max() < 1e-3


@pytest.mark.parametrize(("scale", "count"), [(2.0, 8), (0.6, 16), (0.2, 40)])
def test_waves_come_near_the_periodic_kernel(scale, count):
    x = torch.linspace(0.0, 3.0, 20, dtype=D)
    basis = gp.periodic_basis(x, count, 1.7)
    near = torch.stack([gp.periodic(scale, basis, e) for e in torch.eye(2 * count + 1, dtype=D)], 1)
    assert (near @ near.T - gp.Periodic(scale, 1.7)(x)).abs().max() < 1e-7


def test_a_process_in_a_compiled_density():
    basis = gp.hilbert_basis(LINE, 8, 2.0)

    def program(y):
        scale = su.sample("scale", dist.LogNormal(torch.tensor(-1.0, dtype=D), 0.5))
        size = su.sample("size", dist.LogNormal(torch.tensor(0.0, dtype=D), 0.5))
        w = su.sample("w", dist.Normal(torch.zeros(8, dtype=D), 1.0).to_event(1))
        kernel = size**2 * gp.Matern52(scale)
        f = gp.hilbert(kernel, basis, w)
        su.sample("y", gp.marginal(kernel, LINE, 0.2, f), obs=y)

    density = su.compile(program, SEEN)
    assert density.engine == "native"
    q = np.random.default_rng(0).normal(size=10) * 0.3
    value, slope = density.value_and_grad(q)
    at = torch.from_numpy(q).requires_grad_()
    wanted = su.infer.LogDensity(program, (SEEN,))(at)
    assert math.isclose(value, wanted.detach(), rel_tol=1e-9)
    assert np.allclose(slope, torch.autograd.grad(wanted, at)[0].numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: gp.RBF()(torch.zeros(2, 2, 2)), r"shape \(2, 2, 2\)"),
        (lambda: gp.RBF()([1.0]), "a list"),
        (lambda: gp.RBF()(X, LINE), "of 2 and of 1 dimensions"),
        (lambda: gp.RBF() + "noise", "combined with a str"),
        (lambda: gp.hilbert_basis(X, [3], 1.0), "2 dimensions"),
    ],
)
def test_mistakes(wrong, words):
    with pytest.raises(ArgumentError, match=words):
        wrong()
