"""From the states of chains to a run that can be started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sursum.cluster import Workers
from sursum.common.cores import available_cores
from sursum.common.progress import display_for
from sursum.draws.diagnostics import Hints
from sursum.mcmc.chain_pool import Schedule
from sursum.mcmc.kernel.adaptation import Adaptation
from sursum.mcmc.kernel.state import State
from sursum.mcmc.kernel_chain import Advance, Handed, KernelChain, advancing, native_kernel
from sursum.mcmc.progress import Line
from sursum.mcmc.recording import StoreRecorder
from sursum.mcmc.remote import BlockMaker, advancing_at
from sursum.mcmc.run import Run
from sursum.mcmc.site_filter import Keep
from sursum.mcmc.stopping import Ending, Stopping
from sursum.mcmc.sweeps import Sweeps
from sursum.mcmc.to_posterior import common_draws
from sursum.mcmc.until import Until


@dataclass(frozen=True, eq=False)
class Launch:
    """What a run is to draw, and how.

    Args:
        compiled: the density.
        states: of the chains.
        adaptation: how a warm-up finds a metric.
        num_warmup, num_samples: draws of each chain, after those `before`.
        thin, cores, progress, until: as in `MCMC`.
        keep: the sites that are kept.
        hints: what diagnostics may refer to.
        before: draws that each chain had made when the run began.
        on: as in `MCMC`.
        sweeps: how discrete coordinates are drawn.
    """

    compiled: Any
    states: Sequence[State]
    adaptation: Adaptation
    num_warmup: int
    num_samples: int
    thin: int
    cores: int | None
    progress: bool | None
    until: Until | None
    keep: Keep
    hints: Hints
    before: int
    on: Workers | None = None
    sweeps: Sweeps | None = None

    def run(self, recording: StoreRecorder | None = None, taken: Sequence[int] | None = None) -> Run:
        """The run; it starts with `work` or `begin`.

        Args:
            recording: its store.
            taken: how many draws of each chain are in the store; by default those that the chains have made.
        """
        count, compiled, makes = len(self.states), self.compiled, self._makes()
        total = self.before + self.num_warmup + self.num_samples
        stored = [int(state.head["draw"]) for state in self.states] if taken is None else taken

        def start(k: int, ended: Callable[[], None]) -> KernelChain:
            spool = None if recording is None else Handed(stored[k])
            return KernelChain(makes(), self.states[k], self.adaptation, total, spool, self.thin, ended).start()

        apart = self.until is not None or self.on is not None
        cores = min(self.cores or count, count) if apart else min(self.cores or available_cores(), count)
        collect = None if recording is None else recording.collect
        schedule = Schedule(
            start, count, cores, Line(total, display_for(self.progress)), collect, num_warmup=self.num_warmup, thin=self.thin
        )
        if self.until is not None:
            names = compiled.density.coordinate_names()
            self.until.check(names)
            stopping = Stopping(self.until, names, self.num_samples // self.thin)
            drawn = None if recording is None else recording.common_draws
            schedule.ending = Ending(stopping, drawn or (lambda: common_draws(schedule.so_far(), self.thin)), self.thin)
        lengths = (self.num_warmup, self.num_samples)
        return Run(compiled, schedule, self.keep, *lengths, recording, self.hints, self.thin)

    def _makes(self) -> Callable[[], Advance]:
        """For each chain what makes its draws."""
        if self.on is None:
            kernel, sweeps = native_kernel(self.compiled), self.sweeps
            return lambda: advancing(self.compiled, kernel, sweeps)
        density = self.compiled.density
        engine = self.compiled.engine if self.compiled.engine in ("native", "torch", "eager") else None
        return advancing_at(self.on, BlockMaker(density.program.model, density.args, density.kwargs, engine))
