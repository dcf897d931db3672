"""Graphs and loop programs print as something that can be read: every operator, index and place is in the text."""

from __future__ import annotations

import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.graph import Graph, Ref
from sursum.compiler.native.build import translate
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Exprs
from sursum.compiler.native.lower import lower
from sursum.compiler.passes import optimise

F64 = torch.float64


def graph_of(program: object, n: int) -> Graph:
    points = torch.ones(n, dtype=F64), torch.zeros(n, dtype=F64)
    return optimise(capture(program, points, gradient=True))  # type: ignore[arg-type]


def test_a_tensor_shows_where_it_lies_only_where_that_is_not_plain() -> None:
    shown = [
        str(Ref(7, *window, F64)) for window in (((2, 3), (3, 1), 0), ((2, 3), (1, 2), 0), ((), (), 4), ((1, 3), (9, 1), 0))
    ]
    assert shown == ["%7[2,3]", "%7[2,3 by 1,2]", "%7[]+4", "%7[1,3]"]


def test_a_graph_shows_operators_arguments_and_lines() -> None:
    lines = str(graph_of(lambda q: -(q * q).sum() / 2, 3)).splitlines()
    assert lines[0] == "graph: %0 f64[3] = q"
    assert any(line.split("#")[0].strip() == "%1 f64[3] = aten.mul.Tensor(%0[3], %0[3])" for line in lines)
    assert sum("# test_show.py:" in line for line in lines) >= 3
    assert lines[-1].startswith("output %")


def test_an_expression_shows_what_is_used_twice_once() -> None:
    e = Exprs()
    x = e.load(3, Affine(2, (4, 1)), "f")
    square = e.mul(x, x)
    assert str(square) == "(v3[4*i + j + 2] * v3[4*i + j + 2])"
    root = e.call("exp", square)
    assert str(e.add(root, e.call("sqrt", root))) == "(t1 + sqrt(t1)) where t1 = exp((v3[4*i + j + 2] * v3[4*i + j + 2]))"


def test_a_loop_program_shows_its_loops_before_and_after_they_are_grouped() -> None:
    graph = graph_of(lambda q: -(q.exp() * q).sum(), 100)
    lowered = str(lower(graph, "model"))
    assert "for i < 100: v" in lowered
    assert " sum= " in lowered
    assert "exp(v0[i])" in lowered
    assert "object at 0x" not in lowered
    _, program = translate(graph, "model")
    planned = str(program)
    assert "  group 0" in planned
    assert "object at 0x" not in planned


def test_tiles_panels_and_rows_at_a_time_are_said() -> None:
    x = torch.randn(1000, 25, dtype=F64, generator=torch.Generator().manual_seed(0))
    _, program = translate(graph_of(lambda q: -((x @ q).tanh() ** 2).sum(), 25), "tall")
    assert "tile of groups" in str(program)
    assert "in packed panels" in str(program)


def test_a_scan_shows_its_step() -> None:
    def walk(steps: int = 5) -> None:
        noise = su.sample("noise", dist.Normal(torch.zeros(steps, dtype=F64), 1.0).to_event(1))

        def step(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            carry = 0.5 * carry + x
            return carry, carry

        _, path = su.scan(step, torch.tensor(0.0, dtype=F64), noise)
        su.sample("y", dist.Normal(path, 1.0).to_event(1), obs=torch.ones(steps, dtype=F64))

    graph = su.compile(walk, engine="torch").graph
    assert graph is not None
    assert sum("graph: " in line for line in str(graph).splitlines()) >= 2
    _, program = translate(graph, "walk")
    assert "5 steps forwards, rows of 1" in str(program)
