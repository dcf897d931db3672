"""A loop in time as C: a function for the step, and one that runs it."""

from __future__ import annotations

from sursum.compiler.native.emit.comment import comment
from sursum.compiler.native.emit.program import Emitted, Emitter
from sursum.compiler.native.emit.scalar import TYPES
from sursum.compiler.native.ir.program import Recurrent
from sursum.compiler.native.machine import STACK_BYTES
from sursum.compiler.native.unsupported import UnsupportedOperator


def emit_loop(loop: Recurrent) -> Emitted:
    """The C of a loop, whose function is the one that its call names.

    Raises:
        UnsupportedOperator: a step needs more memory than there is on a stack.
    """
    return _LoopEmitter(loop).emit()


class _LoopEmitter(Emitter):
    workspace = "w = __builtin_assume_aligned(w, 64);"

    def __init__(self, loop: Recurrent) -> None:
        super().__init__(loop.program, loop.outputs, loop.call.function)
        self.loop = loop
        if self.layout.size > STACK_BYTES:
            detail = f"a step of the loop needs {self.layout.size} bytes of workspace"
            raise UnsupportedOperator("sursum.recurrence", loop.call.where, detail)

    def _arrays(self) -> list[int]:
        return [*(value for value, _ in self.loop.rows), *self.loop.fixed]

    def _declare(self, value: int) -> str:
        # Not so the carry: the row that one step writes is the row that the next one reads.
        restrict = "" if value == self.loop.carry else "restrict "
        return f"const {TYPES[self.kind(value)]} *{restrict}{self.program.parameters[value]}"

    def signature(self) -> str:
        given = [self._declare(value) for value in (self.loop.carry, *self._arrays())]
        keep = ["double *keep"] if self.loop.kept else []
        return ", ".join(["const struct instance *self", "double *w", "double *out", *keep, *given])

    def result(self, target: int) -> tuple[str, int]:
        return ("out", target) if target < self.loop.width else ("keep", target - self.loop.width)

    def _title(self) -> tuple[str, ...]:
        return ()

    def _main(self, count: int) -> str:
        """The function that runs the steps."""
        loop, names = self.loop, self.program.parameters
        keep = ["double *kept"] if loop.kept else []
        given = ", ".join(["const struct instance *self", "double *table", *keep, *map(self._declare, self._arrays())])
        before, after = ("t + 1", "t") if loop.reverse else ("t", "t + 1")
        row_before, row_after = (f"table + {loop.width} * ({place})" for place in (before, after))
        one = loop.width == 1  # then it need not go through memory
        rows = [f"{names[value]} + t * {step}" if step else names[value] for value, step in loop.rows]
        args = ", ".join([
            "self", "w", "&next" if one else row_after, *([f"kept + t * {loop.kept}"] if loop.kept else []),
            "&now" if one else row_before, *rows, *(names[value] for value in loop.fixed),
        ])  # fmt: skip
        steps = " || ".join(f"{self.stem}_part_{part}({args})" for part in range(count))
        last = loop.length - 1
        head = f"int64_t t = {last}; t >= 0; t--" if loop.reverse else f"int64_t t = 0; t <= {last}; t++"
        run = [f"        if ({steps})", "            return 1;"]
        if one:
            run = ["        double next;", *run, f"        table[{after}] = now = next;"]
        return "\n".join([
            comment(f"{loop.program.title}: {loop.length} steps{', the last one first' if loop.reverse else ''}"),
            f"static __attribute__((noinline)) int {self.stem}({given})",
            "{",
            f"    double w[{max(self.layout.size // 8, 8)}] __attribute__((aligned(64)));",
            *([f"    double now = table[{last + 1 if loop.reverse else 0}];"] if one else []),
            f"    for ({head}) {{",
            *run,
            "    }",
            "    return 0;",
            "}",
            "",
        ])  # fmt: skip
