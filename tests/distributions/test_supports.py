"""The support of a transformed distribution where the sign of a scale is not known."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Distribution,
    ExpTransform,
    HalfNormal,
    Independent,
    TransformedDistribution,
    Uniform,
)

import sursum as su
import sursum.distributions as dist

DOUBLE = {"dtype": torch.float64}
ZERO, ONE = torch.zeros((), **DOUBLE), torch.ones((), **DOUBLE)


def normal_log_prob(x: float) -> float:
    return -0.5 * x * x - 0.5 * math.log(2 * math.pi)


def latent_scale(fn: Callable[[Tensor], Distribution], shape: tuple[int, ...] = ()) -> Callable[..., None]:
    def model(obs: Tensor | None = None) -> None:
        s = su.sample("s", dist.Normal(torch.zeros(shape, **DOUBLE), 1.0).to_event(len(shape)))
        su.sample("z", Independent(fn(s), len(shape)), obs=obs)

    return model


HALVES = {
    "half-line": lambda s: TransformedDistribution(HalfNormal(ONE), [AffineTransform(0.5, s)]),
    "twice": lambda s: TransformedDistribution(HalfNormal(ONE), [AffineTransform(0.5, s), AffineTransform(ONE, 2 * s)]),
    "exponential": lambda s: TransformedDistribution(HalfNormal(ONE), [AffineTransform(0.5, s), ExpTransform()]),
    "interval": lambda s: TransformedDistribution(Uniform(ZERO, ONE), [AffineTransform(0.5, s)]),
}


@pytest.mark.parametrize("fn", HALVES.values(), ids=HALVES)
def test_a_latent_scale_may_have_either_sign(fn: Callable[[Tensor], Distribution]) -> None:
    """∫ p(s, z) dz = p(s) at either sign, by the trapezoidal rule over the unconstrained coordinate."""
    density = su.compile(latent_scale(fn), engine="native")
    u = torch.linspace(-30, 30, 250, **DOUBLE)
    step = float(u[1] - u[0])
    for s in (-1.0, 0.7):
        found = [density.value_and_grad([s, float(v)])[0] for v in u]
        plain = float(density.density(torch.tensor([s, 0.3], **DOUBLE)))
        assert density.value_and_grad([s, 0.3])[0] == pytest.approx(plain, abs=1e-12)
        total = math.log(sum(map(math.exp, found)) * step)
        assert total == pytest.approx(normal_log_prob(s), abs=1e-4)


def test_signs_may_differ_between_elements() -> None:
    density = su.compile(latent_scale(HALVES["half-line"], (3,)), engine="torch")
    q = torch.tensor([-1.0, 2.0, -0.5, 0.1, 0.2, 0.3], **DOUBLE)
    z = density.unravel(q.numpy())["z"]
    assert torch.allclose(z, 0.5 + torch.tensor([-1.0, 1.0, -1.0], **DOUBLE) * q[3:].exp())
    terms = HalfNormal(ONE).log_prob((z - 0.5) / q[:3]) - q[:3].abs().log() + q[3:]
    prior = sum(normal_log_prob(float(s)) for s in q[:3])
    assert density.value_and_grad(q.numpy())[0] == pytest.approx(float(terms.sum()) + prior, abs=1e-10)


@pytest.mark.parametrize("s", [-1.5, 1.5])
def test_observations_lie_on_the_side_of_the_sign(s: float) -> None:
    model = latent_scale(HALVES["half-line"])
    for observed in (-0.2, 1.2):
        density = su.compile(model, torch.tensor(observed, **DOUBLE), engine="torch")
        found = density.value_and_grad([s])[0]
        x = (observed - 0.5) / s
        wanted = normal_log_prob(s) + math.log(2) + normal_log_prob(x) - math.log(abs(s)) if x > 0 else -math.inf
        assert found == pytest.approx(wanted, abs=1e-10)
