"""The verifier finds what a pass may do wrong, and nothing in what the compiler makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sursum.compiler import passes
from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, Where, Write
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.program import Loop, LoopProgram
from sursum.compiler.native.lower import lower
from sursum.compiler.passes import LOOPS, optimise, run
from sursum.compiler.verify import VerificationError, graph_faults, program_faults, verify

F64 = torch.float64


def graph() -> Graph:
    data = torch.arange(1.0, 4.0, dtype=F64)
    points = torch.ones(3, dtype=F64), torch.zeros(3, dtype=F64)
    return optimise(capture(lambda q: -((q * data).exp() * q).sum(), points, gradient=True))


def program() -> LoopProgram:
    return lower(graph(), "model")


def first(found: Graph) -> Node:
    return found.nodes[0]


def moved(ref: Ref) -> Ref:
    return replace(ref, offset=ref.offset + 1)


def rewritten(found: Graph, node: Node) -> Graph:
    return replace(found, nodes=(node, *found.nodes[1:]))


WRONG_GRAPHS: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "a read before its write": (lambda g: replace(g, nodes=g.nodes[::-1]), "before it is made"),
    "a window outside": (lambda g: replace(g, outputs=(moved(g.outputs[0]), *g.outputs[1:])), "of 1 elements"),
    "another dtype": (lambda g: replace(g, outputs=(replace(g.outputs[0], dtype=torch.int64),)), "as torch.int64"),
    "a value made twice": (lambda g: replace(g, nodes=(first(g), *g.nodes)), "again"),
    "an output of nothing": (lambda g: replace(g, outputs=(replace(g.outputs[0], value=99),)), "reads %99 before"),
    "a guard of no kind": (
        lambda g: replace(g, guards=(Guard(g.outputs[0], "maybe", Where(None, None)),)),
        "of the kind 'maybe'",
    ),
    "a constant of another size": (
        lambda g: replace(g, constants={k: torch.cat([t, t]) for k, t in g.constants.items()}),
        "constant %",
    ),
    "a version of another size": (
        lambda g: rewritten(g, replace(first(g), writes=(Write(g.outputs[0], g.outputs[1].value),))),
        "of another size",
    ),
}


@pytest.mark.parametrize("name", WRONG_GRAPHS)
def test_a_graph_that_is_not_well_formed_is_found(name: str) -> None:
    change, said = WRONG_GRAPHS[name]
    assert graph_faults(graph()) == []
    assert any(said in fault for fault in graph_faults(change(graph())))


def loop(found: LoopProgram) -> Loop:
    return next(stage for stage in found.stages if isinstance(stage, Loop) and stage.shape and not stage.reduced)


def backwards(p: LoopProgram) -> None:
    p.stages.reverse()


def too_long(p: LoopProgram) -> None:
    loop(p).shape = (4,)


def too_far(p: LoopProgram) -> None:
    loop(p).expr = p.exprs.load(p.input, Affine(1, (1,)), "f")


def other_kind(p: LoopProgram) -> None:
    loop(p).expr = p.exprs.load(p.input, Affine(0, (1,)), "i")


def other_rank(p: LoopProgram) -> None:
    loop(p).expr = p.exprs.load(p.input, Affine(0, (1, 1)), "f")


def never_made(p: LoopProgram) -> None:
    p.outputs.append(99)


def moving_sum(p: LoopProgram) -> None:
    loop(p).reduced = frozenset({0})


WRONG_PROGRAMS: dict[str, tuple[Callable[[LoopProgram], None], str]] = {
    "a read before its write": (backwards, "before it is made"),
    "a store outside": (too_long, "is stored at 0 to 3 of 3 elements"),
    "a load outside": (too_far, "at 1 to 3 of 3 elements"),
    "a load as another kind": (other_kind, "as i, which holds f"),
    "an index in other variables": (other_rank, "by an index in 2 variables"),
    "an output of nothing": (never_made, "v99 is wanted and never made"),
    "a sum that is stored all over": (moving_sum, "reduces dimensions [0]"),
}


@pytest.mark.parametrize("name", WRONG_PROGRAMS)
def test_a_loop_program_that_is_not_well_formed_is_found(name: str) -> None:
    change, said = WRONG_PROGRAMS[name]
    found = program()
    assert program_faults(found) == []
    change(found)
    assert any(said in fault for fault in program_faults(found))


def test_a_stage_that_no_group_holds_is_found() -> None:
    found = run(LOOPS, program())
    assert program_faults(found) == []
    del found.planned.groups[-1].stages[-1]
    assert any("every stage once" in fault for fault in program_faults(found))


def test_a_pass_that_breaks_a_graph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget_everything(found: Graph) -> Graph:
        return replace(found, nodes=())

    monkeypatch.setenv("SURSUM_VERIFY", "1")
    with pytest.raises(VerificationError, match="after forget_everything the graph is not well formed: an output reads"):
        run([forget_everything], graph())
    monkeypatch.delenv("SURSUM_VERIFY")
    assert run([forget_everything], graph()).nodes == ()


def test_nothing_is_checked_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURSUM_VERIFY", raising=False)
    monkeypatch.setattr(passes, "verify", verify_must_not_run)
    assert graph().nodes


def verify_must_not_run(*args: object) -> None:
    raise AssertionError("a verifier ran")


def test_a_fault_is_said_with_the_pass() -> None:
    with pytest.raises(VerificationError, match="after a step the graph"):
        verify(replace(graph(), nodes=()), "a step")
