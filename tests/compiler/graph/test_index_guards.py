"""Computed indices are checked: which are, which are proved to be inside and cost nothing, in loops too, and what is said."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.graph import is_inner
from sursum.compiler.passes import optimise
from sursum.errors import ArgumentError, OutOfRangeError, SursumError

N = 5
TABLE = torch.linspace(-1.0, 1.0, N, dtype=torch.float64)


def whole(q):
    """Any integers."""
    return (3.0 * q).floor().to(torch.int64)


PROVED = {
    "argmax": lambda q: TABLE[q.argmax().reshape(1)],
    "argmin along a dimension": lambda q: TABLE[q.reshape(2, 2).argmin(1)],
    "the places of the largest": lambda q: TABLE[q.max(0).indices.reshape(1)],
    "sorted": lambda q: q.sort().values + TABLE[q.sort(descending=True).indices],
    "the order": lambda q: TABLE.gather(0, q.argsort()),
    "the first few": lambda q: q.topk(2).values + TABLE[q.topk(2).indices],
    "the median": lambda q: q.median(0).values * TABLE[q.median(0).indices.reshape(1)],
    "the largest so far": lambda q: q.cummax(0).values + TABLE[q.cummax(0).indices],
    "searchsorted": lambda q: TABLE[torch.searchsorted(TABLE[:-1], q)],
    "bucketize": lambda q: TABLE.index_select(0, torch.bucketize(q, TABLE[1:])),
    "clamped": lambda q: TABLE[whole(q).clamp(0, N - 1)],
    "clamped from below, then from above": lambda q: TABLE.gather(0, whole(q).clamp_min(0).clamp_max(N - 1)),
    "clamped to negative places": lambda q: TABLE[whole(q).clamp(-N, -1)],
    "remainder": lambda q: TABLE[whole(q) % N],
    "take_along_dim": lambda q: torch.take_along_dim(TABLE, whole(q).clamp(-N, N - 1), 0),
    "a choice": lambda q: TABLE[torch.where(q > 0, 1, 3)],
    "a truth value": lambda q: TABLE[(q > 0).long() * 4],
    "a count": lambda q: TABLE[(q > 0).sum().reshape(1)],
    "a running count": lambda q: TABLE.gather(0, (q > 0).cumsum(0)),
    "a truth value as a number": lambda q: TABLE[(q > 0).double().long()],
    "a sum of two": lambda q: TABLE[(q > 0).long() + 2 * (q > 1).long()],
    "a place that was looked up": lambda q: TABLE[torch.arange(N)[whole(q).clamp(0, N - 1)]],
    "a written one": lambda q: TABLE[whole(q).clamp_(0, N - 1).add_(-1).neg_().abs_()],
    "a pooled plane": lambda q: torch.nn.functional.max_pool2d(q.reshape(1, 1, 2, 2), 2),
    "a running product": lambda q: q.reshape(2, 2).cumprod(1),
    "a linear system": lambda q: torch.linalg.solve(torch.diag(q.exp()) + 0.1, q),
}

UNPROVED = {
    "nothing is known": lambda q: TABLE[whole(q)],
    "one end": lambda q: TABLE[whole(q).clamp_min(0)],
    "the other end": lambda q: TABLE[whole(q).clamp_max(N - 1)],
    "one too many": lambda q: TABLE[whole(q).clamp(0, N)],
    "a bound that is NaN where the value is": lambda q: TABLE[(q * 0.1 + 1.0).clamp(0.0, 4.0).to(torch.int64)],
    "a size": lambda q: TABLE[whole(q).abs()],
    "a sum that may leave": lambda q: TABLE[(q > 0).long() * 2 + q.argmax()],
    "the remainder of what is not whole": lambda q: TABLE[torch.remainder(q, 5.0).to(torch.int64)],
    "a negative place of gather": lambda q: TABLE.gather(0, whole(q).clamp(-N, N - 1)),
    "a part that is written": lambda q: TABLE[_partly(whole(q))],
}


def _partly(k):
    k = k.clone()
    k[:2].clamp_(0, N - 1)
    return k


def graph(program):
    """The graph of a density and its gradient that an engine is given."""
    points = torch.tensor([0.1, 0.7, 0.4, 0.2]).double(), torch.tensor([0.5, 0.3, 0.6, 0.45]).double()
    return optimise(capture(lambda q: (program(q) * (1 + q.sum())).sum(), points, gradient=True))


def replaces(node):
    """Whether a node puts a place that exists in the place of another."""
    return node.op.__name__ == "masked_fill.Scalar" and not node.outputs[0].dtype.is_floating_point


@pytest.mark.parametrize("name", PROVED)
def test_what_is_inside_by_construction_costs_nothing(name):
    found = graph(PROVED[name])
    assert not any(guard.ref.dtype is torch.bool for guard in found.guards)  # that of a linear system is a code
    assert not any(map(replaces, found.nodes))


@pytest.mark.parametrize("name", UNPROVED)
def test_what_is_not_proved_has_one_guard(name):
    found = graph(UNPROVED[name])
    assert sum(guard.kind == "zero" for guard in found.guards) == 1
    assert sum(map(replaces, found.nodes)) == 1


def test_an_index_used_forwards_and_backwards_is_checked_once_and_data_never():
    def program(q):
        k = whole(q[:3])
        return q[k] * q[k] + q.gather(0, torch.tensor([0, 1, 1])) + q.index_select(0, k)

    points = torch.tensor([0.1, 0.3, 0.4, 0.2]).double(), torch.tensor([0.5, 0.35, 0.6, 0.45]).double()
    found = optimise(capture(lambda q: program(q).sum(), points, gradient=True))
    assert len(found.guards) == 3  # [−4, 4) for q[k], [0, 4) for index_select, and what is cut off is a number


def step_function(engine):
    """A density that is only defined where |m| < 500."""
    table = torch.linspace(-1.0, 1.0, 1001)

    def model():
        m = su.sample("m", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        k = 500 + m.round().to(torch.int64)
        su.deterministic("height", table[k])
        su.factor("f", (table[k] * m).sum())

    return su.compile(model, engine=engine)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_sites_of_draws_that_are_outside_are_some_place_of_the_table(engine):
    found = step_function(engine).expand(np.array([[1.0, 2.0], [1e12, math.nan]]))
    assert found["height"].shape == (2, 2)
    assert ((found["height"] >= -1) & (found["height"] <= 1)).all()


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_program_that_often_leaves_its_table_is_compiled(engine):
    table = torch.linspace(-1.0, 1.0, 3)

    def model():
        m = su.sample("m", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        su.factor("f", (table[m.round().to(torch.int64)] * m).sum())

    density = su.compile(model, engine=engine)
    assert math.isfinite(density.value_and_grad(np.zeros(3))[0])
    assert density.value_and_grad(np.array([0.0, 0.0, 3.0]))[0] == -math.inf


def test_an_index_of_the_data_that_is_outside_is_an_error_with_its_line():
    def model(groups):
        a = su.sample("a", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        su.sample("y", dist.Normal(a[groups], 1.0).to_event(1), obs=torch.ones(2))

    line = f"test_index_guards.py:{model.__code__.co_firstlineno + 2}"
    with pytest.raises(OutOfRangeError, match=line.replace(".", r"\.")) as caught:
        su.compile(model, torch.tensor([0, 3]))
    assert isinstance(caught.value, (SursumError, ArgumentError))
    assert "index 3 is out of bounds" in str(caught.value)
    density = su.compile(model, torch.tensor([0, 2]))
    with pytest.raises(OutOfRangeError, match="index -4"):
        density.with_data(torch.tensor([0, -4]))
    assert math.isfinite(density.with_data(torch.tensor([0, -3])).value_and_grad(np.zeros(3))[0])


def test_a_class_that_is_none_is_an_error_at_its_site():
    def model():
        a = su.sample("a", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        fn = dist.Categorical(logits=a, validate_args=False)
        su.sample("y", fn, obs=torch.tensor(3))

    with pytest.raises(SursumError, match="'y'"):
        su.compile(model)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_the_index_of_a_loop_is_checked_in_the_loop(engine):
    x = torch.linspace(-1.0, 1.0, 8)

    def model():
        lag = su.sample("lag", dist.Normal(1.0, 2.0))
        s = su.sample("s", dist.Normal(0.0, 1.0))

        def step(carry, t):
            k = (t - lag).floor().to(torch.int64)
            level = 0.5 * carry * carry.sigmoid() + 0.1 * lag + x.index_select(0, k.reshape(1))[0]
            return level, level

        _, levels = su.scan(step, s, torch.arange(3, 7))
        su.sample("y", dist.Normal(levels, 1.0).to_event(1), obs=torch.zeros(4))

    density = su.compile(model, engine=engine)
    value, gradient = density.value_and_grad(np.array([1.5, 0.2]))
    q = torch.tensor([1.5, 0.2], dtype=torch.float64, requires_grad=True)
    wanted = density.density(q)
    assert value == pytest.approx(float(wanted.detach()), rel=1e-6)
    assert gradient == pytest.approx(torch.autograd.grad(wanted, q)[0].numpy(), rel=1e-5)
    for lag in (-2.5, 3.5, 15.0, 1e300, -1e300, math.nan, math.inf):
        assert density.value_and_grad(np.array([lag, 0.2]))[0] == -math.inf


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_an_index_that_comes_round_in_a_loop_is_checked_in_each_step(engine):
    table = torch.tensor([0.5, -0.25, 1.5, 0.75])

    def model():
        s = su.sample("s", dist.Normal(0.0, 1.0))

        def step(carry, t):
            k = (2.0 * carry).floor().to(torch.int64).reshape(1)
            level = carry + table.index_select(0, k)[0] * 0.1
            return level, level

        _, levels = su.scan(step, s, torch.arange(4))
        su.sample("y", dist.Normal(levels, 1.0).to_event(1), obs=torch.zeros(4))

    density = su.compile(model, engine=engine)
    for s in (0.2, 0.7, 1.3):
        q = torch.tensor([s], dtype=torch.float64)
        assert density.value_and_grad(q.numpy())[0] == pytest.approx(float(density.density(q)), rel=1e-6)
    for s in (1.95, 2.1, -2.6, 1e300, math.nan):  # the first leaves the table in a later step
        assert density.value_and_grad(np.array([s]))[0] == -math.inf


def test_groups_of_the_data_in_a_loop_cost_nothing():
    groups = torch.tensor([0, 2, 1, 2])

    def model():
        a = su.sample("a", dist.Normal(torch.zeros(3), 1.0).to_event(1))

        def step(carry, k):
            level = torch.tanh(carry) * 0.5 + a.index_select(0, k.reshape(1))[0]
            return level, level

        _, levels = su.scan(step, torch.tensor(0.0), groups)
        su.sample("y", dist.Normal(levels, 1.0).to_event(1), obs=torch.zeros(4))

    density = su.compile(model, engine="native")
    assert not any(guard.kind == "zero" for guard in density.graph.guards)
    inner = [node.op.graph for node in density.graph.nodes if is_inner(node.op)]
    assert inner
    assert not any(step.guards for step in inner)


def test_an_exported_library_rejects_what_is_outside(tmp_path: Path):
    import ctypes  # of the exported library

    density = step_function("native")
    density.export(tmp_path / "steps.so")
    loaded = ctypes.CDLL(str(tmp_path / "steps.so"))
    loaded.bs_model_construct.restype = ctypes.c_void_p
    model = ctypes.c_void_p(loaded.bs_model_construct(None, 0, None))
    value, gradient = np.empty(1), np.empty(2)

    def at(q):
        arrays = [ctypes.c_void_p(array.ctypes.data) for array in (q, value, gradient)]
        code = loaded.bs_log_density_gradient(model, False, True, *arrays, None)
        return code, float(value[0])

    assert at(np.array([1.0, 0.5])) == (0, pytest.approx(density.value_and_grad(np.array([1.0, 0.5]))[0]))
    for far in (600.0, 5e6, 1e300, math.nan):
        code, found = at(np.array([far, 0.5]))
        assert code or found == -math.inf
    loaded.bs_model_destruct(model)
