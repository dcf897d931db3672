"""Emission: from a scheduled loop program to C text. Imports `ir` and `passes`; `build` imports it."""

from sursum.compiler.native.emit.loop import emit_loop
from sursum.compiler.native.emit.program import Emitted, emit

__all__ = ["Emitted", "emit", "emit_loop"]
