"""Loops run by C: no step of theirs is taken by Python, and a fault in any one of them is found."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from tests.support.few import few
from tests.support.scans import MODELS, data

import sursum as su
import sursum.distributions as dist
from sursum.compiler.graph.graph import is_inner
from sursum.compiler.native.emit import loop as emit_loop
from sursum.compiler.native.rounding import rounding
from sursum.compiler.scan.native_loop import NativeLoops
from sursum.compiler.scan.recurrence import Recurrence
from sursum.errors import EngineWarning, EscapeError

STEPS = 200
LOOPS = ["standardised", "hidden_markov", "garch", "lagged"]


def recurrences(density):
    """The loops of a density, forward and backward, and arguments for each."""
    generator = torch.Generator().manual_seed(0)

    def some(part, *lead):
        values = 0.5 + 0.4 * torch.rand((*lead, *part.size), generator=generator, dtype=torch.float64)
        return values.to(part.dtype)

    ops = [node.op for node in density.graph.nodes if is_inner(node.op)]
    return [
        (op, ([some(p) for p in op.carry], [some(p, op.length) for p in op.each], [some(p) for p in op.fixed])) for op in ops
    ]


@cache
def loops_of(name):
    """Those of a model's density, compiled once."""
    return recurrences(su.compile(MODELS[name], data(name, STEPS)))


@pytest.fixture
def short(monkeypatch):
    """Counts the steps that Python takes one after another: no call may take more than three."""
    by_steps = Recurrence.by_steps

    def counted(op, groups, count):
        assert count <= 3
        return by_steps(op, groups, count)

    monkeypatch.setattr(Recurrence, "by_steps", counted)


@pytest.mark.parametrize("name", few(MODELS, ["garch", "hidden_markov", "lifted"]))
def test_python_takes_no_steps(name, short):
    assert su.compile(MODELS[name], data(name, STEPS)).engine == "native"


def test_nor_where_torch_is_the_engine(short):
    density = su.compile(MODELS["standardised"], data("standardised", STEPS), engine="torch")
    assert np.isfinite(density.value_and_grad(np.zeros(density.dim))[0])


@pytest.mark.parametrize("name", LOOPS)
def test_c_gives_what_the_steps_give(name):
    for op, groups in loops_of(name):
        by_c, by_steps = NativeLoops().find(op).run(groups), op.by_steps(groups, op.length)
        assert by_c is not None
        for rows, others in zip(by_c, by_steps, strict=True):
            assert rows.dtype is others.dtype
            assert rows.shape == others.shape
            torch.testing.assert_close(rows, others, rtol=1e-9, atol=1e-9)


def spoil(monkeypatch, change):
    """Has the C of a loop's steps changed."""
    main = emit_loop._LoopEmitter._main

    def spoilt(self, count):
        text = main(self, count)
        changed = change(self, text)
        assert changed != text
        return changed

    monkeypatch.setattr(emit_loop._LoopEmitter, "_main", spoilt)


def one_step(size):
    """What the C gives in step 57 is wrong by so much of itself."""

    def change(self, text):
        if self.loop.width == 1:
            return text.replace("now = next;", f"now = t == 57 ? next * (1 + {size}) : next;")
        after = f"{self.loop.width} * ({'t' if self.loop.reverse else 't + 1'})"
        return text.replace(
            "\n    }\n    return 0;", f"\n        if (t == 57) table[{after}] *= 1 + {size};\n    }}\n    return 0;"
        )

    return change


@pytest.mark.parametrize("size", [1e-3, 1e-8])
@pytest.mark.parametrize("name", LOOPS)
def test_one_wrong_step_is_found(name, size, monkeypatch):
    found = loops_of(name)
    spoil(monkeypatch, one_step(size))
    for op, groups in found:
        loops = NativeLoops()
        op = dataclasses.replace(op, loops=loops)
        assert loops.find(op).run(groups) is None
        assert loops.find(op).run(groups) is None  # and not tried again
        for rows, others in zip(op(*groups), op.by_steps(groups, op.length), strict=True):
            torch.testing.assert_close(rows, others, rtol=1e-9, atol=1e-9)


def test_a_wrong_row_of_the_data_is_found(monkeypatch):
    found = loops_of("garch")
    spoil(monkeypatch, lambda self, text: text.replace("row0 + t * ", "row0 + (t == 57 ? 56 : t) * "))
    assert all(NativeLoops().find(op).run(groups) is None for op, groups in found if op.each)


def test_a_wrong_start_is_found(monkeypatch):
    def change(self, text):
        last = self.loop.length if self.loop.reverse else 0
        return text.replace("    for (int64_t t", f"    table[{self.loop.width * last}] += 1e-3;\n    for (int64_t t", 1)

    found = loops_of("hidden_markov")
    spoil(monkeypatch, change)
    assert all(NativeLoops().find(op).run(groups) is None for op, groups in found)


def test_a_density_with_a_wrong_step_is_run_by_torch(monkeypatch):
    y = data("standardised", STEPS)
    q = np.linspace(-0.5, 0.5, STEPS + 3)
    right = su.compile(MODELS["standardised"], y).value_and_grad(q)
    spoil(monkeypatch, one_step(1e-3))
    with pytest.warns(EngineWarning, match="disagrees with the captured graph"):
        density = su.compile(MODELS["standardised"], y)
    assert density.engine == "torch"
    value, gradient = density.value_and_grad(q)
    assert value == pytest.approx(right[0], rel=1e-10)
    assert gradient == pytest.approx(right[1], rel=1e-8, abs=1e-8)


def test_rounding_is_that_of_the_steps():
    """A logistic map in chaos: the last digit of a step decides much later ones."""

    def chaos(y):
        start = su.sample("start", dist.Beta(2.0, 2.0))

        def step(x, y):
            x = 3.9 * x * (1 - x)
            su.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        su.scan(step, start, y)

    density = su.compile(chaos, torch.linspace(0.0, 1.0, 60), engine="torch")
    (op, (_, each, fixed)), *_ = recurrences(density)

    def last(op):
        return lambda q: (op(list(q), each, fixed)[0][-1],)

    q = torch.tensor([0.3], dtype=torch.float64)
    by_steps = rounding(last(dataclasses.replace(op, loops=None)), q)[0]
    by_c = rounding(last(op), q)[0]
    assert op.loops is not None
    assert by_steps > 1e-9
    assert by_c == pytest.approx(by_steps, rel=0.97, abs=100 * by_steps)
    assert by_c > by_steps / 100


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_body_that_counts_to_many_is_an_error(engine):
    def model(y):
        count = [0]

        def step(x, yt):
            count[0] += 1
            x = su.sample("x", dist.Normal(x, 1.0 if count[0] <= STEPS - 2 else 5.0))
            su.sample("y", dist.Normal(x, 1.0), obs=yt)
            return x, None

        su.scan(step, torch.tensor(0.0), y)

    with pytest.raises(EscapeError, match="counts the steps itself"):
        su.compile(model, torch.arange(float(STEPS)), engine=engine)
