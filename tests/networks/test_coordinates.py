"""Latent sites as one vector: their places, their values, and back."""

from __future__ import annotations

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.networks.coordinates import Coordinates
from sursum.networks.target import Target


def program(y: torch.Tensor) -> None:
    weights = su.sample("weights", dist.Normal(torch.zeros(2, 3), 1.0).to_event(2))
    scale = su.sample("scale", dist.HalfNormal(torch.ones((), dtype=torch.float64)))
    shares = su.sample("shares", dist.Dirichlet(torch.ones(3, dtype=torch.float64)))
    su.sample("y", dist.Normal(weights.sum() + shares[0], scale), obs=y)


@pytest.fixture(scope="module")
def coordinates() -> Coordinates:
    return Target(program, (torch.tensor(0.5),), {}, title="a test").coordinates


def test_a_vector_is_the_sites_one_after_the_other(coordinates: Coordinates) -> None:
    q = torch.arange(9.0, dtype=torch.float64)
    found = coordinates.views(q)
    assert coordinates.dim == 9
    assert list(found) == ["weights", "scale", "shares"]
    assert found["weights"].dtype == torch.float32
    assert found["weights"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert found["scale"].item() == 6.0
    assert found["shares"].tolist() == [7.0, 8.0]
    assert torch.equal(coordinates.vector(found), q)
    assert found["shares"].data_ptr() == q[7:].data_ptr()  # in place, where the dtype is the vector's


def test_values_are_those_of_the_bijections_at_any_shape_of_points(coordinates: Coordinates) -> None:
    q = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = coordinates.sites(q)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "weights": (2, 4, 2, 3),
        "scale": (2, 4),
        "shares": (2, 4, 3),
    }
    assert torch.equal(found["weights"].reshape(2, 4, 6), q[..., :6])  # not rounded to float32
    torch.testing.assert_close(found["scale"], q[..., 6].exp())
    torch.testing.assert_close(found["shares"], torch.distributions.biject_to(dist.constraints.simplex)(q[..., 7:]))
    one = {name: value[1, 2] for name, value in found.items()}
    torch.testing.assert_close(coordinates.inv(one), q[1, 2])
