"""The interpreter gives, bit by bit, what the straight-line Python of the same graph gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.interpreter import Interpreter
from sursum.compiler.graph.python_codegen import straight_line
from sursum.compiler.graph.replay import _FEW, Replay
from sursum.compiler.passes import optimise

POINTS = tuple(torch.linspace(low, low + 1, 6, dtype=torch.float64) for low in (0.1, 0.3))


def written(q: Tensor) -> tuple[Tensor, ...]:
    """Versions of one storage: written while the old one is still read, and after it."""
    memory = torch.zeros(2, 3, dtype=torch.float64)
    memory[0] = q[:3].exp()
    before = memory.sum()
    memory[1].add_(q[3:])
    memory.t()[0] *= 2.0
    return memory.clone(), before * memory[0, 1], memory.t()


def constant(q: Tensor) -> tuple[Tensor, ...]:
    """A constant is written into, and one is an output."""
    table = torch.arange(6.0, dtype=torch.float64)
    table[2:4] = q[:2]
    return table * q, torch.ones(2, dtype=torch.float64)


def several(q: Tensor) -> tuple[Tensor, ...]:
    """Operators of several results, lists of tensors, keywords, results that nothing reads."""
    values, order = q.sort(descending=True)
    first, *rest = q.split(2)
    low, high = torch.aminmax(q)
    return torch.cat([values, first, *rest]), order, torch.stack([low, high]), torch.var_mean(q, correction=0)[1]


def windows(q: Tensor) -> tuple[Tensor, ...]:
    """Results that are read through other windows, and do not fill their memory in order."""
    matrix = (q.reshape(2, 3) * 2.0).t()
    turned = torch.exp(matrix)
    return turned[1:], turned.reshape(-1)[::2], turned.expand(2, 3, 2).sum(0), q[1:3]


@pytest.mark.parametrize("program", [written, constant, several, windows], ids=lambda program: program.__name__)
@pytest.mark.parametrize("finish", [lambda graph: graph, optimise], ids=["recorded", "optimised"])
def test_it_gives_what_straight_line_python_gives(program: Callable[[Tensor], Any], finish: Callable[..., Any]) -> None:
    graph = finish(capture(program, POINTS, gradient=False))
    interpreter, (_, line) = Interpreter(graph, guards=True), straight_line(graph, guards=True, strided=True)
    for shift in (0.0, 0.4, -1.3):
        q = POINTS[0] + shift
        found, wanted = interpreter(q.clone()), line(q.clone())
        assert found[0] is wanted[0] is None
        assert len(found[1]) == len(wanted[1]) > 1
        for one, other, eager in zip(found[1], wanted[1], program(q), strict=True):
            assert one.stride() == other.stride()
            assert torch.equal(one, other)
            assert torch.allclose(one.double(), eager.double(), rtol=1e-14, atol=0.0)


def test_guards_are_numbered_alike() -> None:
    def model() -> None:
        x = su.sample("x", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(0.0, x + 2.0), obs=torch.tensor(0.5))
        su.sample("z", dist.Exponential(3.0 - x), obs=torch.tensor(0.5))

    graph = su.compile(model, engine="torch").graph
    assert graph is not None
    interpreter, (_, line) = Interpreter(graph, guards=True), straight_line(graph, guards=True, strided=True)
    failed = set()
    for x in (-5.0, 0.0, 5.0, float("nan")):
        q = torch.tensor([x], dtype=torch.float64)
        assert interpreter(q)[0] == line(q)[0]
        failed.add(interpreter(q)[0])
    assert len(failed) == 3
    assert Interpreter(graph, guards=False)(torch.tensor([-5.0], dtype=torch.float64))[0] is None


def test_outputs_belong_to_who_asked() -> None:
    graph = capture(constant, POINTS, gradient=False)
    interpreter = Interpreter(graph, guards=True)
    before = [output.clone() for output in interpreter(POINTS[0])[1]]
    for output in interpreter(POINTS[0])[1]:
        output.fill_(7.0)
    assert all(torch.equal(a, b) for a, b in zip(interpreter(POINTS[0])[1], before, strict=True))


def test_a_replay_is_compiled_once_it_is_called_often() -> None:
    replay = Replay(capture(lambda q: (q.exp(),), POINTS, gradient=False))
    found = [replay(POINTS[0])[0] for _ in range(_FEW)]
    assert "_line" not in vars(replay)
    found.append(replay(POINTS[0])[0])
    assert "_line" in vars(replay)
    assert all(torch.equal(one, POINTS[0].exp()) for one in found)
