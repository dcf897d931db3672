"""Convolutions as products of matrices: the rows of the operator contract again, and networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compiler.native.family import Family
from tests.compiler.native.network_operators import NETWORKS
from tests.compiler.native.reference import different
from tests.support.few import few
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native.lower import convolution

PRIOR = dist.Normal(0.0, 0.5)
ROWS = {name: NETWORKS[name] for name in ("aten.convolution", "aten.convolution_backward")}


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that can be a product of matrices is one."""
    monkeypatch.setattr(convolution, "BLAS_PRODUCT", 1)


@pytest.mark.usefixtures("products")
def test_every_row_of_the_contract_as_a_product(tmp_path: Path) -> None:
    family = Family(ROWS, tmp_path)
    assert family.native.source.count("su_correlate(") > 8
    assert family.native.source.count("su_weigh(") > 4
    assert {row: different(found, family.torch[row]) for row, found in family.found.items()} == dict.fromkeys(family.found)


NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "one dimension": (nn.Sequential(nn.Conv1d(2, 6, 3, padding=1, stride=2), nn.Tanh(), nn.Conv1d(6, 4, 3)), (3, 2, 20)),
    "two dimensions": (nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3)), (4, 1, 9, 9)),
    "three dimensions": (nn.Sequential(nn.Conv3d(1, 4, 2), nn.Tanh(), nn.Conv3d(4, 3, 2, dilation=2)), (2, 1, 5, 5, 5)),
    "groups": (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Tanh(), nn.Conv2d(4, 8, 2, groups=4)), (3, 2, 8, 7)),
    "transposed": (nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Tanh(), nn.ConvTranspose2d(4, 6, 3, stride=2)), (3, 1, 9, 9)),
    "reflecting": (nn.Sequential(nn.Conv2d(1, 5, 3, padding=1, padding_mode="reflect"), nn.Conv2d(5, 5, 3)), (2, 1, 8, 8)),
    "windows of one": (nn.Sequential(nn.Conv2d(3, 8, 1), nn.Tanh(), nn.Conv2d(8, 8, 1)), (2, 3, 6, 6)),
}  # fmt: skip


def regression(net: nn.Module, x: Tensor) -> Callable[[], None]:
    def program() -> None:
        f = su.module("net", net)(x).flatten()
        su.sample("y", dist.Normal(f, 1.0).to_event(1), obs=torch.ones(f.shape))

    return program


def test_small_ones_are_loops_and_large_ones_are_products() -> None:
    for channels, products in ((2, False), (16, True)):
        net = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.Tanh(), nn.Conv2d(channels, 2, 3))
        density = su.compile(su.lift(regression(net, torch.ones(2, 1, 6, 6)), PRIOR), engine="native")
        assert ("su_correlate(" in density.source) is products


# The rows above have windows of one to three dimensions, transposed ones among them.
@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("name", few(NETS, ["two dimensions", "groups", "windows of one"]))
def test_a_network_of_convolutions(name: str) -> None:
    """Value and gradient in C, with products of matrices, are those of torch."""
    net, shape = NETS[name]
    torch.manual_seed(0)
    lifted = su.lift(regression(net, torch.randn(*shape)), PRIOR)
    native, replay = (su.compile(lifted, engine=engine) for engine in ("native", "torch"))
    assert "su_correlate(" in native.source
    assert "su_weigh(" in native.source
    rng = np.random.default_rng(0)
    for scale in (0.1, 1.0):
        q = scale * rng.normal(size=native.dim)
        value, gradient = native.value_and_grad(q)
        wanted, slope = replay.value_and_grad(q)
        assert abs(value - wanted) <= 1e-11 * max(1.0, abs(wanted))
        np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-11 * max(1.0, np.abs(slope).max()))
