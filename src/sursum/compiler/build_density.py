"""The way of a log density to an engine: captured with its sites, compiled, and proved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sursum.common.user_frame import warn
from sursum.compiler.capture.capture import Beside, Capture
from sursum.compiler.capture.loop_warning import note_long_loops
from sursum.compiler.capture.purity import check_pure
from sursum.compiler.check.faithful import check_again, check_faithful, check_seen, check_unseen
from sursum.compiler.check.points import WIDE, far_points, nearby_points, points_of, proof_points
from sursum.compiler.eager import gradient_of, run_eagerly, value_of
from sursum.compiler.engine import DENSITY_ENGINES, Remembered, check_engine
from sursum.compiler.function import Function, batch
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.dce import drop_guards
from sursum.compiler.graph.graph import Graph
from sursum.compiler.graph.replay import Replay
from sursum.compiler.recent import RECENT
from sursum.compiler.scan import rolled
from sursum.density.log_density import LogDensity
from sursum.errors import ArgumentError, DensityError, EngineWarning, ObservationError, UncapturableError


@dataclass(frozen=True)
class Sites:
    """The values of latent and deterministic sites as a graph, captured with the density: of one state of the data."""

    names: tuple[str, ...]
    graph: Graph

    def on(self, recorded: Graph) -> Sites:
        """The same sites of other data."""
        used = self.graph.constants
        if all(same_bits(constant, recorded.constants[value]) for value, constant in used.items()):
            return self
        return Sites(self.names, replace(self.graph, constants={value: recorded.constants[value] for value in used}))

    @cached_property
    def run(self) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """The values at a batch of points."""
        return batch(self.graph)


@dataclass(frozen=True)
class Built:
    """A density with its engine.

    Args:
        density: the density that was built: its scans stay loops.
        function: the compiled function; None if the program itself is run.
        points: two points at which the density is finite.
        sites: the values of the sites; None if the program itself is run.
        known: the results of the torch engine at the points of the capture and others.
    """

    density: LogDensity
    function: Function | None
    points: tuple[Tensor, Tensor]
    sites: Sites | None
    known: Remembered


def build_density(density: LogDensity, engine: str | None) -> Built:
    """Capture a density, compile it, and prove it; or say why the program itself is run.

    Raises:
        DensityError: it has no unknowns, since all sites are summed out.
    """
    check_engine(engine, engines=DENSITY_ENGINES)
    _check_unknowns(density)
    if isinstance(density, LogDensity) and not isinstance(density.model, rolled):
        density = density.under(rolled)
    if engine == "eager":
        built, took = _build_eager(density)
        warn(
            f"engine='eager' runs the program by Python for every gradient, {took} each, where C takes microseconds; a draw "
            "takes ten gradients or more.",
            EngineWarning,
        )
        return built
    names: list[str] = []

    def evaluate(q: Tensor) -> Beside:
        value, sites = density.with_values(q)
        names[:] = sites
        return Beside(value, tuple(sites.values()))

    earlier: tuple[Function, Sites] | None = None

    def is_known(program: Capture) -> bool:
        nonlocal earlier
        known = program.is_plain and density.exit is None and engine != "torch"
        earlier = _again(program.graph, (density.title, *names)) if known else None
        return earlier is not None

    made: list[tuple[Graph, Function, Sites]] = []

    def made_of(graph: Graph) -> tuple[Function, Sites]:
        if not made or made[-1][0] is not graph:
            # A guard may need the whole density: the factor of a covariance, again for each draw.
            sites = Sites(tuple(names), drop_guards(replace(graph, outputs=graph.outputs[2:])))
            made[:] = [(graph, Function.of(replace(graph, outputs=graph.outputs[:2])), sites)]
        return made[-1][1:]

    def replayed(graph: Graph) -> Callable[[Tensor], tuple[Tensor, ...]]:
        function, sites = made_of(graph)
        values = Replay(sites.graph)
        return lambda q: (*function.known(q), *values(q))

    try:
        points, program = _capture(density, evaluate, is_known, replayed if density.exit is None else None)
        if earlier is not None and len(program.found) == 1:
            function, sites = earlier
            others = [far_points(points[0])[-1], points[1]]
            check_again(function.recorded, function.known, gradient_of(density), (points[0], program.found[0]), others)
            note_long_loops(function.graph)
            return Built(density, function, points, sites, function.known)
        function, sites = made_of(program.graph)
    except UncapturableError as error:
        if engine is not None:
            raise
        built, took = _build_eager(density)
        warn(f"the program is run by Python for every gradient, {took} each, which is slow: {error}", EngineWarning)
        return built
    note_long_loops(function.graph)
    far = far_points(points[0])

    def check() -> None:
        if density.exit is None and not program.python_backward:
            recorded = zip(points, program.found, strict=True)
            unseen = far[-1:] if torch.equal(points[1], far[0]) else far  # it was recorded there
            check_seen(function.recorded, function.known, gradient_of(density), value_of(density), recorded, unseen)
        else:
            wide = far_points(points[0], WIDE) if density.exit is not None else []
            check_faithful(function.recorded, function.known, gradient_of(density), points, [*far, *wide])
            check_unseen(program, wide)

    proofs = [*points, *(q for q in far if not torch.equal(q, points[1])), *proof_points(points)]
    outputs = ("log density", "gradient")
    function = function.compiled(engine, title=density.title, outputs=outputs, proofs=proofs, check=check)
    if program.is_plain and density.exit is None and function.native is not None:
        RECENT.add(program.graph, (density.title, *names), (function, sites))
    return Built(density, function, points, sites, function.known)


def _check_unknowns(density: LogDensity) -> None:
    if density.dim or density.plan is None:
        return
    sites = ", ".join(map(repr, density.plan.sites))
    raise DensityError(
        f"every latent site of the program is discrete and summed out, {density.plan.names}, so that none is left to sample or "
        "to optimise. Their posterior is exact: su.infer.infer_discrete(su.infer.Laplace(model, num_samples=1000).run(…)) "
        "draws them, and su.infer.discrete_probabilities tells the probability of each value. Or keep them as unknowns, "
        f"su.infer.DiscreteGibbs(su.infer.NUTS(model), sites=[{sites if len(density.plan.sites) < 6 else '…'}])."
    )


def _again(recorded: Graph, names: tuple[str, ...]) -> tuple[Function, Sites] | None:
    """What an earlier density of the same program was compiled to, with the data of this recording."""
    known = RECENT.find(recorded, names)
    if known is None or known.has_data_of(recorded):
        return None if known is None else known.made
    function, sites = known.made
    renewed: Function | None = function.on(recorded)
    if renewed is None:
        return None
    made = renewed, sites.on(recorded)
    RECENT.add(recorded, names, made, instead=known)
    return made


def _build_eager(density: LogDensity) -> tuple[Built, str]:
    """The density run by the program itself, and how long a gradient takes."""
    points, run = points_of(density), run_eagerly(density)
    check_pure(run, points)
    began = time.perf_counter()
    run(points[0])
    milliseconds = 1e3 * (time.perf_counter() - began)
    return Built(density, None, points, None, Remembered(run)), f"{milliseconds:.2g} ms"


def _capture(
    density: LogDensity,
    evaluate: Callable[[Tensor], Beside],
    is_known: Callable[[Capture], bool],
    replay: Callable[[Graph], Callable[[Tensor], tuple[Tensor, ...]]] | None,
) -> tuple[tuple[Tensor, Tensor], Capture]:
    """Two points at which the density is finite, and its capture at these; they are searched for if need be.

    A recording is a run of the program, so that a point is tried by recording there. The second one is well away from the first
    if the program has a density there: then it is also a look for a branch that is taken away from the start, and its result is
    compared with the graph's like that of any other run.
    """
    one, other = nearby_points(density)
    # Where numbers leave torch more points are looked at anyway; discrete coordinates are whole numbers.
    away = far_points(one)[:1] if density.exit is None and density.num_free == density.dim else []

    def enough(program: Capture) -> bool:
        return not bool(program.found[0][0].isfinite()) or is_known(program)

    try:
        program = Capture(evaluate, (one, *away, other), gradient=True, enough=enough, replay=replay)
        if all(bool(value.isfinite()) for value, *_ in program.found):
            return (one, program.points[1] if len(program.points) > 1 else other), program
    except (ArgumentError, ObservationError, ValueError, torch.linalg.LinAlgError):
        pass  # it may run elsewhere
    points = points_of(density)
    return points, Capture(evaluate, points, gradient=True, enough=is_known, replay=replay)
