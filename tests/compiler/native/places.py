"""Programs that look something up, or write, at a computed place: one for every operator that takes an index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

#: Elements of a table, and of an index.
ROWS, COUNT = 5, 3

aten = torch.ops.aten


@dataclass(frozen=True)
class Case:
    """A program of a table, ROWS × 2, of an index, whole numbers of shape (COUNT,), and of as many values; the places that
    the index may hold; whether the native engine has it."""

    program: Callable[[Tensor, Tensor, Tensor], Tensor]
    low: int = 0
    high: int = ROWS
    native: bool = True


def _column(table: Tensor) -> Tensor:
    return table[:, 0]


def _int32(k: Tensor) -> Tensor:
    return k.clamp(-(2**31), 2**31 - 1).to(torch.int32)


def _wide(k: Tensor) -> Tensor:
    return k[:, None].expand(COUNT, 2)


def _pooled(k: Tensor) -> Tensor:
    return k.reshape(1, 1, COUNT)[:, :, :1].reshape(1, 1, 1, 1)


CASES: dict[str, Case] = {
    "index": Case(lambda t, k, v: t[k], -ROWS),
    "index of two": Case(lambda t, k, v: t[k, torch.tensor([0, 1, 1])], -ROWS),
    "index of the second dimension": Case(lambda t, k, v: t.T[:, k], -ROWS),
    "index by an int32": Case(lambda t, k, v: t[_int32(k)], -ROWS),
    "index_put": Case(lambda t, k, v: _column(t).clone().index_put((k,), v), -ROWS),
    "index_put, accumulated": Case(lambda t, k, v: _column(t).clone().index_put((k,), v, accumulate=True), -ROWS),
    "index_put, of another memory": Case(lambda t, k, v: torch.zeros(ROWS, dtype=v.dtype).index_put_((k,), v), -ROWS),
    "gather": Case(lambda t, k, v: _column(t).gather(0, k)),
    "gather, expanded": Case(lambda t, k, v: t.gather(0, _wide(k))),
    "scatter": Case(lambda t, k, v: _column(t).scatter(0, k, v)),
    "scatter of a number": Case(lambda t, k, v: _column(t).scatter(0, k, 2.5)),
    "scatter_add": Case(lambda t, k, v: _column(t).scatter_add(0, k, v)),
    "scatter_reduce": Case(lambda t, k, v: _column(t).scatter_reduce(0, k, v, "amax")),
    "index_select": Case(lambda t, k, v: t.index_select(0, k)),
    "index_add": Case(lambda t, k, v: _column(t).index_add(0, k, v, alpha=2.0)),
    "index_copy": Case(lambda t, k, v: _column(t).index_copy(0, k, v)),
    "index_fill": Case(lambda t, k, v: _column(t).index_fill(0, k, 2.5), -ROWS),
    "index_reduce": Case(lambda t, k, v: t.sum() + _column(t).detach().index_reduce(0, k, v.detach(), "prod")),
    "take": Case(lambda t, k, v: t.take(k), -2 * ROWS, 2 * ROWS),
    "put": Case(lambda t, k, v: t.put(k, v), -2 * ROWS, 2 * ROWS),
    "embedding": Case(lambda t, k, v: F.embedding(k, t)),
    "embedding with padding": Case(lambda t, k, v: F.embedding(k, t, padding_idx=1)),
    "embedding_bag": Case(lambda t, k, v: F.embedding_bag(k[None], t, mode="sum")),
    "embedding_bag of largest": Case(lambda t, k, v: F.embedding_bag(k[None], t, mode="max")),
    "nll_loss": Case(lambda t, k, v: F.nll_loss(t.T.repeat(2, 1)[:COUNT], k), native=False),
    "cross_entropy": Case(lambda t, k, v: F.cross_entropy(t.T.repeat(2, 1)[:COUNT], k, reduction="sum"), native=False),
    "multi_margin_loss": Case(lambda t, k, v: F.multi_margin_loss(t.T.repeat(2, 1)[:COUNT], k), native=False),
    "max_unpool2d": Case(lambda t, k, v: F.max_unpool2d(v[:1].reshape(1, 1, 1, 1), _pooled(k), 2), 0, 4),
    "max_pool2d backward": Case(
        lambda t, k, v: aten.max_pool2d_with_indices_backward(
            v[:1].detach().reshape(1, 1, 1, 1), t[:2].detach().reshape(1, 1, 2, 2),
            [2, 2], [2, 2], [0, 0], [1, 1], False, _pooled(k),
        ) + t.sum(), 0, 4),
    "searchsorted with a sorter": Case(
        lambda t, k, v: torch.searchsorted(_column(t).detach()[:COUNT], v.detach(), sorter=k) + t.sum(), 0, COUNT, native=False
    ),
    "lu_solve": Case(
        lambda t, k, v: torch.linalg.lu_solve(3.0 * torch.eye(COUNT, dtype=v.dtype), _int32(k), v[:, None]), 1, COUNT + 1),
    "tables one after another": Case(lambda t, k, v: t[torch.arange(ROWS)[k]], -ROWS),
    "a place that is added up": Case(lambda t, k, v: t[k + k - k], -ROWS),
    "a place in two dimensions": Case(lambda t, k, v: t.reshape(-1)[k * 2 + 1], -ROWS),
    "a place without its sign": Case(lambda t, k, v: _column(t).gather(0, k.abs()), 1 - ROWS, ROWS),
}  # fmt: skip


def log_density(case: Case, q: Tensor) -> Tensor:
    """A log density in which the last COUNT numbers of q, rounded, are the index."""
    table, values, places = q[: 2 * ROWS].reshape(ROWS, 2), q[2 * ROWS : 2 * ROWS + COUNT], q[2 * ROWS + COUNT :]
    k = places.floor().to(torch.int64)
    weights = case.program(table, k, values).double()
    steps = torch.linspace(0.5, 1.5, weights.numel(), dtype=torch.float64).reshape(weights.shape)
    return -(steps * weights).sum() - (table**2).sum() / 2 - (values**2).sum() / 2


def point(places: list[float], seed: int = 0) -> Tensor:
    """A q with these places."""
    rest = torch.randn(2 * ROWS + COUNT, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([rest, torch.tensor(places, dtype=torch.float64)])
