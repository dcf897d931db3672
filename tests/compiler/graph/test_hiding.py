"""A number that changes from run to run is found, also where it does not show in the results of the two runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import Capture
from sursum.compiler.graph.hiding import may_hide
from sursum.errors import EscapeError

DOUBLE = {"dtype": torch.float64}
DATA = torch.tensor([0.5, -2.0], **DOUBLE)
HIDING: dict[str, Callable[[Tensor, float], Tensor]] = {
    "where": lambda q, n: torch.where(q > 3, n * q, q),
    "clamp": lambda q, n: q.clamp(max=n),
    "mask": lambda q, n: (q >= 0) * n * q,
    "mask of doubles": lambda q, n: (q >= 0).double() * n * q,
    "integers": lambda q, n: q + n * q.long(),
    "maximum": lambda q, n: torch.maximum(q, n * torch.ones_like(q)),
    "−∞ elsewhere": lambda q, n: torch.where(q >= n, q, -torch.inf),
    "finite below": lambda q, n: torch.where(q >= 0, q, n),
}
SHOWING: dict[str, Callable[[Tensor, float], Tensor]] = {
    "smooth": lambda q, n: (n * q).exp() - q.log_softmax(0) + torch.special.xlogy(DATA.abs(), q.square() + n),
    "data": lambda q, n: q * torch.where(DATA > 3, n, DATA).clamp(min=-n),
    "half": lambda q, n: dist.HalfNormal(n, validate_args=False).log_prob(q),
}


def hides(fn: Callable[[Tensor, float], Tensor]) -> bool:
    q = torch.tensor([0.3, 0.7], **DOUBLE)
    graph = Capture(lambda q: fn(q, 5.0).sum(), (q, q + 1), gradient=True, enough=lambda _: True).graph
    return may_hide(replace(graph, outputs=graph.outputs[:1]))


@pytest.mark.parametrize("row", HIDING)
def test_an_operator_may_leave_a_number_out(row: str) -> None:
    assert hides(HIDING[row])


@pytest.mark.parametrize("row", SHOWING)
def test_numbers_show(row: str) -> None:
    assert not hides(SHOWING[row])


def test_a_number_that_changes_is_found_where_it_is_not_used() -> None:
    runs = count(1)

    def model() -> None:
        a = su.sample("a", dist.Normal(0.0, 1.0))
        su.sample("x", dist.Normal(a, 1.0), obs=torch.tensor(0.3))
        n = next(runs)
        su.factor("far", torch.where(a > 30, n * a, torch.zeros(())))

    with pytest.raises(EscapeError, match="in one run"):
        su.compile(model, engine="torch")
