"""Scans that stay loops: the body is recorded for one step, and its graph becomes operators over all steps.

    body ──BodyRecorder──▶ Graph ──Evaluation──▶ operators with a leading time dimension; a `Recurrence` for what must be a loop

What does not depend on the carry is computed for all steps at once, before the loop or after it; only the strongly connected
part stays a loop, one operator of the captured graph. Imports `graph`, `capture`, the passes and `native`, which
runs the loop while a program is compiled; the rest of `compiler` imports it.
"""

from sursum.compiler.scan.recurrence import Recurrence
from sursum.compiler.scan.roll import rolled

__all__ = ["Recurrence", "rolled"]
