"""What Python may look at although it depends on q: questions whose answer is the same for every q."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.replay import Replay
from sursum.errors import BranchError, CaptureError

POINTS = torch.tensor([0.3, -0.8, 1.2], dtype=torch.float64), torch.tensor([-1.1, 0.4, 0.7], dtype=torch.float64)
X = torch.linspace(0.0, 1.0, 3, dtype=torch.float64)
Y = X.clone()


def written(q: Tensor) -> Tensor:
    out = torch.zeros(3, dtype=torch.float64)
    out[1] = q[0].exp()
    return out


def unlike(q: Tensor) -> Tensor:
    out = torch.zeros(3, dtype=torch.float64)
    out[2] = q[0].exp()
    return out


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (lambda q: torch.equal(X / q.exp(), X / q.exp()), True),
        (lambda q: torch.equal(X / q.exp(), Y / q.exp()), True),
        (lambda q: torch.equal((X - q.mean()) / q.exp(), (X - q.mean()) / q.exp()), True),
        (lambda q: torch.allclose(q.exp(), q.exp()), True),
        (lambda q: bool((q.sin() == q.sin()).all()), True),
        (lambda q: bool((q.sin() != q.sin()).any()), False),
        (lambda q: torch.equal(q, q[:2]), False),
        (lambda q: torch.equal(written(q), written(q)), True),
    ],
)
def test_one_computation_is_equal_to_itself(question: Callable[[Tensor], bool], answer: bool) -> None:
    found: list[bool] = []

    def program(q: Tensor) -> Tensor:
        found.append(question(q))
        return (q * q).sum() if found[-1] else q.sum()

    replay = Replay(capture(program, POINTS, gradient=True))
    q = torch.tensor([0.5, 2.0, -1.0], dtype=torch.float64)
    assert found == [answer, answer]
    assert float(replay(q)[0]) == (5.25 if answer else 1.5)


@pytest.mark.parametrize(
    "question",
    [
        lambda q: torch.equal(X / q[0], X / q[1]),
        lambda q: torch.equal(X / q[0], (X + 1) / q[0]),
        lambda q: torch.equal(q.sin(), q.cos()),
        lambda q: torch.equal(q + 1, q + 2),
        lambda q: torch.equal(written(q), unlike(q)),
        lambda q: bool((q.sin() == q.sin()).sum() > 2),
        lambda q: torch.equal(torch.full((3,), torch.nan).double() * q, torch.full((3,), torch.nan).double() * q),
    ],
)
def test_two_computations_may_be_equal_at_one_point_only(question: Callable[[Tensor], bool]) -> None:
    with pytest.raises(BranchError, match="Python may not branch on it"):
        capture(lambda q: q.sum() if question(q) else q.prod(), POINTS, gradient=True)


def test_a_kernel_that_asks_whether_its_inputs_are_one() -> None:
    x = torch.linspace(0.0, 1.0, 5, dtype=torch.float64)[:, None]

    def model() -> None:
        scale = su.sample("scale", dist.LogNormal(torch.zeros((), dtype=torch.float64), 1.0))
        a, b = x / scale, x / scale
        distance = (a - b.T).square() if torch.equal(a, b) else torch.full((5, 5), torch.inf)
        su.factor("f", -distance.sum())

    q = 0.3
    value, gradient = su.compile(model).value_and_grad(np.array([q]))
    total = float((x - x.T).square().sum())
    assert value == pytest.approx(-total * np.exp(-2 * q) - q**2 / 2 - np.log(2 * np.pi) / 2, rel=1e-12)
    assert gradient[0] == pytest.approx(2 * total * np.exp(-2 * q) - q, rel=1e-12)


def test_a_factorisation_may_be_asked_whether_it_succeeded() -> None:
    """As linear_operator's psd_safe_cholesky does, whose jitter would be another model."""

    def program(q: Tensor) -> Tensor:
        matrix = torch.diag(q)
        factor, info = torch.linalg.cholesky_ex(matrix)
        if torch.any(info):
            factor = torch.linalg.cholesky(matrix + 10 * torch.eye(3))
        return factor.diagonal().log().sum()

    graph = capture(program, (POINTS[0].abs(), POINTS[1].abs()), gradient=True)
    assert [guard.kind for guard in graph.guards] == ["zero"]
    replay = Replay(graph)
    assert float(replay(torch.tensor([1.0, 4.0, 9.0]).double())[0]) == pytest.approx(np.log(6.0), rel=1e-14)
    assert float(replay(torch.tensor([1.0, -4.0, 9.0]).double())[0]) == -np.inf


def test_an_operator_that_takes_functions_is_refused_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch.cond makes a wrapper of torch.compile's, which switches torch's checks off for everybody.
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", torch.distributions.Distribution._validate_args)

    def model() -> None:
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", torch.cond(z > 0, lambda a: 2 * a, lambda a: a * 1, (z,)))

    with pytest.raises(CaptureError, match=r"torch.cond.*test_same.py:\d+.*torch.where"):
        su.compile(model)
