"""`lift`, rule 5: priors that are functions, what they are told, and the sites that they draw."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as td
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.core.messages import Param, Sample
from sursum.distributions import constraints
from sursum.errors import (
    CaptureError,
    DensityError,
    DuplicateSiteError,
    PlateError,
    PriorShapeError,
    PriorSupportError,
    PriorTypeError,
)


def one(**settings: Any) -> Any:
    return lambda: su.param("s", torch.tensor(2.0), **settings)


def test_a_callable_gets_the_value_and_only_what_it_takes() -> None:
    told: list[Any] = []

    def plain(init: Tensor) -> Any:
        told.append(init)

    def keywords(init: Tensor, *, name: str, constraint: Any) -> Any:
        told.append((init, name, constraint))

    def everything(*args: Any, **kwargs: Any) -> Any:
        told.append((args, kwargs))

    def positional(init: Tensor, name: str = "untold") -> Any:
        told.append(name)

    program = one(constraint=constraints.positive, event_dim=0)
    for prior in (plain, keywords, everything, positional):
        assert su.lift(program, prior)() == 2.0
    assert told[0] == 2.0
    assert told[1] == (torch.tensor(2.0), "s", constraints.positive)
    assert told[2] == ((torch.tensor(2.0),), {"name": "s", "constraint": constraints.positive, "event_dim": 0})
    assert told[3] == "untold"


def test_a_callable_of_a_parameter_without_a_value_gets_none() -> None:
    def prior(*args: Any) -> Any:
        assert args == ()
        return dist.Normal(0.0, 1.0)

    assert su.lift(lambda: su.param("s"), prior)().shape == ()


def test_what_a_partial_has_filled_in_is_its_own() -> None:
    def prior(init: Tensor, *, name: str, scale: float = 1.0) -> Any:
        return dist.Delta(torch.tensor(float(len(name)) * scale))

    assert su.lift(one(), partial(prior, name="four", scale=2.0))() == 8.0
    assert su.lift(one(), partial(prior, scale=2.0))() == 2.0


def test_the_value_is_detached_and_the_stores_own() -> None:
    store = su.ParamStore()
    program = one(constraint=constraints.positive)
    with store:
        program()
        with torch.no_grad():
            store.unconstrained["s"].add_(1.0)
        seen: list[Tensor] = []
        su.lift(program, lambda init: seen.append(init))()
    torch.testing.assert_close(seen[0], torch.tensor(2.0).log().add(1.0).exp())
    assert not seen[0].requires_grad


def test_a_builtin_without_a_signature_is_called_with_the_value() -> None:
    assert su.lift(one(), torch.neg)() == -2.0


def test_a_distribution_is_scored_at_what_it_depends_on() -> None:
    def prior(init: Tensor) -> Any:
        tau = su.sample("tau", dist.HalfNormal(2.0))
        return dist.Normal(init, tau)

    tr = su.trace(su.lift(one(), prior)).get_trace()
    assert list(tr) == ["tau", "s"]
    tau, s = tr["tau"].value, tr["s"].value
    torch.testing.assert_close(tr.log_prob_sum(), td.HalfNormal(2.0).log_prob(tau) + td.Normal(2.0, tau).log_prob(s))


def test_hyper_sites_are_drawn_once_whoever_asks() -> None:
    def shared(init: Tensor, *, name: str) -> Any:
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        return dist.Normal(mu, 0.5)

    def other(init: Tensor) -> Any:
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 2.0)

    def program() -> Tensor:
        return su.param("a", torch.zeros(2)).sum() + su.param("b", torch.tensor(0.0)) + su.param("c", torch.tensor(0.0))

    tr = su.trace(su.lift(program, {"a": shared, "b": shared, "c": other})).get_trace()
    assert list(tr) == ["mu", "a", "b", "c"]
    mu = tr["mu"].value
    expected = (
        td.Normal(0.0, 1.0).log_prob(mu)
        + td.Normal(mu, 0.5).log_prob(tr["a"].value).sum()
        + td.Normal(mu, 0.5).log_prob(tr["b"].value)
        + td.Normal(mu, 2.0).log_prob(tr["c"].value)
    )
    torch.testing.assert_close(tr.log_prob_sum(), expected)


def test_the_density_of_a_hierarchy_and_its_gradient() -> None:
    data = torch.tensor([0.3, -1.2, 2.0])

    def program() -> None:
        theta = su.param("theta", torch.zeros(3))
        su.sample("y", dist.Normal(theta, 1.0), obs=data)

    def prior(init: Tensor) -> Any:
        mu = su.sample("mu", dist.Normal(0.0, 5.0))
        tau = su.sample("tau", dist.HalfCauchy(1.0))
        return dist.Normal(mu, tau)

    density = su.infer.LogDensity(su.lift(program, {"theta": prior}))
    assert [latent.name for latent in density.latents] == ["mu", "tau", "theta"]
    q = torch.tensor([0.2, -0.4, 0.1, 0.5, -0.3], dtype=torch.float64, requires_grad=True)
    mu, tau, theta = q[0], q[1].exp(), q[2:]
    expected = (
        td.Normal(0.0, 5.0).log_prob(mu)
        + td.HalfCauchy(torch.tensor(1.0, dtype=torch.float64)).log_prob(tau)
        + q[1]
        + td.Normal(mu, tau).log_prob(theta).sum()
        + td.Normal(theta, 1.0).log_prob(data.double()).sum()
    )
    value = density(q)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad(f, q)[0] for f in (value, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_hyper_parameters_go_outwards_as_parameters() -> None:
    def prior(init: Tensor) -> Any:
        return dist.Normal(su.param("loc", torch.tensor(3.0)), 1e-6)

    inner = su.lift(one(), {"s": prior})
    tr = su.trace(inner).get_trace()
    assert isinstance(tr["loc"], Param)
    assert float(tr["s"].value) == pytest.approx(3.0, abs=1e-3)
    tr = su.trace(su.lift(inner, {"loc": dist.Delta(torch.tensor(9.0))})).get_trace()
    assert float(tr["s"].value) == pytest.approx(9.0, abs=1e-3)


def test_a_hyper_site_is_not_in_a_plate_that_the_parameter_is_not_in() -> None:
    def prior(init: Tensor) -> Any:
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0)

    def inside() -> Tensor:
        with su.plate("data", 10, subsample=torch.arange(3)):
            return su.param("s", torch.tensor(0.0))

    with su.trace() as t, su.plate("outer", 4, dim=-2):
        su.lift(inside, {"s": prior})()
    for name in ("mu", "s"):
        assert t.trace[name].plates == ()
        assert t.trace[name].scale == 1.0
        assert t.trace[name].value.shape == ()


def test_a_prior_may_open_plates_of_its_own() -> None:
    def prior(init: Tensor) -> Any:
        with su.plate("blocks", 2):
            tau = su.sample("tau", dist.HalfNormal(1.0))
        return dist.Normal(0.0, tau.repeat_interleave(3))

    with su.plate("outer", 5):
        tr = su.trace(su.lift(lambda: su.param("s", torch.zeros(6)), {"s": prior})).get_trace()
    assert tr["tau"].value.shape == (2,)
    assert [(f.name, f.dim) for f in tr["tau"].plates] == [("blocks", -1)]
    expected = td.HalfNormal(1.0).log_prob(tr["tau"].value).sum()
    expected = expected + td.Normal(0.0, tr["tau"].value.repeat_interleave(3)).log_prob(tr["s"].value).sum()
    torch.testing.assert_close(tr.log_prob_sum(), expected)


PRESENT = torch.tensor([3, 0])


def pooled(init: Tensor) -> Any:
    return dist.Normal(su.sample("mu", dist.Normal(0.0, 2.0)), su.sample("tau", dist.HalfNormal(1.0)))


def local(subsample: Tensor | None = None, count: int = 4) -> Any:
    def program() -> Tensor:
        with su.plate("groups", count, subsample=subsample):
            return su.param("w", torch.zeros(count), event_dim=0)

    return program


def by_hand(mu: Tensor, tau: Tensor) -> Tensor:
    return td.Normal(0.0, torch.full_like(mu, 2.0)).log_prob(mu) + td.HalfNormal(torch.ones_like(tau)).log_prob(tau)


def test_what_a_prior_draws_is_global_also_for_a_local_parameter() -> None:
    """Subsampled: the parameter has the present elements and is scaled, its hyper-sites are one draw each and are not."""
    tr = su.trace(su.lift(local(PRESENT), {"w": pooled})).get_trace()
    mu, tau, w = (tr[name].value for name in ("mu", "tau", "w"))
    assert mu.shape == tau.shape == ()
    assert w.shape == (2,)
    assert [(tr[name].scale, len(tr[name].plates)) for name in ("mu", "tau", "w")] == [(1.0, 0), (1.0, 0), (2.0, 1)]
    torch.testing.assert_close(tr.log_prob_sum(), by_hand(mu, tau) + 2.0 * td.Normal(mu, tau).log_prob(w).sum())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_shape_of_a_hyper_site_does_not_depend_on_how_many_groups_there_are(count: int) -> None:
    tr = su.trace(su.lift(local(count=count), {"w": pooled})).get_trace()
    assert [tuple(tr[name].value.shape) for name in ("mu", "tau", "w")] == [(), (), (count,)]
    assert [frame.name for frame in tr["w"].plates] == ["groups"]


def program_alone() -> Tensor:
    return su.param("w", torch.zeros(4), event_dim=0)


def decorated(program: Any) -> Any:
    return su.plate("groups", 4, subsample=PRESENT)(program)


def in_a_block(program: Any) -> Any:
    def called() -> Any:
        with su.plate("groups", 4, subsample=PRESENT):
            return program()

    return called


@pytest.mark.parametrize("around", [decorated, in_a_block])
@pytest.mark.parametrize("outside", [False, True])
def test_a_hyper_site_is_the_same_wherever_the_plate_stands(around: Any, outside: bool) -> None:
    lifted = around(su.lift(program_alone, pooled)) if outside else su.lift(around(program_alone), pooled)
    tr = su.trace(lifted).get_trace()
    mu, tau, w = (tr[name].value for name in ("mu", "tau", "w"))
    assert (mu.shape, tau.shape, w.shape) == ((), (), (2,))
    torch.testing.assert_close(tr.log_prob_sum(), by_hand(mu, tau) + 2.0 * td.Normal(mu, tau).log_prob(w).sum())


def test_parameters_in_different_plates_share_a_hyper_site() -> None:
    def program() -> None:
        with su.plate("rows", 3):
            su.param("a", torch.zeros(3), event_dim=0)
        with su.plate("columns", 4, subsample=PRESENT, dim=-2):
            su.param("b", torch.zeros(4, 1), event_dim=0)
        su.param("c", torch.zeros(2, 2))

    tr = su.trace(su.lift(program, pooled)).get_trace()
    assert list(tr) == ["mu", "tau", "a", "b", "c"]
    mu, tau = tr["mu"].value, tr["tau"].value
    own = td.Normal(mu, tau)
    expected = by_hand(mu, tau) + sum(k * own.log_prob(tr[name].value).sum() for name, k in (("a", 1), ("b", 2), ("c", 1)))
    torch.testing.assert_close(tr.log_prob_sum(), expected)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_the_density_of_pooled_groups_on_both_engines(engine: str) -> None:
    data = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)

    def program() -> None:
        with su.plate("groups", 3):
            w = su.param("w", torch.zeros(3, dtype=torch.float64), event_dim=0)
            su.sample("y", dist.Normal(w, 1.0), obs=data)

    density = su.compile(su.lift(program, {"w": pooled}), engine=engine)
    assert density.dim == 5
    q = torch.tensor([0.2, -0.4, 0.1, 0.5, -0.3], dtype=torch.float64, requires_grad=True)
    mu, tau, w = q[0], q[1].exp(), q[2:]
    expected = by_hand(mu, tau) + q[1] + (td.Normal(mu, tau).log_prob(w) + td.Normal(w, 1.0).log_prob(data)).sum()
    value, gradient = density.value_and_grad(q.detach().numpy())
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    np.testing.assert_allclose(gradient, torch.autograd.grad(expected, q)[0].numpy(), rtol=1e-10)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_hyper_site_of_a_parameter_in_a_scan_is_drawn_once(engine: str) -> None:
    data = torch.tensor([0.5, 1.0, -0.5, 2.0], dtype=torch.float64)

    def step(x: Tensor, y: Tensor) -> Any:
        x = su.param("a", torch.tensor(0.5, dtype=torch.float64)) * x
        su.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    lifted = su.lift(lambda: su.scan(step, torch.tensor(1.0, dtype=torch.float64), data), {"a": pooled})
    assert [tuple(site.value.shape) for site in su.trace(lifted).get_trace().values()] == [(), (), (), (4,)]
    q = torch.tensor([0.2, -0.4, 0.6], dtype=torch.float64)
    mu, tau, a = q[0], q[1].exp(), q[2]
    path = a ** torch.arange(1, 5)
    expected = by_hand(mu, tau) + q[1] + td.Normal(mu, tau).log_prob(a) + td.Normal(path, 1.0).log_prob(data).sum()
    assert su.compile(lifted, engine=engine).value_and_grad(q.numpy())[0] == pytest.approx(float(expected), rel=1e-12)


def test_scales_and_masks_act_on_hyper_sites_from_outside_only() -> None:
    inside = su.trace(su.lift(su.scale(local(), scale=5.0), pooled)).get_trace()
    assert [inside[name].scale for name in ("mu", "tau", "w")] == [1.0, 1.0, 1.0]
    outside = su.trace(su.scale(su.lift(local(PRESENT), pooled), scale=5.0)).get_trace()
    assert [outside[name].scale for name in ("mu", "tau", "w")] == [5.0, 5.0, 10.0]
    masked = su.trace(su.mask(su.lift(local(), pooled), mask=False)).get_trace()
    assert float(masked.log_prob_sum()) == 0.0


def test_handlers_around_lift_act_on_hyper_sites_as_on_any() -> None:
    lifted = su.lift(local(), {"w": pooled})
    given = {"mu": torch.tensor(3.0)}
    observed = su.trace(su.condition(lifted, data=given)).get_trace()
    assert observed.observation_nodes == ["mu"]
    assert su.trace(su.substitute(lifted, data=given)).get_trace()["mu"].value == 3.0
    assert list(su.trace(su.block(lifted, hide=["mu"])).get_trace()) == ["tau", "w"]
    assert type(su.trace(su.reprior(lifted, {"tau": dist.Exponential(1.0)})).get_trace()["tau"].fn).__name__ == "Exponential"
    recorded = su.trace(lifted).get_trace()
    assert su.trace(su.replay(lifted, trace=recorded)).get_trace()["tau"].value is recorded["tau"].value
    done = su.trace(su.do(lifted, data={"tau": torch.tensor(1e-6), **given})).get_trace()
    assert done["mu"].value != 3.0
    torch.testing.assert_close(done["w"].value, torch.full((4,), 3.0), atol=1e-3, rtol=0.0)
    centred = su.trace(su.reparam(lifted, {"w": su.infer.reparam.LocScaleReparam(0.0)})).get_trace()
    assert centred.stochastic_nodes == ["mu", "tau", "w_decentered"]
    assert centred["w_decentered"].value.shape == (4,)


def test_hyper_sites_are_drawn_from_the_seed_on_either_side() -> None:
    for program in (su.seed(su.lift(local(), pooled), rng_seed=1), su.lift(su.seed(local(), rng_seed=1), pooled)):
        first, again = (su.trace(program).get_trace() for _ in range(2))
        assert all(torch.equal(first[name].value, again[name].value) for name in ("mu", "tau", "w"))


def by_group(init: Tensor) -> Any:
    tau = su.sample("tau", dist.HalfNormal(1.0))
    with su.plate("groups", 4) as present:
        mu = su.sample("mu", dist.Normal(torch.arange(4.0)[present], 2.0))
    return dist.Normal(mu, tau)


@pytest.mark.parametrize("present", [PRESENT, torch.tensor([3, 1, 0, 2]), None])
def test_a_plate_around_the_parameter_is_opened_again_by_its_name(present: Tensor | None) -> None:
    """With its elements and scale; that all are present, in another order, is no matter."""
    tr = su.trace(su.lift(local(present), {"w": by_group})).get_trace()
    tau, mu, w = (tr[name].value for name in ("tau", "mu", "w"))
    loc = torch.arange(4.0) if present is None else torch.arange(4.0)[present]
    scale = 4.0 / len(loc)
    assert mu.shape == w.shape == loc.shape
    assert tr["mu"].plates == tr["w"].plates
    terms = td.Normal(loc, 2.0).log_prob(mu) + td.Normal(mu, tau).log_prob(w)
    torch.testing.assert_close(tr.log_prob_sum(), td.HalfNormal(1.0).log_prob(tau) + scale * terms.sum())


def test_a_plate_opened_again_has_the_dimension_that_it_has() -> None:
    def program() -> Tensor:
        with su.plate("groups", 4, dim=-2, subsample=PRESENT), su.plate("data", 3, dim=-1):
            return su.param("w", torch.zeros(4, 3), event_dim=0)

    def prior(init: Tensor) -> Any:
        with su.plate("groups", 4):
            return dist.Normal(su.sample("mu", dist.Normal(0.0, 2.0)), 1.0)

    tr = su.trace(su.lift(program, {"w": prior})).get_trace()
    mu, w = tr["mu"].value, tr["w"].value
    assert (mu.shape, w.shape) == ((2, 1), (2, 3))
    expected = 2.0 * (td.Normal(0.0, 2.0).log_prob(mu).sum() + td.Normal(mu, 1.0).log_prob(w).sum())
    torch.testing.assert_close(tr.log_prob_sum(), expected)


def test_a_plate_opened_again_draws_no_subsample_of_its_own() -> None:
    def program() -> Tensor:
        with su.plate("groups", 40, subsample_size=3):
            return su.param("w", torch.zeros(40), event_dim=0)

    def prior(init: Tensor) -> Any:
        with su.plate("groups", 40, subsample_size=3):
            return dist.Normal(su.sample("mu", dist.Normal(0.0, 2.0)), 1.0)

    tr = su.trace(su.lift(program, {"w": prior})).get_trace()
    assert list(tr) == ["groups", "mu", "w"]
    assert tr["mu"].plates[0].indices is tr["groups"].value


def sized() -> Any:
    return su.plate("groups", 3)


def placed() -> Any:
    return su.plate("groups", 4, dim=-2)


def picked() -> Any:
    return su.plate("groups", 4, subsample=torch.tensor([1, 2]))


@pytest.mark.parametrize("other", [sized, placed, picked])
def test_a_plate_of_that_name_that_is_another_one_is_an_error(other: Any) -> None:
    def prior(init: Tensor) -> Any:
        with other():
            return dist.Normal(su.sample("mu", dist.Normal(0.0, 2.0)), 1.0)

    with pytest.raises(PlateError, match=r"'groups' \(test_hierarchy.py:\d+\) in a prior has .*write plate\('groups', 4\)"):
        su.lift(local(PRESENT), {"w": prior})()


def test_a_plate_opened_again_as_an_iterator_is_an_error() -> None:
    def prior(init: Tensor) -> Any:
        scales = [su.sample(f"tau_{i}", dist.HalfNormal(1.0)) for i in su.plate("groups", 4)]
        return dist.Normal(0.0, torch.stack(scales))

    with pytest.raises(PlateError, match="'groups' .*only reopen it as a whole"):
        su.lift(local(), {"w": prior})()


def test_a_hyper_site_drawn_in_two_ways_is_an_error() -> None:
    def program() -> None:
        with su.plate("groups", 4):
            su.param("a", torch.zeros(4), event_dim=0)
        su.param("b", torch.tensor(0.0))

    def global_mu(init: Tensor) -> Any:
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0)

    with pytest.raises(
        DuplicateSiteError, match=r"two priors draw 'mu' .*\(4,\) in plate 'groups', .*\(\) in no plate.*different"
    ):
        su.lift(program, {"a": by_group, "b": global_mu})()

    def as_long(init: Tensor) -> Any:
        return dist.Normal(su.sample("mu", dist.Normal(torch.zeros_like(init), 1.0).to_event(init.dim())), 1.0)

    with pytest.raises(DuplicateSiteError, match=r"shape \(4,\) in no plate, the second .*shape \(\) in no plate"):
        su.lift(program, as_long)()


def test_hyper_parameters_of_a_lift_in_a_lift() -> None:
    """The inner prior reads a parameter, which the outer one pools: everything but the parameter itself is global."""

    def inner(init: Tensor) -> Any:
        return dist.Normal(su.param("loc", torch.tensor(3.0)), 0.5)

    tr = su.trace(su.lift(su.lift(local(PRESENT), {"w": inner}), {"loc": pooled})).get_trace()
    mu, tau, loc, w = (tr[name].value for name in ("mu", "tau", "loc", "w"))
    assert (mu.shape, tau.shape, loc.shape, w.shape) == ((), (), (), (2,))
    expected = by_hand(mu, tau) + td.Normal(mu, tau).log_prob(loc) + 2.0 * td.Normal(loc, 0.5).log_prob(w).sum()
    torch.testing.assert_close(tr.log_prob_sum(), expected)


def test_two_lifts_draw_a_site_each_so_that_one_name_in_both_is_an_error() -> None:
    def program() -> None:
        su.param("a", torch.tensor(0.0))
        su.param("b", torch.tensor(0.0))

    with pytest.raises(DuplicateSiteError, match="two sites are named 'mu'"):
        su.trace(su.lift(su.lift(program, {"a": pooled}), {"b": pooled})).get_trace()


def test_a_random_module_in_a_plate_has_global_hyper_sites() -> None:
    def program() -> None:
        with su.plate("data", 10, subsample=PRESENT):
            su.random_module("net", torch.nn.Linear(2, 1), pooled)()

    tr = su.trace(program).get_trace()
    assert {name: (tuple(site.value.shape), site.scale) for name, site in tr.items()} == {
        "mu": ((), 1.0),
        "tau": ((), 1.0),
        "net.weight": ((1, 2), 1.0),
        "net.bias": ((1,), 1.0),
    }


def test_pooled_groups_are_fitted_sampled_and_predicted_for_new_ones() -> None:
    """The density is that of a program that draws the hyper-sites itself; new groups are drawn from them."""

    def program(y: Tensor) -> None:
        with su.plate("groups", len(y)):
            w = su.param("w", torch.zeros(len(y)), event_dim=0)
            su.sample("y", dist.Normal(w, 0.5), obs=y)

    def written(y: Tensor) -> None:
        mu, tau = su.sample("mu", dist.Normal(0.0, 2.0)), su.sample("tau", dist.HalfNormal(1.0))
        with su.plate("groups", len(y)):
            su.sample("y", dist.Normal(su.sample("w", dist.Normal(mu, tau)), 0.5), obs=y)

    y, lifted = torch.tensor([1.0, 2.0, 0.5, 3.0]), su.lift(program, {"w": pooled})
    q = np.array([0.3, -0.2, 1.0, 0.5, 0.1, -0.7])
    ours, theirs = (su.compile(program, y).value_and_grad(q) for program in (lifted, written))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-12)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-12)
    draws = {"mu": torch.linspace(-1.0, 1.0, 50), "tau": torch.linspace(0.1, 2.0, 50)}
    with su.seed(rng_seed=0):
        drawn = su.infer.Predictive(lifted, draws)(y.new_zeros(7))
    assert drawn["w"].shape == (50, 7)
    spread = (drawn["w"] - draws["mu"].unsqueeze(-1)) / draws["tau"].unsqueeze(-1)
    assert abs(float(spread.square().mean()) - 1.0) < 4 * (2 / 350) ** 0.5
    guide, loss = su.infer.autoguide.AutoNormal(lifted), su.infer.Trace_ELBO(num_particles=5, vectorize_particles=True)
    svi = su.infer.SVI(lifted, guide, su.optim.Adam(lr=0.01), loss, seed=0)
    assert torch.isfinite(torch.as_tensor(svi.run(3, y).losses)).all()
    with svi.params, su.trace() as t:
        guide(y)
    assert [tuple(t.trace[name].value.shape) for name in ("mu", "tau", "w")] == [(), (), (4,)]


def test_a_tensor_from_a_mapping_is_shown_outwards_and_cannot_be_scored() -> None:
    draw = lambda init: torch.tensor(5.0)
    tr = su.trace(su.lift(one(), {"s": draw})).get_trace()
    assert isinstance(tr["s"], Sample)
    assert tr["s"].fn is draw
    assert tr.result == 5.0
    with pytest.raises(DensityError, match="site 's' .* cannot be scored"):
        tr.log_prob_sum()


def test_a_tensor_from_the_whole_prior_stays_inside() -> None:
    reads = su.lift(lambda: (su.param("s", torch.tensor(0.0)), su.param("s", torch.tensor(0.0))), lambda *a: torch.randn(()))
    tr = su.trace(reads).get_trace()
    assert list(tr) == []
    assert tr.result[0] is tr.result[1]


@pytest.mark.parametrize("whole", [True, False])
def test_a_tensor_is_made_to_fit_its_parameter(whole: bool) -> None:
    draw: Any = lambda init: torch.tensor(5.0)
    lifted = su.lift(lambda: su.param("s", torch.zeros(3, dtype=torch.float64)), draw if whole else {"s": draw})
    assert torch.equal(lifted(), torch.full((3,), 5.0, dtype=torch.float64))
    wrong: Any = lambda init: torch.zeros(2)
    with pytest.raises(PriorShapeError, match=r"'s' .*shape \(2,\), which does not expand to the parameter's \(3,\)"):
        su.lift(lambda: su.param("s", torch.zeros(3)), wrong if whole else {"s": wrong})()
    negative: Any = lambda init: torch.tensor(-1.0)
    with pytest.raises(PriorSupportError, match=r"'s' .*values that do not satisfy .*GreaterThan.*HalfNormal"):
        su.lift(one(constraint=constraints.positive), negative if whole else {"s": negative})()


@pytest.mark.parametrize("whole", [True, False])
def test_a_tensor_for_a_local_parameter_is_subsampled(whole: bool) -> None:
    def program() -> Tensor:
        with su.plate("groups", 4, subsample=torch.tensor([3, 1])):
            return su.param("w", torch.arange(4.0), event_dim=0)

    draw: Any = lambda init: 10.0 * init
    assert su.lift(program, draw if whole else {"w": draw})().tolist() == [30.0, 10.0]


@pytest.mark.parametrize("answer", [3.0, "Normal", dist.Normal, [dist.Normal(0.0, 1.0)]])
def test_any_other_answer_is_an_error(answer: Any) -> None:
    with pytest.raises(PriorTypeError, match=r"prior of parameter 's' \(test_hierarchy.py:\d+\) returned .*None to leave"):
        su.lift(one(), lambda init: answer)()


def test_an_error_in_a_prior_leaves_no_handler_behind() -> None:
    def prior(init: Tensor) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        su.lift(one(), prior)()
    with su.trace() as t:
        assert su.param("s", torch.tensor(1.0)) == 1.0
    assert list(t.trace) == ["s"]


def test_a_program_that_draws_its_parameters_unseen_has_no_density() -> None:
    def program() -> None:
        s = su.param("s", torch.tensor(0.0))
        su.sample("z", dist.Normal(s, 1.0))

    unseen = su.lift(program, lambda *args: dist.Normal(0.0, 1.0).sample())
    with pytest.raises(CaptureError, match="draws at random.*'s'"):
        su.compile(unseen, engine="torch")
    with pytest.raises(DensityError, match="'s' .*cannot be scored"):
        su.infer.LogDensity(su.lift(program, {"s": lambda init: dist.Normal(0.0, 1.0).sample()}))


def test_the_flat_prior() -> None:
    def program() -> None:
        s = su.param("s", torch.tensor(0.5), constraint=constraints.positive)
        p = su.param("p", torch.ones(2, 3) / 3, constraint=constraints.simplex)
        su.factor("f", -s + p.log().sum())

    density = su.infer.LogDensity(su.lift(program, su.priors.flat), jacobian=False)
    q = torch.zeros(density.dim, dtype=torch.float64)
    assert density.dim == 1 + 2 * 2
    values = density.unravel(q)
    assert float(density(q)) == pytest.approx(float(-values["s"] + values["p"].log().sum()), rel=1e-6)


def test_a_delta_prior_is_kept_with_what_is_sampled() -> None:
    """A prior that draws standardised sites and says by a `Delta` what they amount to: nothing else to infer there."""

    def standardised(theta: torch.Tensor) -> dist.Distribution:
        z = su.sample("z", dist.Normal(torch.zeros_like(theta), 1.0).to_event(1))
        return dist.Delta(3.0 + 2.0 * z)

    def program() -> None:
        theta = su.param("theta", torch.zeros(2))
        su.sample("y", dist.Normal(theta, 1.0).to_event(1), obs=torch.ones(2))

    density = su.compile(su.lift(program, {"theta": standardised}))
    assert [latent.name for latent in density.density.latents] == ["z"]
    values = density.expand(np.array([[0.5, -1.0], [0.0, 2.0]]))
    assert list(values) == ["z", "theta"]
    assert torch.equal(values["theta"], 3.0 + 2.0 * values["z"])
