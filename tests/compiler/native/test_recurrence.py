"""Loops in time in C: they agree with their replay, are as long as one step, and may run in several threads."""

import threading

import numpy as np
import pytest
import torch
from tests.compiler.test_rolled import MODELS, data

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native import prove

NAMES = [name for name in MODELS if name != "kalman"]  # which solves linear systems in every step


def points(dim, count=6):
    rng = np.random.default_rng(0)
    return [torch.from_numpy(scale * rng.normal(size=dim)) for scale in np.linspace(0.1, 1.5, count)]


@pytest.mark.parametrize("steps", [2, 9, 70])
@pytest.mark.parametrize("name", NAMES)
def test_it_agrees_with_its_replay(name, steps):
    density = su.compile(MODELS[name], data(name, steps), engine="native")
    assert density.engine == "native"
    assert prove(density.native, density.replay, points(density.dim)) >= 4


@pytest.mark.parametrize("name", ["standardised", "hidden_markov", "garch", "lagged"])
def test_the_text_is_as_long_as_one_step(name):
    sources = [su.compile(MODELS[name], data(name, steps), engine="native").source for steps in (40, 90)]
    assert sources[0].count("\n") == sources[1].count("\n")
    assert "t <= 39; t++" in sources[0]
    assert "t = 89; t >= 0; t--" in sources[1]


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
