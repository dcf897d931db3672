"""Reparameterisers: the same density of the site, by closed forms, numbers and integrals; and what they do not take."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate

import sursum as su
import sursum.distributions as dist
from sursum.errors import ArgumentError, HandlerError, OptionError, SiteError
from sursum.infer.reparam import (
    AffineReparam,
    AutoReparam,
    CircularReparam,
    LocScaleReparam,
    MinimalReparam,
    ProjectedNormalReparam,
    SplitReparam,
    StudentTReparam,
    TransformReparam,
)


def at(program, **values):
    held = su.substitute(program, data={name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()})
    return float(su.trace(held).get_trace().log_prob_sum())


@pytest.mark.parametrize("observed", [False, True])
def test_a_student_t_is_a_mixture_of_normals(observed):
    """The density of x, with gamma integrated out."""
    fn = dist.StudentT(torch.tensor(3.0, dtype=torch.float64), 0.5, 2.0)
    data = torch.tensor(1.7, dtype=torch.float64)
    model = lambda: su.sample("x", fn, obs=data if observed else None)
    mixture = su.reparam(model, {"x": StudentTReparam()})
    values = {} if observed else {"x": data}
    total, _ = integrate.quad(lambda g: math.exp(at(mixture, x_gamma=g, **values)), 0, np.inf)
    assert math.log(total) == pytest.approx(float(fn.log_prob(data)), abs=1e-6)


def test_a_student_t_in_a_plate_keeps_its_shapes():
    def model():
        with su.plate("p", 3):
            su.sample("x", dist.StudentT(torch.full((2,), 4.0)).to_event(1))

    trace = su.trace(su.reparam(model, {"x": StudentTReparam()})).get_trace()
    assert trace["x_gamma"].value.shape == trace["x"].value.shape == (3, 2)
    assert trace["x"].log_prob().shape == (3,)


def test_an_angle_has_the_density_of_its_site():
    """The radius integrated out at each angle."""
    fn = dist.VonMises(torch.tensor(3.0, dtype=torch.float64), 2.0)
    model = su.reparam(lambda: su.sample("x", fn), {"x": CircularReparam()})
    for angle in (-2.5, 0.1, 3.1):
        direction = np.array([math.cos(angle), math.sin(angle)])
        total, _ = integrate.quad(lambda r: r * math.exp(at(model, x_direction=r * direction)), 0, 12)  # noqa: B023
        assert math.log(total) == pytest.approx(float(fn.log_prob(torch.tensor(angle, dtype=torch.float64))), abs=1e-6)


# The numbers below judge the draws. Of six seeds two have an R-hat of 1.010 and 1.017, as so few draws may.
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_angles_across_the_end_of_the_interval_are_sampled():
    """The mean direction of a von Mises at π, of which half is on either side of the cut."""
    model = su.reparam(lambda: su.sample("x", dist.VonMises(math.pi, 4.0)), {"x": CircularReparam()})
    posterior = su.infer.MCMC(
        su.infer.NUTS(model, target_accept=0.99), num_warmup=500, num_samples=500, seed=0, progress=False
    ).run()
    x = posterior["x"]
    ratio = 0.8635  # I₁(4) / I₀(4)
    # The cosine has a standard deviation of 0.19, and 2000 draws are worth more than 300.
    assert abs(float(-x.cos().mean()) - ratio) < 4 * 0.19 / 300**0.5
    assert abs(float(x.sin().mean())) < 4 * 0.47 / 300**0.5


def test_a_vector_is_split_into_sites():
    loc = torch.arange(5.0, dtype=torch.float64)
    fn = dist.Normal(loc, 2.0).to_event(1)
    model = su.reparam(lambda: su.sample("x", fn), {"x": SplitReparam([2, 3], -1)})
    value = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5], dtype=torch.float64)
    found = at(model, x_split_0=value[:2], x_split_1=value[2:])
    assert found == pytest.approx(float(fn.log_prob(value)))
    trace = su.trace(model).get_trace()
    assert torch.equal(trace["x"].value, torch.cat([trace["x_split_0"].value, trace["x_split_1"].value]))
    assert list(su.trace(su.reparam(lambda: su.sample("x", fn), {"x": SplitReparam(2)})).get_trace()) == [
        "x_split_0",
        "x_split_1",
        "x_split_2",
        "x",
    ]


class ProjectedNormal(torch.distributions.Distribution):
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, concentration):
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=False)

    def expand(self, shape, _instance=None):
        return ProjectedNormal(self.concentration.expand(*shape, -1))


def test_a_direction_is_a_normal_vector_projected():
    model = su.reparam(lambda: su.sample("x", ProjectedNormal(torch.zeros(4, 3))), {"x": ProjectedNormalReparam()})
    trace = su.trace(model).get_trace()
    assert trace["x_normal"].fn.event_shape == (3,)
    assert torch.allclose(trace["x"].value.norm(dim=-1), torch.ones(4))


def test_strategies_choose_by_the_distribution():
    chosen = {
        "normal": (dist.Normal(0.0, 1.0), LocScaleReparam),
        "t": (dist.StudentT(3.0), StudentTReparam),
        "log": (dist.LogNormal(0.0, 1.0), TransformReparam),
        "angle": (dist.VonMises(0.0, 1.0), CircularReparam),
        "gamma": (dist.Gamma(1.0, 1.0), type(None)),
        "direction": (ProjectedNormal(torch.zeros(3)), ProjectedNormalReparam),
    }
    for name, (fn, kind) in chosen.items():
        site = su.handlers.Sample(name=name, fn=fn)
        assert isinstance(AutoReparam()(site), kind)
        minimal = kind if name in ("angle", "direction") else type(None)
        assert isinstance(MinimalReparam()(site), minimal)
    assert (
        AutoReparam()(su.handlers.Sample(name="y", fn=dist.Normal(0.0, 1.0), is_observed=True, value=torch.tensor(0.0))) is None
    )


def test_a_strategy_leaves_data_alone():
    def model():
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(mu, 1.0), obs=torch.tensor(0.3))

    trace = su.trace(su.reparam(model, AutoReparam(None))).get_trace()
    assert list(trace) == ["mu_centered", "mu_decentered", "mu", "y"]
    assert trace["y"].is_observed


@pytest.mark.parametrize(
    ("fn", "way"),
    [
        (dist.Normal(0.0, 1.0), StudentTReparam()),
        (dist.Normal(0.0, 1.0), CircularReparam()),
        (dist.Normal(0.0, 1.0), ProjectedNormalReparam()),
        (dist.Normal(0.0, 1.0), SplitReparam([1])),
        (dist.Normal(torch.zeros(3), 1.0).to_event(1), SplitReparam([2, 2])),
        (dist.Dirichlet(torch.ones(4)), SplitReparam([2, 2])),
    ],
)
def test_another_distribution_is_an_error(fn, way):
    with pytest.raises(SiteError, match="'x'"):
        su.reparam(lambda: su.sample("x", fn), {"x": way})()


def test_wrong_settings_are_errors():
    with pytest.raises(OptionError, match="sections"):
        SplitReparam([])
    with pytest.raises(OptionError, match="dim"):
        SplitReparam([1], 0)
    with pytest.raises(HandlerError, match="a function from a site"):
        su.reparam(lambda: None, AutoReparam)


class TestCentringsOfElements:
    C = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)

    def model(self):
        with su.plate("p", 3):
            su.sample("x", dist.Normal(torch.tensor(2.0, dtype=torch.float64), 3.0))

    def test_the_density_is_that_of_each_centring_alone(self):
        value = torch.tensor([0.5, -1.0, 4.0], dtype=torch.float64)
        together = su.reparam(self.model, {"x": LocScaleReparam(self.C)})
        trace = su.trace(su.substitute(together, data={"x_decentered": value})).get_trace()
        for place, c in enumerate(self.C.tolist()):
            alone = su.reparam(self.model, {"x": LocScaleReparam(c)})
            one = su.trace(su.substitute(alone, data={"x_decentered": value})).get_trace()
            assert float(trace["x"].value[place]) == pytest.approx(float(one["x"].value[place]), rel=1e-14)
            terms = [found["x_decentered"].log_prob()[place] for found in (trace, one)]
            assert float(terms[0]) == pytest.approx(float(terms[1]), rel=1e-14)

    def test_a_centring_of_float32_takes_the_sites_dtype(self):
        found = su.trace(su.reparam(self.model, {"x": LocScaleReparam(self.C.float())})).get_trace()
        assert found["x"].value.dtype == torch.float64

    @pytest.mark.parametrize(
        "wrong", [torch.tensor([0.5, 1.5]), torch.tensor([float("nan")]), torch.tensor([1, 0]), True, -0.1]
    )
    def test_what_is_none_is_refused(self, wrong):
        with pytest.raises(ArgumentError, match="between 0 and 1"):
            LocScaleReparam(wrong)

    def test_one_that_does_not_fit_is_refused(self):
        with pytest.raises(SiteError, match="does not broadcast"):
            su.reparam(self.model, {"x": LocScaleReparam(torch.ones(2))})()


def test_fixed_units_keep_the_density():
    fn = dist.StudentT(4.0, torch.tensor(1.0, dtype=torch.float64), 2.0)
    model = su.reparam(lambda: su.sample("x", fn), {"x": AffineReparam(3.0, 0.5)})
    x = torch.tensor(2.2, dtype=torch.float64)
    assert at(model, x_standardized=(x - 3.0) / 0.5) - math.log(0.5) == pytest.approx(float(fn.log_prob(x)), rel=1e-12)
    with pytest.raises(ArgumentError, match="scale positive"):
        AffineReparam(0.0, 0.0)
    with pytest.raises(SiteError, match="location-scale"):
        su.reparam(lambda: su.sample("x", dist.Gamma(1.0, 1.0)), {"x": AffineReparam(0.0, 1.0)})()
    with pytest.raises(SiteError, match="do not broadcast"):
        su.reparam(lambda: su.sample("x", fn), {"x": AffineReparam(torch.zeros(2), 1.0)})()


def test_the_base_of_an_image_has_coordinates_of_its_own():
    """A log-normal, drawn as exp(μ + σz)."""
    fn = dist.LogNormal(torch.tensor(0.5, dtype=torch.float64), 2.0)
    model = su.reparam(lambda: su.sample("x", fn), {"x": TransformReparam(LocScaleReparam(0.0))})
    trace = su.trace(su.substitute(model, data={"x_base_decentered": torch.tensor(-0.7, dtype=torch.float64)})).get_trace()
    assert float(trace["x"].value) == pytest.approx(math.exp(0.5 - 1.4), rel=1e-14)
    assert float(trace.log_prob_sum()) == pytest.approx(-0.5 * 0.49 - 0.5 * math.log(2 * math.pi), rel=1e-14)
