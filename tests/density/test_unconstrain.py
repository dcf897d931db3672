"""Programs at unconstrained coordinates: values and log-Jacobians against torch's transforms, and what may not be there."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import transforms

import sursum as su
import sursum.distributions as dist
from sursum.core.messages import Sample
from sursum.density.unconstrain import Placed, Recalled, continuous_support, is_identity, refuse_subsamples
from sursum.distributions.bijections import bijection
from sursum.errors import DensityError

D = torch.float64


def at(coordinates):
    """Places sites at these coordinates, and writes down the shapes that are asked for."""
    asked = {}

    def choose(site, shape, onto):
        asked[site.name] = tuple(shape)
        return torch.as_tensor(coordinates[site.name], dtype=D)

    return Placed(choose=choose), asked


def run(program, coordinates):
    placed, asked = at(coordinates)
    with su.trace() as t, placed as running:
        program()
    return t.trace, running, asked


def program():
    su.sample("x", dist.Normal(torch.zeros(2, dtype=D), 1.0).to_event(1))
    with su.plate("row", 2):
        su.sample("s", dist.Exponential(torch.ones((), dtype=D)))
    su.sample("p", dist.Dirichlet(torch.ones(3, dtype=D)))


Q = {"x": [0.5, -1.0], "s": [0.3, -0.2], "p": [0.1, 0.7]}


def test_values_and_jacobians():
    found, running, asked = run(program, Q)
    assert asked == {"x": (2,), "s": (2,), "p": (2,)}
    q = {name: torch.tensor(value, dtype=D) for name, value in Q.items()}
    stick = transforms.StickBreakingTransform()
    assert torch.equal(found["x"].value, q["x"])
    torch.testing.assert_close(found["s"].value, q["s"].exp())
    torch.testing.assert_close(found["p"].value, stick(q["p"]))
    assert list(running.jacobians) == ["s", "p"]
    torch.testing.assert_close(running.jacobians["s"][1], q["s"])
    torch.testing.assert_close(running.jacobians["p"][1], stick.log_abs_det_jacobian(q["p"], stick(q["p"])))
    assert running.placed == {"x", "s", "p"}


def test_the_steps_of_a_scan_have_one_jacobian_with_time():
    def scanned():
        with su.plate("row", 2):
            su.scan(lambda c, _: (c, su.sample("s", dist.Exponential(c))), torch.ones((), dtype=D), length=3)

    q = torch.arange(6.0, dtype=D).reshape(3, 2) / 10
    found, running, asked = run(scanned, {"s": q})
    assert asked == {"s": (3, 2)}
    torch.testing.assert_close(found["s"].value, q.exp())
    site, log_jacobian = running.jacobians["s"]
    torch.testing.assert_close(log_jacobian, q)
    assert [frame.name for frame in site.plates] == ["row"]


def test_a_value_may_be_recalled():
    value = torch.tensor(2.0)
    with Recalled(values={"a": value}):
        assert su.core.scope.recall("a") is value
        assert su.core.scope.recall("b") is None


def test_subsamples_are_refused_where_they_are_drawn_and_where_they_are_given():
    def drawn():
        with su.plate("row", 9, subsample_size=2):
            pass

    def given():
        with su.plate("row", 9, subsample=torch.tensor([0, 4])):
            su.sample("s", dist.Normal(0.0, 1.0))

    with pytest.raises(DensityError, match=r"plate 'row'.* is subsampled, but a log density needs all the data"):
        run(drawn, {})
    found, *_ = run(given, {"s": [0.0, 0.0]})
    with pytest.raises(DensityError, match=r"plate 'row', in which site 's' \(test_unconstrain.py:\d+\) is, is subsampled"):
        refuse_subsamples(found)
    refuse_subsamples(run(program, Q)[0])


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (dist.Normal(0.0, 1.0), True),
        (dist.Normal(torch.zeros(2), 1.0).to_event(1), True),
        (dist.Exponential(1.0), False),
        (dist.Exponential(torch.ones(2)).to_event(1), False),
        (dist.Uniform(0.0, 1.0), False),
    ],
)
def test_the_identity_has_no_jacobian(fn, expected):
    assert is_identity(bijection(fn.support)) is expected


def test_what_has_no_continuous_support():
    with pytest.raises(DensityError, match=r"latent site 'k' is discrete \(Poisson\), but gradients need continuous sites"):
        continuous_support(Sample(name="k", fn=dist.Poisson(1.0)))
    with pytest.raises(DensityError, match="latent site 's' cannot be scored: its prior is a function"):
        continuous_support(Sample(name="s", fn=lambda: torch.ones(())))
    assert continuous_support(Sample(name="s", fn=dist.Normal(0.0, 1.0))) is dist.constraints.real
