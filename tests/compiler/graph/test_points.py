"""A graph at several points at once gives what it gives at each of them, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import Capture, capture
from sursum.compiler.engine import Remembered
from sursum.compiler.graph import points
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.points import _MOST, at_points
from sursum.compiler.graph.replay import Replay
from sursum.compiler.passes import optimise

DOUBLE = {"dtype": torch.float64}
AT = [torch.linspace(low, low + 1, 6, **DOUBLE) for low in (0.1, 0.3, -2.0, 5.0)]


def pointwise(q: Tensor) -> tuple[Tensor, ...]:
    """Numbers and vectors, broadcast with one another; what varies in a window alone; a constant as an output."""
    scale, data = q[0].exp(), torch.tensor([0.5, 1.5, 2.5], **DOUBLE)
    terms = -(((data - q[1]) / scale) ** 2) / 2 - scale.log()
    return terms.sum(), torch.where(q > 0, q, 2 * q), torch.stack([q[2], scale, terms[1]]), torch.ones(2, **DOUBLE)


def windows(q: Tensor) -> tuple[Tensor, ...]:
    """Results that are read through other windows, and do not fill their memory in order."""
    matrix = (q.reshape(2, 3) * 2.0).t()
    turned = torch.exp(matrix)
    return turned[1:], turned.reshape(-1)[::2], turned.expand(2, 3, 2).sum(0), q[1:3], q.flip(0)[2:] @ q[:4]


def several(q: Tensor) -> tuple[Tensor, ...]:
    """Operators of several results, lists of tensors, keywords, integers."""
    values, order = q.sort(descending=True)
    first, *rest = q.split(2)
    return torch.cat([values, first, *rest]), order, torch.var_mean(q, correction=0)[1], q.argmax()


def empty(q: Tensor) -> tuple[Tensor, ...]:
    return q[:0].exp(), q[:0].sum() + q.sum()


def graph_of(program: Callable[[Tensor], Any]) -> Graph:
    return optimise(capture(program, (AT[0], AT[1]), gradient=False))


@pytest.mark.parametrize("program", [pointwise, windows, several, empty], ids=lambda program: program.__name__)
def test_the_outputs_are_those_at_each_point(program: Callable[[Tensor], Any]) -> None:
    graph = graph_of(program)
    replay = Replay(graph)
    for q, found in zip(AT, at_points(graph, AT), strict=True):
        assert found is not None
        for mine, wanted in zip(found, replay(q), strict=True):
            assert (mine.dtype, mine.shape) == (wanted.dtype, wanted.shape)
            torch.testing.assert_close(mine, wanted, rtol=1e-14, atol=1e-14)


def density() -> Graph:
    def model() -> None:
        a = su.sample("a", dist.Normal(torch.zeros(2, **DOUBLE), 1.0).to_event(1))
        su.sample("x", dist.Normal(a[0], a[1] + 1.0), obs=torch.tensor([0.3, 0.1], **DOUBLE))

    near = torch.tensor([0.3, 0.2], **DOUBLE), torch.tensor([-0.5, 0.4], **DOUBLE)
    return optimise(Capture(su.infer.LogDensity(model), near, gradient=True).graph)


def test_a_point_at_which_a_check_fails_is_left_to_the_replay() -> None:
    graph, at = density(), [torch.tensor(row, **DOUBLE) for row in ([0.1, 0.5], [0.1, -1.5], [torch.nan, 0.0], [2.0, -0.9])]
    found = at_points(graph, at)
    assert [one is None for one in found] == [False, True, True, False]
    replay, known = Replay(graph), Remembered(Replay(graph))
    known.foresee(graph, at)
    for q in at:
        for mine, wanted in zip(known(q), replay(q), strict=True):
            torch.testing.assert_close(mine, wanted, rtol=1e-14, atol=0.0)


def test_what_is_foreseen_is_not_computed_again() -> None:
    graph = density()
    runs: list[Tensor] = []
    known = Remembered(lambda q: (runs.append(q), Replay(graph)(q))[1])
    at = [torch.tensor(row, **DOUBLE) for row in ([0.1, 0.5], [0.1, -1.5], [0.4, 0.0], [1.0, 1.0])]
    known(at[0])
    known.foresee(graph, [*at, at[2]])
    values = [float(known(q)[0]) for q in at]
    assert [q.tolist() for q in runs] == [[0.1, 0.5], [0.1, -1.5]]
    assert values[1] == -torch.inf
    assert values[0] != values[2]


def test_results_are_of_their_own() -> None:
    first, second, *_ = at_points(graph_of(lambda q: (q, torch.ones(6, **DOUBLE), 2 * q)), AT)
    assert first is not None
    assert second is not None
    for output in first:
        output.zero_()
    assert [output.tolist() for output in second[:2]] == [AT[1].tolist(), [1.0] * 6]
    assert AT[0][0] == 0.1


def written(q: Tensor) -> tuple[Tensor, ...]:
    memory = torch.zeros(6, **DOUBLE)
    memory[1:3] = q[:2]
    return (memory + q,)


def singular(q: Tensor) -> tuple[Tensor, ...]:
    return (torch.linalg.solve(torch.diag(q), q),)


def test_what_cannot_be_mapped_or_is_large_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_points(graph_of(written), AT) == [None] * 4
    found = at_points(graph_of(singular), [*AT, torch.zeros(6, **DOUBLE)])
    assert [one is None for one in found] == [False] * 4 + [True]
    assert at_points(graph_of(pointwise), AT[:1]) == [None]
    large = graph_of(pointwise)
    first = next(iter(large.values.values()))
    large = replace(large, values={**large.values, -1: replace(first, id=-1, numel=_MOST)})
    assert at_points(large, AT) == [None] * 4

    def refuse(*args: Any) -> Any:
        raise RuntimeError("no rule")

    monkeypatch.setattr(points, "vmap", lambda run: refuse)
    assert at_points(graph_of(pointwise), AT) == [None] * 4


F = torch.nn.functional
ACTIVATIONS = [
    *(F.logsigmoid, F.softplus, F.gelu, F.mish, F.elu, F.leaky_relu, F.hardtanh, F.hardswish, F.softshrink, torch.logit),
    *(lambda x: F.smooth_l1_loss(x, 0 * x), lambda x: F.threshold(x, 0.1, 0.0)),
]


@pytest.mark.parametrize("of_one", [True, False], ids=["numbers", "vectors"])
def test_derivatives_are_mapped_without_asides(of_one: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """torch would write to the terminal that it resizes an output, or loops."""

    def program(q: Tensor) -> Tensor:
        x = q[0].sigmoid() if of_one else q.sigmoid()
        return torch.stack([fn(x).sum() for fn in ACTIVATIONS]).sum()

    graph = optimise(capture(program, (AT[0], AT[1]), gradient=True))
    replay = Replay(graph)
    for q, found in zip(AT, at_points(graph, AT), strict=True):
        assert found is not None
        for mine, wanted in zip(found, replay(q), strict=True):
            torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-14)
    assert capfd.readouterr().err == ""
