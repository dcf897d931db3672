"""Costly functions in short loops, taken out of them: the arguments go into an array, and the function runs over the whole
of it, however many dimensions it had.

gcc calls the vector form of exp for four numbers at once, which an innermost loop of three never has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from sursum.compiler.graph.windows import contiguous
from sursum.compiler.native.ir.affine import Affine
from sursum.compiler.native.ir.expr import Expr
from sursum.compiler.native.ir.program import Call, Loop, LoopProgram
from sursum.compiler.native.machine import HOISTED_NUMBERS, SHORT_LOOP
from sursum.compiler.native.ops import INLINE
from sursum.compiler.native.passes.normalise_loops import normalise


def hoist_calls(program: LoopProgram) -> LoopProgram:
    """Takes the functions that have a vector form out of short innermost loops."""
    _Hoister(program).run()
    return program


class _Hoister:
    def __init__(self, program: LoopProgram) -> None:
        self.program, self.e, self.vector = program, program.exprs, program.vector | INLINE
        self.done: dict[tuple[int, tuple[int, ...]], Expr] = {}

    def run(self) -> None:
        stages = self.program.stages
        self.program.stages = []
        for stage in stages:
            if not isinstance(stage, Call):
                self._visit(stage)
            self.program.stages.append(stage)

    def _visit(self, stage: Loop) -> None:
        if stage.indices or math.prod(stage.shape) < HOISTED_NUMBERS or not any(x.op in self.vector for x in stage.expr.walk()):
            return
        trial = replace(stage)
        normalise(trial, self.e)
        if trial.shape and trial.shape[-1] >= SHORT_LOOP:
            return
        found = {id(call): self._take(call, stage) for call in self._topmost(stage.expr)}
        stage.expr = self._replace(stage.expr, {key: load for key, load in found.items() if load is not None})

    def _topmost(self, expr: Expr) -> Iterator[Expr]:
        seen: set[int] = set()
        stack = [expr]
        while stack:
            x = stack.pop()
            if id(x) in seen:
                continue
            seen.add(id(x))
            if x.op in self.vector and len(x.args) == 1:
                yield x
            else:
                stack.extend(x.args)

    def _replace(self, expr: Expr, found: dict[int, Expr]) -> Expr:
        done: dict[int, Expr] = {}
        for x in expr.walk():
            args = tuple(done[id(a)] for a in x.args)
            same = all(a is b for a, b in zip(args, x.args, strict=True))
            done[id(x)] = found.get(id(x)) or (x if same else self.e.make(x.op, args, x.data, x.kind))
        return done[id(expr)]

    def _take(self, call: Expr, stage: Loop) -> Expr | None:
        """A load of the function's values, computed beforehand; None where that is not worth it."""
        shape = tuple(n if any(a.coefs[d] for a in call.affines()) else 1 for d, n in enumerate(stage.shape))
        count = math.prod(shape)
        if count < HOISTED_NUMBERS:
            return None
        known = self.done.get((id(call), shape))
        if known is not None:
            return known
        flat, store = Affine(0, (1,)), Affine.over(shape, contiguous(shape))
        argument, value = (self.program.new(count, "f", shape) for _ in range(2))
        inside = Loop(argument, shape, store, call.args[0], "set", stage.where, after=stage.after)
        self._visit(inside)
        self.program.stages.append(inside)
        run = self.e.make(call.op, (self.e.load(argument, flat, "f"),), call.data, call.kind)
        self.program.stages.append(Loop(value, (count,), flat, run, "set", stage.where))
        load = self.done[id(call), shape] = self.e.load(value, store, "f")
        return load
