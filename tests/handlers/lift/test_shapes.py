"""`lift`, rule 6: a prior takes the shape, the dtype and the device of its parameter."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.distributions as td
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import PriorShapeError, PriorTypeError

# torch says so of every draw from a Wishart.
pytestmark = pytest.mark.filterwarnings("ignore:Singular sample detected")


def lifted(init: Tensor, prior: Any, **settings: Any) -> Any:
    return su.trace(su.lift(lambda: su.param("w", init, **settings), prior)).get_trace()["w"]


@pytest.mark.parametrize("shape", [(), (3,), (1,), (2, 3), (4, 2, 3), (0,)])
def test_a_scalar_prior_is_one_for_every_element(shape: tuple[int, ...]) -> None:
    site = lifted(torch.zeros(shape), dist.Normal(1.0, 2.0))
    assert site.fn.batch_shape == ()
    assert site.fn.event_shape == site.value.shape == shape
    assert site.log_prob().shape == ()
    torch.testing.assert_close(site.log_prob(), td.Normal(1.0, 2.0).log_prob(site.value).sum())
    assert len(set(site.value.flatten().tolist())) == site.value.numel()


@pytest.mark.parametrize(
    ("prior", "shape"),
    [
        (td.Normal(torch.arange(3.0), 1.0), (2, 3)),  # broadcast from the right
        (td.Normal(torch.zeros(2, 1), 1.0), (2, 3)),
        (td.Independent(td.Normal(torch.zeros(3), 1.0), 1), (2, 3)),
        (td.MultivariateNormal(torch.zeros(3), 2 * torch.eye(3)), (4, 2, 3)),
        (td.Dirichlet(torch.ones(3)), (2, 3)),
        (td.LKJCholesky(3, 2.0), (2, 3, 3)),
        (td.TransformedDistribution(td.Normal(0.0, 1.0), td.AffineTransform(1.0, 3.0)), (2, 3)),
        (td.MixtureSameFamily(td.Categorical(torch.ones(2)), td.Normal(torch.tensor([-1.0, 1.0]), 1.0)), (2, 3)),
        (dist.Normal(0.0, 1.0).mask(torch.tensor([True, False, True])), (2, 3)),
        (td.StudentT(3.0, 0.0, 1.0), (2, 3)),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, td.Distribution) else str(x),
)
def test_priors_of_every_build_expand(prior: Any, shape: tuple[int, ...]) -> None:
    site = lifted(torch.zeros(shape), prior)
    assert site.value.shape == site.fn.event_shape == shape
    batch = shape[: len(shape) - len(prior.event_shape)]
    torch.testing.assert_close(site.log_prob(), prior.expand(batch).log_prob(site.value).sum())


@pytest.mark.parametrize(
    ("prior", "shape"),
    [
        (td.Normal(torch.zeros(2), 1.0), (3,)),
        (td.Normal(torch.zeros(2), 1.0), ()),
        (td.Normal(torch.zeros(2, 3), 1.0), (3,)),
        (td.Normal(torch.zeros(1), 1.0), ()),
        (td.MultivariateNormal(torch.zeros(2), torch.eye(2)), (2, 3)),
        (td.MultivariateNormal(torch.zeros(2), torch.eye(2)), ()),
        (td.Dirichlet(torch.ones(1)), (3,)),
        (td.LKJCholesky(3), (3,)),
    ],
)
def test_one_that_cannot_be_expanded_names_both_shapes(prior: Any, shape: tuple[int, ...]) -> None:
    own = tuple(prior.batch_shape + prior.event_shape)
    with pytest.raises(PriorShapeError) as error:
        lifted(torch.zeros(shape), {"w": prior})
    text = str(error.value)
    assert f"the prior {type(prior).__name__} for 'w' of parameter 'w' (test_shapes.py:" in text
    assert f"has shape {own}" in text
    assert f"the parameter's {shape}" in text
    assert "Use a scalar prior, or one of exactly that shape." in text


class Bare(td.Distribution):
    """A distribution of a user's own, with as little as possible."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return torch.randn(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return -(value**2)


def test_a_distribution_without_expand() -> None:
    assert lifted(torch.zeros(()), Bare()).value.shape == ()
    with pytest.raises(PriorShapeError, match=r"the prior Bare of parameter 'w' .*no method expand to bring it to \(3,\)"):
        lifted(torch.zeros(3), Bare())


def test_a_distribution_that_cannot_be_cast_names_both_dtypes() -> None:
    with pytest.raises(PriorTypeError, match=r"the prior Bare .*'w' .*draws values of torch.float32.*has torch.float64"):
        lifted(torch.zeros((), dtype=torch.float64), Bare())
    assert issubclass(PriorTypeError, TypeError)


CASTABLE: list[tuple[Any, Tensor, Any]] = [
    (td.Normal(0.0, 1.0), torch.zeros(3), constraints.real),
    (td.Independent(td.Normal(torch.zeros(3), 1.0), 1), torch.zeros(2, 3), constraints.real),
    (
        td.TransformedDistribution(
            td.Normal(torch.zeros(3), 1.0), [td.AffineTransform(torch.ones(3), torch.tensor(2.0)), td.ExpTransform().inv.inv]
        ),
        torch.ones(3),
        constraints.positive,
    ),
    (
        td.MixtureSameFamily(td.Categorical(torch.ones(2)), td.Normal(torch.tensor([-1.0, 1.0]), torch.tensor(1.0))),
        torch.zeros(3),
        constraints.real,
    ),
    (td.MultivariateNormal(torch.zeros(3), covariance_matrix=2 * torch.eye(3)), torch.zeros(3), constraints.real),
    (td.MultivariateNormal(torch.zeros(3), precision_matrix=2 * torch.eye(3)), torch.zeros(3), constraints.real),
    (td.LowRankMultivariateNormal(torch.zeros(3), torch.ones(3, 1), torch.ones(3)), torch.zeros(3), constraints.real),
    (td.LKJCholesky(3, 2.0), torch.eye(3), constraints.corr_cholesky),
    (td.Wishart(torch.tensor(4.0), torch.eye(3)), torch.eye(3), constraints.positive_definite),
    (td.Dirichlet(torch.ones(3)), torch.ones(3) / 3, constraints.simplex),
    (td.Beta(2.0, 3.0), torch.tensor(0.5), constraints.unit_interval),
    (td.StudentT(3.0), torch.zeros(3), constraints.real),
    (td.Gamma(2.0, 1.0), torch.ones(3), constraints.positive),
    (td.HalfCauchy(1.0), torch.ones(3), constraints.positive),
    (td.LogNormal(0.0, 1.0), torch.ones(3), constraints.positive),
    (td.InverseGamma(2.0, 1.0), torch.ones(3), constraints.positive),
    (td.Uniform(-1.0, 1.0), torch.zeros(3), constraints.interval(-1, 1)),
    (td.Weibull(1.0, 2.0), torch.ones(3), constraints.positive),
    (td.Gumbel(0.0, 1.0), torch.zeros(3), constraints.real),
    (td.Pareto(1.0, 2.0), 2 * torch.ones(3), constraints.greater_than(1.0)),
    (td.LogisticNormal(torch.zeros(2), torch.ones(2)), torch.ones(3) / 3, constraints.simplex),
    (td.VonMises(0.0, 1.0), torch.zeros(3), constraints.real),
    (dist.Delta(torch.tensor(1.0)), torch.zeros(3), constraints.real),
    (dist.Normal(0.0, 1.0).mask(torch.tensor(True)), torch.zeros(3), constraints.real),
]


@pytest.mark.parametrize(("prior", "init", "constraint"), CASTABLE, ids=lambda x: type(x).__name__)
def test_priors_follow_the_parameters_dtype(prior: Any, init: Tensor, constraint: Any) -> None:
    before = prior.log_prob(init) if prior.batch_shape == () else None
    site = lifted(init.double(), prior, constraint=constraint)
    assert site.value.dtype == site.log_prob().dtype == torch.float64
    assert site.value.shape == init.shape
    single = lifted(init, prior, constraint=constraint)
    assert single.value.dtype == torch.float32
    # The density is the prior's own, and the object given is as it was.
    batch = init.shape[: init.dim() - len(prior.event_shape)]
    expected = prior.expand(batch).log_prob(single.value).sum()
    torch.testing.assert_close(single.log_prob(), expected)
    torch.testing.assert_close(site.but(value=single.value.double()).log_prob().float(), expected, rtol=1e-4, atol=1e-4)
    if before is not None:
        torch.testing.assert_close(prior.log_prob(init), before, rtol=0, atol=0)


def test_half_precision() -> None:
    site = lifted(torch.zeros(3).half(), dist.Normal(0.0, 2.0))
    assert site.value.dtype == torch.float16
    assert site.log_prob().dtype == torch.float16


def test_a_float64_prior_for_a_float32_parameter() -> None:
    site = lifted(torch.zeros(3), dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0))
    assert site.value.dtype == torch.float32


def test_device_follows_the_parameter() -> None:
    def program() -> Tensor:
        return su.param("w", torch.zeros(3, device="meta"))

    assert su.lift(program, {"w": dist.Normal(torch.zeros(3), 1.0)})().device.type == "meta"


def test_a_whole_number_as_initial_value_starts_a_continuous_site() -> None:
    density = su.infer.LogDensity(su.lift(lambda: su.param("n", 2), dist.Normal(0.0, 1.0)))
    assert density.start(np.random.default_rng(0)) == pytest.approx([2.0], abs=0.1)
    assert lifted(torch.tensor(2), dist.Poisson(3.0)).init.dtype == torch.int64


def test_a_complex_parameter_is_refused() -> None:
    with pytest.raises(PriorTypeError, match=r"'w' .*draws real values; the parameter has torch.complex64.*two parameters"):
        lifted(torch.tensor(1.0 + 1.0j), dist.Normal(0.0, 1.0))


def test_a_prior_with_gradients_keeps_them() -> None:
    """Empirical Bayes: the density of the lifted parameter reaches the prior's arguments through cast and expansion."""
    scale = torch.tensor(2.0, requires_grad=True)
    site = lifted(torch.zeros(3, dtype=torch.float64), dist.Normal(0.0, scale))
    (gradient,) = torch.autograd.grad(site.but(value=torch.ones(3).double()).log_prob(), scale)
    assert float(gradient) == pytest.approx(3 * (1 / 2.0**3 - 1 / 2.0))


def test_event_dim_does_not_matter_outside_of_plates() -> None:
    for event_dim in (None, 0, 1):
        site = lifted(torch.zeros(3), dist.Normal(0.0, 1.0), event_dim=event_dim)
        assert site.fn.event_shape == (3,)
        assert site.plates == ()
