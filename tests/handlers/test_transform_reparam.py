"""A transformed site drawn before its transforms: values, shapes, starts; what has no base."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import SiteError
from sursum.infer.reparam import LocScaleReparam, TransformReparam

WAY = {"x": TransformReparam()}
AT = {"x_base": torch.tensor([[0.3, -0.2, 1.0], [0.0, 0.5, -1.0]])}


def plated(fn):
    def model():
        with su.plate("groups", 2):
            return su.sample("x", fn)

    return model


@pytest.mark.parametrize(
    ("fn", "value"),
    [
        (dist.LogNormal(torch.zeros(3), 1.0).to_event(1), lambda u: u.exp()),
        (
            dist.TransformedDistribution(
                dist.Normal(torch.zeros(3), 1.0).to_event(1),
                [dist.transforms.AffineTransform(1.0, 2.0), dist.transforms.StickBreakingTransform()],
            ),
            lambda u: dist.transforms.StickBreakingTransform()(1.0 + 2.0 * u),
        ),
    ],
    ids=["elements", "a vector"],
)
def test_the_value_is_the_transforms_of_the_base(fn, value):
    model = plated(fn)
    found = su.trace(su.substitute(su.reparam(model, WAY), data=AT)).get_trace()
    assert torch.allclose(found["x"].value, value(AT["x_base"]))
    assert found["x_base"].log_prob().shape == (2,)
    # The change of variables: the base's density is the site's and the Jacobian of the transforms.
    joint = su.trace(su.substitute(model, data={"x": value(AT["x_base"])})).get_trace().log_prob_sum()
    free = AT["x_base"].double()
    jacobian = sum(torch.autograd.functional.jacobian(value, row)[:3, :3].slogdet()[1] for row in free)
    assert torch.allclose(found.log_prob_sum(), joint + jacobian.float(), atol=1e-4)


def test_another_reparam_works_on_the_base():
    model = lambda: su.sample("x", dist.LogNormal(torch.tensor(1.0), torch.tensor(2.0)))
    both = su.reparam(su.reparam(model, WAY), {"x_base": LocScaleReparam(0.0)})
    found = su.trace(su.substitute(both, data={"x_base_decentered": torch.tensor(0.5)})).get_trace()
    np.testing.assert_allclose(float(found["x"].value), np.exp(1.0 + 2.0 * 0.5), rtol=1e-6)


def test_a_lifted_parameter_starts_at_its_value():
    program = lambda: su.param("x", torch.tensor(2.0), constraint=dist.constraints.positive)
    found = su.trace(su.reparam(su.lift(program, {"x": dist.LogNormal(0.0, 1.0)}), WAY)).get_trace()
    np.testing.assert_allclose(float(found["x_base"].init), np.log(2.0), rtol=1e-6)


@pytest.mark.parametrize("fn", [dist.Normal(0.0, 1.0), dist.HalfNormal(1.0), dist.HalfCauchy(1.0), dist.Gamma(1.0, 1.0)])
def test_what_has_no_base(fn):
    with pytest.raises(SiteError, match=f"site 'x' .* has no base to draw from.*this is {type(fn).__name__}"):
        su.reparam(lambda: su.sample("x", fn), WAY)()
