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
from sursum.distributions import constraints
from sursum.errors import CaptureError, DensityError, PlateError, PriorShapeError, PriorSupportError, PriorTypeError
from sursum.messages import Param, Sample


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


def test_hyper_sites_of_a_local_parameter_are_in_its_plates() -> None:
    """Subsampled: the hyper-site has the present elements, and so has the prior built on it."""
    present = torch.tensor([3, 0])

    def prior(init: Tensor) -> Any:
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 0.5)

    def program() -> Tensor:
        with su.plate("groups", 4, subsample=present):
            return su.param("w", torch.zeros(4), event_dim=0)

    tr = su.trace(su.lift(program, {"w": prior})).get_trace()
    mu, w = tr["mu"].value, tr["w"].value
    assert mu.shape == w.shape == (2,)
    assert tr["mu"].scale == tr["w"].scale == 2.0
    expected = 2.0 * (td.Normal(0.0, 1.0).log_prob(mu) + td.Normal(mu, 0.5).log_prob(w)).sum()
    torch.testing.assert_close(tr.log_prob_sum(), expected)


def test_one_hyper_site_for_parameters_of_different_plates_is_refused() -> None:
    def prior(init: Tensor) -> Any:
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 1.0)), 1.0)

    def program() -> None:
        with su.plate("groups", 3):
            su.param("a", torch.zeros(3), event_dim=0)
        su.param("b", torch.tensor(0.0))

    with pytest.raises(PlateError, match=r"two priors draw 'mu' .*in plates \['groups'\].*in plates \[\].*different names"):
        su.lift(program, prior)()


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
    with pytest.raises(PriorTypeError, match=r"prior of parameter 's' \(test_lift_hierarchy.py:\d+\) returned .*None to leave"):
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
