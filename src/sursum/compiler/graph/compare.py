"""Compare two recordings of one function: any difference has escaped the capture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from torch import Tensor

from sursum.compiler.capture.refusals import place
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.graph import Graph, Guard, Node, Ref, is_inner, refs_of
from sursum.errors import EscapeError

_LEFT = (
    "a value of q left torch (tolist, .numpy(), torch.tensor of a list) and came back as a number, "
    "or a number comes from outside and changes (a random generator, a counter)"
)
_BRANCH = "a hidden branch: Python took a different branch at the other point"


def compare(first: Graph, second: Graph) -> None:
    """Raise an `EscapeError` if two recordings of one function, at two points, are not the same graph.

    Operators, arguments, layouts, constants (bit by bit), checks and outputs are compared. The message names the first
    operator that differs, its site and line, and what is likely to have caused it.
    """
    found = difference(first, second)
    if found is not None:
        raise EscapeError(
            f"the density was run at two points and gave two graphs{found.place}: {found.what}. "
            f"The likely cause is {found.cause}. "
            "Keep everything that depends on the unknowns in torch's operators, and everything else fixed."
        )


@dataclass(frozen=True)
class Difference:
    """What differs between two recordings, the likely cause, and where."""

    what: str
    cause: str
    place: str


def difference(first: Graph, second: Graph, *, numbers: bool = True) -> Difference | None:
    """The first difference between two recordings; None where they are one graph.

    Args:
        first, second: the recordings.
        numbers: whether the numbers of constants count, or only their dtypes and sizes; those of a loop's step always count.
    """
    known = first.constants.keys() & second.constants.keys()
    same: set[int] = set()
    for one, other in zip_longest(first.nodes, second.nodes):
        if one is None or other is None:
            lengths = f"one run has {len(first.nodes)} operators and the other {len(second.nodes)}"
            return _differ(lengths, _BRANCH, one, other)
        if is_inner(one.op) and is_inner(other.op):
            found = difference(one.op.graph, other.op.graph)
            if found is not None:
                return found
        elif one.op is not other.op:
            return _differ(f"{one.op} in one run is {other.op} in the other", _BRANCH, one, other)
        if not _same(one.args, other.args) or not _same(one.kwargs, other.kwargs):
            mine = [item for item in _leaves((one.args, one.kwargs)) if not isinstance(item, Ref)]
            others = [item for item in _leaves((other.args, other.kwargs)) if not isinstance(item, Ref)]
            said = f"{one.op} has the arguments {mine} in one run and {others} in the other"
            if _same(mine, others):
                return _differ(f"{one.op} works on other tensors in the other run", _BRANCH, one, other)
            return _differ(said, _LEFT, one, other)
        for ref in refs_of(one):
            if ref.value in same or (ref.value not in first.constants and ref.value not in second.constants):
                continue
            if ref.value not in known:
                return _differ(f"{one.op} has an argument that one run computes and the other finds", _BRANCH, one, other)
            if not _alike(first.constants[ref.value], second.constants[ref.value], numbers):
                return _differ(f"{one.op} has an argument whose numbers differ between two runs", _LEFT, one, other)
            same.add(ref.value)
        if one.outputs != other.outputs or one.writes != other.writes:
            return _differ(f"{one.op} has results of other shapes or layouts in two runs", _BRANCH, one, other)
    return _differ_at_ends(first, second, same, numbers)


def _differ_at_ends(first: Graph, second: Graph, same: set[int], numbers: bool) -> Difference | None:
    guards = [[(guard.ref, guard.kind) for guard in graph.guards] for graph in (first, second)]
    if guards[0] != guards[1]:
        differing = next(
            (one, other)
            for one, other in zip_longest(first.guards, second.guards)
            if one is None or other is None or (one.ref, one.kind) != (other.ref, other.kind)
        )
        return _differ("a check of arguments is made in one run only", _BRANCH, *differing)
    if first.outputs != second.outputs:
        return _differ("the results differ in shape or in where they come from between two runs", _BRANCH)
    for ref in (*first.outputs, *(guard.ref for guard in first.guards)):
        constants = [graph.constants.get(ref.value) for graph in (first, second)]
        one, other = constants
        if ref.value not in same and one is not None and other is not None and not _alike(one, other, numbers):
            return _differ("a result that torch did not compute differs between two runs", _LEFT)
    return None


def _alike(one: Tensor, other: Tensor, numbers: bool) -> bool:
    if numbers:
        return same_bits(one, other)
    return one.dtype is other.dtype and one.shape == other.shape and one.device == other.device


def _same(one: Any, other: Any) -> bool:
    """Equality of arguments that distinguishes types (1, 1.0 and True differ), with NaN equal to itself."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    return type(one) is type(other) and bool(one == other)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _leaves(item)
    elif isinstance(tree, dict):
        yield from _leaves(list(tree.values()))
    else:
        yield tree


def _differ(what: str, cause: str, *at: Node | Guard | None) -> Difference:
    """A difference; it is at the first of `at` of which a place is known (autograd's own seed has none)."""
    places = [place(item.where) for item in at if item is not None]
    return Difference(what, cause, next(filter(None, places), ""))
