"""The passes of the compiler, in order, and what runs them.

Each is a function from an intermediate representation to one of the same kind, in a separate file. If `SURSUM_DUMP` names
a folder, the text of the representation is written there before the first and after every pass, in a numbered folder per
run; with `SURSUM_VERIFY` it is also verified after each pass (see `verify.py`), as in tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sursum.compiler.graph.constant_folding import fold_constants
from sursum.compiler.graph.copy_elimination import eliminate_copies
from sursum.compiler.graph.cse import merge_equal_nodes
from sursum.compiler.graph.dce import eliminate_dead_code
from sursum.compiler.graph.graph import Graph, has_inner, is_inner
from sursum.compiler.graph.guard_elimination import eliminate_proved_guards
from sursum.compiler.graph.index_guards import check_indices
from sursum.compiler.graph.retype import retype
from sursum.compiler.graph.shared_exponentials import share_exponentials
from sursum.compiler.graph.whole_guards import guard_elements
from sursum.compiler.native.ir.program import LoopProgram
from sursum.compiler.native.passes.contract import contract
from sursum.compiler.native.passes.fuse import fuse
from sursum.compiler.native.passes.group import group
from sursum.compiler.native.passes.hoist_calls import hoist_calls
from sursum.compiler.native.passes.log_of_products import take_logs_of_products
from sursum.compiler.native.passes.normalise_loops import normalise_loops
from sursum.compiler.native.passes.pack import pack
from sursum.compiler.native.passes.reciprocals import multiply_by_reciprocals
from sursum.compiler.native.passes.tile import tile
from sursum.compiler.native.passes.unroll_jam import unroll_and_jam
from sursum.compiler.verify import verify

IR = TypeVar("IR", Graph, LoopProgram)

#: For the step of a scan, a graph inside an operator: in double precision, without dead code.
STEP_GRAPH: Sequence[Callable[[Graph], Graph]] = (
    retype,
    eliminate_dead_code,
    eliminate_copies,
    fold_constants,
    merge_equal_nodes,
)


def transform_steps(graph: Graph) -> Graph:
    """The graphs inside operators after their passes."""
    if not has_inner(graph.nodes):
        return graph
    nodes = [replace(n, op=n.op.with_graph(run(STEP_GRAPH, n.op.graph))) if is_inner(n.op) else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


#: From a captured graph to the one that is run.
GRAPH: Sequence[Callable[[Graph], Graph]] = (
    transform_steps,
    *STEP_GRAPH,
    share_exponentials,
    check_indices,
    eliminate_proved_guards,
    guard_elements,
    eliminate_dead_code,
)

#: From a lowered program to one that is emitted as C.
LOOPS: Sequence[Callable[[LoopProgram], LoopProgram]] = (
    multiply_by_reciprocals,
    fuse,
    hoist_calls,
    normalise_loops,
    group,
    tile,
    pack,
    contract,
    take_logs_of_products,
    unroll_and_jam,
)

#: The same for the step of a scan, which has no constants of its own.
STEP_LOOPS: Sequence[Callable[[LoopProgram], LoopProgram]] = (
    fuse,
    normalise_loops,
    group,
    tile,
    contract,
    take_logs_of_products,
    unroll_and_jam,
)


def run(passes: Sequence[Callable[[IR], IR]], ir: IR) -> IR:
    """`ir` after all of these passes.

    Raises:
        VerificationError: `SURSUM_VERIFY` is set, and the result of a pass is not well formed.
    """
    look = _Look("graph" if isinstance(ir, Graph) else "loops")
    look(ir, "begin")
    for step in passes:
        ir = step(ir)
        look(ir, step.__name__)
    return ir


class _Look:
    """Dumps and verifies the results of passes, if the environment requests it."""

    def __init__(self, kind: str) -> None:
        dump = os.environ.get("SURSUM_DUMP")
        self._folder = _folder(Path(dump), kind) if dump else None
        self._checks = bool(os.environ.get("SURSUM_VERIFY"))
        self._number = 0

    def __call__(self, ir: Graph | LoopProgram, name: str) -> None:
        if self._folder is not None:
            (self._folder / f"{self._number:02}-{name}.txt").write_text(f"{ir}\n", encoding="utf-8")
            self._number += 1
        if self._checks:
            verify(ir, name)


def optimise(graph: Graph) -> Graph:
    """`graph` in float64, folded and pruned.

    Every float becomes float64, including constants (exactly) and dtype arguments; only then are constants folded, so that
    a program in float32 loses no digits to folding. Copies, common subexpressions, guards that are proved to hold and
    dead nodes are eliminated.

    Raises:
        CaptureError: a check on data alone fails in double precision.

    Example:
        >>> import torch
        >>> from sursum.compiler.capture.capture import capture
        >>> points = torch.ones(1).double(), torch.zeros(1).double()
        >>> third = torch.tensor(3.0)
        >>> graph = capture(lambda q: (q.sum().to(torch.float32) * (1 / third).log(),), points, gradient=False)
        >>> [node.op.__name__ for node in optimise(graph).nodes]
        ['sum.default', 'mul.Tensor']
    """
    return run(GRAPH, graph)


def _folder(dump: Path, kind: str) -> Path:
    """Create a new numbered folder, safely under concurrent threads."""
    number = sum(1 for _ in dump.iterdir()) if dump.is_dir() else 0
    while True:
        folder = dump / f"{number:03}-{kind}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder
