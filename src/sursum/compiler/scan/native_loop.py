"""A loop run by C, with every step checked by torch: ten thousand steps take no longer than a hundred.

C computes the carry before and after every step. Then torch's operators, mapped over all steps in one call, take each step
from the carry before it, and must arrive at the carry after it: since the first carry is the given one, the whole
sequence is correct. The first step, the last and one in between are also taken one by one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sursum.common.torch_private import dispatch_modes, without_dispatch_modes
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.compare import difference
from sursum.compiler.graph.graph import Graph, Node, Ref, Value, Where
from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.build import build
from sursum.compiler.native.library.library import NativeFunction
from sursum.compiler.native.rounding import RUNS, Jitter
from sursum.compiler.passes import optimise
from sursum.compiler.scan.recurrence import CarryPart, Groups, Recurrence
from sursum.errors import CompileError

aten = torch.ops.aten

#: Loops with fewer operators in total are run by Python, in milliseconds; a step counts as a few more than it has.
_FEW, _MORE = 600, 6
#: Maximum number of cached loops.
_KEPT = 16
#: Tolerance of a step relative to the largest number around it, and as a multiple of the effect of rounding.
_TOLERANCE, _ALLOWANCE = 1e-10, 10.0
#: Maximum number of elements computed at once.
_AT_ONCE = 2**22
_NOWHERE = Where(None, None)


class NativeLoops:
    """The loops of a program that C can run, each translated once, however often the program is run."""

    def __init__(self) -> None:
        self._known: list[tuple[Recurrence, NativeLoop | None]] = []

    def find(self, op: Recurrence) -> NativeLoop | None:
        """The loop of an operator; None if C cannot run it, or if it is not worthwhile."""
        if op.length * (len(op.graph.nodes) + _MORE) < _FEW:
            return None
        for known, loop in self._known:
            if _is_same(known, op):
                return loop
        made: NativeLoop | None = None
        with contextlib.suppress(CompileError):  # there is no compiler, or an operator has no C
            made = NativeLoop(op)
        self._known = [*self._known[-_KEPT + 1 :], (op, made)]
        return made


def _is_same(one: Recurrence, other: Recurrence) -> bool:
    """Whether two operators are one function."""
    first, second = ((op.length, op.reverse, op.carry, op.each, op.fixed, op.kept) for op in (one, other))
    return first == second and difference(one.graph, other.graph) is None


class NativeLoop:
    """One loop in C, for as long as torch agrees with it.

    Raises:
        CompileError: it cannot be had.
    """

    def __init__(self, op: Recurrence) -> None:
        self._native: NativeFunction | None = _build(op)
        outputs = (*op.graph.outputs, *(guard.ref for guard in op.graph.guards))
        self._op, self._guarded = op, replace(op, graph=replace(op.graph, outputs=outputs))
        self._one = replace(op, length=1)
        self._tried = False

    def run(self, groups: Groups) -> list[Tensor] | None:
        """The result of the operator; None if torch must run it."""
        native, op = self._native, self._op
        if native is None:
            return None
        with torch.no_grad():
            jitters = any(isinstance(mode, Jitter) for mode in dispatch_modes())
            with without_dispatch_modes():
                carry, each, fixed = ([_double(tensor.detach()) for tensor in group] for group in groups)
                groups = carry, each, fixed
                found = _sequences(native, op, groups)
            if found is None:  # a check fails: torch finds out in which step
                return None
            if jitters:
                return self._otherwise_rounded(native, groups, found)
            if not self._agrees(groups, found):
                self._native = None  # a bug of ours: torch runs this loop, which is correct
                return None
        return _type(op, found)

    def _agrees(self, groups: Groups, found: Sequence[Tensor]) -> bool:
        """Whether torch confirms every step of C."""
        op, before = self._op, _before(self._op, found)
        count = len(op.carry) + len(op.kept)
        starts = [rows[-1] if op.reverse else rows[0] for rows in found[: len(op.carry)]]
        if not all(map(same_bits, starts, (tensor.reshape(row.shape) for tensor, row in zip(groups[0], starts, strict=True)))):
            return False
        try:
            wanted = _take_steps(self._guarded, groups, before)
            checks = zip(op.graph.guards, wanted[count:], strict=True)
            if not all(bool((rows != 0 if guard.kind == "true" else rows == 0).all()) for guard, rows in checks):
                return False
            if not self._are_close(_after(op, found), wanted[:count], groups, before):
                return False
            if not self._tried:
                few = torch.tensor(sorted({0, op.length // 2, op.length - 1}))
                self._tried = self._are_close(
                    self._take_plainly(groups, before, few), _rows(wanted[:count], few), *_at(groups, before, few)
                )
                return self._tried
        except (RuntimeError, NotImplementedError):  # a step cannot be mapped, or fails where C says that it does not
            return False
        return True

    def _take_plainly(self, groups: Groups, before: Sequence[Tensor], few: Tensor) -> list[Tensor]:
        """The results of these steps, taken one by one."""
        found = []
        for t in few:
            (_, each, fixed), carry = (
                groups,
                [rows[t].reshape(part.size) for rows, part in zip(before, self._op.carry, strict=True)],
            )
            found.append(_after(self._one, self._one.by_steps((carry, [rows[t : t + 1] for rows in each], fixed), 1)))
        return [torch.cat(column) for column in zip(*found, strict=True)]

    def _are_close(self, found: Sequence[Tensor], wanted: Sequence[Tensor], groups: Groups, before: Sequence[Tensor]) -> bool:
        """Whether two results of steps differ only by rounding."""
        far = _apart(found, wanted, before).nonzero().reshape(-1)
        if not len(far):
            return True
        groups, before = _at(groups, before, far)
        runs = []
        for run in range(RUNS):
            with Jitter(run):
                runs.append(_take_steps(self._op, groups, before))
        blur = [torch.stack(column).double() for column in zip(*runs, strict=True)]
        spread = [rows.amax(0) - rows.amin(0) for rows in blur]
        return not _apart(_rows(found, far), _rows(wanted, far), before, spread).any()

    def _otherwise_rounded(self, native: NativeFunction, groups: Groups, found: Sequence[Tensor]) -> list[Tensor] | None:
        """The result of the operator with perturbed rounding in each step, as in `Jitter`."""
        op, carries = self._op, len(self._op.carry)
        try:
            taken = _take_steps(op, groups, _before(op, found))
            with without_dispatch_modes():
                moves = [
                    torch.nan_to_num(rows.reshape(there.shape) - there, 0.0, 0.0, 0.0)
                    for rows, there, part in zip(taken, _after(op, found), op.carry, strict=False)
                    if part.dtype.is_floating_point
                ]
                moved = _sequences(native, op, groups, moves)
            if moved is None:
                return None
            kept = _take_steps(op, groups, _before(op, moved))[carries:] if op.kept else []
        except (RuntimeError, NotImplementedError):
            return None
        return _type(op, [*moved[:carries], *kept])


def _build(op: Recurrence) -> NativeFunction:
    """The loop in C, with an optional perturbation of each part of the carry after every step."""
    values, nodes, outputs, moves = dict(op.graph.values), list(op.graph.nodes), list(op.graph.outputs), []
    end = values[op.graph.input].numel
    for k, part in enumerate(op.carry):
        if part.dtype.is_floating_point:
            moves.append(CarryPart(end, end + part.stop - part.start, part.size, torch.float64))
            moved = _new(values, part.size)
            nodes.append(
                Node(aten.add.Tensor, (outputs[k], _window(op.graph.input, part.size, end)), {}, (moved,), (), _NOWHERE)
            )
            outputs[k], end = moved, moves[-1].stop
    values[op.graph.input] = replace(values[op.graph.input], numel=end)
    graph = replace(op.graph, values=values, nodes=tuple(nodes), outputs=tuple(outputs))
    op = replace(op, graph=graph, each=(*op.each, *moves))
    groups: list[list[Ref]] = []
    end = 0
    for lead, parts in (((), op.carry), ((op.length,), op.each), ((), op.fixed)):
        groups.append([])
        for part in parts:
            groups[-1].append(_window(0, (*lead, *part.size), end))
            end += math.prod(groups[-1][-1].size)
    values = {0: Value(0, end, torch.float64)}
    rows = [_new(values, (op.length + 1, *part.size)) for part in op.carry]
    rows += [_new(values, (op.length, *part.size)) for part in op.kept]
    node = Node(op, tuple(groups), {}, tuple(rows), (), _NOWHERE)  # type: ignore[arg-type]
    return build(optimise(Graph(values, 0, {}, (node,), (), tuple(rows))), title="a loop")


def _window(value: int, size: tuple[int, ...], offset: int) -> Ref:
    return Ref(value, size, contiguous(size), offset, torch.float64)


def _new(values: dict[int, Value], size: tuple[int, ...]) -> Ref:
    """A new value, of doubles."""
    id = max(values) + 1
    values[id] = Value(id, math.prod(size), torch.float64)
    return _window(id, size, 0)


def _sequences(
    native: NativeFunction, op: Recurrence, groups: Groups, moves: Sequence[Tensor] | None = None
) -> list[Tensor] | None:
    """The result of C, with the carry perturbed by `moves` after each step; None if a check of a step fails."""
    if moves is None:
        moved = [part for part in op.carry if part.dtype.is_floating_point]
        moves = [torch.zeros(op.length, part.stop - part.start, dtype=torch.float64) for part in moved]
    carry, each, fixed = groups
    given = torch.cat([tensor.reshape(-1) for tensor in (*carry, *each, *moves, *fixed)])
    found = [torch.from_numpy(rows) for rows in native.outputs(given.numpy())]
    return None if all(bool(rows.isnan().all()) for rows in found) else found


def _take_steps(op: Recurrence, groups: Groups, before: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of all steps, each from its carry, in chunks of bounded memory."""
    count = max(1, _AT_ONCE // max(value.numel for value in op.graph.values.values()))
    carry, each, fixed = groups
    chunks = [
        op.at_once((carry, [rows[k : k + count] for rows in each], fixed), [rows[k : k + count] for rows in before])
        for k in range(0, len(before[0]), count)
    ]
    return list(chunks[0]) if len(chunks) == 1 else [torch.cat(column) for column in zip(*chunks, strict=True)]


def _before(op: Recurrence, found: Sequence[Tensor]) -> list[Tensor]:
    """The carry before each step."""
    return [rows[1:] if op.reverse else rows[:-1] for rows in found[: len(op.carry)]]


def _after(op: Recurrence, found: Sequence[Tensor]) -> list[Tensor]:
    """The carry after each step, and the values that it keeps."""
    count = len(op.carry)
    return [*(rows[:-1] if op.reverse else rows[1:] for rows in found[:count]), *found[count:]]


def _rows(tensors: Sequence[Tensor], some: Tensor) -> list[Tensor]:
    return [rows[some] for rows in tensors]


def _at(groups: Groups, before: Sequence[Tensor], some: Tensor) -> tuple[Groups, list[Tensor]]:
    """The arguments of some of the steps."""
    return (groups[0], _rows(groups[1], some), groups[2]), _rows(before, some)


def _apart(found: Sequence[Tensor], wanted: Sequence[Tensor], before: Sequence[Tensor], blur: Sequence[Tensor] = ()) -> Tensor:
    """For each step, whether two results differ by more than rounding, `blur`, explains."""
    around = torch.stack([_largest(rows) for rows in before]).amax(0)
    apart = torch.zeros(len(around), dtype=torch.bool)
    for k, (one, other) in enumerate(zip(found, wanted, strict=True)):
        one, other = one.reshape(len(around), -1).double(), other.reshape(len(around), -1).double()
        allowed = _TOLERANCE * torch.maximum(around, _largest(other))
        if blur:
            allowed = torch.maximum(allowed, _ALLOWANCE * _largest(blur[k], math.inf))
        close = (one - other).abs() <= allowed.unsqueeze(1)
        apart |= ~(close | (one == other) | (one.isnan() & other.isnan())).all(1)
    return apart


def _largest(rows: Tensor, nan: float = 0.0) -> Tensor:
    """The largest number of each row that is one; where rounding decides whether there is one, as large as `nan`."""
    sizes = torch.nan_to_num(rows.reshape(len(rows), -1).double().abs(), nan, nan, nan)
    return sizes.amax(1) if sizes.shape[1] else sizes.new_zeros(len(rows))


def _type(op: Recurrence, found: Sequence[Tensor]) -> list[Tensor]:
    """Rows of doubles as the operator gives them."""
    parts = (*op.carry, *op.kept)
    return [rows.reshape(rows.shape[:1] + part.size).to(part.dtype) for rows, part in zip(found, parts, strict=True)]


def _double(tensor: Tensor) -> Tensor:
    return tensor.double().contiguous()
