"""Graphs and loop programs as readable text, which `str` returns.

graph: %0 f64[2] = q
  %3 f64[2] = aten.mul.Tensor(%0[2], %0[2])                     # site 'theta', model.py:12
guard %5[] true
output %9[], %8[2]

program 'model': v0 f[2] = q
  for i < 2: v3[i] = v0[i] * v0[i]                              # site 'theta', model.py:12
  for i < 2: v4[0] sum= v3[i]
output v4
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sursum.compiler.native.ops import OPS

#: The column of comments.
_COLUMN = 80
_VARIABLES = "ijklmnopru"
_KINDS = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16", "int64": "i64", "int32": "i32", "bool": "b"}


def show_graph(graph: Any) -> str:
    """The text of a `Graph`: its inputs, one line per operator, guards and outputs."""
    values = graph.values
    lines = [f"graph: {_value(values[graph.input])} = q"]
    lines += [f"  {_value(values[id])} = data" for id in graph.constants]
    for node in graph.nodes:
        made = [_value(values[out.value]) for out in node.outputs if out is not None and out.value in values]
        made += [f"{_value(values[w.value])} = {w.window} of" for w in node.writes if w.value in values]
        args = [*map(_argument, node.args), *(f"{key}={_argument(item)}" for key, item in node.kwargs.items())]
        lines.append(_note(f"  {', '.join(made) or '_'} = {node.op}({', '.join(args)})", node.where))
        if (inner := getattr(node.op, "graph", None)) is not None:
            lines += ["    " + line for line in show_graph(inner).splitlines()]
    lines += [_note(f"guard {guard.ref} {guard.kind}", guard.where) for guard in graph.guards]
    lines.append(f"output {', '.join(map(str, graph.outputs))}")
    return "\n".join(lines)


def show_ref(ref: Any) -> str:
    """The text of a `Ref`: %value[size], with strides and offset unless it is a whole row-major value."""
    usual, step = [], 1
    for n in reversed(ref.size):
        usual.append(step)
        step *= max(n, 1)
    moved = any(n > 1 and a != b for n, a, b in zip(ref.size, ref.stride, reversed(usual), strict=True))
    strides = f" by {','.join(map(str, ref.stride))}" if moved else ""
    return f"%{ref.value}[{','.join(map(str, ref.size))}{strides}]{f'+{ref.offset}' if ref.offset else ''}"


def show_program(program: Any) -> str:
    """The text of a loop `Program`: its inputs, stages (by group, once grouped), guards and outputs."""
    data = program.data
    lines = [f"program {program.title!r}: {_datum(program.input, data)} = q"]
    lines += [f"  {_datum(value, data)} = data {place}" for value, place in program.constants.items()]
    lines += [f"  {_datum(value, data)} = parameter {name}" for value, name in program.parameters.items()]
    if program.plan is None:
        for stage in program.stages:
            lines += show_stage(stage)
    else:
        tiles = {first: (last, block) for first, last, block in program.plan.tiles}
        for number, group in enumerate(program.plan.groups):
            if number in tiles:
                lines.append(f"  tile of groups {number} to {tiles[number][0]}, {tiles[number][1]} rows at a time")
            notes = [
                *(["in packed panels"] if group.panels else []),
                *([f"{len(group.jammed) // len(group.stages)} rows at a time"] if group.jammed else []),
                *(["serial"] if group.serial else []),
            ]
            lines.append(f"  group {number}{': ' if notes else ''}{', '.join(notes)}")
            for stage in group.stages:
                lines += ["  " + line for line in show_stage(stage)]
    for loop in program.loops:
        way = "backwards" if loop.reverse else "forwards"
        lines.append(f"  {loop.call.function}: {loop.length} steps {way}, rows of {loop.width}")
        lines += ["    " + line for line in show_program(loop.program).splitlines()]
    lines += [_note(f"guard v{value} {kind}", where) for value, _, kind, where in program.guards]
    lines.append(f"output {', '.join(f'v{value}' for value in program.outputs)}")
    return "\n".join(lines)


def show_stage(stage: Any) -> list[str]:
    """The lines of a `Loop` or a `Call`: first named subexpressions that it uses more than once."""
    if not hasattr(stage, "expr"):
        args = [f"v{a.value}{f'+{a.offset}' if a.offset else ''}" if hasattr(a, "offset") else str(a) for a in stage.args]
        made = ", ".join(f"v{value}" for value in (stage.value, *stage.also))
        return [_note(f"  {made} = {stage.function}({', '.join(args)})", stage.where)]
    texts, named = _expressions(stage.exprs())
    over = ", ".join(f"{_VARIABLES[d]} < {n}" for d, n in enumerate(stage.shape))
    place = _place(stage.store, texts[1 : 1 + len(stage.indices)], stage.strides)
    sign = {"set": "=", "put": "=", "add": "+="}.get(stage.mode, f"{stage.mode}=")
    text = texts[0]
    if stage.joint is not None:
        text += f" {'+' if stage.joint[0] > 0 else '-'} log1p({texts[-1]})"
    head = f"  for {over}:" if over else "  do:"
    line = _note(f"{head} v{stage.value}[{place}] {sign} {text}", stage.where)
    return [line, *(f"      where {name} = {text}" for name, text in named)]


def show_expr(expr: Any) -> str:
    """The text of an `Expr`."""
    (text,), named = _expressions([expr])
    return text + "".join(f" where {name} = {part}" for name, part in named)


def show_affine(affine: Any) -> str:
    """The text of an `Affine` index."""
    terms = [f"{c}*{_VARIABLES[d]}" if c != 1 else _VARIABLES[d] for d, c in enumerate(affine.coefs) if c]
    return " + ".join([*terms, *([str(affine.offset)] if affine.offset or not terms else [])])


def _expressions(exprs: Iterable[Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """The texts of expressions, with named subexpressions for what occurs more than once."""
    tops = list(exprs)
    order = list({id(e): e for top in tops for e in top.walk()}.values())
    uses = Counter(id(arg) for e in order for arg in e.args)
    texts: dict[int, str] = {}
    named: list[tuple[str, str]] = []
    for e in order:
        text = _operation(e, [texts[id(arg)] for arg in e.args])
        if uses[id(e)] > 1 and e.args:
            named.append((f"t{len(named) + 1}", text))
            text = named[-1][0]
        texts[id(e)] = text
    return [texts[id(top)] for top in tops], named


def _operation(e: Any, args: list[str]) -> str:
    if e.op == "const":
        return str(e.data)
    if e.op == "index":
        return f"({show_affine(e.data)})"
    if e.op == "load":
        value, affine, strides = e.data
        return f"v{value}[{_place(affine, args, strides)}]"
    if OPS[e.op].form == "infix":
        return f"({args[0]} {OPS[e.op].c} {args[1]})"
    name = f"{e.op}_{e.kind}" if e.op == "cast" else e.op
    return f"{name}({', '.join(args)})"


def _place(affine: Any, extra: Iterable[str], strides: Iterable[int]) -> str:
    return " + ".join([show_affine(affine), *(f"{s}*{text}" for text, s in zip(extra, strides, strict=True))])


def _argument(item: Any) -> str:
    if isinstance(item, (list, tuple)):
        return f"[{', '.join(map(_argument, item))}]"
    return str(item).removeprefix("torch.")


def _value(value: Any) -> str:
    return f"%{value.id} {_KINDS.get(str(value.dtype).removeprefix('torch.'), str(value.dtype))}[{value.numel}]"


def _datum(value: int, data: Mapping[int, Any]) -> str:
    return f"v{value} {data[value].kind}[{','.join(map(str, data[value].shape))}]"


def _note(text: str, where: Any) -> str:
    """A line with the site and the line of the program that it comes from."""
    notes = [*([f"site {where.site!r}"] if where.site else []), *([where.line] if where.line else [])]
    return f"{text:<{_COLUMN}}  # {', '.join(notes)}" if notes else text
