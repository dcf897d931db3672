"""Checks that may be branches: find out what a program does if one fails, by a run in which it fails.

A check of arguments raises if it fails, and becomes a guard of the graph. But a warning is not an error, and a program
may catch an error: `try: cholesky(K)`, `except`, and continue differently, which no operator shows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from sursum.compiler.capture.refusals import went_on
from sursum.compiler.graph.compare import compare
from sursum.compiler.graph.graph import Graph, Where
from sursum.errors import CaptureError, EscapeError


@dataclass(frozen=True, slots=True)
class Doubt:
    """A check, by its number in the run, for which it is not known whether its failure ends the program.

    `holds` is its result in the run; doubts with one `key` are one question.
    """

    number: int
    holds: bool
    where: Where
    key: Hashable


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known about the checks of a program before a run of it.

    `idle` are the numbers of those on which nothing depends; `other` is the one whose answer is inverted, to
    see what the program does then; `doubts` says whether doubts are recorded.
    """

    idle: frozenset[int] = frozenset()
    other: int | None = None
    doubts: bool = False


NOTHING_KNOWN = Answers()


def settle(first: Graph, doubts: Sequence[Doubt], run: Callable[[Answers], Graph]) -> frozenset[int]:
    """The numbers of the checks on which nothing depends: the program does the same whether they hold or fail.

    Args:
        first: the graph of a run.
        doubts: of that run.
        run: returns the graph of another run at the same point.

    Raises:
        BranchError: the program continues differently where a check fails.
    """
    idle: set[int] = set()
    asked: set[Hashable] = set()
    for doubt in doubts:
        if doubt.key in asked:
            continue
        asked.add(doubt.key)
        try:
            other = run(Answers(other=doubt.number))
        except CaptureError:
            raise
        except Exception:
            if not doubt.holds:  # it failed in the first run, which completed
                raise went_on(doubt.where) from None
            continue
        try:
            compare(replace(first, guards=()), replace(other, guards=()))
        except EscapeError:
            raise went_on(doubt.where) from None
        idle.add(doubt.number)
    return frozenset(idle)
