"""Tiles: loop nests over the same rows that read the same large array run together, some rows at a time.

A product with a tall matrix, pointwise work on its rows, and the product with the transpose are three nests, each of which
walks over all rows. Run for a block of rows that fits the cache, one after the other, and then for the next block, they fetch
the matrix from memory once.

Nests may share a tile if what one writes and another reads is, in every iteration of the outermost loops, the same row, and if
nothing outside must run between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.program import Call, Group, Loop, LoopPlan, LoopProgram
from sursum.compiler.native.machine import TILE_ARRAY_BYTES, TILE_BLOCK_BYTES, TILE_ROWS


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What a group reads and writes, by value, and what must have run before it for another reason."""

    reads: frozenset[int]
    writes: frozenset[int]
    after: frozenset[int]

    @classmethod
    def of(cls, group: Group) -> GroupFacts:
        writes = {v for s in group.stages for v in (s.value, *(s.also if isinstance(s, Call) else ()))}
        reads = {v for s in group.stages for v in s.reads()}
        return cls(frozenset(reads), frozenset(writes), frozenset(v for s in group.stages for v in s.after))


def find_dependencies(facts: list[GroupFacts]) -> list[set[int]]:
    """For each group those before it that must run before it: that write what it reads or writes, read what it writes, or
    touch what it must come after."""
    writers: dict[int, list[int]] = {}
    readers: dict[int, list[int]] = {}
    found: list[set[int]] = []
    for g, group in enumerate(facts):
        before: set[int] = set()
        for value in group.reads | group.writes | group.after:
            before.update(writers.get(value, ()))
        for value in group.writes | group.after:
            before.update(readers.get(value, ()))
        found.append(before)
        for places, values in ((writers, group.writes), (readers, group.reads)):
            for value in values:
                places.setdefault(value, []).append(g)
    return found


def tile(program: LoopProgram) -> LoopProgram:
    """Finds tiles, brings their groups together, and marks them in the plan."""
    groups = program.planned.groups
    if not any(_rows(group) and len(group.shape) > 1 for group in groups):
        return program
    facts = [GroupFacts.of(group) for group in groups]
    sharing = _sharing(program, groups, facts)
    if not sharing:
        return program
    direct = find_dependencies(facts)
    before: list[int] = []  # all that must run before a group, as bits
    for found_before in direct:
        bits = 0
        for h in found_before:
            bits |= before[h] | 1 << h
        before.append(bits)
    taken: set[int] = set()
    tiles: list[list[int]] = []
    order = list(range(len(groups)))
    for first in range(len(groups)):
        if first in taken or first not in sharing:
            continue
        found = _grow(program, groups, facts, before, first, taken)
        if len(found) < 2:
            continue
        brought = _together(direct, [*tiles, found])
        if brought is not None:
            order = brought
            tiles.append(found)
            taken.update(found)
    if tiles:
        _mark(program.planned, order, tiles, [_block(program, [groups[g] for g in found]) for found in tiles])
    return program


def _rows(group: Group) -> int:
    """The number of rows of a nest that may be part of a tile, else 0."""
    if not group.shape or group.serial or any(isinstance(s, Call) or s.indices or s.after for s in group.stages):
        return 0
    return group.shape[0] if group.shape[0] >= 2 * TILE_ROWS else 0


def _sharing(program: LoopProgram, groups: list[Group], facts: list[GroupFacts]) -> set[int]:
    """The groups that could be the first of a tile: they have a large array in common with a later group."""
    touching: dict[int, list[int]] = {}
    for g, group in enumerate(groups):
        if _rows(group):
            for value in facts[g].reads | facts[g].writes:
                if program.data[value].numel * 8 >= TILE_ARRAY_BYTES:
                    touching.setdefault(value, []).append(g)
    return {g for found in touching.values() if len(found) > 1 for g in found}


def _grow(
    program: LoopProgram, groups: list[Group], facts: list[GroupFacts], before: list[int], first: int, taken: set[int]
) -> list[int]:
    """The groups that can share a tile with `first`, without those at the end that share no large array."""
    rows, found = groups[first].shape[0], [first]
    members = 1 << first
    following = 0  # groups outside that must run after a member
    for g in range(first + 1, len(groups)):
        joins = (
            g not in taken
            and _rows(groups[g]) == rows
            and not before[g] & following
            and all(_row_by_row(groups[h], groups[g], facts[h].writes & facts[g].reads) for h in found)
        )
        if joins:
            found.append(g)
            members |= 1 << g
        elif before[g] & members:
            following |= 1 << g
    while len(found) > 1 and not any(_shares(program, facts[found[-1]], facts[h]) for h in found[:-1]):
        found.pop()
    while len(found) > 1 and not any(_shares(program, facts[found[0]], facts[h]) for h in found[1:]):
        del found[0]
    return found


def _row_by_row(writer: Group, reader: Group, values: frozenset[int]) -> bool:
    """Whether iteration i of the reader's outermost loop reads only what iteration i of the writer's has made."""
    for stage in writer.stages:
        assert isinstance(stage, Loop)
        if stage.value not in values:
            continue
        if 0 in stage.reduced or stage.mode in ("add", "put"):
            return False
        step = stage.store.coefs[0]
        low, high = _window(stage.store, writer.shape)
        if step <= high - low:
            return False
        for other in reader.stages:
            assert isinstance(other, Loop)
            for expr in other.exprs():
                for load in expr.loads():
                    value, access, _ = load.data
                    if value != stage.value:
                        continue
                    start, end = _window(access, reader.shape)
                    if load.args or access.coefs[0] != step or start < low or end >= low + step:
                        return False
    return True


def _window(affine: Affine, shape: tuple[int, ...]) -> tuple[int, int]:
    """The lowest and the highest position of the first row."""
    return Affine(affine.offset, (0, *affine.coefs[1:])).span(shape)


def _shares(program: LoopProgram, one: GroupFacts, other: GroupFacts) -> bool:
    """Whether two groups have a large array in common that it is worth to fetch once."""
    common = (one.reads | one.writes) & (other.reads | other.writes)
    return any(program.data[v].numel * 8 >= TILE_ARRAY_BYTES for v in common)


def _block(program: LoopProgram, members: list[Group]) -> int:
    """How many rows of a tile run at a time."""
    rows = members[0].shape[0]
    touched = {v for group in members for stage in group.stages for v in (stage.value, *stage.reads())}
    width = sum(program.data[v].numel * 8 / rows for v in touched if program.data[v].numel >= rows)
    most = max(TILE_ROWS, int(TILE_BLOCK_BYTES / max(width, 1.0)) // TILE_ROWS * TILE_ROWS)
    return next((n for n in range(most, most // 2, -TILE_ROWS) if rows % n == 0), min(most, rows))


def _together(direct: list[set[int]], tiles: list[list[int]]) -> list[int] | None:
    """An order in which dependencies hold and every tile's groups are neighbours; None if there is none."""
    head = {g: found[0] for found in tiles for g in found}
    members = {found[0]: found for found in tiles}
    waits: dict[int, set[int]] = {}
    for g, needed in enumerate(direct):
        node = head.get(g, g)
        waits.setdefault(node, set()).update({head.get(h, h) for h in needed} - {node})
    wanted_by: dict[int, list[int]] = {}
    for node, needed in waits.items():
        for h in needed:
            wanted_by.setdefault(h, []).append(node)
    left = {node: len(needed) for node, needed in waits.items()}
    ready = [node for node, count in left.items() if not count]
    heapify(ready)
    order: list[int] = []
    while ready:
        node = heappop(ready)
        order += members.get(node, [node])
        for other in wanted_by.get(node, ()):
            left[other] -= 1
            if not left[other]:
                heappush(ready, other)
    return order if len(order) == len(direct) else None


def _mark(plan: LoopPlan, order: list[int], tiles: list[list[int]], blocks: list[int]) -> None:
    """Puts the groups of a plan into another order, and says which are tiles.

    Within a tile everything lives at once: what begins in it begins at its start, and what dies in it dies at its end.
    """
    new = {old: k for k, old in enumerate(order)}
    spans = [(new[found[0]], new[found[-1]], block) for found, block in zip(tiles, blocks, strict=True)]
    start, end = list(range(len(order))), list(range(len(order)))
    for a, b, _ in spans:
        start[a : b + 1], end[a : b + 1] = [a] * (b - a + 1), [b] * (b - a + 1)
    plan.groups[:] = [plan.groups[old] for old in order]
    plan.inside.update({value: new[group] for value, group in plan.inside.items()})
    plan.first.clear()
    plan.last.clear()
    for k, group in enumerate(plan.groups):
        facts = GroupFacts.of(group)
        for value in facts.writes:
            plan.first.setdefault(value, start[k])
        for value in facts.writes | facts.reads:
            plan.last[value] = end[k]
    plan.tiles.extend(spans)
