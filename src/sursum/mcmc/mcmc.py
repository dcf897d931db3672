"""Markov chain Monte Carlo: from a program and its arguments to a posterior."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sursum.cluster import Workers
from sursum.common.other_libraries import answers, refuse_name
from sursum.common.progress import SOON, display_for, waiting
from sursum.common.reprs import call_text
from sursum.common.settings import check_setting, optional_seed, settle, whole_number
from sursum.common.user_frame import warn
from sursum.compiler.compiled import compile_density
from sursum.compiler.engine import DENSITY_ENGINES, check_engine
from sursum.compiler.scan import rolled
from sursum.core.calling import refuse_shadowed
from sursum.density.log_density import LogDensity
from sursum.density.unobserved import announce_empty, announce_unobserved
from sursum.distributed.ranks import leads, led
from sursum.draws.chain_states import writer_of
from sursum.draws.diagnostics import Hints
from sursum.errors import DiagnosticWarning, EngineWarning, SamplingError
from sursum.io.file_lock import FileLock
from sursum.mcmc.chain_starts import find_chain_starts
from sursum.mcmc.coordinates import ReparamChoice
from sursum.mcmc.discrete_gibbs import DiscreteGibbs, TrajectoryKernel, with_program
from sursum.mcmc.earlier_fit import WARMUP, find_earlier_fit
from sursum.mcmc.extend import check_same, join, states_after
from sursum.mcmc.first_state import first_states
from sursum.mcmc.kernel.adaptation import Adaptation
from sursum.mcmc.kernel.state import State
from sursum.mcmc.kernel_settings import adapts_correlations, metric_of_draws, read_metric
from sursum.mcmc.launch import Launch
from sursum.mcmc.other_libraries import RUN_ATTRIBUTES, RUN_OPTIONS
from sursum.mcmc.pilots import choose_coordinates, find_unmeasured, runs_of
from sursum.mcmc.recording import StoreRecorder
from sursum.mcmc.run import Interrupted, Run
from sursum.mcmc.seeds import ChainSeed, chain_seed, draw_seed
from sursum.mcmc.site_filter import Keep
from sursum.mcmc.stored_run import ResumableRun, identity
from sursum.mcmc.sweeps import Sweeps, sweeps_of
from sursum.mcmc.thinning import Thinning
from sursum.mcmc.until import Until
from sursum.mcmc.walnuts import WALNUTS
from sursum.posterior.init import Init
from sursum.posterior.posterior import Posterior
from sursum.posterior.reprior import Refit

PILOT = 500
"""Draws of the warm-up and after it, of a run that measures coordinates."""

USUAL_WARMUP = 1000
"""Draws of a warm-up that finds a metric."""


@answers(**RUN_OPTIONS)
@dataclass(frozen=True, repr=False)
class MCMC:
    r"""Draw from the posterior of a program with several chains of a sampler.

    .. math:: q^{(1)}, q^{(2)}, \dots \sim \pi(q) \propto p(y, z(q)) \left| \tfrac{\partial z}{\partial q} \right|

    where z are the latent sites and q ∈ Rⁿ their unconstrained coordinates. Everything is computed in float64.

    Args:
        kernel: `NUTS(program)`, `HMC(program)` or `WALNUTS(program)`; `DiscreteGibbs` of one of these where there are discrete
            sites that cannot be summed out.
        num_warmup: draws of each chain in which step size and scales are adapted; they are kept in `posterior.warmup`. None
            is 1000, or 200 where `init` has a metric.
        num_samples: draws of each chain after warm-up.
        num_chains: the number of chains, each with a different start.
        thin: k keeps every k-th of the `num_samples` draws, `num_samples // k` of each chain, for memory where draws are large.
            The statistics `n_steps`, `diverging` and `reached_max_treedepth` of a draw that is kept are those of all k
            together: the sum, and whether it happened. The warm-up is not thinned.
        until: ends the run where it holds, such as `su.infer.ess(400) & su.infer.rhat(1.01) | su.infer.minutes(10)`;
            `num_samples` is then the most that is drawn. All chains run at once. Of the draws the first are kept at which it
            held, which do not depend on when it was looked at.
        seed: an integer of at least 0. The same seed gives the same bits, and chain k does not depend on `num_chains`
            and `cores`. None draws a seed from torch's global generator, which is otherwise left alone.
        cores: how many chains run at once; None is the smaller of the numbers of chains and cores.
        progress: True or False; None shows it in a terminal and in a notebook.
        engine: "native" or "torch"; None is the faster one that is available. "eager" runs the program itself for every
            gradient, many times slower: for one that branches on a value, or has an iterative solver.
        init: where chains start, without jitter: constrained values by site name (a mapping, a `FitResult`, a
            `ParamStore`), other sites starting as usual; a `Posterior` (of an earlier run, of `Laplace`) or a fitted `SVI`,
            from which each chain takes a different draw; a sequence of these, one per chain; or unconstrained coordinates,
            (n,) for all chains or (num_chains, n). None starts at the program's own values with a jitter of ±0.1. A posterior
            or an SVI in the same coordinates also gives its metric and step size, and the warm-up is short, unless
            `num_warmup` or the kernel's `metric` says otherwise, or the Pareto k of an approximation is above 0.7.
        store: a folder that must not exist yet, to which draws are written as they are made, and from which `Posterior.load`
            reads them, also while the run is going and after it was killed. None keeps them in memory.
        keep: names of the sites to keep, or patterns (`"net.**"`); None keeps all.
        on: where the draws are made: None for threads of this process, `su.cluster.Ray()` for the machines of a cluster,
            `su.cluster.Local()` for processes here. All chains run at once, and a worker makes half a second of draws at a
            time; one that dies is replaced, and its block made again. On one kind of processor the draws are the same
            everywhere.

    Raises:
        SamplingError: a setting outside its range, or of the wrong type.

    Example:
        >>> from sursum.infer import NUTS
        >>> MCMC(NUTS(lambda: None), num_chains=0)
        Traceback (most recent call last):
        sursum.errors.SamplingError: `num_chains` is 0, but must be an integer of at least 1: 4 is usual.
    """

    kernel: TrajectoryKernel | DiscreteGibbs
    num_warmup: int | None = field(default=None, kw_only=True)
    num_samples: int = field(default=1000, kw_only=True)
    num_chains: int = field(default=4, kw_only=True)
    thin: int = field(default=1, kw_only=True)
    until: Until | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    cores: int | None = field(default=None, kw_only=True)
    progress: bool | None = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)
    init: Init | NDArray[np.float64] | Sequence[float] | Sequence[Init] = field(default=None, kw_only=True)
    store: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    keep: Sequence[str] | None = field(default=None, kw_only=True)
    on: Workers | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        def check(name: str, holds: bool, expected: str, remedy: str) -> None:
            check_setting(name, holds, getattr(self, name), expected, SamplingError, remedy)

        def positive(name: str, remedy: str) -> int:
            return whole_number(name, getattr(self, name), 1, SamplingError, remedy)

        check("kernel", isinstance(self.kernel, TrajectoryKernel | DiscreteGibbs), "a kernel", "give `NUTS(program)`")
        whole = {
            "num_warmup": None if self.num_warmup is None else positive("num_warmup", "leave it out: 1000 is usual"),
            "num_samples": positive("num_samples", "1000 is usual"),
            "num_chains": positive("num_chains", "4 is usual"),
            "thin": positive("thin", "1 keeps every draw"),
            "seed": optional_seed(self.seed, SamplingError),
            "cores": None if self.cores is None else positive("cores", "leave it out to use all"),
        }
        settle(self, whole)
        check("thin", self.thin <= self.num_samples, f"at most `num_samples`, {self.num_samples}", "more would keep no draw")
        check_engine(self.engine, SamplingError, DENSITY_ENGINES)
        flag = self.progress is None or isinstance(self.progress, bool)
        check("progress", flag, "True, False or None", "leave it out to see it in a terminal")
        path = self.store is None or isinstance(self.store, (str, os.PathLike))
        check("store", path, "a path", "give the name of a folder, such as 'run.zarr'")
        check("until", self.until is None or isinstance(self.until, Until), "a condition", "write `su.infer.ess(400)`")
        place = self.on is None or isinstance(self.on, Workers)
        check("on", place, "a place for work or None", "give `su.cluster.Ray()`, or leave it out")
        names = self.keep is None or (
            isinstance(self.keep, Sequence) and not isinstance(self.keep, str) and all(isinstance(n, str) for n in self.keep)
        )
        check("keep", names, "a sequence of names of sites", "give a list, such as ['mu', 'net.**']")

    if not TYPE_CHECKING:  # type checkers know the attributes

        def __getattr__(self, name: str) -> NoReturn:
            refuse_name(self, name, RUN_ATTRIBUTES)

    @led
    def run(self, *args: Any, **kwargs: Any) -> Posterior:
        """Sample the program with these arguments. May be called again, with different data.

        Ctrl-C ends the chains, and the draws so far are in the exception. Problems with the draws are reported as
        one `DiagnosticWarning` each, and kept in `posterior.warnings`.

        Raises:
            SursumError: the program cannot be sampled.
            Interrupted: Ctrl-C ended the run; its `posterior` has the draws so far.
            Exception: any exception of the program.
        """
        measured, notes = self._measure_coordinates(args, kwargs)
        run = measured._prepare(args, kwargs)
        run.work()
        found = run.announced()
        return replace(
            found, notes=(*found.notes, *notes), refit=Refit(partial(measured._again, args, kwargs)), progress=self.progress
        )

    def _again(self, args: tuple[Any, ...], kwargs: dict[str, Any], model: Any, posterior: Posterior) -> Posterior:
        """Run another program, with its latent sites, on the same data, from where that of this posterior is."""
        return replace(self, kernel=with_program(self.kernel, model), init=posterior, store=None).run(*args, **kwargs)

    def start(self, *args: Any, **kwargs: Any) -> Run:
        """Start sampling the program with these arguments, and return immediately.

        Returns:
            The handle of the run: `progress`, `pause`, `resume`, `partial`, `stop`, `wait`, `result`.

        Raises:
            SursumError: the program cannot be sampled.
            Exception: any exception of the program.
        """
        return self._measure_coordinates(args, kwargs)[0]._prepare(args, kwargs).begin()

    def _measure_coordinates(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[MCMC, tuple[str, ...]]:
        """The same sampler, of a program whose coordinates have been chosen if they are to be measured, and what was found."""
        model = find_unmeasured(self.kernel, self.init)
        if model is None:
            return self, ()
        # What is found depends on program and data alone, so that a run can be resumed and extended.
        pilots = replace(self, num_warmup=PILOT, num_samples=PILOT, num_chains=4, seed=0)
        found = pilots.choose_coordinates(model, args, kwargs)
        return replace(self, kernel=with_program(self.kernel, found.model)), (found.note(),)

    def choose_coordinates(self, model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ReparamChoice:
        """Which coordinates of a program this sampler does best in, by runs of its length; see `ReparamSearch`."""
        draw = runs_of(self, lambda kernel: _compile(kernel, args, kwargs, self.engine))
        return choose_coordinates(self.kernel, model, args, kwargs, draw, display_for(self.progress))

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run:
        """A run with all work on the program already done, so that errors in the program are raised here."""
        with waiting("compiling", display_for(self.progress, SOON)):
            compiled = _compile(self.kernel, args, kwargs, self.engine)
        announce_unobserved(compiled.density.unobserved)
        announce_empty(compiled.density.observed)
        return self.prepared(compiled)

    def prepared(self, compiled: Any) -> Run:
        """A run of an already compiled density, ignoring the kernel's program; it starts with `work`."""
        sources = self._sources(self.num_chains)
        starts = find_chain_starts(compiled, self.init, [source.start for source in sources])
        free = compiled.density.num_free
        metric, step_size = read_metric(self.kernel.metric, free, compiled.value_and_grad, compiled.dim - free), None
        num_warmup = self.num_warmup
        if num_warmup is None:
            chosen = metric is None and self.kernel.metric == "auto"
            earlier = find_earlier_fit(self.init, compiled) if chosen else None
            num_warmup = USUAL_WARMUP
            if earlier is not None:
                num_warmup, metric, step_size = WARMUP, earlier.metric, earlier.step_size
        seeds = [source.sampler for source in sources]
        states = first_states(self.kernel, compiled, starts, seeds, num_warmup, metric, step_size)
        adaptation = Adaptation("given" if metric is not None else self.kernel.metric, num_warmup)
        return self._launch_chains(compiled, states, adaptation, num_warmup)

    @led
    def extend(self, posterior: Posterior, num_samples: int, *args: Any, **kwargs: Any) -> Posterior:
        """Add draws to a posterior: each chain continues from its last draw.

        A posterior that was sampled in this process, or whose store is complete, has the states of its chains: they continue
        exactly, as if they had been longer from the beginning. Otherwise, or with another kernel, the metric is that of the
        draws and the step size is adapted in a short warm-up, which is discarded. `posterior.notes` records which. With
        `store` only the new draws are written, to a separate store; `resume` continues a store that is incomplete.

        Args:
            posterior: of this program and these data; may be loaded from a file, or from the store of a killed run.
            num_samples: how many draws to add to each chain.
            args, kwargs: arguments of the program, the same as before; without any, those that `posterior` remembers. A
                loaded one has none.

        Returns:
            The posterior of all draws, without groups that were added to the old one.

        Raises:
            SamplingError: the posterior is of a different program or different data, or has no draws.
            Interrupted: Ctrl-C ended the run; its `posterior` has the old draws and the new ones.
        """
        refuse_shadowed(self.kernel.model, "extend", ["num_samples"])
        num_samples = whole_number("num_samples", num_samples, 1, SamplingError, "1000 is usual")
        if not args and not kwargs and posterior.program is not None:
            args, kwargs = posterior.program.args, dict(posterior.program.kwargs)
        measured, _ = self._measure_coordinates(args, kwargs)
        longer = replace(
            measured, num_samples=num_samples, num_chains=posterior.num_chains, keep=tuple(posterior), init=None, until=None
        )
        compiled = _compile(measured.kernel, args, kwargs, self.engine)
        check_same(compiled, posterior)
        states = states_after(posterior, self.kernel.fields())
        num_warmup = 0 if states else min(self.num_warmup or WARMUP, WARMUP)
        if not states:
            free = compiled.density.num_free
            metric = metric_of_draws(posterior, free, compiled.value_and_grad, compiled.dim - free)
            seeds = [source.sampler for source in longer._sources(posterior.num_chains, posterior.num_samples)]
            starts = list(posterior.unconstrained[:, -1])
            states = first_states(self.kernel, compiled, starts, seeds, num_warmup, metric)
        run = longer._launch_chains(compiled, states, Adaptation("given", num_warmup), num_warmup)
        run.work()
        whole = join(posterior, run.partial(), num_warmup, run.hints)
        if run.interrupted:
            raise Interrupted(whole)
        for text in whole.warnings:
            warnings.warn(text, DiagnosticWarning, stacklevel=2)
        return whole

    @led
    def resume(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Posterior:
        """Go on with a run whose `store` is incomplete: it was killed, stopped or interrupted.

        Its chains continue from their stored states, in the warm-up too. On the same engine, version and kind of processor
        the store becomes bit for bit the one of a run that was not cut short; elsewhere a warning says that it does not. The
        numbers of draws and chains, `seed`, `thin`, `keep`, and the kernel's settings are those of the stored run; of this
        object `progress`, `cores`, `engine` and the program are used.

        Args:
            path: the store.
            args, kwargs: arguments of the program, the same as before.

        Returns:
            The posterior of all draws.

        Raises:
            StorageError: there is no such store, it cannot be resumed, or another run still writes it.
            SamplingError: the store is of a different program or different data.
            Interrupted: Ctrl-C ended the run again.
        """
        refuse_shadowed(self.kernel.model, "resume", ["path"])
        writer = writer_of(path) if leads() else FileLock()
        try:
            run = self._resumed(path, writer, args, kwargs)
        except BaseException:
            writer.release()
            raise
        run.work()
        return run.announced()

    def _resumed(self, path: str | os.PathLike[str], writer: FileLock, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run:
        """The run that goes on in a store."""
        stored = ResumableRun.read(path)
        measured, _ = self._measure_coordinates(args, kwargs)
        compiled = _compile(measured.kernel, args, kwargs, self.engine)
        stored.check(compiled)
        sweeps = sweeps_of(compiled)
        if stored.identity != identity(compiled, sweeps):
            warn(
                "the run was begun by another engine, version of sursum or torch, or kind of processor: it continues, and its "
                "draws are not bit for bit those that it would have made there",
                EngineWarning,
            )
        chains = len(stored.states)
        same = replace(
            measured,
            num_samples=stored.num_samples,
            num_chains=chains,
            thin=stored.thin,
            keep=stored.names,
            init=None,
            until=None,
        )
        thinning = [Thinning(stored.thin) for _ in range(chains)]
        recording = StoreRecorder(stored.store, compiled, stored.names, thinning, writer)
        launch = same._launch(compiled, stored.states, stored.adaptation, stored.num_warmup, stored.before, sweeps)
        return launch.run(recording, stored.taken)

    def _sources(self, num_chains: int, after: int = 0) -> list[ChainSeed]:
        seed = draw_seed() if self.seed is None else self.seed
        return [chain_seed(seed, k, after) for k in range(num_chains)]

    def _launch_chains(self, compiled: Any, states: Sequence[State], adaptation: Adaptation, num_warmup: int) -> Run:
        """A run of chains in these states, with this many draws of warm-up to come."""
        sweeps = sweeps_of(compiled)
        launch = self._launch(compiled, states, adaptation, num_warmup, int(states[0].head["draw"]), sweeps)
        if self.store is None:
            return launch.run()
        sampling = {
            "metric": adaptation.kind,
            "identity": identity(compiled, sweeps),
            "num_warmup": num_warmup,
            "num_samples": self.num_samples,
            "before": launch.before,
        }
        lengths = (num_warmup, self.num_samples)
        recording = StoreRecorder.begin(
            self.store, compiled, launch.keep, self.num_chains, *lengths, launch.hints, self.thin, sampling
        )
        try:
            for k, state in enumerate(states):
                recording.save(k, state.block)
            return launch.run(recording)
        except BaseException:
            recording.writer.release()
            raise

    def _launch(
        self, compiled: Any, states: Sequence[State], adaptation: Adaptation, num_warmup: int, before: int,
        sweeps: Sweeps | None,
    ) -> Launch:  # fmt: skip
        keep = Keep(None if self.keep is None else tuple(self.keep))
        walnuts = isinstance(self.kernel, WALNUTS)
        hints = Hints(compiled.density.networks, compiled.density.scales, adapts_correlations(self.kernel.metric), walnuts)
        return Launch(
            *(compiled, states, adaptation, num_warmup, self.num_samples, self.thin),
            *(self.cores, self.progress, self.until, keep, hints, before),
            on=self.on,
            sweeps=sweeps,
        )


def _compile(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], engine: str | None) -> Any:
    """The log density of the kernel's program, compiled."""
    density = LogDensity(rolled(kernel.model), args, kwargs)
    if isinstance(kernel, DiscreteGibbs):
        density = kernel.settled(density)
    return compile_density(density, engine)
