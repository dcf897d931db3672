"""A tile as C: nests over the same rows, a block of rows at a time, and products with a matrix in panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sursum.compiler.graph.graph import Where
from sursum.compiler.native.emit.group import Names, Nest
from sursum.compiler.native.emit.scalar import ScalarBody
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Group, Loop, Panel
from sursum.compiler.native.machine import PANEL_ROWS


class Panels:
    """The panels of a nest of products with a matrix: down its columns with vectors of rows. See `native.panel`."""

    def __init__(self, group: Group, names: Names) -> None:
        names.used.add("lanes")
        self.columns = group.shape[1]
        self.head: list[str] = []
        self.body: list[str] = []
        self.foot: list[str] = []
        for stage, panel in zip(group.stages, group.panels, strict=True):
            assert isinstance(stage, Loop)
            self._stage(stage, panel, names)

    def _stage(self, stage: Loop, panel: Panel, names: Names) -> None:
        def load(expr: Expr, extra: Sequence[str]) -> tuple[str, int | None]:
            return names.element(expr.data[0], expr.data[1], extra), None

        m, a = names.fresh(), names.fresh()
        start = Affine(0, (self.columns, 0))
        matrix = f"const su_lanes *const {m} = (const su_lanes *)&{names.element(panel.matrix.data[0], start, ())};"
        target = names.element(stage.value, stage.store, ())
        columns = f"for (int64_t j = 0; j < {self.columns}; j++) {{"
        parts = "for (int p = 0; p < SU_PARTS; p++)"
        if 1 in stage.reduced:
            body = ScalarBody(load, names.used, names.fresh, 2)
            text, _ = body.text(panel.other)
            factor = body.name(text, "f", 2)
            self.head += body.lines[0]
            self.body += [
                matrix, f"su_lanes {a}[SU_PARTS] = {{0}};", columns, *("    " + line for line in body.lines[2]),
                f"    {parts}", f"        {a}[p] += {m}[j * SU_PARTS + p] * {factor};", "}",
                parts, f"    *(su_lanes *)&{target.removesuffix(']')} + p * SU_LANES] = {a}[p];",
            ]  # fmt: skip
            return
        rows, sums = names.fresh(), names.fresh()
        value, access, _ = panel.other.data
        self.head.append(f"su_lanes {sums}[{self.columns}] __attribute__((aligned(64))) = {{0}};")
        self.body += [
            matrix, f"su_lanes {rows}[SU_PARTS];", parts,
            f"    {rows}[p] = *(const su_lanes *)&{names.element(value, access, ()).removesuffix(']')} + p * SU_LANES];",
            columns, f"    su_lanes {a} = {sums}[j];", f"    {parts}", f"        {a} += {m}[j * SU_PARTS + p] * {rows}[p];",
            f"    {sums}[j] = {a};", "}",
        ]  # fmt: skip
        self.foot += [
            f"for (int64_t j = 0; j < {self.columns}; j++)", "    for (int p = 0; p < SU_LANES; p++)",
            f"        {target} += {sums}[j][p];",
        ]  # fmt: skip

    def loops(self, start: str, stop: str) -> list[str]:
        """All panels from one row to another."""
        return [
            f"for (int64_t i = {start}; i < {stop}; i += {PANEL_ROWS}) {{",
            *("    " + line for line in self.body),
            "}",
        ]


def emit_tile(groups: Sequence[Group], block: int, names: Names, where: Callable[[Where], list[str]]) -> list[str]:
    """Nests over the same rows, `block` rows at a time; what makes no whole panel comes last."""
    nests = [Nest(group, names, where, block=block) for group in groups]
    panels = [Panels(group, names) if group.panels else None for group in groups]
    rows = groups[0].shape[groups[0].row]
    whole = rows // PANEL_ROWS * PANEL_ROWS if any(panels) else rows
    stop, known = (f"start + {block}", block) if whole % block == 0 else ("stop", None)
    lines = [line for nest in nests for line in nest.opening()]
    lines += [line for panel in panels if panel for line in panel.head]
    lines.append(f"for (int64_t start = 0; start < {whole}; start += {block}) {{")
    if known is None:
        lines.append(f"    const int64_t stop = start + {block} < {whole} ? start + {block} : {whole};")
    for nest, panel in zip(nests, panels, strict=True):
        loops = panel.loops("start", stop) if panel else nest.loops("start", stop, known)
        loops += nest.joined("stop - start" if known is None else str(known), known == nest.block)
        lines += ["    " + line if not line.startswith("#") else line for line in loops]
    lines.append("}")
    if whole < rows:
        lines += ["{", f"    const int64_t start = {whole};"]
        for nest in nests:
            loops = [*nest.loops(str(whole), str(rows), rows - whole), *nest.joined(str(rows - whole), False)]
            lines += ["    " + line if not line.startswith("#") else line for line in loops]
        lines.append("}")
    lines += [line for panel in panels if panel for line in panel.foot]
    return lines + [line for nest in nests for line in nest.foot[0]]
