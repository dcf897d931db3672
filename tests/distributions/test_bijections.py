"""Bijections go there and back, and their log-Jacobian is that of autograd."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.distributions.supports import SUPPORTS

import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.distributions.bijections import BIJECTIONS, bijection
from sursum.distributions.supports import inside, peel, support_of
from sursum.errors import DensityError

D = torch.float64
supports = pytest.mark.parametrize(("support", "shape", "flatten"), SUPPORTS.values(), ids=SUPPORTS)


def coordinates(support, shape, seed, spread=1.0):
    free = bijection(support).inverse_shape(torch.Size(shape))
    return spread * torch.randn(free, dtype=D, generator=torch.Generator().manual_seed(seed))


@supports
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6))
def test_the_log_jacobian_is_that_of_autograd(support, shape, flatten, seed):
    onto = bijection(support)
    u = coordinates(support, shape, seed)
    jacobian = torch.autograd.functional.jacobian(lambda v: flatten(onto(v)), u).reshape(-1, u.numel())
    assert jacobian.shape[0] == u.numel()
    expected = torch.linalg.slogdet(jacobian).logabsdet
    x = onto(u)
    assert torch.allclose(onto.log_abs_det_jacobian(u, x).sum(), expected, atol=1e-8)


@supports
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6))
def test_there_and_back(support, shape, flatten, seed):
    onto = bijection(support)
    u = coordinates(support, shape, seed)
    x = onto(u)
    assert x.shape == shape
    assert onto.forward_shape(u.shape) == shape
    assert support.check(x).all()
    assert torch.allclose(onto.inv(x), u, atol=1e-7)


@supports
def test_the_log_jacobian_has_the_batch_shape_and_batches_are_independent(support, shape, flatten):
    onto = bijection(support)
    u = torch.stack([coordinates(support, shape, seed) for seed in range(5)])
    x = onto(u)
    assert x.shape == (5, *shape)
    batch = x.shape[: x.dim() - support.event_dim]
    found = onto.log_abs_det_jacobian(u, x)
    assert found.shape == batch
    for i in range(5):
        assert torch.allclose(onto(u[i]), x[i])
        assert torch.allclose(onto.log_abs_det_jacobian(u[i], x[i]), found[i])


@supports
def test_far_out_nothing_is_nan(support, shape, flatten):
    onto = bijection(support)
    u = coordinates(support, shape, 0, spread=30.0).requires_grad_()
    x = onto(u)
    log_jacobian = onto.log_abs_det_jacobian(u, x).sum()
    (gradient,) = torch.autograd.grad(log_jacobian + 0 * u.sum(), u)
    assert not torch.isnan(x).any()
    assert not torch.isnan(log_jacobian)
    assert not torch.isnan(gradient).any()


@supports
def test_supports_that_were_pickled_are_known(support, shape, flatten):
    again = pickle.loads(pickle.dumps(support))
    u = coordinates(support, shape, 3)
    assert torch.equal(bijection(again)(u), bijection(support)(u))


@supports
def test_single_precision_stays_single(support, shape, flatten):
    inner = peel(support)
    if any(isinstance(value, torch.Tensor) for value in vars(inner).values()):
        pytest.skip("the bounds are in double precision")
    onto = bijection(support)
    u = coordinates(support, shape, 0).float()
    x = onto(u)
    assert x.dtype == onto.log_abs_det_jacobian(u, x).dtype == torch.float32


def test_bounds_may_depend_on_what_is_differentiated():
    upper = torch.tensor(2.0, dtype=D, requires_grad=True)
    u = torch.tensor(0.0, dtype=D)
    onto = bijection(constraints.interval(0.0, upper))
    x = onto(u)
    total = x + onto.log_abs_det_jacobian(u, x)
    (gradient,) = torch.autograd.grad(total, upper)
    # x = b/2, log|dx/du| = log b + log ¼.
    assert torch.allclose(gradient, torch.tensor(0.5 + 1 / 2.0, dtype=D))


@pytest.mark.parametrize("n", [2, 4, 5, 7, 8, 9])
def test_a_length_that_is_no_triangle(n):
    with pytest.raises(ValueError, match=f"{n} is not the number of entries of a triangular matrix"):
        bijection(constraints.lower_cholesky)(torch.zeros(n))


@pytest.mark.parametrize("support", [constraints.boolean, constraints.symmetric, constraints.nonnegative_integer])
def test_supports_without_a_bijection_say_so(support):
    with pytest.raises(DensityError, match="no bijection from unconstrained coordinates onto .* is known. Write the site"):
        bijection(support)


def test_every_bijection_has_a_row():
    tested = {type(support) for row in SUPPORTS.values() for support in (row[0], peel(row[0]))}
    alike = {type(constraints.sphere), type(constraints.RealOrNan())}  # more coordinates than dimensions: below; the real line
    assert not set(BIJECTIONS) - tested - alike


NORMALISED = {
    "Normal": dist.Normal(1.0, 2.0),
    "Exponential": dist.Exponential(0.7),
    "Gamma": dist.Gamma(2.5, 1.5),
    "InverseGamma": dist.InverseGamma(3.0, 2.0),
    "LogNormal": dist.LogNormal(0.3, 0.8),
    "HalfNormal": dist.HalfNormal(2.0),
    "HalfCauchy": dist.HalfCauchy(1.0),
    "Beta": dist.Beta(2.0, 3.0),
    "Uniform": dist.Uniform(-1.0, 4.0),
    "Kumaraswamy": dist.Kumaraswamy(2.0, 3.0),
    "Weibull": dist.Weibull(2.0, 1.5),
    "Pareto": dist.Pareto(1.5, 3.0),
    "StudentT": dist.StudentT(5.0, 0.0, 1.0),
    "Laplace": dist.Laplace(0.0, 1.0),
    "Gumbel": dist.Gumbel(0.0, 1.0),
    "Chi2": dist.Chi2(4.0),
    "FisherSnedecor": dist.FisherSnedecor(4.0, 12.0),
    "ContinuousBernoulli": dist.ContinuousBernoulli(0.3),
    "bounded GeneralizedPareto": dist.GeneralizedPareto(0.0, 1.0, -0.2),
    "GeneralizedPareto": dist.GeneralizedPareto(0.0, 1.0, 0.2),
    "shifted Exponential": dist.TransformedDistribution(dist.Exponential(1.0), [dist.transforms.AffineTransform(2.0, 3.0)]),
    "mirrored Exponential": dist.TransformedDistribution(dist.Exponential(1.0), [dist.transforms.AffineTransform(2.0, -3.0)]),
    "mixture": dist.MixtureSameFamily(
        dist.Categorical(torch.tensor([0.3, 0.7])), dist.Gamma(torch.tensor([2.0, 5.0]), torch.tensor([1.0, 2.0]))
    ),
    "Dirichlet": dist.Dirichlet(torch.tensor([2.0, 3.0])),
    "LKJCholesky": dist.LKJCholesky(2, 1.5),
    "VonMises": dist.VonMises(0.5, 2.0),
}


@pytest.mark.parametrize("fn", NORMALISED.values(), ids=NORMALISED)
def test_the_density_of_one_coordinate_integrates_to_one(fn):
    onto = bijection(support_of(fn))
    free = onto.inverse_shape(fn.batch_shape + fn.event_shape)
    assert torch.Size(free).numel() == 1
    u = torch.linspace(-40.0, 40.0, 80_001, dtype=D)
    points = u.reshape(-1, *free)
    x = onto(points)
    log_density = fn.log_prob(x).reshape(-1) + onto.log_abs_det_jacobian(points, x).reshape(-1)
    total = torch.trapezoid(torch.nan_to_num(log_density, nan=-torch.inf).exp(), u)
    assert torch.allclose(total, torch.ones((), dtype=D), atol=2e-3)


def test_the_projection_onto_a_sphere():
    """Uniform by its surface where the density is constant, and there and back from the sphere."""
    onto = bijection(constraints.sphere)
    u = torch.randn(20_000, 3, dtype=D, generator=torch.Generator().manual_seed(0))
    x = onto(u)
    assert constraints.sphere.check(x).all()
    assert torch.allclose(onto(onto.inv(x)), x, atol=1e-12)
    # ∫ 1 over the sphere of dimension 2 is 4π: E under the normal density of e^(term) / it.
    log_normal = -(u.square().sum(-1) / 2) - 1.5 * torch.log(torch.tensor(2 * torch.pi, dtype=D))
    assert torch.allclose(onto.log_abs_det_jacobian(u, x) - log_normal, torch.tensor(4 * torch.pi, dtype=D).log())
    # A height on the sphere is uniform (Archimedes).
    assert abs(float((x[:, 2] < 0.4).double().mean()) - 0.7) < 5 * (0.21 / 20_000) ** 0.5


def test_elements_of_ordered_sets_are_compared():
    positive = constraints.positive_ordered
    assert inside(positive, constraints.ordered)
    assert not inside(constraints.ordered, positive)
    assert inside(positive, constraints.positive)
    assert inside(constraints.corr_matrix, constraints.positive_definite)
    assert not inside(constraints.positive_definite, constraints.corr_matrix)
    assert not inside(constraints.real_vector, constraints.ordered)
