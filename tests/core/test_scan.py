"""`scan` under the handlers: the same as the loop written out, in one site a name."""

import itertools
import math

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import DuplicateSiteError, ObservationError, ScanError
from sursum.infer import LogDensity
from sursum.infer.reparam import LocScaleReparam

P = su.poutine
T = 5
Y = torch.tensor([0.3, -1.2, 0.8, 2.0, -0.4])


def volatility(y=Y):
    """An AR(1) log volatility; the parameters are to be lifted."""
    phi = su.param("phi", torch.tensor(0.5))

    def step(h, y):
        sigma = su.param("sigma", torch.tensor(0.4), constraint=dist.constraints.positive)
        h = su.sample("h", dist.Normal(phi * h, sigma))
        su.deterministic("vol", (h / 2).exp())
        su.factor("pull", -0.1 * h**2)
        su.sample("y", dist.Normal(0.0, (h / 2).exp()), obs=y)
        return h, 2 * h

    return su.scan(step, torch.tensor(0.1), y)


def unrolled(y=Y):
    """The same, written out."""
    phi = su.param("phi", torch.tensor(0.5))
    h = torch.tensor(0.1)
    for t in range(T):
        sigma = su.param("sigma", torch.tensor(0.4), constraint=dist.constraints.positive)
        h = su.sample(f"h{t}", dist.Normal(phi * h, sigma))
        su.factor(f"pull{t}", -0.1 * h**2)
        su.sample(f"y{t}", dist.Normal(0.0, (h / 2).exp()), obs=y[t])
    return h


PRIOR = {"phi": dist.Uniform(-1.0, 1.0), "sigma": dist.HalfNormal(1.0)}


def split(values):
    """Values of `unrolled` out of values of `volatility`."""
    found = {}
    for name, value in values.items():
        found |= {f"{name}{t}": value[t] for t in range(T)} if value.dim() else {name: value}
    return found


def test_a_trace_has_each_site_once_with_a_time_dimension():
    with P.seed(rng_seed=0), P.trace() as t:
        last, path = volatility()
    tr = t.trace
    assert list(tr) == ["phi", "sigma", "h", "vol", "pull", "y"]
    assert all(tr[name].value.shape == (T,) for name in ("h", "vol", "pull", "y"))
    assert torch.equal(path, 2 * tr["h"].value)
    assert last == tr["h"].value[-1]
    assert torch.equal(tr["vol"].value, (tr["h"].value / 2).exp())
    assert torch.equal(tr["y"].value, Y)
    assert [tr[name].type for name in tr] == ["param", "param", "sample", "deterministic", "factor", "sample"]
    before = torch.cat([torch.tensor([0.1]), tr["h"].value[:-1]])
    assert torch.allclose(tr["h"].log_prob(), dist.Normal(0.5 * before, 0.4).log_prob(tr["h"].value))
    assert torch.allclose(tr["h"].fn.log_prob(tr["h"].value), tr["h"].log_prob())
    assert tr["h"].plates == tr["phi"].plates == tr["sigma"].plates == ()
    assert tr.log_prob()["y"].shape == (T,)


def test_values_given_from_outside_are_stacked_and_the_density_is_the_loops():
    h = torch.linspace(-1.0, 1.0, T)
    for give in (P.condition, P.substitute):
        one = P.trace(give(volatility, data={"h": h})).get_trace()
        other = P.trace(give(unrolled, data=split({"h": h}))).get_trace()
        assert one["h"].is_observed is (give is P.condition)
        assert torch.allclose(one.log_prob_sum(), other.log_prob_sum())
        assert torch.equal(one["h"].value, h)
    replayed = P.trace(P.replay(volatility, trace=one)).get_trace()
    assert torch.equal(replayed["h"].value, h)
    assert torch.allclose(replayed.log_prob_sum(), one.log_prob_sum())


def test_intervention_by_step():
    h = torch.linspace(-1.0, 1.0, T)
    with P.seed(rng_seed=0), P.trace() as t:
        _, path = P.do(volatility, data={"h": h})()
    assert torch.equal(path, 2 * h)
    assert not torch.equal(t.trace["h"].value, h)
    before = torch.cat([torch.tensor([0.1]), h[:-1]])
    assert torch.allclose(t.trace["h"].log_prob(), dist.Normal(0.5 * before, 0.4).log_prob(t.trace["h"].value))


def test_a_handler_inside_the_body_holds_the_values_of_its_step():
    def step(carry, x):
        with P.trace() as t, P.condition(data={"z": x}):
            z = su.sample("z", dist.Normal(carry, 1.0))
        return carry + t.trace["z"].value, z

    with P.trace() as t:
        _, zs = su.scan(step, torch.tensor(0.0), Y)
    assert torch.equal(zs, Y)
    assert torch.equal(t.trace["z"].value, Y)
    before = torch.cat([torch.zeros(1), Y.cumsum(0)[:-1]])
    assert torch.allclose(t.trace["z"].log_prob(), dist.Normal(before, 1.0).log_prob(Y), atol=1e-6)


@pytest.mark.parametrize("lift_inside", [True, False])
def test_a_lifted_parameter_in_the_body_is_one_site(lift_inside):
    h = torch.linspace(-1.0, 1.0, T)
    make = lambda model, data: (
        P.lift(P.condition(model, data=data), PRIOR) if lift_inside else P.condition(P.lift(model, PRIOR), data=data)
    )
    with P.seed(rng_seed=1), P.trace() as t:
        make(volatility, {"h": h})()
    assert t.trace["sigma"].type == "sample"
    assert t.trace["sigma"].value.shape == ()
    assert t.trace["sigma"].plates == ()
    other = P.substitute(make(unrolled, split({"h": h})), data={n: t.trace[n].value for n in PRIOR})
    assert torch.allclose(t.trace.log_prob_sum(), P.trace(other).get_trace().log_prob_sum())


def test_a_log_density_is_the_loops():
    one, other = LogDensity(P.lift(volatility, PRIOR)), LogDensity(P.lift(unrolled, PRIOR))
    assert [(latent.name, latent.shape) for latent in one.latents] == [("phi", ()), ("sigma", ()), ("h", (T,))]
    q = torch.linspace(-1.0, 1.5, one.dim, dtype=torch.float64)
    values, slopes = [], []
    for density in (one, other):
        at = q.clone().requires_grad_()
        values.append(density(at))
        slopes.append(torch.autograd.grad(values[-1], at)[0])
    assert torch.allclose(*values, atol=1e-5)
    assert torch.allclose(*slopes, atol=1e-5)
    found = one.unravel(q)
    assert torch.allclose(found["h"].double(), q[2:])
    assert one.transform(q)["vol"].shape == (T,)
    assert one.start(np.random.default_rng(0)).shape == (one.dim,)
    assert one.dims["h"] == ("h_dim_0",)


def test_a_support_is_mapped_in_every_step():
    def step(level, _):
        level = su.sample("level", dist.LogNormal(level.log(), 0.5))
        return level, None

    density = LogDensity(lambda: su.scan(step, torch.tensor(1.0), length=3))
    q = torch.tensor([0.2, -0.3, 0.5], dtype=torch.float64)
    # In logarithms it is a random walk, and the Jacobian takes LogNormal's 1 / x away.
    wanted = dist.Normal(torch.tensor([0.0, 0.2, -0.3], dtype=torch.float64), 0.5).log_prob(q).sum()
    assert torch.allclose(density(q), wanted, rtol=1e-14, atol=1e-14)
    assert torch.allclose(density.unravel(q)["level"], q.exp(), rtol=1e-14)


def test_plates_around_and_inside():
    def step(x, y):
        with su.plate("inside", 2, dim=-2):
            su.sample("w", dist.Normal(0.0, 1.0))
        x = su.sample("x", dist.Normal(x, 1.0))
        su.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    def model():
        with su.plate("series", 6, subsample=torch.tensor([1, 4, 5])):
            su.scan(step, torch.zeros(3), torch.ones(T, 3))

    tr = P.trace(P.seed(model, rng_seed=0)).get_trace()
    assert tr["w"].value.shape == (T, 2, 3)
    assert tr["x"].value.shape == (T, 3)
    assert [frame.name for frame in tr["w"].plates] == ["series", "inside"]
    x = tr["x"].value
    before = torch.cat([torch.zeros(1, 3), x[:-1]])
    assert torch.allclose(tr["x"].log_prob(), 2.0 * dist.Normal(before, 1.0).log_prob(x))


def test_scans_nest():
    def outer(total, row):
        def inner(c, y):
            z = su.sample("z", dist.Normal(c, 1.0))
            su.sample("y", dist.Normal(z, 1.0), obs=y)
            return c + y, z

        su.sample("top", dist.Normal(total, 1.0))
        last, zs = su.scan(inner, total, row)
        return last, zs

    rows = torch.arange(6.0).reshape(3, 2)
    tr = P.trace(P.seed(lambda: su.scan(outer, torch.tensor(0.0), rows), rng_seed=0)).get_trace()
    assert tr["z"].value.shape == (3, 2)
    assert tr["top"].value.shape == (3,)
    sums = torch.cat([torch.zeros(1), rows.flatten().cumsum(0)[:-1]]).reshape(3, 2)
    assert torch.allclose(tr["z"].log_prob(), dist.Normal(sums, 1.0).log_prob(tr["z"].value))
    assert torch.equal(tr.result[1], tr["z"].value)
    given = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    again = P.trace(P.condition(lambda: su.scan(outer, torch.tensor(0.0), rows), data={"z": given})).get_trace()
    assert torch.equal(again["z"].value, given)


def test_structures_of_carry_and_of_what_is_kept():
    def step(carry, x):
        i, (a, state) = carry["i"], carry["rest"]
        return {"i": i + 1, "rest": (a + x["u"], [state[0] * 2])}, {"a": a, "pair": (i, x["v"])}

    init = {"i": torch.tensor(0), "rest": (0.0, [torch.ones(2)])}
    xs = {"u": torch.arange(3.0), "v": torch.eye(3)}
    last, ys = su.scan(step, init, xs)
    assert last["i"] == 3
    assert last["rest"][0] == 3.0
    assert torch.equal(last["rest"][1][0], torch.full((2,), 8.0))
    assert torch.equal(ys["pair"][0], torch.arange(3))
    assert torch.equal(ys["pair"][1], torch.eye(3))
    assert torch.equal(ys["a"], torch.tensor([0.0, 0.0, 1.0]))


def test_missing_observations_are_masked_by_step():
    present = torch.tensor([True, False, True, True, False])
    y = torch.where(present, Y, torch.nan)

    def model():
        def step(x, row):
            y, here = row
            x = su.sample("x", dist.Normal(x, 1.0))
            with P.mask(mask=here):
                su.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        su.scan(step, torch.tensor(0.0), (y, present))

    density = LogDensity(model)
    q = torch.linspace(-1.0, 1.0, T, dtype=torch.float64).requires_grad_()
    prior = dist.Normal(torch.cat([torch.zeros(1), q[:-1]]), 1.0).log_prob(q).sum()
    wanted = prior + dist.Normal(q, 1.0).log_prob(Y)[present].sum()
    value = density(q)
    assert torch.allclose(value, wanted)
    assert torch.allclose(torch.autograd.grad(value, q)[0], torch.autograd.grad(wanted, q)[0])


def test_other_handlers():
    h = torch.linspace(-1.0, 1.0, T)
    program = P.substitute(volatility, data={"h": h})
    base = P.trace(program).get_trace()
    scaled = P.trace(P.scale(program, scale=3.0)).get_trace()
    assert torch.allclose(scaled.log_prob_sum(), 3.0 * base.log_prob_sum())
    masked = P.trace(P.mask(program, mask=False)).get_trace()
    assert masked.log_prob_sum() == 0.0
    hidden = P.trace(P.block(program, hide=["h", "pull"])).get_trace()
    assert list(hidden) == ["phi", "sigma", "vol", "y"]
    other = P.trace(P.substitute(P.reprior(volatility, {"h": dist.Normal(1.0, 2.0)}), data={"h": h})).get_trace()
    assert torch.allclose(other["h"].log_prob(), dist.Normal(1.0, 2.0).log_prob(h))
    with P.seed(rng_seed=3):
        first = volatility()
    with P.seed(rng_seed=3):
        second = volatility()
    assert torch.equal(first[1], second[1])
    drawn = P.trace(P.seed(P.uncondition(volatility), rng_seed=0)).get_trace()
    assert not drawn["y"].is_observed
    assert drawn["y"].value.shape == (T,)


def test_reparam_by_step():
    z = torch.linspace(-1.0, 1.0, T)
    program = P.substitute(P.reparam(volatility, {"h": LocScaleReparam(0.0)}), data={"h_decentered": z})
    tr = P.trace(program).get_trace()
    assert tr["h"].type == "deterministic"
    h, path = torch.tensor(0.1), []
    for one in z:
        h = 0.5 * h + 0.4 * one
        path.append(h)
    assert torch.allclose(tr["h"].value, torch.stack(path))
    assert torch.allclose(tr["h_decentered"].log_prob(), dist.Normal(0.0, 1.0).log_prob(z))


def test_a_hidden_markov_model_is_the_sum_over_all_paths():
    trans = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]).log()
    emit = torch.tensor([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5]]).log()
    seen = torch.tensor([0, 1, 1, 0])

    def step(alpha, y):
        return torch.logsumexp(alpha[:, None] + trans, 0) + emit[:, y], None

    first = math.log(1 / 3) + emit[:, seen[0]]
    alpha, nothing = su.scan(step, first, seen[1:])
    assert nothing is None
    total = 0.0
    for path in torch.cartesian_prod(*[torch.arange(3)] * 4).tolist():
        log = math.log(1 / 3) + sum(float(emit[s, y]) for s, y in zip(path, seen.tolist(), strict=True))
        total += math.exp(log + sum(float(trans[a, b]) for a, b in itertools.pairwise(path)))
    assert float(alpha.logsumexp(0)) == pytest.approx(math.log(total), rel=1e-5)


def body(c, x):
    return c, x


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: su.scan(body, torch.tensor(0.0)), "neither xs nor length, but needs one number of steps"),
        (lambda: su.scan(body, torch.tensor(0.0), (torch.zeros(2), torch.zeros(3))), r"the lengths \[2, 3\]"),
        (lambda: su.scan(body, torch.tensor(0.0), torch.zeros(2), length=3), r"the lengths \[2, 3\]"),
        (lambda: su.scan(body, torch.tensor(0.0), torch.zeros(0)), "has 0 steps, but needs at least one"),
        (lambda: su.scan(body, torch.tensor(0.0), length=-1), "`length` is -1, but must be an integer of at least 1"),
        (lambda: su.scan(body, torch.tensor(0.0), length=2.5), "`length` is 2.5, but must be an integer"),
        (lambda: su.scan(body, torch.tensor(0.0), torch.tensor(1.0)), "one has no dimensions"),
        (lambda: su.scan(body, torch.tensor(0.0), [1.0]), "xs must consist of tensors, but contains a float"),
        (lambda: su.scan(body, None, ["a"]), "xs must consist of tensors, but contains a str"),
        (lambda: su.scan(lambda c, x: c, torch.tensor(0.0), length=2), r"returned a Tensor\. It must return two things"),
        (lambda: su.scan(lambda c, x: ((c, c), x), torch.tensor(0.0), length=2), "the carry has the structure"),
        (
            lambda: su.scan(lambda c, x: (c.expand(2), x), torch.tensor(0.0), length=2),
            r"float32 of shape \(\) before step 0, and float32 of shape \(2,\)",
        ),
        (lambda: su.scan(lambda c, x: (c + 1.5, x), 0, length=2), r"int64 of shape \(\) before step 0, and float32"),
        (lambda: su.scan(lambda c, x: (1.0, x), 0.0, length=2), r"and a float after it\. Start with"),
    ],
)
def test_what_cannot_be_run(run, message):
    with pytest.raises(ScanError, match=message):
        run()


def test_sites_that_are_not_in_every_step():
    def sometimes(c, x):
        if x > 0:
            su.sample("z", dist.Normal(0.0, 1.0))
        return c, None

    with pytest.raises(ScanError, match="site 'z' is in 3 of the 5 steps of a scan .*poutine.mask"), P.trace():
        su.scan(sometimes, None, Y)

    def observed(c, x):
        su.sample("z", dist.Normal(0.0, 1.0), obs=x if x > 0 else None)
        return c, None

    with pytest.raises(ScanError, match="is observed: True in the first step of a scan .*, and False in step 1"), P.trace():
        su.scan(observed, None, Y)

    def wider(c, x):
        su.sample("z", dist.Normal(torch.zeros(2 if x > 0 else 3), 1.0))
        return c, None

    with pytest.raises(ScanError, match=r"has the value's shape \(2,\) in the first step"), P.trace():
        su.scan(wider, None, Y)

    def changing(c, x):
        return c, (x if x > 0 else [x, x])

    with pytest.raises(ScanError, match="one step returns .* and the next"):
        su.scan(changing, None, Y)
    with pytest.raises(ScanError, match="a different shape or dtype later"):
        su.scan(lambda c, x: (c, torch.zeros(int(x > 0))), None, Y)


def test_names_are_one_in_a_step_and_in_the_program():
    def twice(c, x):
        su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("z", dist.Normal(0.0, 1.0))
        return c, None

    with pytest.raises(DuplicateSiteError, match="two sites are named 'z' in one step of a scan"), P.trace():
        su.scan(twice, None, length=2)

    def again():
        su.sample("h", dist.Normal(0.0, 1.0))
        volatility()

    with pytest.raises(DuplicateSiteError, match="two sites are named 'h'"), P.trace():
        again()


def test_a_value_without_time_is_an_error():
    message = r"site 'h' .* is in each of the 5 steps of a scan .*given to it is shape \(\)\. Give a tensor with a leading"
    with pytest.raises(ObservationError, match=message):
        P.condition(volatility, data={"h": torch.tensor(0.0)})()
    with pytest.raises(ObservationError, match=r"is shape \(\)\. Give a tensor"):
        P.condition(volatility, data={"h": 1.0})()
    with pytest.raises(ObservationError, match=r"is shape \(4,\)"):
        P.do(volatility, data={"h": torch.zeros(4)})()
