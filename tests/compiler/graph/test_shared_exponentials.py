"""Weights of sums of exponentials: those of torch's gradient, infinite numbers included, by half the exponentials."""

from __future__ import annotations

import math

import pytest
import torch

from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.replay import Replay
from sursum.compiler.passes import optimise

TABLE = torch.linspace(-3.0, 2.0, 24, dtype=torch.float64).reshape(2, 3, 4)


def exponentials(graph):
    return sum(node.op.__name__ == "exp.default" for node in graph.nodes)


def with_gradient(program):
    def run(q):
        q = q.detach().requires_grad_()
        value = program(q)
        return value.detach(), torch.autograd.grad(value, q)[0]

    return run


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dims", [0, -1, 1, (0, 2), (0, 1, 2)])
def test_gradients_along_any_dimensions_are_torchs(dims, keepdim):
    program = lambda q: (torch.logsumexp(q.reshape(2, 3, 4) * TABLE, dims, keepdim=keepdim).sin()).sum()
    points = torch.linspace(-1.0, 1.5, 24, dtype=torch.float64), torch.linspace(0.3, -0.7, 24, dtype=torch.float64)
    graph = optimise(capture(program, points, gradient=True))
    assert exponentials(graph) == 1
    value, slope = with_gradient(program)(points[1])
    found = Replay(graph)(points[1])
    torch.testing.assert_close(found[0], value, rtol=1e-12, atol=0)
    torch.testing.assert_close(found[1], slope, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize(
    "row",
    [
        [0.0, -math.inf, 1.0],
        [-math.inf, -math.inf, -math.inf],
        [0.0, math.inf, 1.0],
        [0.0, math.nan, 1.0],
        [800.0, -800.0, 799.0],
    ],
)
def test_weights_of_extreme_numbers_are_torchs(row):
    at = torch.tensor(row, dtype=torch.float64)
    program = lambda q: torch.logsumexp(q + 0.0, 0)
    graph = optimise(capture(program, (torch.zeros(3).double(), torch.ones(3).double()), gradient=True))
    assert exponentials(graph) == 1
    value, slope = with_gradient(program)(at)
    found = Replay(graph)(at)
    torch.testing.assert_close(found[0], value, rtol=1e-14, atol=0, equal_nan=True)
    torch.testing.assert_close(found[1], slope, rtol=1e-13, atol=1e-300, equal_nan=True)


def test_weights_of_large_numbers_sum_to_one():
    """Torch's own are exp(x − log Σ exp x), whose logarithm has lost the 2 here: 1 and 1."""
    points = torch.zeros(3).double(), torch.ones(3).double()
    graph = optimise(capture(lambda q: torch.logsumexp(q + 0.0, 0), points, gradient=True))
    _, slope = Replay(graph)(torch.tensor([-1e300, -1e300, -2e300], dtype=torch.float64))
    assert slope.tolist() == [0.5, 0.5, 0.0]


def test_a_normalisation_of_logits_takes_them_once():
    """Logits less their logsumexp: its gradient, and the probabilities themselves, are of the same exponentials."""

    def program(q):
        logits = q - q.logsumexp(-1, keepdim=True)
        return (logits.exp() * torch.arange(4.0, dtype=torch.float64)).sum() + logits[0]

    points = torch.linspace(-1.0, 1.5, 4, dtype=torch.float64), torch.linspace(0.3, -0.7, 4, dtype=torch.float64)
    graph = optimise(capture(program, points, gradient=True))
    assert exponentials(graph) == 1
    value, slope = with_gradient(program)(points[0])
    found = Replay(graph)(points[0])
    torch.testing.assert_close(found[0], value, rtol=1e-13, atol=0)
    torch.testing.assert_close(found[1], slope, rtol=1e-12, atol=1e-14)


def test_a_value_without_a_gradient_stays_one_operator():
    graph = optimise(capture(lambda q: (q.logsumexp(0),), (torch.zeros(3).double(), torch.ones(3).double()), gradient=False))
    assert [node.op.__name__ for node in graph.nodes] == ["logsumexp.default"]


@pytest.mark.parametrize("keepdim", [False, True])
def test_a_sum_of_nothing_stays_as_it_is(keepdim):
    program = lambda q: torch.logsumexp(q[:0].reshape(3, 0), 1, keepdim=keepdim).exp().sum() + q.sum()
    graph = optimise(capture(program, (torch.zeros(3).double(), torch.ones(3).double()), gradient=True))
    value, slope = Replay(graph)(torch.tensor([0.5, 1.0, 2.0]).double())
    assert (float(value), slope.tolist()) == (3.5, [1.0, 1.0, 1.0])
