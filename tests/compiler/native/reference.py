"""What torch makes of the rows of the operator contract. ``python -m tests.compiler.native.reference FILE`` writes it down, so
that it can be asked of torch at another width of vectors (see `tests/capabilities.py`)."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tests.compiler.native.operators import FAMILIES, TAME, Case
from torch import Tensor

from sursum.compiler.capture.capture import capture
from sursum.compiler.capture.derivatives import ExactDerivatives
from sursum.compiler.graph.graph import Graph

INF, NAN = float("inf"), float("nan")
SPECIAL = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 5e-324, 1e-310, 1e300, -1e300, 0.5, -2.5, 3.0, 170.5, -1e-8, 2.0, -3.0]

#: A row: the name of an operator, and a number.
Row = tuple[str, int]
#: Its outputs, each stacked over the points at which it is tried.
Outputs = list[NDArray[np.float64]]


@cache
def points(*, tame: bool) -> list[Tensor]:
    """Where a row is tried: (x, y), each of 12 numbers."""
    generator = torch.Generator().manual_seed(0)
    found = [torch.randn(24, generator=generator, dtype=torch.float64) * s for s in (0.5, 3.0)]
    if not tame:
        # All pairs of two special numbers meet, and each stands among the first 8 and among the last 4 of x and of y: with
        # vectors of 4 numbers torch computes the first 8 by vectors and the last 4 one by one, with longer ones all one by one.
        for k in range(len(SPECIAL)):
            for start in range(0, len(SPECIAL), 3):
                x = [SPECIAL[(start + i) % len(SPECIAL)] for i in range(12)]
                y = [SPECIAL[(start + i + k) % len(SPECIAL)] for i in range(12)]
                found.append(torch.tensor(x + y, dtype=torch.float64))
    return found


def results(case: Case, q: Tensor) -> list[Tensor]:
    """What a program gives at a point, as a list."""
    return _listed(case(q[:12].view(3, 4), q[12:].view(3, 4)))


def _listed(found: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


def graph_of(cases: list[Case]) -> tuple[Graph, list[int]]:
    """One graph for several programs, and how many outputs each has."""
    counts: list[int] = []

    def program(q: Tensor) -> list[Tensor]:
        found = [results(case, q) for case in cases]
        counts[:] = map(len, found)
        return [tensor for part in found for tensor in part]

    generator = torch.Generator().manual_seed(5)
    first, second = (torch.rand(24, generator=generator, dtype=torch.float64) + k for k in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates some of what old graphs may hold
        return capture(program, (first, second), gradient=False), counts


def rows_of(family: dict[str, list[Case]]) -> dict[Row, Case]:
    """The rows of a family, in order."""
    return {(name, k): case for name, cases in family.items() for k, case in enumerate(cases)}


def tried(rows: list[Row], counts: list[int], run: Callable[[Tensor], Outputs]) -> dict[Row, Outputs]:
    """Each row's outputs where it is tried; `run` gives those of all rows at a point, `counts` says how many each has."""
    results = {tame: [run(q) for q in points(tame=tame)] for tame in {name in TAME for name, _ in rows}}
    found, start = {}, 0
    for row, count in zip(rows, counts, strict=True):
        found[row] = [np.stack([outputs[k] for outputs in results[row[0] in TAME]]) for k in range(start, start + count)]
        start += count
    return found


def by_torch(family: dict[str, list[Case]]) -> dict[Row, Outputs]:
    """What torch gives for each row of a family, at the width that it uses in this process."""
    with warnings.catch_warnings(), ExactDerivatives():
        warnings.simplefilter("ignore")
        found = {
            row: _one_by_one(case, points(tame=row[0] in TAME))
            for row, case in rows_of(family).items()
            if not row[0].startswith("sursum.")
        }
        return found | _ours(family)


def _one_by_one(case: Case, where: list[Tensor]) -> Outputs:
    """A row's outputs at these points. A program of x alone is run once for each x, which stands beside many y."""
    size = 12 if _takes_first_alone(case, where[0]) else 24
    known: dict[bytes, Outputs] = {}
    found = []
    for q in where:
        key = q[:size].numpy().tobytes()
        if key not in known:
            known[key] = [tensor.double().numpy() for tensor in results(case, q)]
        found.append(known[key])
    return [np.stack(parts) for parts in zip(*found, strict=True)]


def _takes_first_alone(case: Case, q: Tensor) -> bool:
    """Whether a program never looks at y."""
    try:
        found = _listed(case(q[:12].view(3, 4), None))  # type: ignore[arg-type]
    except (TypeError, AttributeError, RuntimeError):
        return False
    return all(isinstance(tensor, Tensor) for tensor in found)


def _ours(family: dict[str, list[Case]]) -> dict[Row, Outputs]:
    """The same for our functions, which are made by NumPy element by element, and are slow for a few at a time: at all points
    together."""
    found: dict[Row, Outputs] = {}
    for row, case in rows_of(family).items():
        if row[0].startswith("sursum."):
            x, y = (part.reshape(-1, 3, 4) for part in torch.stack(points(tame=row[0] in TAME)).split(12, 1))
            found[row] = [output.numpy() for output in _listed(case(x, y))]
    return found


def different(found: Outputs, wanted: Outputs) -> str | None:
    """Where outputs differ by more than 10⁻¹⁰ of their size, or in which of them are infinite or NaN; None where nowhere."""
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        with np.errstate(invalid="ignore", over="ignore"):
            close = np.abs(a - b) <= 1e-10 * np.maximum(1.0, np.abs(b))
        good = np.where(np.isfinite(b), close, (a == b) | (np.isnan(a) & np.isnan(b)))
        if not good.all():
            at = np.argwhere(~good)[0]
            return f"{a[~good][:8]} instead of {b[~good][:8]}, at point {at[0]}"
    return None


def main() -> None:
    """Writes the outputs of every row to a file, and prints which vectors torch used."""
    print(torch.backends.cpu.get_cpu_capability().lower())
    arrays: dict[str, NDArray[np.float64]] = {}
    for family in FAMILIES.values():
        for (name, k), outputs in by_torch(family).items():
            arrays |= {f"{name}|{k}|{i}": output for i, output in enumerate(outputs)}
    with Path(sys.argv[1]).open("wb") as file:
        np.savez(file, **arrays)


def read(path: Path) -> dict[Row, Outputs]:
    """What `main` has written."""
    found: dict[Row, Outputs] = {}
    with np.load(path) as file:
        for key in file.files:  # in the order of writing
            name, k, _ = key.split("|")
            found.setdefault((name, int(k)), []).append(file[key])
    return found


if __name__ == "__main__":
    main()
