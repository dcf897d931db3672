"""Where each latent site stands in q, and what its dimensions are called."""

from __future__ import annotations

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.core.messages import Deterministic, Frame
from sursum.density.layout import dims_of, layout, site_dtype
from sursum.errors import DensityError


def program():
    su.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
    with su.plate("school", 3):
        su.sample("p", dist.Dirichlet(torch.ones(4)))
        with su.plate("year", 2):
            su.sample("z", dist.Normal(0.0, 1.0))


def traced(program):
    with su.trace() as t:
        program()
    return t.trace


def test_sites_stand_one_after_the_other():
    found = traced(program)
    leaves = {"mu": torch.zeros((), dtype=torch.float64), "p": torch.zeros(3, 3), "z": torch.zeros(2, 3)}
    mu, p, z = layout(found, leaves)
    assert [(one.name, one.start, one.stop) for one in (mu, p, z)] == [("mu", 0, 1), ("p", 1, 10), ("z", 10, 16)]
    assert (p.shape, p.free_shape, z.shape) == ((3, 4), (3, 3), (2, 3))
    assert (mu.dtype, p.dtype) == (torch.float64, torch.float32)
    assert [frame.name for frame in z.plates] == ["school", "year"]
    assert mu.where == f"test_layout.py:{program.__code__.co_firstlineno + 1}"


def test_nothing_to_infer():
    with pytest.raises(DensityError, match="no latent site and no parameter"):
        layout(traced(lambda: None), {})
    with pytest.raises(DensityError, match=r"no latent site, .*Give its parameters \('a', 'b'\) priors with lift"):
        layout(traced(lambda: [su.param(name, torch.tensor(1.0)) for name in "ab"]), {})
    with pytest.raises(DensityError, match="no latent site"):
        layout(traced(lambda: su.sample("z", dist.Normal(torch.zeros(0), 1.0))), {"z": torch.zeros(0)})


def test_dimensions_are_called_by_their_plates():
    found = traced(program)
    assert dims_of(found["mu"]) == ()
    assert dims_of(found["p"]) == ("school", "p_dim_1")
    assert dims_of(found["z"]) == ("year", "school")


def test_a_plate_of_another_length_or_place_names_nothing():
    plates = Frame("a", -1, 3), Frame("b", -3, 2), Frame("t", None, 3)
    value = torch.zeros(2, 3, 5)
    site = Deterministic(name="d", value=value, plates=plates)
    assert dims_of(site) == ("b", "d_dim_1", "d_dim_2")
    assert dims_of(site.but(event_dim=1)) == ("d_dim_0", "a", "d_dim_2")
    assert dims_of(site.but(value=torch.zeros(2))) == ("d_dim_0",)
    some = Frame("a", -1, 9, torch.tensor([0, 4, 5]))
    assert dims_of(Deterministic(name="d", value=torch.zeros(3), plates=(some,))) == ("a",)


def test_the_dtype_of_a_site():
    half = torch.tensor(0.5, dtype=torch.float16)
    (mu,) = (site for name, site in traced(program).items() if name == "mu")
    assert site_dtype(mu) is torch.float64
    assert site_dtype(mu.but(init=half)) is torch.float16
    assert site_dtype(mu.but(init=torch.tensor(1))) is torch.float64
    assert site_dtype(mu.but(fn=dist.Categorical(torch.ones(2)))) is torch.float32
    assert site_dtype(mu.but(fn=lambda: None)) is torch.get_default_dtype()
