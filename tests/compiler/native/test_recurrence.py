"""Loops in time in C: they agree with their replay, are as long as one step, and may run in several threads."""

import threading

import numpy as np
import pytest
import torch
from tests.support.few import few
from tests.support.scans import MODELS, data

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native.proof import prove

NAMES = [name for name in MODELS if name != "kalman"]  # which solves linear systems in every step


def points(dim, count=6):
    rng = np.random.default_rng(0)
    return [torch.from_numpy(scale * rng.normal(size=dim)) for scale in np.linspace(0.1, 1.5, count)]


LENGTHS = [(name, steps) for name in NAMES for steps in (2, 9, 70)]


@pytest.mark.parametrize(("name", "steps"), few(LENGTHS, [*((name, 9) for name in NAMES), ("garch", 2), ("hidden_markov", 70)]))
def test_it_agrees_with_its_replay(name, steps):
    density = su.compile(MODELS[name], data(name, steps), engine="native")
    assert density.engine == "native"
    assert prove(density.native, density.replay, points(density.dim)) >= 4


@pytest.mark.parametrize("name", few(["standardised", "hidden_markov", "garch", "lagged"], ["garch", "lagged"]))
def test_the_text_is_as_long_as_one_step(name):
    sources = [su.compile(MODELS[name], data(name, steps), engine="native").source for steps in (20, 40)]
    assert sources[0].count("\n") == sources[1].count("\n")
    assert "t <= 19; t++" in sources[0]
    assert "t = 39; t >= 0; t--" in sources[1]


def test_threads_have_loops_of_their_own():
    density = su.compile(MODELS["hidden_markov"], data("hidden_markov", 300), engine="native")
    q = [point.numpy() for point in points(density.dim, 4)]
    alone = [density.value_and_grad(at) for at in q]
    found = [[] for _ in q]

    def run(k):
        for _ in range(200):
            found[k].append(density.value_and_grad(q[k]))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(q))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, (value, slope) in enumerate(alone):
        assert all(v == value and np.array_equal(s, slope) for v, s in found[k])


def test_carries_of_several_kinds_and_a_table_of_constants():
    table = torch.linspace(0.5, 1.5, 12).reshape(4, 3)

    def model():
        a = su.sample("a", dist.Normal(torch.zeros(3), 1.0).to_event(1))

        def step(carry, _):
            count, flag, x = carry
            x = torch.tanh(x * a + table[count % 4] * flag)
            return (count + 1, ~flag, x), (count, flag, x)

        init = (torch.tensor(1), torch.tensor(True), torch.ones(3))
        last, (counts, flags, path) = su.scan(step, init, length=11)
        su.factor("f", -(path**2).sum() * (1 + flags.double().mean()))
        su.deterministic("counts", counts)
        su.deterministic("last", last[2])

    density = su.compile(model, engine="native")
    assert prove(density.native, density.replay, points(3)) == 6
    found = density.expand(np.zeros((1, 3)))
    assert found["counts"].tolist() == [list(range(1, 12))]
    x = torch.ones(3).double()
    for k in range(11):
        x = torch.tanh(table[(k + 1) % 4].double() * (k % 2 == 0) + 0.0 * x)
    assert torch.allclose(found["last"][0], x)


def test_a_failing_factorisation_in_a_loop():
    def model():
        s = su.param("s", torch.tensor(1.0))

        def step(m, _):
            factor = torch.linalg.cholesky(m)
            return factor @ factor.mT + s * torch.eye(2), factor[0, 0]

        _, ys = su.scan(step, torch.eye(2), length=4)
        su.factor("f", ys.sum())

    density = su.compile(su.lift(model, dist.Normal(1.0, 1.0)), engine="native")
    for s in (1.0, -0.2, -0.5):
        value, slope = density.value_and_grad(np.array([s]))
        wanted = density.replay(torch.tensor([s], dtype=torch.float64))
        if s == -0.5:  # the third matrix is 0
            assert value == -np.inf
            assert float(wanted[0]) == -np.inf
        else:
            assert value == pytest.approx(float(wanted[0]), rel=1e-12)
            assert slope == pytest.approx(wanted[1].numpy(), rel=1e-10)


KINDS = (torch.bool, torch.int64, torch.int32, torch.float32, torch.float64)


def carried(dtype, shape):
    start = torch.full(shape, 0.25) if dtype.is_floating_point else torch.zeros(shape)
    return start.to(dtype)


def advance(carry, row, a):
    """Flags that are raised, counters that count while a mask holds, and numbers that are chosen by a comparison."""
    following, terms = {}, []
    for name, leaf in carry.items():
        ones = torch.ones(leaf.shape, dtype=torch.float64)
        if leaf.dtype is torch.bool:
            following[name] = leaf | (row.sum() * ones > 0.4)
            terms.append(torch.where(leaf, a * ones, a.exp() * ones).sum())
        elif leaf.dtype.is_floating_point:
            following[name] = torch.where(leaf > a, torch.tanh(leaf * a), leaf + 0.1 * row.sum() * a).to(leaf.dtype)
            terms.append((leaf * a).sum())
        else:
            following[name] = torch.where(row.sum() * ones > -0.5, leaf + 1, leaf)
            terms.append((leaf * a.sin()).sum() + torch.where(leaf == 2, a * a, a).sum())
    return following, torch.stack(terms).sum()


def carry_model(kinds, scan):
    rows = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(6, 2)

    def model():
        a = su.sample("a", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        last, ys = scan(lambda c, row: advance(c, row, a), {name: carried(*kind) for name, kind in kinds.items()}, rows)
        su.factor("path", (ys * torch.arange(1.0, 7.0)).sum())
        su.factor("last", sum((leaf * a.cos()).sum() for leaf in last.values()))

    return model


def plain_loop(body, carry, rows):
    ys = []
    for row in rows:
        carry, y = body(carry, row)
        ys.append(y)
    return carry, torch.stack(ys)


MIXED = {
    "a flag and a number": {"seen": (torch.bool, (3,)), "x": (torch.float64, (3,))},
    "one of each": {name: (dtype, ()) for name, dtype in zip("abcde", KINDS, strict=True)},
    "shapes": {"b": (torch.bool, (2, 3)), "k": (torch.int32, (1,)), "x": (torch.float32, (2, 3)), "n": (torch.int64, ())},
    "nothing in it": {"none": (torch.bool, (0,)), "x": (torch.float64, (1, 3))},
} | {
    f"{dtype} {shape}".removeprefix("torch."): {"x": (dtype, shape)}
    for dtype, shape in [*((d, (2, 3)) for d in KINDS), *((torch.bool, s) for s in [(), (1,), (3,)]), (torch.int32, (3,))]
}  # fmt: skip


SCANS = {"scan": su.scan, "loop": plain_loop}
CARRIES = [(kinds, scan) for kinds in MIXED for scan in SCANS]


# Of a loop that is written out, carries of several kinds; as a scan these, flags of every shape, and one integer.
SCANNED = {kinds for kinds in MIXED if len(MIXED[kinds]) > 1 or kinds.startswith(("bool", "int32 (3"))}


@pytest.mark.parametrize(
    ("kinds", "scan"), few(CARRIES, [c for c in CARRIES if c[0] in SCANNED and (c[1] == "scan" or len(MIXED[c[0]]) > 1)])
)
def test_a_carry_may_be_of_any_kind(kinds, scan):
    """Native, torch and the program itself agree, and so do their gradients."""
    kinds, scan = MIXED[kinds], SCANS[scan]
    density = su.compile(carry_model(kinds, scan), engine="native")
    assert density.engine == "native"
    rounding = 1e-5 if any(dtype is torch.float32 for dtype, _ in kinds.values()) else 1e-10
    for at in (-1.1, -0.2, 0.37, 2.0):
        q = torch.tensor([at], dtype=torch.float64)
        value, slope = density.value_and_grad(q.numpy())
        replayed, replayed_slope = density.replay(q)
        assert value == pytest.approx(float(replayed), rel=1e-12)
        assert slope == pytest.approx(replayed_slope.numpy(), rel=1e-10, abs=1e-12)
        eager = su.infer.LogDensity(carry_model(kinds, plain_loop))
        q.requires_grad_()
        wanted = eager(q)
        (wanted_slope,) = torch.autograd.grad(wanted, q)
        assert value == pytest.approx(float(wanted.detach()), rel=rounding)
        assert slope == pytest.approx(wanted_slope.numpy(), rel=rounding, abs=rounding)


def predator_prey(y):
    """Lotka and Volterra's equations, by the method of Runge and Kutta."""
    a, b = su.sample("a", dist.LogNormal(-0.5, 0.3)), su.sample("b", dist.LogNormal(-0.5, 0.3))

    def slope(z):
        return torch.stack([a * z[0] - z[0] * z[1], z[1] * 0.5 * z[0] - b * z[1]])

    def step(z, y):
        one = slope(z)
        two = slope(z + 0.025 * one)
        three = slope(z + 0.025 * two)
        z = z + 0.05 / 6 * (one + 2 * two + 2 * three + slope(z + 0.05 * three))
        su.sample("y", dist.Normal(z, 0.1).to_event(1), obs=y)
        return z, None

    su.scan(step, torch.tensor([1.0, 0.5]), y)


@pytest.mark.parametrize("steps", few([50, 64, 100], [50]))
def test_rows_that_start_between_two_vectors(steps):
    # gcc 12 makes a loop over some of them that never ends, where it may propagate the bits of addresses
    density = su.compile(predator_prey, torch.ones(steps, 2), engine="native")
    assert prove(density.native, density.replay, points(density.dim, 3)) >= 2
