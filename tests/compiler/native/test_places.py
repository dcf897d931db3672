"""The contract of computed places: inside its table an index reads and writes what torch does, outside the density is −∞."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.compiler.native.places import CASES, COUNT, Case, log_density, point
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.dce import drop_guards
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.replay import BatchReplay, Replay
from sursum.compiler.native.build import build
from sursum.compiler.native.library.library import NativeFunction
from sursum.compiler.native.unsupported import UnsupportedOperator
from sursum.compiler.passes import optimise

#: What is no place in any table.
# torch says of one operator that it is in beta, of another that it copies.
pytestmark = pytest.mark.filterwarnings("ignore:index_reduce", "ignore:torch.searchsorted")

NOWHERE = [math.nan, math.inf, -math.inf, 1e300, -1e300, 2.0**62, -(2.0**63), 2.0**63, 2.0**31, -(2.0**31) - 1.0, 1e15]


def outside(case: Case) -> list[float]:
    """Places that are outside of a case's table: the nearest ones, and far away."""
    return [x for x in (case.low - 1, case.high, *NOWHERE) if not (case.low <= integer(x) < case.high)]


def integer(x: float) -> int:
    """What x is as an integer, as torch has it."""
    return int(torch.tensor(x, dtype=torch.float64).to(torch.int64))


def inside(case: Case) -> list[list[float]]:
    """Places that are inside, the first and the last among them."""
    low, high = max(case.low, -9), min(case.high, 9)
    return [[low, high - 1, low], [high - 1, low, (low + high) // 2], [high - 1, high - 2, high - 1]]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Each of the programs."""
    return CASES[request.param]


def captured(case: Case) -> Graph:
    """A case's graph, captured inside of the table."""
    points = point(inside(case)[0]), point(inside(case)[1], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return capture(lambda q: log_density(case, q), points, gradient=True)


@pytest.fixture(scope="module")
def graph(case: Case) -> Graph:
    """The same as an engine has it."""
    return optimise(captured(case))


@pytest.fixture(scope="module")
def native(case: Case, graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> NativeFunction:
    """Its C."""
    directory = tmp_path_factory.getbasetemp() / "places"  # one for all: the toolchain is found out once
    if not case.native:
        with pytest.raises(UnsupportedOperator):
            build(graph, title="places", directory=directory)
        pytest.skip("torch runs it")
    return build(graph, title="places", directory=directory)


def engine(run: NativeFunction | Replay, q: Tensor) -> tuple[float, np.ndarray]:
    """Value and gradient."""
    if isinstance(run, NativeFunction):
        return run.value_and_grad(q.numpy())
    value, gradient = run(q)
    return float(value), gradient.numpy()


@pytest.mark.parametrize("places", range(3))
def test_inside_its_table_an_index_does_what_it_does_in_torch(case: Case, graph: Graph, places: int):
    q = point(inside(case)[places], 2).requires_grad_()
    wanted = log_density(case, q)
    (slope,) = torch.autograd.grad(wanted, q)
    value, gradient = engine(Replay(graph), q.detach())
    assert value == pytest.approx(float(wanted.detach()), abs=1e-12)
    np.testing.assert_allclose(gradient, slope.numpy(), atol=1e-12)


@pytest.mark.parametrize("places", range(3))
def test_inside_its_table_c_agrees_with_torch(case: Case, graph: Graph, native: NativeFunction, places: int):
    q = point(inside(case)[places], 2)
    value, gradient = engine(native, q)
    wanted, slope = engine(Replay(graph), q)
    assert value == pytest.approx(wanted, abs=1e-12)
    np.testing.assert_allclose(gradient, slope, atol=1e-12)


def outer_points(case: Case) -> list[Tensor]:
    """Points of which one place is outside, first, last, or all."""
    good = inside(case)[1]
    found = [[x] * COUNT for x in outside(case)]
    for x in outside(case):
        found += [[x, *good[1:]]]
    return [point(places, 3) for places in found]


def test_outside_of_it_the_log_density_is_minus_infinity_by_torch(case: Case, graph: Graph):
    for q in outer_points(case):
        value, gradient = engine(Replay(graph), q)
        assert value == -math.inf, q[-COUNT:]
        assert not gradient.any()


def test_outside_of_it_the_log_density_is_minus_infinity_in_c(case: Case, native: NativeFunction):
    for q in outer_points(case):
        assert engine(native, q)[0] == -math.inf, q[-COUNT:]


def test_without_its_guards_a_graph_stays_inside_of_memory(case: Case):
    bare = optimise(drop_guards(captured(case)))
    found = BatchReplay(bare)(torch.stack(outer_points(case)))
    assert len(found[0]) == len(outer_points(case))


@pytest.mark.slow
def test_without_its_guards_the_c_of_a_graph_stays_inside_of_memory(case: Case, graph: Graph, tmp_path: Path):
    if not case.native:
        pytest.skip("torch runs it")
    run = build(drop_guards(graph), title="bare", directory=tmp_path)
    for q in outer_points(case):
        value, gradient = run.value_and_grad(q.numpy())  # as at some other place of the table
        assert np.isfinite(value) or not np.isfinite(q).all() or value == -math.inf
        assert gradient.shape == q.shape
