"""Groups of sites that a guide draws together: where Pyro is wrong, or silent, as well."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

import sursum.compat.pyro as pyro
import sursum.compat.pyro.distributions as dist
from sursum.compat.pyro import infer, optim, poutine, settings
from sursum.compat.pyro.contrib.easyguide import EasyGuide, easy_guide
from sursum.errors import DensityError, GuideError


@pytest.fixture(autouse=True)
def _empty_store():
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield
    pyro.clear_param_store()


def normal(group, width=0.3):
    return dist.Normal(0.1 * torch.arange(float(*group.event_shape)), width).to_event(1)


def constrained():
    pyro.sample("share", dist.Dirichlet(torch.ones(3)))
    pyro.sample("corr", dist.LKJCholesky(3, 1.0))
    pyro.sample("angle", dist.Beta(2.0, 3.0))


def test_a_group_has_a_coordinate_for_each_degree_of_freedom():
    """Two of a simplex, three of the factor of a correlation matrix, one of a number."""
    guide = easy_guide(constrained)(lambda self: self.group().sample("all", normal(self.group())))
    together, each = guide()
    assert together.shape == (6,)
    assert each["share"].sum() == pytest.approx(1.0, abs=1e-6)
    assert torch.allclose(each["corr"].square().sum(-1), torch.ones(3))
    assert guide.group().prototype_sites[2]["name"] == "angle"


def test_densities_are_those_of_transformed_coordinates():
    def model():
        with pyro.plate("data", 4):
            pyro.sample("x", dist.LogNormal(0.0, 1.0))

    def by_group(self):
        with self.plate("data"):
            self.group().sample("u", dist.Normal(torch.zeros(1), 0.5).to_event(1))

    drawn = poutine.trace(easy_guide(model)(by_group)).get_trace()
    drawn.compute_log_prob()
    expected = torch.distributions.LogNormal(0.0, 0.5).log_prob(drawn.nodes["x"]["value"])
    found = drawn.nodes["u"]["log_prob"] + drawn.nodes["x"]["log_prob"]
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("outer", "inner"), [(-2, -1), (-1, -2)])
def test_rows_stay_rows_whichever_plate_is_outside(outer, inner):
    """Pyro reads the coordinates of a plate on the left in the wrong order."""

    def model():
        with pyro.plate("rows", 2, dim=outer):
            pyro.sample("a", dist.Normal(0.0, 1.0))
            with pyro.plate("columns", 3, dim=inner):
                pyro.sample("b", dist.Normal(0.0, 1.0))

    @easy_guide(model)
    def guide(self):
        group = self.group()
        assert group.event_shape == (4,)
        loc = torch.arange(2.0).reshape(2, *(1,) * (-outer - 1), 1) * 10 + torch.arange(4.0)
        with self.plate("rows"):
            return group.sample("u", dist.Normal(loc, 1e-6).to_event(1))

    _, each = guide()
    b = each["b"] if outer == -2 else each["b"].T
    assert torch.allclose(b, torch.tensor([[1.0, 2.0, 3.0], [11.0, 12.0, 13.0]]), atol=1e-3)
    assert torch.allclose(each["a"].flatten(), torch.tensor([0.0, 10.0]), atol=1e-3)


def test_plates_without_a_size_have_the_models_in_each_call():
    def model(y):
        with pyro.plate("data", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    @easy_guide(model)
    def guide(self, y):
        slope = pyro.param("slope", torch.tensor(0.5))
        with self.plate("data"):
            self.group().sample("u", dist.Normal((slope * y)[:, None], 0.5**0.5).to_event(1))

    svi = infer.SVI(model, guide, optim.SGD({"lr": 0.0}), infer.Trace_ELBO())
    for size in (5, 3, 5, 4):
        y = torch.arange(float(size))
        # At the exact posterior each draw gives log p(y), of y ~ N(0, 2).
        assert svi.step(y) == pytest.approx(-float(torch.distributions.Normal(0.0, 2**0.5).log_prob(y).sum()), abs=1e-4)


def test_steps_of_it_are_captured():
    counter = itertools.count()

    def model(y):
        next(counter)
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(mean, scale), obs=y)

    def run():
        pyro.clear_param_store()
        pyro.set_rng_seed(0)

        class Points(EasyGuide):
            def init(self, site):
                return torch.tensor(0.7)

            def guide(self, y):
                self.group().map_estimate()

        svi = infer.SVI(model, Points(model), optim.Adam({"lr": 0.02}), infer.Trace_ELBO())
        losses = [svi.step(torch.tensor([0.3, 2.5, 1.0])) for _ in range(36)]
        before = next(counter)
        return [*losses, *(svi.step(torch.tensor([0.3, 2.5, 1.0])) for _ in range(4))], next(counter) - before - 1

    losses, count = run()
    assert count == 0
    with settings.context(capture_steps=False):
        plain, count = run()
    assert count == 4
    assert losses == pytest.approx(plain, rel=1e-5)


def test_points_are_of_whole_plates_and_sites_may_have_dots():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

    net = Net()

    def model():
        pyro.random_module("net", net, {"weight": dist.Normal(torch.zeros(2), 1.0).to_event(1)})()
        pyro.sample("a.b", dist.LogNormal(0.0, 1.0))
        with pyro.plate("data", 6, subsample_size=2):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    @easy_guide(model)
    def points(self):
        return self.group("net|a").map_estimate() | self.group("z").map_estimate()

    values = points()
    assert {name: tuple(value.shape) for name, value in values.items()} == {"net$$$weight": (2,), "a.b": (), "z": (2, 2)}
    shapes = {name: tuple(value.shape) for name, value in pyro.get_param_store().items()}
    assert shapes == {"points.net$$$weight": (2,), "points.a.b": (), "points.z": (6, 2)}
    with torch.no_grad():
        pyro.get_param_store()["points.z"].copy_(torch.arange(12.0).reshape(6, 2))
    drawn = poutine.trace(points).get_trace()
    index = drawn.nodes["data"]["value"]
    assert torch.equal(drawn.nodes["z"]["value"], torch.stack([2.0 * index, 2.0 * index + 1], -1))


def test_a_copy_has_groups_of_its_own():
    guide = easy_guide(constrained)(lambda self: self.group().sample("all", normal(self.group())))
    guide()
    other = copy.deepcopy(guide)
    assert other.group().guide is other
    assert other()[0].shape == (6,)


def discrete():
    pyro.sample("k", dist.Categorical(torch.ones(3)))


def sequential():
    for i in pyro.plate("rows", 2):
        pyro.sample(f"x_{i}", dist.Normal(0.0, 1.0))


def given_rows():
    pyro.sample("w", dist.Normal(0.0, 1.0))
    with pyro.plate("data", 5, subsample=torch.tensor([0, 3])):
        pyro.sample("x", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("model", "guide", "error", "message"),
    [
        (constrained, lambda self: self.group(match="nothing"), GuideError, r"no latent site .* 'share', 'corr', 'angle'"),
        (constrained, lambda self: self.map_estimate("nothing"), GuideError, r"no latent site 'nothing'"),
        (constrained, lambda self: self.plate("data"), GuideError, r"no plate 'data' .* Give the plate a size"),
        (
            constrained,
            lambda self: self.group().sample("u", dist.Normal(torch.zeros(7), 1.0).to_event(1)),
            GuideError,
            r"event shape \(7,\), .* has \(6,\)",
        ),
        (discrete, lambda self: self.group(), DensityError, "'k'"),
        (discrete, lambda self: self.map_estimate("k"), DensityError, "'k'"),
        (sequential, lambda self: None, GuideError, "'x_0' is in a sequential plate"),
        (given_rows, lambda self: self.map_estimate("x"), GuideError, r"given the rows of plate 'data'.*subsample="),
        (given_rows, lambda self: self.group(), GuideError, r"'x' is in the subsampled plate 'data'.*a group of its own"),
    ],
)
def test_what_cannot_be_done_is_said(model, guide, error, message):
    with pytest.raises(error, match=message):
        easy_guide(model)(guide)()


def test_a_class_needs_a_guide_and_a_program():
    class Empty(EasyGuide):
        pass

    with pytest.raises(GuideError, match="Empty has no method `guide`"):
        Empty(constrained)
    with pytest.raises(GuideError, match="must be a program"):
        easy_guide(None)(lambda self: None)
    with pytest.raises(GuideError, match="once it has been called"):
        easy_guide(constrained)(lambda self: None).group()
