"""A site's value may not be changed in place: it is what is scored and reported."""

from __future__ import annotations

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import SiteError

ZEROS = torch.zeros(3, dtype=torch.float64)
ADAM = su.optim.Adam({"lr": 0.1})


def add(v):
    v += 1


def write(v):
    v[0] = 0.5


def scale(v):
    v.mul_(0.9)


def quiet(v):
    with torch.no_grad():
        v.add_(0.1)


LAWS = {
    "Normal": lambda one: dist.Normal(0.0 * one, one),
    "HalfNormal": dist.HalfNormal,
    "Uniform": lambda one: dist.Uniform(-5.0 * one, 5.0 * one),
}


@pytest.mark.parametrize("change", [add, write, scale, quiet])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_value_of_a_latent_site(change, dtype, law):
    def model():
        v = su.sample("v", law(torch.ones(3, dtype=dtype)).to_event(1))
        change(v)
        su.factor("f", -(v**2).sum())

    for run in (
        lambda: su.compile(model),
        lambda: su.poutine.trace(model).get_trace(),
        lambda: su.infer.SVI(
            model, su.infer.autoguide.AutoNormal(model), su.optim.Adam({"lr": 0.1}), su.infer.Trace_ELBO()
        ).step(),
    ):
        with pytest.raises(SiteError, match=r"changed in place.*Write v = v \+ 1 instead of v \+= 1, or modify a copy"):
            run()


def test_data_that_are_changed_after_they_were_observed():
    def model(y):
        m = su.sample("m", dist.Normal(0.0, 1.0))
        with su.plate("data", 3):
            su.sample("y", dist.Normal(m, 1.0), obs=y)
        y -= 1.0

    with pytest.raises(SiteError, match=r"the value of site 'y' \(test_in_place.py:\d+\) was changed in place"):
        su.poutine.trace(model).get_trace(torch.zeros(3))


def test_a_copy_may_be_changed():
    def model():
        v = su.sample("v", dist.Normal(ZEROS, 1.0).to_event(1))
        w = v.clone()
        w += 1
        w[0] = 2.0
        su.factor("f", -(w**2).sum())

    found = su.poutine.trace(su.condition(model, {"v": ZEROS})).get_trace()
    assert float(found["f"].value) == -6.0
    assert su.compile(model, engine="native").engine == "native"
