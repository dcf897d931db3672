"""Products of matrices whose sums stay in registers, against torch's: all layouts, sizes that are no multiples of a block."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.function import Function, Inputs

D = torch.float64
# Rows, columns and the length of a sum: from the smallest, with every rest of a block.
SIZES = [(4, 8, 260), (5, 9, 100), (6, 14, 50), (7, 13, 50), (23, 8, 25), (11, 12, 33), (40, 31, 5), (100, 50, 2)]
LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]


def products(inputs: Inputs, q: Tensor) -> tuple[Tensor, ...]:
    parts = inputs.unpack(q)
    found = []
    for k, (a, b) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        flip_a, flip_b = LAYOUTS[k % 4]
        found.append((a.mT if flip_a else a) @ (b.mT if flip_b else b))
    found.append(parts[0][:, ::2] @ parts[1][::2, :])  # windows with gaps
    found.append(parts[0][:1].expand(40, -1) @ parts[1])  # one row, many times
    return tuple(found)


@pytest.fixture(scope="module")
def made() -> tuple[Function, Inputs]:
    tensors = []
    for number, (m, n, k) in enumerate(SIZES):
        flip_a, flip_b = LAYOUTS[number % 4]
        tensors += [torch.empty((k, m) if flip_a else (m, k)), torch.empty((n, k) if flip_b else (k, n))]
    inputs = Inputs.like(*tensors)
    generator = torch.Generator().manual_seed(0)
    points = tuple(torch.randn(sum(inputs.sizes), dtype=D, generator=generator) for _ in range(3))
    run = lambda q: products(inputs, q)
    names = [f"product {k}" for k in range(len(SIZES) + 2)]
    recorded = Function.of(capture(run, points[:2], gradient=False))
    return recorded.compiled("native", title="products", outputs=names, proofs=points[2:]), inputs


def test_products_are_those_of_torch(made: tuple[Function, Inputs]) -> None:
    function, inputs = made
    assert function.native is not None
    assert function.native.source.count("su_product(") > len(SIZES), "one for each, and the function itself"
    q = torch.randn(sum(inputs.sizes), dtype=D, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(function(q), products(inputs, q), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)


def test_what_is_not_a_number_stays_where_torch_has_it(made: tuple[Function, Inputs]) -> None:
    function, inputs = made
    q = torch.randn(sum(inputs.sizes), dtype=D, generator=torch.Generator().manual_seed(2))
    q[::97], q[50::301] = torch.inf, torch.nan
    for mine, theirs in zip(function(q), products(inputs, q), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13, equal_nan=True)
