"""Tables whose columns are long run a block of rows at a time, and need memory for one block."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from tests.compiler.native import test_fuzz as fuzz
from tests.compiler.native.agreement import compiled, matrix
from tests.compiler.native.fuzz import STEPS, Program

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.function import Function
from sursum.compiler.native.build import translate
from sursum.compiler.native.emit import group as emitted
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.program import Loop, Rows
from sursum.compiler.native.passes import normalise_loops, tile
from sursum.compiler.native.passes.tile import reads_row_by_row, rows_of
from sursum.compiler.passes import optimise

ROWS, TILED = 1003, "for (int64_t start = 0;"


def beta():
    return su.sample("beta", dist.Normal(torch.zeros(5, dtype=torch.float64), 1.0).to_event(1))


def workspace(source: str) -> int:
    found = re.search(r"(\d+) bytes of workspace", source)
    assert found is not None
    return int(found[1])


def test_a_mixture_goes_once_over_its_points():
    """Labels are summed out, and value and gradient are one sweep; the last block is shorter than the others."""
    y = matrix(ROWS, 1)[:, 0]

    def mixture(y):
        mu = beta()
        scale = su.sample("scale", dist.HalfNormal(torch.ones(5, dtype=torch.float64)).to_event(1))
        with su.plate("points", len(y)):
            k = su.sample("k", dist.Categorical(torch.full((5,), 0.2, dtype=torch.float64)))
            su.sample("y", dist.Normal(mu[k], scale[k]), obs=y)

    source = compiled(mixture, y).source
    assert source.count(TILED) == 1
    assert f"< {ROWS} ?" in source
    assert workspace(source) < 5 * ROWS * 8


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1000, 1003, 2011])
def test_rows_of_a_matrix_and_columns_of_a_table_are_one_sweep(rows):
    """A mixture of regressions: panels of the matrix, and blocks of the table."""
    x, y = matrix(rows, 8), matrix(rows, 1, seed=2)[:, 0]

    def program(x, y):
        slopes = su.sample("slopes", dist.Normal(torch.zeros(8, dtype=torch.float64), 1.0).to_event(1))
        away = y - x @ slopes - beta()[:, None]
        su.factor("f", torch.logsumexp(-0.5 * away**2, 0).sum())

    source = compiled(program, x, y).source
    assert source.count(TILED) == 1
    assert "su_lanes *const" in source
    assert workspace(source) < 5 * rows * 8


def test_what_is_read_after_the_sweep_is_kept_whole():
    """A sum over all rows stands between: the table that both sweeps read is not computed again, and lies in memory."""
    y = matrix(ROWS, 1)[:, 0]

    def program(y):
        table = torch.tanh(y - beta()[:, None]).exp()
        su.factor("f", -(table / table.sum() - 0.01).square().sum() - table.sum(1).square().sum() / ROWS)

    assert workspace(compiled(program, y).source) >= 5 * ROWS * 8


SMALL = torch.cat([torch.linspace(-2e-310, 2e-310, 50, dtype=torch.float64), torch.tensor([0.0, 1.0, -2.5]).double()])


@pytest.fixture(scope="module")
def quotients():
    points = tuple(torch.tensor([p], dtype=torch.float64) for p in (0.7, 1.3))
    recorded = Function.of(capture(lambda q: (SMALL / q[0],), points, gradient=False))
    return recorded.compiled("native", title="quotients", outputs=["quotients"], proofs=points)


@pytest.mark.parametrize("scale", [0.3, 3e-310, -5e-324, 0.0, float("inf"), float("nan")])
def test_a_quotient_by_what_does_not_vary_is_one_whatever_that_is(scale, quotients):
    """Loops with such divisors are written twice: one of them is for subnormal numbers."""
    assert "== 1.0) {" in quotients.native.source
    (found,) = quotients(torch.tensor([scale], dtype=torch.float64))
    torch.testing.assert_close(found, SMALL / scale, rtol=3e-16, atol=5e-324, equal_nan=True)


# Where rows lie


def store(shape, coefs, offset=0, **options):
    return Loop(1, shape, Affine(offset, coefs), _READ.exprs.const(0.0), "set", _WHERE, **options)


GRAPH = optimise(capture(lambda q: (q * 2.0,), (torch.ones(2).double(), torch.zeros(2).double()), gradient=False))
_READ = translate(GRAPH, "rows")[1]
_WHERE = _READ.stages[0].where


@pytest.mark.parametrize(
    ("shape", "coefs", "row", "wanted"),
    [
        ((100, 3), (3, 1), 0, Rows(3, 0)),
        ((3, 100), (100, 1), 1, Rows(1, 100)),
        ((2, 3, 100), (300, 100, 1), 2, Rows(1, 100)),
        ((3, 100), (1, 3), 1, Rows(3, 0)),
        ((3, 100), (120, 1), 1, Rows(1, 120)),
        ((3, 100), (50, 1), 1, None),  # rows that overlap
        ((3, 100), (0, 1), 1, Rows(1, 0)),
        ((3, 100), (100, 0), 1, None),
    ],
)
def test_how_rows_lie(shape, coefs, row, wanted):
    assert rows_of(store(shape, coefs), row) == wanted


def test_a_reader_of_other_rows_is_found():
    writer, e = store((3, 100), (100, 1)), _READ.exprs
    laid = rows_of(writer, 1)

    def reads(shape, affine, row):
        reader = Loop(2, shape, Affine(0, (1,) * len(shape)), e.load(1, affine, "f"), "set", _WHERE)
        return reads_row_by_row(writer, 1, laid, reader, row)

    assert reads((3, 100), Affine(0, (100, 1)), 1)
    assert reads((100, 3), Affine(0, (1, 100)), 0)
    assert reads((100,), Affine(200, (1,)), 0)  # the last column
    assert not reads((99,), Affine(1, (1,)), 0)  # a row further down
    assert not reads((100,), Affine(99, (-1,)), 0)  # backwards
    assert not reads((150, 2), Affine(0, (2, 1)), 0)  # two rows at a time
    assert not reads((3, 100), Affine(0, (100, 1)), 0)  # whole columns


# Random programs


@pytest.mark.slow
def test_random_programs_in_tiles_of_two_rows(monkeypatch, tmp_path):
    """Where every table is large, and every loop long."""
    for name, value in {
        "TILE_ARRAY_BYTES": 1,
        "TILE_ROWS": 1,
        "TILE_VECTORS": 2,
        "TILE_BLOCK_BYTES": 16,
        "WHOLE_LOOP": 2,
    }.items():
        monkeypatch.setattr(tile, name, value)
    monkeypatch.setattr(normalise_loops, "WHOLE_LOOP", 2)
    monkeypatch.setattr(emitted, "SHORT_LOOP", 2)
    rng = np.random.default_rng(0)
    step = lambda: tuple(int(rng.integers(most)) for most in (len(STEPS), 6, 6, 12))
    places = 0
    for seed in range(6):
        found = [
            Program.of(*rng.integers(500, size=2).tolist(), [step() for _ in range(rng.integers(1, 9))]) for _ in range(25)
        ]
        places += fuzz.compiled(found, tmp_path)[0].source.count("- start")
        fuzz.check(found, tmp_path, seed)
    assert places > 50
