"""The workspace: where each value lives, memory being used again when a value is dead."""

from __future__ import annotations

from dataclasses import dataclass, field

from sursum.compiler.native.ir.program import Call, LoopPlan, LoopProgram
from sursum.compiler.native.machine import CACHE_LINE

SIZES = {"f": 8, "i": 8, "b": 1}


@dataclass(slots=True)
class Layout:
    """Offsets in bytes of the values that lie in the workspace, and its size. The input lies at offset 0."""

    offset: dict[int, int] = field(default_factory=dict)
    size: int = 0


class Pool:
    """Memory in lines, first fit.

    Example:
        >>> pool = Pool()
        >>> a = pool.take(100); b = pool.take(10); pool.give(a, 100); pool.take(64), b, pool.size
        (0, 128, 192)
    """

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # (start, length), ordered

    @staticmethod
    def _lines(size: int) -> int:
        return -(-size // CACHE_LINE) * CACHE_LINE

    def take(self, size: int) -> int:
        """The start of a free stretch of this many bytes."""
        size = self._lines(max(size, 1))
        best = min(((n, k) for k, (_, n) in enumerate(self._free) if n >= size), default=None)
        if best is None:
            start, self.size = self.size, self.size + size
            return start
        length, k = best
        start = self._free[k][0]
        if length == size:
            del self._free[k]
        else:
            self._free[k] = (start + size, length - size)
        return start

    def give(self, start: int, size: int) -> None:
        """Takes a stretch back."""
        size = self._lines(max(size, 1))
        merged = []
        for other, length in self._free:
            if other + length == start:
                start, size = other, size + length
            elif start + size == other:
                size += length
            else:
                merged.append((other, length))
        merged.append((start, size))
        self._free = sorted(merged)


def layout(program: LoopProgram, plan: LoopPlan, spilled: set[int], outside: set[int]) -> Layout:
    """Places every value that needs memory: neither local, nor a scalar that is not `spilled`, nor an output that is
    written straight to where it is wanted (`outside`)."""
    pool, found = Pool(), Layout()
    pool.take(program.dim * 8)
    data = program.data
    found.offset[program.input] = 0
    heirs = {old: new for new, old in program.in_place.items()}

    def last(value: int) -> int:
        """When a stretch is dead: after the last version that lies in it; never, where that is copied out at the end."""
        end = plan.last[value]
        while value in heirs:
            value = heirs[value]
            end = max(end, plan.last.get(value, end))
        return len(plan.groups) if value in program.outputs else end

    starts: dict[int, list[int]] = {}
    for value, group in plan.first.items():
        if value in plan.local or value in outside or value in program.in_place:
            continue
        scalar = data[value].numel == 1 and value not in spilled
        if not scalar:
            starts.setdefault(group, []).append(value)
    ends: dict[int, list[tuple[int, int]]] = {}
    for group in range(len(plan.groups)):
        for value in starts.get(group, ()):
            numel = plan.blocks[value].numel if value in plan.blocks else data[value].numel
            size = numel * SIZES[data[value].kind]
            place = pool.take(size)
            found.offset[value] = place
            ends.setdefault(last(value), []).append((place, size))
        for place, size in ends.pop(group, ()):
            pool.give(place, size)
    for value in plan.first:  # versions that live in an older one's memory
        chain = value
        while chain in program.in_place:
            chain = program.in_place[chain]
        if chain != value and chain in found.offset:
            found.offset[value] = found.offset[chain]
    found.size = pool.size
    return found


def values_of_calls(program: LoopProgram) -> set[int]:
    """The values that calls read or write: those need memory, scalars too."""
    found: set[int] = set()
    for stage in program.stages:
        if isinstance(stage, Call):
            found.update((stage.value, *stage.also, *stage.reads()))
    return found


__all__ = ["Layout", "layout", "values_of_calls"]
