"""Fusion, second half: loops over one range become one loop, in an order that dependencies allow.

Groups run in their order. A stage goes into the first group of its own range that does not stand before what it reads;
a pointwise value may be read in the very iteration that makes it.
"""

from __future__ import annotations

from bisect import bisect_left

from sursum.compiler.native.ir.program import Call, Group, Loop, LoopPlan, LoopProgram, Stage
from sursum.compiler.native.machine import GROUP_STAGES

Key = tuple[object, ...]


def group(program: LoopProgram) -> LoopProgram:
    """Puts the stages of a program into groups: its plan."""
    program.plan = _Scheduler(program).run()
    return program


class _Scheduler:
    def __init__(self, program: LoopProgram) -> None:
        self.program = program
        self.groups: list[Group] = []
        self.by_key: dict[Key, list[int]] = {}
        self.written: dict[int, int] = {}  # value → last group that writes it
        self.read: dict[int, int] = {}  # value → last group that reads it
        self.first: dict[int, int] = {}
        self.store: dict[int, Loop] = {}  # values that one plain loop makes
        self.stages_of: dict[int, int] = {}
        for stage in program.stages:
            for value in (stage.value, *(stage.also if isinstance(stage, Call) else ())):
                self.stages_of[value] = self.stages_of.get(value, 0) + 1
        self.escapes: set[int] = set(program.outputs) | set(program.in_place.values()) | set(program.in_place)

    def run(self) -> LoopPlan:
        for stage in self.program.stages:
            if isinstance(stage, Call):
                self._place(stage, ("call", len(self.groups)), (), self._earliest(stage, None))
                continue
            serial = stage.mode in ("add", "put") and bool(stage.indices)
            key: Key = ("scatter" if serial else "loop", stage.shape)
            self._place(stage, key, stage.shape, self._earliest(stage, key))
        local = {
            value
            for value, made in self.store.items()
            if value not in self.escapes and made.shape and self.read.get(value, -1) == self.written[value]
        }
        last = {v: max(self.read.get(v, -1), g) for v, g in self.written.items()}
        for v, g in self.read.items():
            last.setdefault(v, g)
        return LoopPlan(self.groups, local, self.first, last, {v: self.written[v] for v in self.store})

    def _earliest(self, stage: Stage, key: Key | None) -> int:
        earliest = 0
        for value in stage.reads():
            group = self.written.get(value)
            if group is None:
                continue
            made = self.store.get(value)
            together = (
                key is not None and made is not None and key == ("loop", made.shape) and self._same(stage, value, made)
            ) or (key == ("loop", ()) and self._straight(group))
            earliest = max(earliest, group if together else group + 1)
        for value in stage.after:
            for group in (self.written.get(value), self.read.get(value)):
                if group is not None:
                    same = key == ("loop", ()) and self._straight(group) and value == stage.value
                    earliest = max(earliest, group if same else group + 1)
        if isinstance(stage, Call):
            for value in (stage.value, *stage.also):
                if value in self.written:
                    earliest = max(earliest, self.written[value] + 1)
        return earliest

    def _straight(self, group: int) -> bool:
        found = self.groups[group]
        return not found.shape and not isinstance(found.stages[0], Call) and not found.serial

    @staticmethod
    def _same(stage: Stage, value: int, made: Loop) -> bool:
        """Whether every read of `value` is of the element that the same iteration makes."""
        if not isinstance(stage, Loop) or stage.shape != made.shape:
            return False
        return all(
            not load.args and load.data[1] == made.store
            for expr in stage.exprs() for load in expr.loads() if load.data[0] == value
        )  # fmt: skip

    def _place(self, stage: Stage, key: Key, shape: tuple[int, ...], earliest: int) -> None:
        candidates = self.by_key.setdefault(key, [])  # those that are not full
        at = bisect_left(candidates, earliest)
        if at == len(candidates):
            candidates.append(len(self.groups))
            self.groups.append(Group(shape, key[0] == "scatter"))
        place = candidates[at]
        self.groups[place].stages.append(stage)
        if len(self.groups[place].stages) >= GROUP_STAGES:
            del candidates[at]
        for value in stage.reads():
            self.read[value] = max(self.read.get(value, place), place)
        for value in (stage.value, *(stage.also if isinstance(stage, Call) else ())):
            self.written[value] = max(self.written.get(value, place), place)
            self.first[value] = min(self.first.get(value, place), place)
        if isinstance(stage, Loop) and stage.mode == "set" and self.stages_of[stage.value] == 1:
            self.store[stage.value] = stage
