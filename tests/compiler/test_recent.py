"""What was compiled before is used again where the recording is the same, data included, and only there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler import recent
from sursum.compiler.recent import RECENT, Recent
from sursum.errors import EscapeError

pytestmark = pytest.mark.reuse

Y = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)


def model(y):
    mu = su.sample("mu", dist.Normal(0.0, 2.0))
    su.deterministic("twice", 2 * mu)
    su.sample("y", dist.Normal(mu, 1.0).expand([3]).to_event(1), obs=y)


def test_the_same_program_and_data_have_the_same_c():
    first, second = su.compile(model, Y), su.compile(model, Y.clone())
    assert second.native is first.native
    assert second.density is not first.density
    q = np.array([0.4])
    assert second.value_and_grad(q)[0] == float(second.density(torch.from_numpy(q)))
    assert torch.equal(second.expand(q[None])["twice"], torch.tensor([0.8], dtype=torch.float64))


def test_other_data_have_another():
    first, second = su.compile(model, Y), su.compile(model, Y + 1.0)
    assert second.native is not first.native
    q = torch.tensor([0.4], dtype=torch.float64)
    for compiled in (first, second):
        assert compiled.value_and_grad(q)[0] == pytest.approx(float(compiled.density(q)), rel=1e-14)


def test_closures_and_globals_are_looked_at_by_recording():
    settings = {"scale": 1.0, "power": 2}

    def closed():
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", -settings["scale"] * z.abs() ** settings["power"])

    q = np.array([0.7])
    values = []
    for change in ({}, {"scale": 2.0}, {"power": 4}, {"scale": 1.0, "power": 2}):
        settings.update(change)
        compiled = su.compile(closed)
        values.append(compiled.value_and_grad(q)[0])
        assert values[-1] == pytest.approx(float(compiled.density(torch.from_numpy(q))), rel=1e-14)
    assert len({round(value, 9) for value in values[:3]}) == 3
    assert values[3] == values[0]


def test_a_name_of_a_site_counts():
    def named(name):
        return su.compile(lambda: su.sample(name, dist.Normal(0.0, 1.0)))

    assert list(named("a").expand(np.zeros((1, 1)))) == ["a"]
    assert list(named("b").expand(np.zeros((1, 1)))) == ["b"]


def test_the_program_is_compared_with_the_c_of_the_earlier_one():
    """A branch that no operator shows: the second program takes it where it is not recorded."""
    taken = [False]

    def hidden(z):
        return 3.0 if taken[0] and abs(float(np.asarray(z.detach().tolist()))) > 1.0 else 0.0

    class Escaping(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z + hidden(z)

        @staticmethod
        def backward(ctx, slope):
            return slope

    def program():
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", -(Escaping.apply(z) ** 2))

    su.compile(program)
    taken[0] = True
    with pytest.raises(EscapeError):
        su.compile(program)


def test_the_torch_engine_is_what_it_was_asked_for():
    su.compile(model, Y)
    assert su.compile(model, Y, engine="torch").engine == "torch"


def test_the_oldest_are_let_go(monkeypatch):
    graph = su.compile(model, Y).function.recorded
    known = Recent()
    for k in range(recent.MOST + 3):
        known.add(graph, (str(k),), k)
    assert known.find(graph, ("2",)) is None
    assert known.find(graph, ("3",)) == 3
    monkeypatch.setattr(recent, "MOST_BYTES", 2 * sum(c.nbytes for c in graph.constants.values()))
    known.add(graph, ("new",), "made")
    assert known.find(graph, ("18",)) == 18
    assert known.find(graph, ("17",)) is None
    assert known.find(graph, ("new",)) == "made"
    known.clear()
    assert known.find(graph, ("new",)) is None


def test_what_was_recorded_is_kept_in_one_place():
    su.compile(model, Y)
    assert len(RECENT._known) == 1
    su.compile(model, Y)
    assert len(RECENT._known) == 1
