"""One group of stages as C: a loop nest, a straight run of scalars, or a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sursum.compiler.graph.graph import Where
from sursum.compiler.native.emit.comment import comment
from sursum.compiler.native.emit.scalar import TYPES, VARIABLES, ScalarBody, bracket
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Call, Group, Loop, Operand
from sursum.compiler.native.machine import LANES, SHORT_LOOP, TWICE_STATEMENTS, WIDEST_LANES
from sursum.compiler.native.ops import REDUCTIONS, is_plain


class Names(Protocol):
    """What a group must know of the part in which it stands."""

    used: set[str]

    def element(self, value: int, affine: Affine, extra: Sequence[str]) -> str:
        """The C of an element of a value that lies in memory (or of a scalar that is a local)."""

    def scalar(self, value: int) -> str | None:
        """The name under which a scalar is (to be) a local of this part, if it is one."""

    def local(self, value: int) -> bool:
        """Whether a value lives inside one iteration only."""

    def operand(self, operand: Operand) -> str:
        """The C of an array argument."""

    def wish(self, value: int) -> str:
        """A name for one element of a value."""

    def fresh(self) -> str:
        """A name not used before."""

    def kind(self, value: int) -> str:
        """The kind of a value."""

    def finished(self, value: int) -> list[str]:
        """What must follow when a scalar has been made: stores of outputs, checks of guards."""


def update(target: str, mode: str, text: str, kind: str, *, always: bool = False) -> str:
    """target ← target ∘ text, NaN winning in extremes; `always` stores where nothing changes, too."""
    if mode in ("sum", "add"):
        return f"{target} += {text};"
    if mode == "prod":
        return f"{target} *= {text};"
    if mode in ("all", "any"):
        return f"{target} {REDUCTIONS[mode].clause}= {text};"
    sign = ">" if mode == "max" else "<"
    nan = f" || {text} != {text}" if kind == "f" else ""
    if always:
        return f"{target} = {text} {sign} {target}{nan} ? {text} : {target};"
    return f"if ({text} {sign} {target}{nan}) {target} = {text};"


def call(stage: Call, names: Names) -> list[str]:
    """A call of a C function on arrays."""
    names.used.add(stage.function)
    args = [names.operand(a) if isinstance(a, Operand) else str(a) for a in stage.args]
    text = f"{stage.function}({', '.join(args)})"
    return [f"if ({text}) return 1;" if stage.checked else f"{text};"]


def straight(stages: Sequence[Loop], names: Names, where: Callable[[Where], list[str]]) -> list[str]:
    """Scalars, one after the other."""
    lines: list[str] = []

    def load(expr: Expr, extra: Sequence[str]) -> tuple[str, int | None]:
        value, affine, strides = expr.data
        return names.element(value, affine, [_times(x, s) for x, s in zip(extra, strides, strict=True)]), None

    body = ScalarBody(load, names.used, names.fresh)
    for stage in stages:
        lines += where(stage.where)
        text, _ = body.text(stage.expr)
        lines += body.lines[0]
        body.lines[0].clear()
        name = names.scalar(stage.value)
        if name is not None:
            lines.append(f"const {TYPES[names.kind(stage.value)]} {name} = {text};")
            lines += names.finished(stage.value)
        else:
            extra = [_times(body.text(x)[0], s) for x, s in zip(stage.indices, stage.strides, strict=True)]
            lines += body.lines[0]
            body.lines[0].clear()
            target = names.element(stage.value, stage.store, extra)
            lines.append(f"{target} {'+=' if stage.mode == 'add' else '='} {text};")
    return lines


def _times(text: str, stride: int) -> str:
    return bracket(text) if stride == 1 else f"{bracket(text)} * {stride}"


class Nest:
    """A loop nest: what stands before it, at the head of each loop, in the body, at the foot of each loop.

    The `first` of two nests over one shape clears the memory that both sum into; the other goes `step` rows at a time. In a
    tile, `block` rows of the dimension `row` of the group run at a time.
    """

    def __init__(
        self, group: Group, names: Names, where: Callable[[Where], list[str]], *, first: bool = True, step: int = 1,
        block: int = 0,
    ) -> None:  # fmt: skip
        self.shape, self.serial, self.names, self.first, self.step = group.shape, group.serial, names, first, step
        self.row, self.tiled = group.row, block > 0
        self.clears: list[tuple[Loop, str]] = []
        depth = len(self.shape)
        self.head: list[list[str]] = [[] for _ in range(depth + 1)]
        self.foot: list[list[str]] = [[] for _ in range(depth + 1)]
        self.clauses: dict[str, list[str]] = {}
        self.inside: dict[int, str] = {}
        self.after: list[str] = []
        self.notes: list[str] = []
        self.levels: dict[int, int] = {}
        self.block = -(-block // WIDEST_LANES) * WIDEST_LANES
        self.joints: list[tuple[str, str, int]] = []
        self.body = ScalarBody(self._load, names.used, names.fresh, depth)
        self.inner = self.body.lines[depth]
        # A few elements of plain arithmetic are not worth a vector: as scalars they stay in registers.
        plain = all(is_plain(x.op) for stage in group.stages if isinstance(stage, Loop) for x in stage.expr.walk())
        self.vector = group.shape[-1] >= LANES or not plain
        self.wide: Nest | None = None
        if group.jammed:
            rows = len(group.jammed) // len(group.stages)
            self.wide = Nest(Group(group.shape, group.serial, [*group.jammed]), names, where, first=False, step=rows)
        for stage in group.stages:
            assert isinstance(stage, Loop)
            self.notes += where(stage.where)
            self._stage(stage)

    def _load(self, load: Expr, extra: Sequence[str]) -> tuple[str, int | None]:
        value, affine, strides = load.data
        if value in self.inside and not extra:
            # Varies as what it holds does, which may be less than its place does.
            return self.inside[value], self.levels[value]
        terms = [_times(x, s) for x, s in zip(extra, strides, strict=True)]
        return self.names.element(value, affine, terms), None

    def _stage(self, stage: Loop) -> None:
        names, kind = self.names, self.names.kind(stage.value)
        text, level = self.body.text(stage.expr)
        if stage.reduced:
            self._reduce(stage, text, level, kind)
            return
        if stage.mode == "set" and not stage.indices:
            self.levels[stage.value] = level
            if names.local(stage.value):
                wish = names.wish(stage.value) if self.step == 1 else None
                self.inside[stage.value] = self.body.name(text, kind, level, wish)
                return
            name = self._name(text, kind, level)
            self.inside[stage.value] = name
            self.inner.append(f"{names.element(stage.value, stage.store, ())} = {name};")
            return
        extra = [_times(self.body.text(x)[0], s) for x, s in zip(stage.indices, stage.strides, strict=True)]
        target = names.element(stage.value, stage.store, extra)
        self.inner.append(f"{target} {'+=' if stage.mode == 'add' else '='} {text};")

    def _name(self, text: str, kind: str, level: int) -> str:
        return text if _simple(text) else self.body.name(text, kind, level)

    def _reduce(self, stage: Loop, text: str, level: int, kind: str) -> None:
        """Into a local over the innermost dimensions, and from there into memory over others."""
        names, depth = self.names, len(self.shape)
        first = depth
        while first > 0 and first - 1 in stage.reduced:
            first -= 1
        # In parts: over dimensions further out, or over one block after the other.
        parts = any(d < first for d in stage.reduced) or (self.tiled and 0 < first <= self.row)
        scalar = names.scalar(stage.value) if not parts else None
        start = REDUCTIONS[stage.mode].start[kind]
        if parts and self.first and self.tiled and stage.store.coefs[self.row]:
            self.clears.append((stage, start))
        elif parts and self.first:
            self.head[0] += self._clear(stage, start)
        if first == depth:
            name = self._name(text, kind, level)
            target = names.element(stage.value, stage.store, ())
            # To store under a condition takes a vector several times as long.
            self.inner.append(update(target, stage.mode, name, kind, always=self.vector and self.shape[-1] >= SHORT_LOOP))
            return
        total = names.fresh()
        wide = "int64_t" if kind == "b" else TYPES[kind]
        self.head[first].append(f"{wide} {total} = {start};")
        extreme = stage.mode in ("max", "min") and kind == "f"
        name = self._name(text, kind, level)
        if extreme:
            flag = names.fresh()
            sign = ">" if stage.mode == "max" else "<"
            self.head[first].append(f"int64_t {flag} = 0;")
            self.inner.append(f"{total} = {name} {sign} {total} ? {name} : {total};")
            self.inner.append(f"{flag} |= {name} != {name};")
            self.clauses.setdefault("|", []).append(flag)
            names.used.add("extremes")
            result = f"{flag} ? NAN : {total}"
        else:
            self.inner.append(update(total, stage.mode, name, kind))
            result = total
        if stage.joint is not None:
            self._join(stage.joint, total)
        clause = REDUCTIONS[stage.mode].clause
        self.clauses.setdefault(f"su_{clause}" if extreme else clause, []).append(total)
        if parts:
            target = names.element(stage.value, stage.store, ())
            done = names.fresh()
            self.foot[first] += [f"const {TYPES[kind]} {done} = {result};", update(target, stage.mode, done, kind)]
        elif scalar is not None:
            self.foot[first].append(f"const {TYPES[kind]} {scalar} = {result};")
            self.foot[first] += names.finished(stage.value)
        else:
            self.foot[first].append(f"{names.element(stage.value, stage.store, ())} = {result};")

    def _join(self, joint: tuple[int, Expr], total: str) -> None:
        """A block's terms are collected, and their logarithm is taken once."""
        sign, expr = joint
        self.names.used.update(("lanes", "log1p"))
        terms = self.names.fresh()
        self.head[0].append(f"double {terms}[{self.block}] __attribute__((aligned(64)));")
        self.inner.append(f"{terms}[i - start] = {self.body.text(expr)[0]};")
        self.joints.append((terms, total, sign))

    def joined(self, rows: str, exact: bool) -> list[str]:
        """What follows a block of `rows` rows, `exact` if they are as many as it can hold."""
        lines: list[str] = []
        for terms, total, sign in self.joints:
            if not exact:
                lines.append(f"for (int64_t k = {rows}; k < {self.block}; k++) {terms}[k] = 0.0;")
            both, one, lane = (self.names.fresh() for _ in range(3))
            lines += [
                f"su_lanes {both} = {{0}};", f"for (int64_t k = 0; k < {self.block}; k += SU_LANES) {{",
                f"    const su_lanes {one} = *(const su_lanes *)&{terms}[k];", f"    {both} += {one} + {both} * {one};", "}",
                f"double {lane}[SU_LANES] __attribute__((aligned(64)));", f"*(su_lanes *){lane} = {both};",
                f"#pragma omp simd reduction(+:{total})", "for (int k = 0; k < SU_LANES; k++)",
                f"    {total} {'+' if sign > 0 else '-'}= log1p({lane}[k]);",
            ]  # fmt: skip
        return lines

    def _clear(self, stage: Loop, value: str, rows: tuple[str, str] | None = None) -> list[str]:
        """Loops that give memory its first value, in all rows or from one to another."""
        lines, indent = [], 0
        for d, n in enumerate(self.shape):
            if d not in stage.reduced:
                v = VARIABLES[d]
                start, stop = rows if rows is not None and d == self.row else ("0", str(n))
                lines.append("    " * indent + f"for (int64_t {v} = {start}; {v} < {stop}; {v}++)")
                indent += 1
        target = self.names.element(stage.value, stage.store, ())
        return [*lines, "    " * indent + f"{target} = {value};"]

    def lines(self) -> list[str]:
        """The nest as C."""
        rows = self.shape[self.row]
        return [*self.opening(), *self.loops("0", str(rows), rows), *self.foot[0]]

    def opening(self) -> list[str]:
        """What stands before the outermost loop."""
        wide = self.wide.opening() if self.wide is not None else []
        return [*self.notes, *wide, *self.body.lines[0], *self.head[0]]

    def loops(self, start: str, stop: str, rows: int | None) -> list[str]:
        """The loops, that over rows from `start` to `stop`, which are `rows` apart, if that is known."""
        cleared = [line for stage, value in self.clears for line in self._clear(stage, value, (start, stop))]
        if self.wide is None:
            v = VARIABLES[self.row]
            return [*cleared, *self._loops(f"int64_t {v} = {start}", f"{v} < {stop}", f"{v}++")]
        step = self.wide.step
        whole = self.wide._loops(f"int64_t i = {start}", f"i + {step} <= {stop}", f"i += {step}")
        whole = [*cleared, *whole]
        if rows is not None and rows % step == 0:
            return whole
        rest = f"{start} + ({stop} - {start}) / {step} * {step}" if rows is None else f"{start} + {rows // step * step}"
        return [*whole, *self._loops(f"int64_t i = {rest}", f"i < {stop}", "i++")]

    def _loops(self, begin: str, going: str, step: str) -> list[str]:
        def loop(d: int) -> list[str]:
            v, n = VARIABLES[d], self.shape[d]
            head = f"{begin}; {going}; {step}" if d == self.row else f"int64_t {v} = 0; {v} < {n}; {v}++"
            if d == len(self.shape) - 1:
                return self._innermost(head)
            inside = [*self.body.lines[d + 1], *self.head[d + 1], *loop(d + 1), *self.foot[d + 1]]
            return [f"for ({head}) {{", *_indented(inside), "}"]

        return loop(0)

    def _innermost(self, head: str) -> list[str]:
        lines = [f"for ({head}) {{", *_indented(self.inner), "}"]
        if not self.serial and self.vector:
            clauses = "".join(f" reduction({op}:{', '.join(vs)})" for op, vs in self.clauses.items())
            lines.insert(0, f"#pragma omp simd{clauses}")
        scales = self.body.scales
        if not scales or self.shape[-1] < SHORT_LOOP or len(self.inner) > TWICE_STATEMENTS:
            return lines
        # Nearly always all of them are 1, and need not be multiplied by.
        ones = ", ".join(f"{scale} = 1.0" for scale in scales)
        test = " && ".join(f"{scale} == 1.0" for scale in scales)
        return [f"if ({test}) {{", *_indented([f"const double {ones};", *lines]), "} else {", *_indented(lines), "}"]


def _indented(lines: Sequence[str]) -> list[str]:
    return [line if line.startswith("#") else "    " + line for line in lines]


def _simple(text: str) -> bool:
    return text.isidentifier() or text.replace(".", "").replace("-", "").isalnum()


def lines_of(group: Group, names: Names, where: Callable[[Where], list[str]]) -> list[str]:
    """The C of a group."""
    first = group.stages[0]
    if isinstance(first, Call):
        return [*where(first.where), *call(first, names)]
    if not group.shape:
        return straight([s for s in group.stages if isinstance(s, Loop)], names, where)
    return Nest(group, names, where).lines()


def comments(say: Where) -> list[str]:
    """Which site and line a piece of the program comes from."""
    if say.site is None and say.line is None:
        return []
    site = f'site "{say.site}"' if say.site is not None else "outside of sites"
    return [comment(f"{site}, {say.line}" if say.line else site)]
