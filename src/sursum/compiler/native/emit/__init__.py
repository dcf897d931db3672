"""Emission: from a scheduled loop program to C text."""

from sursum.compiler.native.emit.loop import emit_loop
from sursum.compiler.native.emit.program import Emitted, emit

__all__ = ["Emitted", "emit", "emit_loop"]
