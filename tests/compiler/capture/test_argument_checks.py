"""torch's checks of arguments: those of data are not recorded, those of one tensor once, and none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture import argument_checks
from sursum.compiler.capture.capture import Capture
from sursum.compiler.function import Function
from sursum.compiler.graph.graph import Graph, Ref, is_inner, map_refs
from sursum.compiler.recent import RECENT
from sursum.errors import ArgumentError, BranchError

DOUBLE = {"dtype": torch.float64}
POINTS = torch.tensor([0.3, -0.2], **DOUBLE), torch.tensor([-0.5, 0.4], **DOUBLE)

ROWS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "traced": lambda a, b: dist.Normal(a, b),
    "data": lambda a, b: dist.Normal(torch.tensor(0.5, **DOUBLE), torch.tensor(2.0, **DOUBLE)),
    "mixed": lambda a, b: dist.Uniform(-b, torch.tensor(5.0, **DOUBLE)),
    "both bounds": lambda a, b: dist.Uniform(-5 * b, 5 * b),
    "narrow data": lambda a, b: dist.Normal(a, torch.tensor(0.1, dtype=torch.float32)),
    "narrow default": lambda a, b: torch.distributions.Laplace(a, 0.1),
    "counts": lambda a, b: dist.Binomial(torch.tensor(3), b / (1 + b)),
    "counts in doubles": lambda a, b: torch.distributions.Binomial(torch.tensor(3.0, **DOUBLE), logits=a),
    "a vector": lambda a, b: dist.Dirichlet(b * torch.ones(3, **DOUBLE)),
    "a matrix": lambda a, b: dist.MultivariateNormal(torch.zeros(2, **DOUBLE), b * torch.eye(2, **DOUBLE)),
    "transformed": lambda a, b: dist.LogNormal(a, b),
    "of its own": lambda a, b: torch.distributions.Normal(a, b).expand([2]),
}


def record(model: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *, plainly: bool = False) -> Graph:
    RECENT.clear()
    with monkeypatch.context() as context:
        if plainly:
            context.setattr(argument_checks, "_SEEN", frozenset())
        return Capture(su.infer.LogDensity(model), POINTS, gradient=True, enough=lambda _: True).graph


def outline(graph: Graph) -> list[Any]:
    """The graph without the numbers of its values: each is its constant, or a number in the order in which they are met."""
    names: dict[int, Any] = {graph.input: "q"}

    def named(ref: Ref) -> Any:
        if ref.value in graph.constants:
            return graph.constants[ref.value].tolist(), ref.size, ref.stride, ref.offset
        return names.setdefault(ref.value, len(names)), ref.size, ref.stride, ref.offset

    found: list[Any] = []
    for node in graph.nodes:
        found.append((str(node.op), map_refs(node.args, named), map_refs(node.kwargs, named), map_refs(node.outputs, named)))
        found.extend((named(write.window), names.setdefault(write.value, len(names))) for write in node.writes)
    return [*found, *((named(guard.ref), guard.kind, guard.where) for guard in graph.guards), *map(named, graph.outputs)]


def unknowns() -> Tensor:
    return su.sample("a", dist.Normal(torch.zeros(2, **DOUBLE), 1.0, validate_args=False).to_event(1))


@pytest.mark.parametrize("row", ROWS)
def test_what_is_compiled_is_the_same(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def model() -> None:
        a = unknowns()
        b = a[1].exp()
        su.factor("all", a.sum())
        for k in range(3):
            fn = ROWS[row](a[0], b)
            su.factor(
                f"x{k}", fn.log_prob(torch.full(fn.batch_shape + fn.event_shape, 1.0 / (3 if fn.event_shape else 1))).sum()
            )

    plain, found = record(model, monkeypatch, plainly=True), record(model, monkeypatch)
    assert len(plain.guards) == len(found.guards)
    assert [guard.where for guard in plain.guards] == [guard.where for guard in found.guards]
    assert len(found.nodes) < len(plain.nodes)
    assert outline(Function.of(plain).graph) == outline(Function.of(found).graph)


def test_a_tensor_is_checked_once_and_data_outside_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    data = torch.tensor(0.3, **DOUBLE)

    def model() -> None:
        a = unknowns()
        for k in range(5):
            su.sample(f"x{k}", dist.Normal(a[0], torch.tensor(1.0 + k, **DOUBLE)), obs=data)

    def checks(graph: Graph) -> Counter[str]:
        names = [node.op._schema.name for node in graph.nodes if not is_inner(node.op)]
        return Counter(name for name in names if name in ("aten::eq", "aten::gt", "aten::_is_all_true"))

    assert checks(record(model, monkeypatch, plainly=True)) == {"aten::eq": 5, "aten::gt": 5, "aten::_is_all_true": 10}
    assert checks(record(model, monkeypatch)) == {"aten::eq": 1, "aten::_is_all_true": 1}


@pytest.mark.parametrize("engine", ["torch", None])
def test_a_tensor_that_is_written_to_is_checked_again(engine: str | None) -> None:
    def model() -> None:
        a = unknowns()
        scale, total = a[0] + 3.0, torch.zeros((), **DOUBLE)
        for _ in range(3):
            torch.distributions.Normal(0.0, scale)
            total = total + 2 * scale
            scale -= 1.0
        su.factor("total", total + a[1])

    compiled = su.compile(model, engine=engine)
    values = [compiled.value_and_grad(torch.tensor([q, 0.0], **DOUBLE).numpy())[0] for q in (-0.9, -1.1, -2.1, -3.1)]
    prior = torch.distributions.Normal(torch.zeros(2, **DOUBLE), 1.0).log_prob(torch.tensor([-0.9, 0.0], **DOUBLE)).sum()
    assert values[0] == pytest.approx(float(prior) + 2 * (2.1 + 1.1 + 0.1), rel=1e-14)
    assert values[1:] == [-torch.inf] * 3


def test_wrong_data_are_found() -> None:
    def model(scale: Tensor) -> None:
        a = unknowns()
        if torch.is_grad_enabled():
            dist.Normal(a[0], scale)

    for scale in (torch.tensor(-1.0, **DOUBLE), torch.tensor([1.0, torch.nan], **DOUBLE), torch.tensor(-1.0), torch.tensor(-1)):
        with pytest.raises((ArgumentError, ValueError), match="scale"):
            su.compile(model, scale)


def test_data_that_are_wrong_in_the_recording_only() -> None:
    runs = iter(range(100))

    def function(q: Tensor) -> Tensor:
        torch.distributions.Normal(torch.tensor(0.0, **DOUBLE), torch.tensor(1.0 - 2 * next(runs), **DOUBLE))
        return -q.square().sum()

    with pytest.raises(ValueError, match="Expected parameter scale"):  # at the second point
        Capture(function, POINTS, gradient=True)


def test_a_caught_check_is_found_though_the_tensor_was_checked_before() -> None:
    def function(q: Tensor) -> Tensor:
        torch.distributions.Normal(0.0, q[0] + 3)
        try:
            scale = torch.distributions.Normal(0.0, q[0] + 3).scale
        except ValueError:
            scale = q[1].exp()
        return scale.log() - q.square().sum()

    def of_one(q: Tensor) -> Tensor:
        scale = q[0] + 3
        torch.distributions.Normal(0.0, scale)
        try:
            torch.distributions.Normal(0.0, scale)
        except ValueError:
            scale = q[1].exp()
        return scale.log() - q.square().sum()

    for one in (function, of_one):
        with pytest.raises(BranchError, match="a check that failed"):
            Capture(one, POINTS, gradient=True)


def test_a_check_of_the_program_is_a_branch_as_before() -> None:
    def function(q: Tensor) -> Tensor:
        torch.distributions.Normal(q[0], 1.0)
        return -q.square().sum() if bool(torch.distributions.constraints.positive.check(q[0])) else -q.sum()

    with pytest.raises(BranchError, match="torch.where"):
        Capture(function, POINTS, gradient=True)


def test_checks_inside_a_transformation_of_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    def model() -> None:
        a = unknowns()
        scale = a[1].exp()

        def term(x: Tensor) -> Tensor:
            torch.distributions.Normal(a[0], torch.tensor(1.0, **DOUBLE))
            log_prob: Tensor = torch.distributions.Normal(a[0], scale).log_prob(x) if not x.dim() else x
            return log_prob

        torch.distributions.Normal(a[0], scale)
        su.factor("x", sum(torch.func.grad(term)(torch.tensor(x, **DOUBLE)) for x in (0.1, 0.2)))

    plain, found = record(model, monkeypatch, plainly=True), record(model, monkeypatch)
    assert outline(Function.of(plain).graph) == outline(Function.of(found).graph)
