"""`LogDensity`: a program as a function of q, against densities by hand, there and back, and what it refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.distributions as td

import sursum as su
import sursum.distributions as dist
from sursum.density.log_density import LogDensity
from sursum.errors import DensityError, HeldParameterWarning, ObservationError, UnusedSiteWarning

D = torch.float64
Y = torch.tensor([0.5, -1.0, 2.0], dtype=D)


def test_a_program_that_fails_by_a_nan_in_the_data_says_so():
    def model(x, y):
        with su.plate("data", 3):
            su.sample("y", dist.Normal(su.sample("slope", dist.Normal(0.0, 1.0)) * x, 1.0), obs=y)

    x = np.array([0.5, np.nan, 1.0])
    with pytest.raises(
        DensityError, match=r"(?s)wherever it was tried.+ The argument 'x' has NaN, at \[1\]: leave those rows out"
    ):
        LogDensity(model, (x, np.zeros(3)))


def model(y=Y):
    mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=D), 2.0))
    s = su.sample("s", dist.Exponential(torch.ones((), dtype=D)))
    with su.plate("row", len(y)):
        su.deterministic("twice", 2 * mu.expand(len(y)))
        su.sample("y", dist.Normal(mu, s), obs=y)
    p = su.sample("p", dist.Dirichlet(torch.ones(3, dtype=D)))
    su.factor("f", p[0])


def by_hand(q, y=Y, jacobian=True):
    """q is (mu, log s, and two for p, by stick breaking)."""
    mu, s = q[0], q[1].exp()
    p = td.StickBreakingTransform()(q[2:])
    two = torch.tensor(2.0, dtype=D)  # whose logarithm has all digits
    total = td.Normal(0.0, two).log_prob(mu) + td.Exponential(1.0).log_prob(s) + td.Normal(mu, s).log_prob(y).sum()
    total = total + td.Dirichlet(torch.ones(3, dtype=D)).log_prob(p) + p[0]
    return total + q[1] + td.StickBreakingTransform().log_abs_det_jacobian(q[2:], p) if jacobian else total


@pytest.fixture(scope="module")
def density():
    return LogDensity(model)


POINTS = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=D)


@pytest.mark.parametrize("q", POINTS)
def test_value_and_gradient_by_hand(density, q):
    q = q.clone().requires_grad_()
    value, expected = density(q), by_hand(q)
    torch.testing.assert_close(value, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(*(torch.autograd.grad(f, q)[0] for f in (value, expected)), rtol=1e-12, atol=1e-12)


def test_without_the_jacobian(density):
    q = POINTS[0]
    torch.testing.assert_close(density.without_jacobian()(q), by_hand(q, jacobian=False), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(LogDensity(model, jacobian=False)(q), by_hand(q, jacobian=False), rtol=1e-13, atol=1e-13)
    only = LogDensity(model, jacobian=lambda site: site.name == "s")
    torch.testing.assert_close(only(q), by_hand(q, jacobian=False) + q[1], rtol=1e-13, atol=1e-13)
    assert density.jacobian is True


def test_where_everything_stands(density):
    assert (density.dim, density.title) == (4, "model")
    assert density.coordinate_names() == ["mu", "s", "p[0]", "p[1]"]
    assert [density.site_at(k) for k in range(4)] == ["mu", "s", "p", "p"]
    assert density.dims == {
        "mu": (),
        "s": (),
        "twice": ("row",),
        "y": ("row",),
        "p": ("p_dim_0",),
        "f": (),
    }
    assert list(density.observed) == ["y"]
    assert torch.equal(density.observed["y"], Y)
    assert density.networks == frozenset()
    assert density.program.model is model


@pytest.mark.parametrize("q", POINTS)
def test_there_and_back(density, q):
    values = density.unravel(q)
    assert list(values) == ["mu", "s", "p"]
    torch.testing.assert_close(density.ravel(values), q, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(values["s"], q[1].exp())
    torch.testing.assert_close(values["p"].sum(), torch.ones((), dtype=D))


def test_values_of_deterministic_sites_come_after_those_of_latent_ones(density):
    q = POINTS[1]
    value, sites = density.with_values(q)
    assert list(sites) == list(density.transform(q)) == ["mu", "s", "p", "twice"]
    torch.testing.assert_close(sites["twice"], (2 * q[0]).expand(3))
    assert float(value) == float(density(q))


def test_values_that_cannot_be_ravelled(density):
    values = density.unravel(POINTS[0])
    with pytest.raises(
        DensityError, match=r"no value is given for the latent sites 's', 'p'. Give one for each of 'mu', 's', 'p'"
    ):
        density.ravel({"mu": 0.0})
    with pytest.raises(DensityError, match=r"for latent site 'p' .* has shape \(2,\), and the site's is \(3,\)"):
        density.ravel(values | {"p": torch.ones(2) / 2})
    with pytest.raises(ObservationError, match="'s'"):
        density.ravel(values | {"s": torch.tensor(-1.0)})


def test_q_of_another_shape(density):
    with pytest.raises(DensityError, match=r"q has shape \(3,\), and this density has 4 coordinates: \(4,\)"):
        density(torch.zeros(3, dtype=D))


def test_other_data(density):
    other = torch.tensor([1.0, 1.0], dtype=D)
    torch.testing.assert_close(density.with_data(other)(POINTS[0]), by_hand(POINTS[0], other), rtol=1e-13, atol=1e-13)
    without = density.without_jacobian().with_data(y=other)
    torch.testing.assert_close(without(POINTS[0]), by_hand(POINTS[0], other, jacobian=False), rtol=1e-13, atol=1e-13)


def test_data_are_taken_when_it_is_made():
    y = Y.clone()
    density = LogDensity(model, (y,))
    y.zero_()
    torch.testing.assert_close(density(POINTS[0]), by_hand(POINTS[0]), rtol=1e-13, atol=1e-13)
    assert torch.equal(density.observed["y"], Y)


class TestStart:
    def test_values_that_are_given_are_started_at_exactly(self, density):
        values = {"mu": 3.0, "s": 2.0, "p": torch.tensor([0.5, 0.25, 0.25])}
        q = density.start(np.random.default_rng(0), values)
        found = density.unravel(torch.from_numpy(q))
        for name, value in values.items():
            torch.testing.assert_close(found[name], torch.as_tensor(value, dtype=D), rtol=1e-12, atol=1e-12)

    def test_others_are_within_the_spread(self, density):
        rng = np.random.default_rng(0)
        starts = np.stack([density.start(rng, {"mu": 1.0}, spread=0.5) for _ in range(50)])
        assert (starts[:, 0] == 1.0).all()
        assert np.abs(starts[:, 1:]).max() <= 0.5
        assert np.abs(starts[:, 1:]).max() > 0.4
        assert np.abs(density.start(rng, spread=0.0)).max() == 0.0

    def test_a_lifted_parameter_starts_around_its_value(self):
        program = su.lift(
            lambda: su.param("s", torch.tensor(3.0, dtype=D), constraint=dist.constraints.positive), dist.HalfNormal(5.0)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnusedSiteWarning)
            density = LogDensity(program)
        rng = np.random.default_rng(0)
        away = np.array([density.start(rng)[0] for _ in range(50)]) - np.log(3.0)
        assert 0.05 < np.abs(away).max() <= 0.1
        assert density.start(rng, jitter=0.0)[0] == pytest.approx(np.log(3.0), rel=1e-12)

    def test_a_scored_start(self, density):
        q, value = density.scored_start(np.random.default_rng(0))
        assert value == pytest.approx(float(by_hand(torch.from_numpy(q))), rel=1e-13)


def walled():
    x = su.sample("x", dist.Normal(torch.zeros((), dtype=D), 1.0))
    su.factor("wall", torch.where(x < 1.0, 0.0, -torch.inf))
    su.sample("y", dist.Normal(x, (x + 10.0).sqrt()), obs=torch.zeros((), dtype=D))


def test_what_is_not_finite_and_a_table_of_all():
    density = LogDensity(walled)
    assert density.not_finite(np.array([0.5])) == []
    assert density.not_finite(np.array([2.0])) == ["wall"]
    table = str(density.explain(np.array([0.5])))
    lines = {line.split()[0]: line.split() for line in table.splitlines()}
    assert lines["x"][1:3] == ["0.5", f"{float(td.Normal(0.0, 1.0).log_prob(torch.tensor(0.5, dtype=D))):.6g}"]
    assert lines["wall"][-1] == f"test_log_density.py:{walled.__code__.co_firstlineno + 2}"
    assert density.explain(np.array([-20.0])).startswith("the program cannot be run there: ")


def test_latent_sites_must_stay_the_same():
    more = [False]

    def program():
        z = su.sample("z", dist.Normal(torch.zeros(3 if more[0] == "wide" else 2, dtype=D), 1.0).to_event(1))
        if more[0] != "fewer":
            su.sample("w", dist.Normal(z.sum(), 1.0))
        if more[0] == "more":
            su.sample("v", dist.Normal(z.sum(), 1.0))
        su.sample("y", dist.Normal(z.sum(), 1.0), obs=torch.tensor(0.0))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedSiteWarning)
        density = LogDensity(program)
    assert torch.isfinite(density(torch.zeros(3, dtype=D)))
    for change, said in (
        ("more", r"'v' .*did not exist"),
        ("wide", r"'z' .*or had a different shape"),
        ("fewer", r"'w' .*and is not now"),
    ):
        more[0] = change
        with pytest.raises(DensityError, match=said):
            density(torch.zeros(3, dtype=D))


def test_the_first_run_looks_for_a_place_where_the_program_runs():
    tried = []

    def program():
        x = su.sample("x", dist.Normal(torch.zeros((), dtype=D), 1.0))
        tried.append(float(x.detach()))
        su.sample("y", dist.Normal(0.0, x), obs=torch.tensor(1.0, dtype=D))

    density = LogDensity(program)
    assert tried[0] == 0.0
    assert tried[-1] > 0.0
    assert torch.isfinite(density(torch.ones(1, dtype=D)))
    with pytest.raises(su.errors.SiteError, match="scale"):
        LogDensity(lambda: su.sample("y", dist.Normal(0.0, -su.sample("s", dist.HalfNormal(1.0))), obs=torch.tensor(1.0)))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            lambda: su.sample("k", dist.Poisson(2.0)),
            r"latent site 'k' .* is discrete \(Poisson\), but gradients need continuous",
        ),
        (lambda: None, r"no latent site and no parameter.*call a network through su\.module\(name, net\)"),
    ],
)
def test_programs_without_a_density(program, said):
    with pytest.raises(DensityError, match=said):
        LogDensity(program)


def test_a_subsampled_plate():
    def program():
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        with su.plate("row", 3, subsample_size=2) as index:
            su.sample("y", dist.Normal(mu, 1.0), obs=Y.float()[index])

    with pytest.raises(DensityError, match=r"plate '?row'? ?.*is subsampled, but a log density needs all the data"):
        LogDensity(program)


def test_what_is_held_and_what_reaches_nothing_is_told():
    def program():
        su.param("a", torch.tensor(1.0))
        su.param("b", torch.tensor(2.0))
        su.sample("lonely", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(0.0))

    with (
        pytest.warns(HeldParameterWarning, match="parameters 'a', 'b' are not lifted, and held"),
        pytest.warns(UnusedSiteWarning, match="latent site 'lonely' affects nothing but the prior"),
    ):
        LogDensity(program)


def test_a_point_mass_is_no_coordinate_and_is_reported():
    def program():
        c = su.sample("c", dist.Delta(torch.tensor(2.0, dtype=D)))
        su.sample("y", dist.Normal(su.sample("mu", dist.Normal(c, 1.0)), 1.0), obs=torch.tensor(0.0, dtype=D))

    density = LogDensity(program)
    q = torch.tensor([0.3], dtype=D)
    assert density.coordinate_names() == ["mu"]
    assert float(density.transform(q)["c"]) == 2.0
    torch.testing.assert_close(
        density(q), td.Normal(2.0, 1.0).log_prob(q).sum() + td.Normal(q, 1.0).log_prob(torch.zeros(1, dtype=D)).sum()
    )


def test_later_starts_take_no_run_where_initial_values_depend_on_nothing() -> None:
    runs = [0]

    def program() -> None:
        runs[0] += 1
        su.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        su.param("scale", torch.tensor(2.0), constraint=dist.constraints.positive)

    density = LogDensity(su.lift(program, dist.LogNormal(0.0, 1.0)))
    starts = [density.start(np.random.default_rng(k)) for k in range(3)]
    before = runs[0]
    again = [density.start(np.random.default_rng(k)) for k in range(3)]
    assert runs[0] == before
    fresh = [LogDensity(density.model).start(np.random.default_rng(k)) for k in range(3)]
    np.testing.assert_array_equal(starts, fresh)
    np.testing.assert_array_equal(again, fresh)


def test_starts_that_depend_on_other_values_take_a_run_each() -> None:
    def program() -> None:
        tau = su.sample("tau", dist.HalfNormal(1.0))
        su.param("x", (3.0 * tau).detach())

    density = LogDensity(su.lift(program, {"x": dist.Normal(0.0, 1.0)}))
    for k in range(4):
        q = density.start(np.random.default_rng(k))
        values = density.unravel(torch.from_numpy(q))
        assert abs(float(values["x"]) - 3.0 * float(values["tau"])) <= 0.1 + 1e-5


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((torch.ones(3), torch.ones(3)), r"given as a tuple, and a Tensor was found: write \(x,\) for one"),
        ((np.ones(3),), "a ndarray was found"),
        (((torch.ones(3),), torch.ones(3)), r"given as a dict, and a Tensor was found: write all .* in one tuple"),
    ],
)
def test_arguments_that_are_in_no_tuple(args, said) -> None:
    with pytest.raises(DensityError, match=said):
        LogDensity(lambda x, y: su.sample("a", dist.Normal(0.0, 1.0)), *args)


def test_a_site_without_gradient_takes_none_from_the_others() -> None:
    """All coordinates are taken from q at once, where the first site is reached."""

    def model() -> None:
        with torch.no_grad():
            a = su.sample("a", dist.Normal(0.0, 1.0))
        b = su.sample("b", dist.Normal(0.0, 1.0))
        su.factor("f", -((a - b) ** 2))

    density = su.infer.LogDensity(model)
    q = torch.tensor([0.5, -0.3], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(density(q), q)
    assert slope.tolist() == pytest.approx([0.0, 0.3 + 2 * 0.8])
