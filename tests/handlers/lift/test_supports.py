"""`lift`, rule 7: a prior whose support is not inside its parameter's constraint is refused, with alternatives."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
import torch.distributions as td
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints as c
from sursum.errors import ObservationError, PriorSupportError

# torch says so of every draw from a Wishart.
pytestmark = pytest.mark.filterwarnings("ignore:Singular sample detected")

ONES = torch.ones(3)
CHOLESKY = torch.linalg.cholesky(torch.eye(3) * 2 + 0.1)


class Squared(td.Distribution):
    """Says nothing of its support."""

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return torch.randn(sample_shape) ** 2

    def log_prob(self, value: Tensor) -> Tensor:
        return -value


class Small(c.Constraint):
    """A constraint of a user's own."""

    def check(self, value: Tensor) -> Tensor:
        return value.abs() < 100.0


def affine(base: Any, loc: Any, scale: Any) -> Any:
    return td.TransformedDistribution(base, td.AffineTransform(loc, scale))


def mixture(components: Any) -> Any:
    return td.MixtureSameFamily(td.Categorical(torch.ones(2)), components)


two = torch.tensor([1.0, 2.0])

# prior, constraint, a value of the constraint, whether the one lies in the other
PAIRS: dict[str, tuple[Any, Any, Tensor, bool]] = {
    "normal real": (td.Normal(0.0, 1.0), c.real, torch.tensor(0.0), True),
    "normal positive": (td.Normal(0.0, 1.0), c.positive, torch.tensor(1.0), False),
    "halfnormal positive, by closures": (td.HalfNormal(1.0), c.positive, torch.tensor(1.0), True),
    "lognormal nonnegative": (td.LogNormal(0.0, 1.0), c.nonnegative, torch.tensor(1.0), True),
    "gamma real": (td.Gamma(1.0, 1.0), c.real, torch.tensor(1.0), True),
    "exponential above 1": (td.Exponential(1.0), c.greater_than(1.0), torch.tensor(2.0), False),
    "shifted exponential above 1": (affine(td.Exponential(1.0), 1.0, 1.0), c.greater_than(1.0), torch.tensor(2.0), True),
    "shifted exponential above 2": (affine(td.Exponential(1.0), 1.0, 1.0), c.greater_than(2.0), torch.tensor(3.0), False),
    "mirrored exponential below 0": (affine(td.Exponential(1.0), 0.0, -1.0), c.less_than(0.0), torch.tensor(-1.0), True),
    "mirrored exponential positive": (affine(td.Exponential(1.0), 0.0, -1.0), c.positive, torch.tensor(1.0), False),
    "affine normal positive": (affine(td.Normal(0.0, 1.0), 5.0, 1.0), c.positive, torch.tensor(1.0), False),
    "stretched beta": (affine(td.Beta(2.0, 2.0), -1.0, 2.0), c.interval(-1.0, 1.0), torch.tensor(0.0), True),
    "stretched beta too wide": (affine(td.Beta(2.0, 2.0), -1.0, 3.0), c.interval(-1.0, 1.0), torch.tensor(0.0), False),
    "affine, tensors": (affine(td.HalfNormal(ONES), ONES, ONES), c.greater_than(torch.ones(3)), 2 * ONES, True),
    "affine, mixed signs": (affine(td.HalfNormal(two), 0.0, torch.tensor([1.0, -1.0])), c.positive, two, False),
    "exp of uniform above 1": (
        td.TransformedDistribution(td.Uniform(0.0, 1.0), td.ExpTransform()),
        c.greater_than(1.0),
        torch.tensor(2.0),
        True,
    ),
    "exp of uniform below 2": (
        td.TransformedDistribution(td.Uniform(0.0, 1.0), td.ExpTransform()),
        c.less_than(2.0),
        torch.tensor(1.0),
        False,
    ),
    "sigmoid of normal": (
        td.TransformedDistribution(td.Normal(0.0, 1.0), td.SigmoidTransform()),
        c.unit_interval,
        torch.tensor(0.5),
        True,
    ),
    "tanh, then affine": (
        td.TransformedDistribution(td.Normal(0.0, 1.0), [td.TanhTransform(), td.AffineTransform(1.0, 1.0)]),
        c.interval(0.0, 2.0),
        torch.tensor(0.5),
        True,
    ),
    "composed": (
        td.TransformedDistribution(td.Normal(0.0, 1.0), td.ComposeTransform([td.ExpTransform(), td.AffineTransform(3.0, 1.0)])),
        c.greater_than(3.0),
        torch.tensor(4.0),
        True,
    ),
    "uniform inside": (td.Uniform(0.2, 0.8), c.unit_interval, torch.tensor(0.5), True),
    "uniform outside": (td.Uniform(0.2, 1.8), c.unit_interval, torch.tensor(0.5), False),
    "uniform, tensor bounds": (td.Uniform(torch.zeros(3), ONES), c.interval(torch.zeros(3), ONES), ONES / 2, True),
    "uniform, one bound outside": (
        td.Uniform(torch.zeros(3), torch.tensor([1.0, 1.0, 1.1])),
        c.interval(torch.zeros(3), ONES),
        ONES / 2,
        False,
    ),
    "pareto": (td.Pareto(2.0, 1.0), c.greater_than(1.5), torch.tensor(3.0), True),
    "beta unit": (td.Beta(1.0, 1.0), c.unit_interval, torch.tensor(0.5), True),
    "beta on a simplex": (td.Beta(ONES, ONES), c.simplex, ONES / 3, False),
    "dirichlet": (td.Dirichlet(ONES), c.simplex, ONES / 3, True),
    "dirichlet positive": (td.Dirichlet(ONES), c.positive, ONES / 3, True),
    "dirichlet ordered": (td.Dirichlet(ONES), c.ordered, ONES.cumsum(0), False),
    "logistic normal": (td.LogisticNormal(torch.zeros(2), torch.ones(2)), c.simplex, ONES / 3, True),
    "normal on a simplex": (td.Normal(0.0, 1.0), c.simplex, ONES / 3, False),
    "lkj": (td.LKJCholesky(3), c.corr_cholesky, torch.eye(3), True),
    "lkj lower cholesky": (td.LKJCholesky(3), c.lower_cholesky, CHOLESKY, True),
    "lkj real": (td.LKJCholesky(3), c.real, torch.eye(3), True),
    "normal lower cholesky": (td.Normal(0.0, 1.0), c.lower_cholesky, CHOLESKY, False),
    "wishart": (td.Wishart(torch.tensor(4.0), torch.eye(3)), c.positive_definite, torch.eye(3), True),
    "wishart symmetric": (td.Wishart(torch.tensor(4.0), torch.eye(3)), c.symmetric, torch.eye(3), True),
    "improper ordered": (dist.ImproperUniform(c.ordered, event_shape=(3,)), c.ordered, ONES.cumsum(0), True),
    "normal ordered": (td.Normal(0.0, 1.0), c.ordered, ONES.cumsum(0), False),
    "improper real": (dist.ImproperUniform(c.real), c.positive, torch.tensor(1.0), False),
    "mvn real vector": (td.MultivariateNormal(torch.zeros(3), torch.eye(3)), c.real_vector, ONES, True),
    "independent": (td.Independent(td.HalfNormal(ONES), 1), c.independent(c.positive, 1), ONES, True),
    "mixture of positives": (mixture(td.Gamma(two, two)), c.positive, torch.tensor(1.0), True),
    "mixture of normals": (mixture(td.Normal(two, two)), c.positive, torch.tensor(1.0), False),
    "mixture of uniforms": (mixture(td.Uniform(-two, two)), c.interval(-2.0, 2.0), torch.tensor(0.0), True),
    "mixture of uniforms too wide": (mixture(td.Uniform(-two, two)), c.interval(-1.5, 2.0), torch.tensor(0.0), False),
    "masked": (dist.HalfNormal(1.0).mask(torch.tensor(True)), c.positive, torch.tensor(1.0), True),
    "delta inside": (dist.Delta(torch.tensor(2.0)), c.positive, torch.tensor(1.0), True),
    "delta outside": (dist.Delta(torch.tensor(-2.0)), c.positive, torch.tensor(1.0), False),
    "unknown support": (Squared(), c.nonnegative, torch.tensor(1.0), True),
    "unknown support, outside": (Squared(), c.less_than(0.0), torch.tensor(-1.0), False),
    "unknown constraint": (td.Uniform(-5.0, 5.0), Small(), torch.tensor(1.0), True),
    "unknown constraint, outside": (td.Uniform(-500.0, 500.0), Small(), torch.tensor(1.0), False),
    "poisson for counts": (td.Poisson(2.0), c.nonnegative_integer, torch.tensor(1.0), True),
    "continuous for counts": (td.HalfNormal(2.0), c.nonnegative_integer, torch.tensor(1.0), False),
    "bernoulli boolean": (td.Bernoulli(0.5), c.boolean, torch.tensor(1.0), True),
}


@pytest.mark.parametrize(("prior", "constraint", "init", "fits"), PAIRS.values(), ids=PAIRS.keys())
def test_support_and_constraint(prior: Any, constraint: Any, init: Tensor, fits: bool) -> None:
    def program() -> Tensor:
        return su.param("w", init, constraint=constraint)

    if isinstance(prior, dist.ImproperUniform) and fits:
        assert su.infer.LogDensity(su.lift(program, prior)).dim == init.numel()
        return
    state = torch.get_rng_state()
    if fits:
        torch.manual_seed(0)
        for _ in range(5):
            value = su.lift(program, {"w": prior})()
            assert bool(constraint.check(value).all())
        return
    with pytest.raises(PriorSupportError) as error:
        su.lift(program, {"w": prior})()
    text = str(error.value)
    assert "of parameter 'w' (test_supports.py:" in text
    assert f"not inside the parameter's constraint {constraint!r}. Use " in text
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("constraint", "init", "remedy"),
    [
        (c.positive, torch.tensor(1.0), "Use HalfNormal, Exponential, LogNormal or Gamma."),
        (c.greater_than(3.0), torch.tensor(4.0), "Use HalfNormal, Exponential, LogNormal or Gamma, shifted by 3.0."),
        (c.unit_interval, torch.tensor(0.5), "Use Beta or Uniform(0, 1)."),
        (c.interval(2.0, 3.0), torch.tensor(2.5), "Use Uniform with these bounds."),
        (c.less_than(0.0), torch.tensor(-1.0), "Use a prior with that upper bound."),
        (c.simplex, ONES / 3, "Use Dirichlet."),
        (c.corr_cholesky, torch.eye(3), "Use LKJCholesky."),
        (c.positive_definite, torch.eye(3), "Use Wishart."),
        (c.ordered, ONES.cumsum(0), "Sorted(dist.Normal(…), K), of K draws in order, or ImproperUniform(constraint)."),
        (
            c.positive_ordered,
            ONES.cumsum(0),
            "Sorted(dist.HalfNormal(…), K), of K draws in order, or ImproperUniform(constraint).",
        ),
        (c.corr_matrix, torch.eye(3), "Use LKJ."),
        (c.zero_sum, 0 * ONES, "Use ZeroSumNormal."),
        (c.nonnegative_integer, torch.tensor(1.0), "Use a discrete distribution with that support."),
    ],
)
def test_alternatives_are_named(constraint: Any, init: Tensor, remedy: str) -> None:
    with pytest.raises(PriorSupportError) as error:
        su.lift(lambda: su.param("w", init, constraint=constraint), dist.Normal(0.0, 1.0))()
    assert str(error.value).endswith(remedy)


def test_priors_of_the_remedy_are_accepted() -> None:
    """What the message advises for every constraint works."""
    advised = [
        (c.positive, torch.tensor(1.0), dist.HalfNormal(1.0)),
        (c.greater_than(3.0), torch.tensor(4.0), affine(dist.Exponential(1.0), 3.0, 1.0)),
        (c.unit_interval, torch.tensor(0.5), dist.Beta(1.0, 1.0)),
        (c.interval(2.0, 3.0), torch.tensor(2.5), dist.Uniform(2.0, 3.0)),
        (c.simplex, ONES / 3, dist.Dirichlet(ONES)),
        (c.corr_cholesky, torch.eye(3), dist.LKJCholesky(3)),
        (c.ordered, ONES.cumsum(0), dist.Sorted(dist.Normal(0.0, 5.0), 3)),
        (c.positive_ordered, ONES.cumsum(0), dist.Sorted(dist.HalfNormal(1.0), 3)),
        (c.corr_matrix, torch.eye(3), dist.LKJ(3)),
        (c.zero_sum, 0 * ONES, dist.ZeroSumNormal(1.0, 3)),
        (c.positive_definite, torch.eye(3), dist.Wishart(torch.tensor(4.0), torch.eye(3))),
    ]
    for constraint, init, prior in advised:
        value = su.lift(lambda init=init, constraint=constraint: su.param("w", init, constraint=constraint), prior)()
        assert bool(constraint.check(value).all())


def test_a_support_that_depends_on_a_latent_value() -> None:
    """The bijection is built at the site: the density of Uniform(0, tau) on its own coordinates is logistic."""

    def prior(init: Tensor) -> Any:
        return dist.Uniform(0.0, su.sample("tau", dist.Gamma(2.0, 1.0)))

    program = lambda: su.param("w", torch.tensor(0.1), constraint=c.positive)
    density = su.infer.LogDensity(su.lift(program, {"w": prior}))
    q = torch.tensor([0.4, -0.8], dtype=torch.float64)
    tau = q[0].exp()
    logistic = torch.nn.functional.logsigmoid(q[1]) + torch.nn.functional.logsigmoid(-q[1])
    expected = td.Gamma(torch.tensor(2.0).double(), 1.0).log_prob(tau) + q[0] + logistic
    torch.testing.assert_close(density(q).double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(density.unravel(q)["w"].double(), tau * torch.sigmoid(q[1]), rtol=1e-5, atol=1e-5)


def test_the_density_of_a_mixture_of_intervals() -> None:
    density = su.infer.LogDensity(su.lift(lambda: su.param("w", torch.tensor(0.5)), mixture(td.Uniform(-two, two))))
    q = torch.tensor([0.3], dtype=torch.float64)
    w = 4 * torch.sigmoid(q) - 2
    inner = torch.where(w.abs() < 1, 0.25, 0.0)
    expected = (inner + 0.125).log() + (w + 2).log() + (2 - w).log() - torch.tensor(4.0).log()
    torch.testing.assert_close(density(q).double(), expected[0], rtol=1e-5, atol=1e-5)


def test_outside_values_observed_of_a_lifted_parameter_are_an_error() -> None:
    lifted = su.lift(lambda: su.param("w", torch.tensor(1.0)), dist.Exponential(1.0))
    with pytest.raises(ObservationError, match="site 'w' .*outside the support.*found -1.0"):
        su.condition(lifted, data={"w": torch.tensor(-1.0)})()
