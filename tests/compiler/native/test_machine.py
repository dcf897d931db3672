"""Tuning constants fit together, and no result depends on them."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
import torch

from sursum.compiler.capture.capture import capture
from sursum.compiler.function import Function
from sursum.compiler.native import machine
from sursum.compiler.native.passes import fuse, log_of_products, tile, unroll_jam

ROWS = torch.randn(480, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_panel_has_the_rows_that_its_c_takes() -> None:
    text = files("sursum.compiler.native").joinpath("c", "lanes.c").read_text(encoding="ascii")
    found = re.findall(r"SU_LANES = (\d+), SU_PARTS = (\d+)", text)
    assert [int(lanes) * int(parts) for lanes, parts in found] == [machine.PANEL_ROWS, machine.PANEL_ROWS]
    assert sorted(int(lanes) for lanes, _ in found) == [machine.LANES, machine.WIDEST_LANES]


def test_blocks_are_whole_vectors_and_products_do_not_overflow() -> None:
    assert machine.TILE_ROWS % machine.WIDEST_LANES == 0
    assert machine.JOINT_BLOCK % machine.WIDEST_LANES == 0
    assert machine.JOINT_BLOCK < 1024  # the largest double is just below 2¹⁰²⁴
    assert machine.TILE_BLOCK_BYTES < machine.TILE_ARRAY_BYTES


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {(fuse, "FUSED_DEPTH"): 1},
        {(tile, "TILE_ARRAY_BYTES"): 1, (tile, "TILE_BLOCK_BYTES"): 512},
        {(log_of_products, "JOINT_ROWS"): 8, (log_of_products, "JOINT_BLOCK"): 24},
        {(unroll_jam, "JAM_COLUMNS"): 2, (unroll_jam, "JAM_STAGES"): 9},
    ],
    ids=lambda changes: ", ".join(name for _, name in changes) or "as they are",
)
def test_a_gradient_is_the_same_with_others(changes: dict[tuple[object, str], int], monkeypatch: pytest.MonkeyPatch) -> None:
    for (module, name), number in changes.items():
        monkeypatch.setattr(module, name, number)

    def density(q: torch.Tensor) -> torch.Tensor:
        return -torch.nn.functional.softplus(ROWS @ q).sum() - (q**2).sum()

    points = torch.full((12,), 0.1, dtype=torch.float64), torch.full((12,), -0.2, dtype=torch.float64)
    function = Function.of(capture(density, points, gradient=True))
    native = function.compiled("native", title="tuned", outputs=("log density", "gradient"), proofs=points)
    q = torch.linspace(-1, 1, 12, dtype=torch.float64).requires_grad_()
    value = density(q)
    (slope,) = torch.autograd.grad(value, q)
    found, gradient = native(q.detach())
    assert float(found) == pytest.approx(float(value.detach()), rel=1e-13)
    assert torch.allclose(gradient, slope, rtol=1e-12, atol=1e-12)
