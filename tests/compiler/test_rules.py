"""Rules: what patterns match, and for each rule a program in which it applies and one in which it nearly does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.guard_elimination import TRUE
from sursum.compiler.graph.patterns import NodeTerms
from sursum.compiler.graph.replay import Replay
from sursum.compiler.graph.shared_exponentials import EXPONENTIALS
from sursum.compiler.native.build import translate
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Exprs
from sursum.compiler.native.ir.patterns import EXPRS
from sursum.compiler.native.lower.factor import FACTOR
from sursum.compiler.native.passes.log_of_products import LOGS
from sursum.compiler.native.passes.reciprocals import RECIPROCALS
from sursum.compiler.passes import optimise
from sursum.compiler.rules import Rule, Transposed, Var, apply_first, match, op

Program = Callable[[Tensor], Tensor]

TABLES: Sequence[Sequence[Rule[Any, Any]]] = (TRUE, EXPONENTIALS, FACTOR, RECIPROCALS, LOGS)

POINTS = tuple(torch.linspace(low, 0.5, 3, dtype=torch.float64) for low in (-0.3, 0.1))
ROWS = torch.linspace(-1.0, 2.0, 400, dtype=torch.float64)
DATA = torch.tensor([0.5, 3.0, -7.0], dtype=torch.float64)
SQUARE = torch.eye(4, dtype=torch.float64) + torch.linspace(0.0, 0.4, 16, dtype=torch.float64).reshape(4, 4)


def matrix(q: Tensor) -> Tensor:
    return q[0].exp() * SQUARE @ SQUARE.T + q[1].exp() * torch.eye(4, dtype=torch.float64)


def checked(condition: Program) -> Program:
    """A density that is rejected where a condition does not hold everywhere."""

    def program(q: Tensor) -> Tensor:
        assert torch._is_all_true(condition(q))
        return q.square().sum()

    return program


def of_factor(condition: Program) -> Program:
    return checked(lambda q: condition(torch.linalg.cholesky(matrix(q))))


def has_no_guard(graph: Graph) -> bool:
    return not any(guard.kind == "true" for guard in graph.guards)


def c_has(text: str) -> Callable[[Graph], bool]:
    return lambda graph: text in translate(graph, "program")[0].source


#: For each rule, by what it says: a program in which it applies, one in which it nearly does, and how that shows.
CASES: dict[str, tuple[Program, Program, Callable[[Graph], bool]]] = {
    "all of what is true": (
        checked(lambda q: (q.exp() >= 0).all(0)),
        checked(lambda q: (q >= -100).all(0)),
        has_no_guard,
    ),
    "the least of what is true, along a dimension": (
        checked(lambda q: (q.exp() >= 0).min(0).values),
        checked(lambda q: (q >= -100).min(0).values),
        has_no_guard,
    ),
    "x and y, both true": (
        checked(lambda q: (q.exp() >= 0) & (q.abs() >= 0)),
        checked(lambda q: (q.exp() >= 0) & (q >= -100)),
        has_no_guard,
    ),
    "x ≥ c, x never negative, c ≤ 0": (
        checked(lambda q: q.exp() >= -1.0),
        checked(lambda q: q.exp() >= 1e-100),
        has_no_guard,
    ),
    "x > c, x never negative, c < 0": (checked(lambda q: q.exp() > -0.5), checked(lambda q: q.exp() > 0.0), has_no_guard),
    "diagonal of F > c, F a Cholesky factor, c ≤ 0": (
        of_factor(lambda factor: factor.diagonal() > 0),
        checked(lambda q: matrix(q).diagonal() > 0),
        has_no_guard,
    ),
    "tril(F) = F, F a Cholesky factor": (
        of_factor(lambda factor: factor.tril() == factor),
        of_factor(lambda factor: factor.tril(1) == factor),
        has_no_guard,
    ),
    "L⁻ᵀ ½ (P + tril(P, −1)ᵀ) L⁻¹, P = tril(Lᵀ G) → the gradient by blocks": (
        lambda q: (torch.linalg.cholesky(matrix(q)) * SQUARE).sum(),
        lambda q: (torch.linalg.cholesky(matrix(q), upper=True) * SQUARE).sum(),
        c_has("su_factor_gradient("),
    ),
    "exp(x − log Σ exp x) = exp(x − m) / Σ exp(x − m)": (
        lambda q: torch.logsumexp(q[:, None] * ROWS, 0).sum(),
        lambda q: (2.0 * q[:, None] * ROWS - torch.logsumexp(q.detach()[:, None] * ROWS, 0)).exp().sum(),
        lambda graph: not any(node.op.__name__ == "logsumexp.default" for node in graph.nodes),
    ),
    "x / c → x · (1/c), c of data": (
        lambda q: (q / DATA).sin().sum(),
        lambda q: (q / (DATA * 1e300)).sin().sum(),
        lambda graph: " / " not in translate(graph, "program")[0].source,
    ),
    "Σ log1p(exp(−|x|)) → log1p(Π − 1), Π of 1 + exp(−|x|)": (
        lambda q: logsigmoid(q[0] * ROWS).sum(),
        lambda q: logsigmoid(q[0] * ROWS).square().sum(),
        c_has("-= log1p("),
    ),
}


@pytest.mark.parametrize("rule", [rule.says for table in TABLES for rule in table])
def test_a_rule_applies_where_it_should_and_not_where_it_nearly_does(rule: str) -> None:
    applies, nearly, shows = CASES[rule]
    for program, wanted in ((applies, True), (nearly, False)):
        graph = optimise(capture(program, POINTS, gradient=True))
        assert shows(graph) is wanted
        q = POINTS[1].clone().requires_grad_()
        value = program(q)
        (slope,) = torch.autograd.grad(value, q)
        found = Replay(graph)(POINTS[1])
        torch.testing.assert_close(found[0], value.detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(found[1], slope, rtol=1e-10, atol=1e-12)


def test_every_case_is_one_of_a_rule() -> None:
    assert CASES.keys() == {rule.says for table in TABLES for rule in table}


# Patterns


def test_a_name_is_the_same_thing_wherever_it_occurs() -> None:
    e = Exprs()
    x, y = (e.load(k, Affine(0, (1,)), "f") for k in (0, 1))
    square = op("mul", Var("x"), Var("x"))
    assert match(square, e.mul(x, x), EXPRS) == {"x": x}
    assert match(square, e.mul(x, y), EXPRS) is None
    assert match(op("add sub", Var("x"), 2.0), e.sub(x, e.const(2.0)), EXPRS) == {"x": x}
    assert match(op("add sub", Var("x"), 2.0), e.sub(x, e.const(3.0)), EXPRS) is None
    assert match(op("mul", Var("x"), Var("y")), e.mul(x, y), EXPRS, {"x": y}) is None
    assert match(Transposed(Var("x")), x, EXPRS) is None


def test_arguments_that_are_not_told_have_their_defaults() -> None:
    def program(q: Tensor) -> tuple[Tensor]:
        square = q.reshape(2, 2)
        return ((square.tril() + square.tril(-1).T + torch.add(square, square.exp(), alpha=2.0)).sum(),)

    graph = capture(program, tuple(torch.linspace(low, 1.0, 4, dtype=torch.float64) for low in (0.1, 0.2)), gradient=False)
    terms = NodeTerms({out.value: node for node in graph.nodes for out in node.outputs if out is not None})
    outputs = [(node.op.__name__, node.outputs[0]) for node in graph.nodes]
    lower = [ref for name, ref in outputs if name == "tril.default"]
    assert [match(op("tril", Var("x")), ref, terms) is not None for ref in lower] == [True, False]
    assert [match(op("tril", Var("x"), -1), ref, terms) is not None for ref in lower] == [False, True]
    assert all(match(op("tril", Var("x"), ...), ref, terms) is not None for ref in lower)
    first, second = (ref for name, ref in outputs if name == "add.Tensor" and match(op("add", Var("x"), Var("y")), ref, terms))
    assert match(op("add", op("tril", Var("x")), Transposed(op("tril", Var("x"), -1))), first, terms) is not None
    assert match(op("add", op("tril", Var("x")), op("tril", Var("x"), -1)), first, terms) is None
    (scaled,) = (r for n, r in outputs if n == "add.Tensor" and match(op("add", Var("x"), Var("y"), alpha=2.0), r, terms))
    assert scaled not in (first, second)


def test_the_first_rule_whose_guard_holds_is_applied() -> None:
    e = Exprs()
    x = e.load(0, Affine(0, (1,)), "f")
    rules = [
        Rule("never", op("neg", Var("x")), lambda context, bound: False, lambda context, bound: "never"),
        Rule("of the context", op("neg", Var("x")), lambda context, bound: context == 3, lambda context, bound: bound["x"]),
    ]
    assert apply_first(rules, 3, e.neg(x), EXPRS) is x
    assert apply_first(rules, 4, e.neg(x), EXPRS) is None
    assert apply_first(rules, 3, x, EXPRS) is None
