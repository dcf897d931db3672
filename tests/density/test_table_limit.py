"""Programs whose discrete sites are too many for one table are refused before memory is asked for."""

from __future__ import annotations

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.density.table_limit import TableLimit
from sursum.errors import DensityError
from sursum.infer import LogDensity


def entangled(sites: int) -> None:
    total = su.sample("x", dist.Normal(0.0, 1.0))
    for k in range(sites):
        total = total + su.sample(f"z{k}", dist.Categorical(torch.ones(50)))
    su.sample("y", dist.Normal(total, 1.0), obs=torch.tensor(3.0))


def test_a_table_that_is_too_large_is_named() -> None:
    with pytest.raises(DensityError, match=r"sites 'z0' \(50 values\), 'z1' \(50 values\), .* would give 312,500,000 numbers"):
        LogDensity(lambda: entangled(6))


def test_so_are_the_plates_that_its_sites_are_in() -> None:
    def program() -> None:
        with su.plate("columns", 3), su.plate("rows", 2000):
            entangled(4)

    said = r"'z0' \(50 values for each of 2,000 elements of plate 'rows' × 3 elements of plate 'columns'\), 'z1'"
    with pytest.raises(DensityError, match=said + r".* would give 750,000,000 numbers, of shape \(50, 50, 50, 2000, 3\)"):
        LogDensity(program)


def test_tables_that_fit_are_summed() -> None:
    assert LogDensity(lambda: entangled(2)).dim == 1


def test_no_memory_is_asked_for() -> None:
    huge = torch.zeros(1).expand(10**6)
    with TableLimit("'z'"), pytest.raises(DensityError, match=r"1,000,000,000,000 numbers, of shape \(1000000, 1000000\)"):
        huge[:, None] + huge
    with TableLimit("'z'"):
        assert (torch.ones(20_000, 1) @ torch.ones(1, 3)).shape == (20_000, 3)
