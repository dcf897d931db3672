"""Tiles: loop nests over the same rows that read the same large array run together, some rows at a time.

A product with a tall matrix, pointwise work on its rows, and the product with the transpose are three nests, each of which
walks over all rows. Run for a block of rows that fits the cache, one after the other, and then for the next block, they fetch
the matrix from memory once.

Rows are what the outermost loops count, or the innermost where these are long: a table whose columns lie one after the other,
such as the log densities of the components of a mixture at each point, is as large, and is walked over as often.

Nests may share a tile if what one writes and another reads is, in every iteration of these loops, the same row, and if nothing
outside must run between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from sursum.compiler.native.ir.program import Call, Group, Loop, LoopPlan, LoopProgram, Rows
from sursum.compiler.native.machine import TILE_ARRAY_BYTES, TILE_BLOCK_BYTES, TILE_ROWS, TILE_VECTORS, WHOLE_LOOP


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
    if not any(_counts(group) and len(group.shape) > 1 for group in groups):
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
    blocks: list[int] = []
    order = list(range(len(groups)))
    for first in range(len(groups)):
        if first in taken or first not in sharing:
            continue
        grown = [(_grow(program, groups, facts, before, first, rows, taken), rows) for rows in _counts(groups[first])]
        found, rows = max(grown, key=lambda one: len(one[0]))  # of equally many the outermost
        if len(found) < 2:
            continue
        brought = _together(direct, [*tiles, found])
        if brought is not None:
            order = brought
            tiles.append(found)
            taken.update(found)
            blocks.append(_block(program, [groups[g] for g in found], rows))
            for g in found:
                groups[g].row = _row(groups[g], rows)
    if tiles:
        _mark(program.planned, order, tiles, blocks)
    return program


def _counts(group: Group) -> list[int]:
    """How many rows a nest that may be part of a tile can be said to have: none, those of its outermost loop, its innermost."""
    if not group.shape or group.serial or any(isinstance(s, Call) or s.indices or s.after for s in group.stages):
        return []
    outer, inner = group.shape[0], group.shape[-1]
    found = [outer] if outer >= 2 * TILE_ROWS else []
    return [*found, inner] if len(group.shape) > 1 and inner >= WHOLE_LOOP and inner != outer else found


def _row(group: Group, rows: int) -> int:
    """The dimension that counts these rows, of a nest that has them."""
    return 0 if group.shape[0] == rows else len(group.shape) - 1


def _sharing(program: LoopProgram, groups: list[Group], facts: list[GroupFacts]) -> set[int]:
    """The groups that could be the first of a tile: they have a large array in common with a later group."""
    touching: dict[int, list[int]] = {}
    for g, group in enumerate(groups):
        if _counts(group):
            for value in facts[g].reads | facts[g].writes:
                if program.data[value].numel * 8 >= TILE_ARRAY_BYTES:
                    touching.setdefault(value, []).append(g)
    return {g for found in touching.values() if len(found) > 1 for g in found}


def _grow(
    program: LoopProgram,
    groups: list[Group],
    facts: list[GroupFacts],
    before: list[int],
    first: int,
    rows: int,
    taken: set[int],
) -> list[int]:
    """The groups that can share a tile of `rows` rows with `first`, without those at the end that share no large array."""
    found = [first]
    members = 1 << first
    following = 0  # groups outside that must run after a member
    for g in range(first + 1, len(groups)):
        joins = (
            g not in taken
            and rows in _counts(groups[g])
            and not before[g] & following
            and all(_row_by_row(groups[h], groups[g], rows, facts[h].writes & facts[g].reads) for h in found)
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


def _row_by_row(writer: Group, reader: Group, rows: int, values: frozenset[int]) -> bool:
    """Whether row i of the reader reads only what row i of the writer has made."""
    for stage in writer.stages:
        assert isinstance(stage, Loop)
        if stage.value in values:
            laid = rows_of(stage, _row(writer, rows))
            if laid is None or not all(
                reads_row_by_row(stage, _row(writer, rows), laid, one, _row(reader, rows)) for one in _loops(reader)
            ):
                return False
    return True


def _loops(group: Group) -> list[Loop]:
    return [stage for stage in group.stages if isinstance(stage, Loop)]


def rows_of(stage: Loop, row: int) -> Rows | None:
    """How the rows that a stage writes, counted by dimension `row`, lie in its value; None where it does not write each of
    them in an iteration of its own."""
    step = stage.store.coefs[row]
    if row in stage.reduced or stage.mode in ("add", "put") or step <= 0:
        return None
    whole = step * stage.shape[row]
    laid = Rows(step, min((c for d, c in enumerate(stage.store.coefs) if d != row and c >= whole), default=0))
    window = laid.window(stage.store, stage.shape, row)
    return None if window is None or step <= window[1] - window[0] else laid


def reads_row_by_row(writer: Loop, row: int, laid: Rows, reader: Loop, counted: int) -> bool:
    """Whether a stage whose dimension `counted` counts rows reads of a writer's value, in each, what is of that row."""
    window = laid.window(writer.store, writer.shape, row)
    for expr in reader.exprs():
        for load in expr.loads():
            value, access, _ = load.data
            if value != writer.value:
                continue
            found = None if load.args else laid.window(access, reader.shape, counted)
            if window is None or found is None or found[0] < window[0] or found[1] >= window[0] + laid.step:
                return False
    return True


def _shares(program: LoopProgram, one: GroupFacts, other: GroupFacts) -> bool:
    """Whether two groups have a large array in common that it is worth to fetch once."""
    common = (one.reads | one.writes) & (other.reads | other.writes)
    return any(program.data[v].numel * 8 >= TILE_ARRAY_BYTES for v in common)


def _block(program: LoopProgram, members: list[Group], rows: int) -> int:
    """How many rows of a tile run at a time."""
    touched = {v for group in members for stage in group.stages for v in (stage.value, *stage.reads())}
    width = sum(program.data[v].numel * 8 / rows for v in touched if program.data[v].numel >= rows)
    fewest = TILE_VECTORS if any(_row(group, rows) for group in members) else TILE_ROWS
    most = max(fewest, int(TILE_BLOCK_BYTES / max(width, 1.0)) // TILE_ROWS * TILE_ROWS)
    return next((n for n in range(most, max(most // 2, fewest - 1), -TILE_ROWS) if rows % n == 0), min(most, rows))


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
