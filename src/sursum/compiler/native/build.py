"""From a graph to a loaded C function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sursum.compiler.graph.graph import Graph
from sursum.compiler.native.emit import Emitted, emit, emit_loop
from sursum.compiler.native.ir.program import LoopProgram
from sursum.compiler.native.library.cache import open_directory
from sursum.compiler.native.library.library import NativeFunction
from sursum.compiler.native.library.loaded import HeldLibrary, load
from sursum.compiler.native.library.toolchain import detect
from sursum.compiler.native.lower import lower
from sursum.compiler.passes import LOOPS, STEP_LOOPS, run
from sursum.errors import CompileError


def translate(
    graph: Graph, title: str, vector: frozenset[str] = frozenset(), stem: str = "sursum"
) -> tuple[Emitted, LoopProgram]:
    """The C of a graph, whose entry is ``<stem>_run``, and its loop program; `vector` are the functions that libmvec has.
    Nothing is compiled.

    Raises:
        UnsupportedOperator: an operator has no C.
        CompileError: a fault of ours.
    """
    try:
        program = lower(graph, title)
        program.vector = vector
        program = run(LOOPS, program)
        loops = _loops(program, stem)
        emitted = emit(program, destinations(graph), stem)
        return _join(emitted, loops), program
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, AssertionError, NotImplementedError) as error:
        raise CompileError(
            f"{title}: the native engine failed on this graph ({type(error).__name__}: {error}). This is a fault of "
            "sursum's native engine: please report it; the torch engine is right"
        ) from error


def _loops(program: LoopProgram, stem: str) -> list[Emitted]:
    """The C of the loops in time that a program calls."""
    found = []
    for loop in program.loops:
        if loop.call in program.stages:
            loop.call.function = f"{stem}_{loop.call.function}"
            loop.program.vector = program.vector
            run(STEP_LOOPS, loop.program)
            one = emit_loop(loop)
            short, long = one.iterations
            found.append(replace(one, iterations=(short * loop.length, long * loop.length)))
    return found


def _join(emitted: Emitted, loops: Sequence[Emitted]) -> Emitted:
    """A program and its loops, which stand before it."""
    every = [*loops, emitted]
    return replace(
        emitted,
        declared=tuple(dict.fromkeys(line for one in every for line in one.declared)),
        helpers=tuple(dict.fromkeys(text for one in every for text in one.helpers)),
        body="\n".join(one.body for one in every),
        statements=sum(one.statements for one in every),
        iterations=(sum(one.iterations[0] for one in every), sum(one.iterations[1] for one in every)),
    )


def is_density(graph: Graph) -> bool:
    """Whether the outputs are a log density and its gradient."""
    dim = graph.values[graph.input].numel
    return len(graph.outputs) == 2 and graph.outputs[0].size == () and graph.outputs[1].size == (dim,)


def destinations(graph: Graph) -> list[int]:
    """Where each output goes: −1 for a log density, else its place in one flat array."""
    if is_density(graph):
        return [-1, 0]
    places, at = [], 0
    for ref in graph.outputs:
        places.append(at)
        at += math.prod(ref.size)
    return places


def build(graph: Graph, *, title: str, directory: Path | None = None) -> NativeFunction:
    """The C function of a graph of doubles, from the cache if it has been compiled before.

    Arguments:
        graph: outputs either (log density (), gradient (n,)), or any tensors.
        title: what the C text's first line says.
        directory: the cache; by default $SURSUM_CACHE, $XDG_CACHE_HOME/sursum or ~/.cache/sursum.

    Raises:
        UnsupportedOperator: an operator has no C; `op` and `where` say which.
        CompileError: there is no compiler, or it failed.
    """
    place = open_directory(directory)
    tools = detect(place)
    emitted, program = translate(graph, title, tools.vector)
    density = is_density(graph)
    symbols = ("sursum_run", "sursum_copy") if density else ("sursum_run",)
    library = load(
        emitted.source, symbols, statements=emitted.statements, long_loops=emitted.long_loops, tools=tools, directory=place
    )
    order = sorted(program.constants.values())
    return NativeFunction(
        title=title,
        source=emitted.source,
        library=HeldLibrary(library),
        dim=program.dim,
        size=program.dim if density else sum(math.prod(r.size) for r in graph.outputs),
        density=density,
        workspace=emitted.workspace,
        arrays=[program.arrays[k] for k in order],
        routines=program.blas,
        shapes=[r.size for r in graph.outputs],
        computed=[program.computed.get(k) for k in order],
        assumed=program.assumed,
    )
