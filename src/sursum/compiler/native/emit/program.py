"""A whole program as one C file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sursum.compiler.graph.graph import Where
from sursum.compiler.native.emit.comment import comment
from sursum.compiler.native.emit.group import comments, lines_of
from sursum.compiler.native.emit.scalar import TYPES, place
from sursum.compiler.native.emit.tile import emit_tile
from sursum.compiler.native.helpers import helpers
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.program import Call, Group, LoopProgram, Operand
from sursum.compiler.native.machine import LONG_LOOP, LONG_LOOPS_OUTWEIGH, PART_STATEMENTS
from sursum.compiler.native.ops import OPS, VECTOR
from sursum.compiler.native.passes.buffer_reuse import Layout, layout, values_of_calls

#: What an entry is handed.
INSTANCE = """\
struct instance {
    double *workspace;             /* one to a thread, on a 64 byte boundary */
    const void *const *constants;  /* shared */
    void *const *blas;             /* shared */
};
"""
INCLUDES = tuple(f"#include <{name}.h>" for name in ("math", "stdbool", "stddef", "stdint"))


@dataclass(frozen=True, slots=True)
class Emitted:
    """C text in its parts, how many bytes of workspace it wants, how many statements it has, and how many iterations its
    short and its long loops make.

    `body` is the function and its pieces; it wants `INCLUDES`, `INSTANCE` and, once each, `declared` and `helpers`
    before it.
    """

    title: tuple[str, ...]
    declared: tuple[str, ...]
    helpers: tuple[str, ...]
    body: str
    workspace: int
    statements: int
    iterations: tuple[int, int]

    @property
    def long_loops(self) -> bool:
        """Whether the time goes into long loops."""
        short, long = self.iterations
        return long > LONG_LOOPS_OUTWEIGH * short

    @property
    def source(self) -> str:
        """The whole file."""
        return "\n".join([*self.title, "", *INCLUDES, "", INSTANCE, *self.declared, *self.helpers, "", self.body])


def emit(program: LoopProgram, outputs: Sequence[int], stem: str = "sursum") -> Emitted:
    """The C of a grouped program. `outputs` says where each output goes: −1 for the log density, else its place (in doubles)
    in the result array; the entry is called ``<stem>_run``."""
    return Emitter(program, outputs, stem).emit()


class Emitter:
    """Writes the functions of one program."""

    def __init__(self, program: LoopProgram, outputs: Sequence[int], stem: str) -> None:
        self.program, self.plan, self.stem = program, program.planned, stem
        self.used: set[str] = set()
        self.tiles = {first: (last, block) for first, last, block in self.plan.tiles}
        self.parts = self._split()
        self.part_of = {g: p for p, groups in enumerate(self.parts) for g in groups}
        self.called = values_of_calls(program)
        self.spilled = self._spill() | self.called
        self.target = dict(zip(program.outputs, outputs, strict=True))
        self.direct = {
            v for v, t in self.target.items()
            if v not in program.in_place and v not in program.in_place.values()
            and program.data[v].numel != 1 and t >= 0 and program.data[v].kind == "f"
        }  # fmt: skip
        self.layout: Layout = layout(program, self.plan, self.spilled, self.direct)
        self.numbers: dict[int, int] = {}
        self.constants = {value: k for k, value in enumerate(sorted(program.constants, key=program.constants.__getitem__))}
        self.guards = {value: where for value, _, _, where in program.guards}
        self._fresh = 0
        self._declared: dict[int, None] = {}
        self._last = Where(None, None)

    workspace = "double *const w = __builtin_assume_aligned(self->workspace, 64);"

    def signature(self) -> str:
        """The parameters of each function."""
        return "const struct instance *self, double *out, double *logp"

    def result(self, target: int) -> tuple[str, int]:
        """The array in which an output is wanted, and its place there."""
        return "out", target

    # The division into functions --------------------------------------------------------------------------------------

    def _split(self) -> list[list[int]]:
        parts: list[list[int]] = [[]]
        weight, k = 0, 0
        while k < len(self.plan.groups):
            run = range(k, self.tiles[k][0] + 1) if k in self.tiles else range(k, k + 1)
            members = [self.plan.groups[g] for g in run]
            size = sum(len(g.stages) * (2 if g.shape else 1) + len(g.shape) * 4 for g in members)
            if weight + size > PART_STATEMENTS and parts[-1]:
                parts.append([])
                weight = 0
            parts[-1].extend(run)
            weight += size
            k = run.stop
        return parts

    def _spill(self) -> set[int]:
        """Scalars that are made in one function and read in another, or that several stages make."""
        found: set[int] = set()
        made: dict[int, int] = {}
        count: dict[int, int] = {}
        for k, group in enumerate(self.plan.groups):
            for stage in group.stages:
                made[stage.value] = self.part_of[k]
                count[stage.value] = count.get(stage.value, 0) + 1
                if not isinstance(stage, Call) and (stage.mode in ("add", "put") or stage.indices):
                    found.add(stage.value)
        for k, group in enumerate(self.plan.groups):
            for stage in group.stages:
                found.update(v for v in stage.reads() if v in made and made[v] != self.part_of[k])
        return found | {v for v, n in count.items() if n > 1}

    # Names ------------------------------------------------------------------------------------------------------------

    def fresh(self) -> str:
        """A name for a temporary."""
        self._fresh += 1
        return f"t{self._fresh}"

    def number(self, value: int) -> int:
        """The number under which the text knows a value, in the order of appearance."""
        return self.numbers.setdefault(value, len(self.numbers) + 1)

    def kind(self, value: int) -> str:
        """The kind of a value."""
        return self.program.data[value].kind

    def wish(self, value: int) -> str:
        """A name for one element of a value."""
        return f"x{self.number(value)}"

    def local(self, value: int) -> bool:
        """Whether a value lives inside one iteration only."""
        return value in self.plan.local

    def scalar(self, value: int) -> str | None:
        """The name of a scalar that is a local of a function, if it is one."""
        if self.program.data[value].numel != 1 or value not in self.plan.first or value in self.called:
            return None
        if value in self.spilled and self._several(value):
            return None
        return f"s{self.number(value)}"

    def _several(self, value: int) -> bool:
        return self._stage_count.get(value, 0) > 1 or value in self._serial_values

    def element(self, value: int, affine: Affine, extra: Sequence[str]) -> str:
        """The C of an element of a value in memory, or of a local scalar."""
        name = self.scalar(value)
        if name is not None and self._is_made_here(value):
            return name
        block = self.plan.blocks.get(value)
        if block is not None:
            step = block.rows.step
            affine, extra = block.rows.shrunk(affine, block.count), [f"-start{'' if step == 1 else f' * {step}'}"]
        return f"{self.array(value)}[{place(affine, extra)}]"

    def _is_made_here(self, value: int) -> bool:
        return self.part_of[self.plan.first[value]] == self._part

    def array(self, value: int) -> str:
        """The name of an array, which the function will declare."""
        self._declared[value] = None
        if value in self.program.parameters:
            return self.program.parameters[value]
        if value == self.program.input:
            return "q"
        if value in self.constants:
            return f"c{self.constants[value]}"
        if value in self.direct:
            base, start = self.result(self.target[value])
            return base if start == 0 else f"o{self.number(value)}"
        return f"v{self.number(value)}"

    def operand(self, operand: Operand) -> str:
        """The C of an array argument."""
        name = self.array(operand.value)
        return f"{name} + {operand.offset}" if operand.offset else name

    def finished(self, value: int) -> list[str]:
        """What follows a scalar: its store where others read it, a guard."""
        name, lines = self.scalar(value), []
        if value in self.spilled:
            lines.append(f"{self.array(value)}[0] = {name};")
        if value in self.guards:
            self.used.add("guard")
            lines.append(f"if (!{name}) return 1;")
        if value in self.target:
            target = self.target[value]
            lines.append(f"*logp = {name};" if target < 0 else "{}[{}] = {};".format(*self.result(target), name))
        return lines

    def where(self, where: Where) -> list[str]:
        """A comment where the site or the line changes."""
        if where == self._last:
            return []
        self._last = where
        return comments(where)

    # Text -------------------------------------------------------------------------------------------------------------

    def emit(self) -> Emitted:
        """The whole file."""
        self._stage_count: dict[int, int] = {}
        self._serial_values: set[int] = set()
        for group in self.plan.groups:
            for stage in group.stages:
                self._stage_count[stage.value] = self._stage_count.get(stage.value, 0) + 1
                if not isinstance(stage, Call) and (stage.mode in ("add", "put") or stage.indices):
                    self._serial_values.add(stage.value)
        functions = [self._function(p, groups) for p, groups in enumerate(self.parts)]
        main = self._main(len(functions))
        weight = sum(len(g.stages) + 6 * len(g.shape) for g in self.plan.groups)
        body = "\n".join([*functions, main])
        return Emitted(self._title(), *self._helpers(), body, max(self.layout.size, 64), weight, self._iterations())

    def _iterations(self) -> tuple[int, int]:
        """Of the vectorised loops: of those with a short innermost one, and of the others."""
        found = [0, 0]
        for group in self.plan.groups:
            if group.shape and not group.serial and not group.panels:
                found[group.shape[-1] >= LONG_LOOP] += math.prod(group.shape) * len(group.stages)
        return found[0], found[1]

    def _function(self, part: int, groups: Sequence[int]) -> str:
        self._part, self._declared, self._last = part, {}, Where(None, None)
        lines: list[str] = []
        skip = -1
        for k in groups:
            if k in self.tiles:
                skip, block = self.tiles[k]
                lines += ["", *emit_tile(self.plan.groups[k : skip + 1], block, self, self.where)]
            elif k > skip:
                lines += ["", *self._group(self.plan.groups[k])]
        if part == len(self.parts) - 1:
            lines += self._copies()
        attribute = "__attribute__((noinline)) " if len(self.parts) > 1 else ""
        return "\n".join([
            f"static {attribute}int {self.stem}_part_{part}({self.signature()})",
            "{",
            *("    " + line if line and not line.startswith("#") else line for line in [*self._declarations(), *lines]),
            "    return 0;",
            "}",
            "",
        ])  # fmt: skip

    def _group(self, group: Group) -> list[str]:
        lines = lines_of(group, self, self.where)
        for stage in group.stages:  # outputs and guards that lie in memory
            if stage.value in self.guards and self.scalar(stage.value) is None:
                lines.append(f"if (!{self.array(stage.value)}[0]) return 1;")
        return lines

    def _copies(self) -> list[str]:
        """Outputs that could not be made where they are wanted."""
        lines = []
        for value, target in self.target.items():
            if value in self.direct or (self.scalar(value) is not None and value in self.plan.first):
                continue
            n = self.program.data[value].numel
            if target < 0:
                lines.append(f"*logp = {self.array(value)}[0];")
            elif n:
                base, start = self.result(target)
                lines.append(f"for (int64_t i = 0; i < {n}; i++) {base}[{start} + i] = {self.array(value)}[i];")
        return lines

    def _declarations(self) -> list[str]:
        lines = []
        for value in self._declared:
            if value in self.program.parameters:
                continue
            data = self.program.data[value]
            kind, shape = TYPES[data.kind], "x".join(map(str, data.shape)) or "1"
            name = self.array(value)
            if value in self.constants:
                lines.append(f"const {kind} *const restrict {name} = self->constants[{self.constants[value]}];  /* {shape} */")
            elif value in self.direct:
                base, start = self.result(self.target[value])
                if start:
                    lines.append(f"double *const {name} = {base} + {start};  /* {shape} */")
            else:
                offset = self.layout.offset[value]
                if data.kind == "f":
                    const = "const " if value == self.program.input else ""
                    lines.append(f"{const}double *const {name} = w + {offset // 8};  /* {shape} */")
                else:
                    lines.append(f"{kind} *const {name} = ({kind} *)(w + {offset // 8});  /* {shape} */")
        if any("= w +" in line or "(w +" in line for line in lines):
            lines.insert(0, self.workspace)
        return lines

    def _title(self) -> tuple[str, ...]:
        program = self.program
        size = f"{program.dim} unknowns; {len(self.constants)} arrays of data; {self.layout.size} bytes of workspace"
        routines = [comment(f"BLAS: {', '.join(program.blas)}")] if program.blas else []
        return (comment(program.title), comment(size), *routines)

    def _helpers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What stands before the functions: declarations of vector forms, and functions of our own."""
        declared = []
        for name in sorted(self.program.vector & self.used & VECTOR):
            args = ", ".join(["double"] * OPS[name].arity)
            declared.append(f'__attribute__((simd("notinbranch"))) extern double {name}({args});')
        scalar = sorted(name for name in self.used if not name.startswith("su_"))
        arrays = sorted(name.removeprefix("su_") for name in self.used if name.startswith("su_"))
        return tuple(declared), tuple(helpers([*scalar, *arrays]))

    def _main(self, count: int) -> str:
        dim = self.program.dim
        steps = " || ".join(f"{self.stem}_part_{p}(self, out, logp)" for p in range(count))
        density = -1 in self.target.values()
        lines = [
            f"int64_t {self.stem}_run(size_t dim, const double *q, double *out, double *logp, void *user_data)",
            "{",
            "    const struct instance *const self = user_data;",
            "    double *const w = __builtin_assume_aligned(self->workspace, 64);",
            f"    if (dim != {dim})",
            "        return -1;",
            f"    for (size_t i = 0; i < {dim}; i++)",
            "        w[i] = q[i];",
        ]
        if not density:
            return "\n".join([*lines, f"    return {steps};", "}", ""])
        lines += [
            f"    if ({steps}) {{  /* a guard: outside of the support */",
            f"        for (size_t i = 0; i < {dim}; i++)",
            "            out[i] = 0.0;",
            "        *logp = -INFINITY;",
            "        return 1;",
            "    }",
            "    if (!isfinite(*logp))",
            "        return 2;",
            "    double finite = 0.0;  /* NaN if any component is infinite or NaN */",
            "#pragma omp simd reduction(+:finite)",
            f"    for (size_t i = 0; i < {dim}; i++)",
            "        finite += out[i] * 0.0;",
            "    return finite == 0.0 ? 0 : 3;",
            "}",
            "",
            "/* For samplers, which store what they are given here: the draw itself. */",
            f"int64_t {self.stem}_copy(size_t dim, size_t size, const double *q, double *out, void *user_data)",
            "{",
            f"    for (size_t i = 0; i < {dim}; i++)",
            "        out[i] = q[i];",
            f"    return dim == {dim} && size == {dim} && user_data ? 0 : -1;",
            "}",
            "",
        ]
        return "\n".join(lines)
