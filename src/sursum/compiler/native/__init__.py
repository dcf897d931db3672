"""The native engine: from a captured graph of doubles to one plain C file, compiled, cached and proved.

    graph ──lower──▶ loops ──fuse, schedule──▶ groups ──emit──▶ C ──cc, cache──▶ NativeFunction ──prove

`build` does all but the proof, which needs the graph's replay: `prove`. Imports `graph`; the rest of `compiler` imports it.
"""

from sursum.compiler.native.build import build, translate
from sursum.compiler.native.library.library import Instance, NativeFunction
from sursum.compiler.native.proof import ProofError, prove
from sursum.compiler.native.unsupported import UnsupportedOperator

__all__ = ["Instance", "NativeFunction", "ProofError", "UnsupportedOperator", "build", "prove", "translate"]
