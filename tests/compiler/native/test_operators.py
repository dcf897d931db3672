"""The contract of lowerings: every entry of the operator table gives what torch gives, NaN and infinities included."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sursum.compiler.capture import capture
from sursum.compiler.graph import Graph
from sursum.compiler.native import NativeFunction, build
from sursum.compiler.native.lower import OPERATORS
from sursum.compiler.native.lower.table import names
from sursum.compiler.replay import Replay

from .operators import FAMILIES, TAME, Case

INF, NAN = float("inf"), float("nan")
SPECIAL = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 5e-324, 1e-310, 1e300, -1e300, 0.5, -2.5, 3.0, 170.5, -1e-8, 2.0, -3.0]
ROWS = [
    pytest.param(family, name, k, id=f"{name}-{k}")
    for family, rows in FAMILIES.items()
    for name, cases in rows.items()
    for k in range(len(cases))
]


def points(*, tame: bool) -> list[Tensor]:
    """Where a row is tried: (x, y), each of 12 numbers."""
    generator = torch.Generator().manual_seed(0)
    found = [torch.randn(24, generator=generator, dtype=torch.float64) * s for s in (0.5, 3.0)]
    if not tame:
        for k in range(len(SPECIAL)):
            for start in (0, 6):  # all pairs of two special numbers meet
                x = [SPECIAL[(start + i) % len(SPECIAL)] for i in range(12)]
                y = [SPECIAL[(i + k) % len(SPECIAL)] for i in range(12)]
                found.append(torch.tensor(x + y, dtype=torch.float64))
    return found


def graph_of(cases: list[Case]) -> tuple[Graph, list[int]]:
    """One graph for several programs, and how many outputs each has."""
    counts: list[int] = []

    def program(q: Tensor) -> list[Tensor]:
        counts.clear()
        found: list[Tensor] = []
        for case in cases:
            result = case(q[:12].view(3, 4), q[12:].view(3, 4))
            results = [result] if isinstance(result, Tensor) else list(result)
            counts.append(len(results))
            found += results
        return found

    generator = torch.Generator().manual_seed(5)
    first, second = (torch.rand(24, generator=generator, dtype=torch.float64) + k for k in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates some of what old graphs may hold
        return capture(program, (first, second), gradient=False), counts


class Family:
    """All programs of a family in one library, and the same by torch."""

    def __init__(self, rows: dict[str, list[Case]], directory: Path) -> None:
        self.places: dict[tuple[str, int], tuple[int, int]] = {}
        cases = [case for name in rows for case in rows[name]]
        graph, counts = graph_of(cases)
        start = 0
        keys = [(name, k) for name in rows for k in range(len(rows[name]))]
        for key, count in zip(keys, counts, strict=True):
            self.places[key] = (start, start + count)
            start += count
        self.native: NativeFunction = build(graph, title="contract", directory=directory)
        self.replay = Replay(graph, guards=False)
        self._known: dict[bool, list[tuple[list[np.ndarray], list[np.ndarray]]]] = {}

    def results(self, *, tame: bool) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
        """At each point what C gives and what torch gives."""
        if tame not in self._known:
            self._known[tame] = [
                (self.native.outputs(q.numpy()), [t.double().numpy() for t in self.replay(q)]) for q in points(tame=tame)
            ]
        return self._known[tame]


class Families(dict[str, Family]):
    """Families, each built when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def __missing__(self, name: str) -> Family:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self[name] = Family(FAMILIES[name], self.directory)
        return found


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Families:
    return Families(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(("family", "name", "k"), ROWS)
def test_row_equals_torch(families: Families, family: str, name: str, k: int) -> None:
    start, end = families[family].places[name, k]
    for found, wanted in families[family].results(tame=name in TAME):
        for a, b in zip(found[start:end], wanted[start:end], strict=True):
            assert a.shape == b.shape
            with np.errstate(invalid="ignore"):
                close = np.abs(a - b) <= 1e-10 * np.maximum(1.0, np.abs(b))
            good = np.where(np.isfinite(b), close, (a == b) | (np.isnan(a) & np.isnan(b)))
            assert good.all(), f"{a[~good]} instead of {b[~good]}"


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_use_their_operator(family: str) -> None:
    for name, cases in FAMILIES[family].items():
        graph, _ = graph_of(cases)
        assert any(name in names(node) for node in graph.nodes), name


def test_every_entry_has_a_row() -> None:
    # A recurrence is no operator of torch's: its contract is test_recurrence.py.
    assert set(OPERATORS) - {"sursum.recurrence"} == {name for rows in FAMILIES.values() for name in rows}
