"""A run in progress, which can be inspected, paused, stopped, and waited for."""

from __future__ import annotations

import atexit
import contextvars
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from sursum.common.other_libraries import refuse_name
from sursum.common.shown import abbreviate
from sursum.common.tables import Shown
from sursum.common.user_frame import warn
from sursum.draws.diagnostics import Hints
from sursum.errors import DiagnosticWarning, OptionError, SamplingError, StorageError
from sursum.mcmc.chain_pool import GRACE, INTERRUPTED, Outcome, Schedule
from sursum.mcmc.recording import StoreRecorder
from sursum.mcmc.site_filter import Keep
from sursum.mcmc.to_posterior import nothing_yet, posterior_of
from sursum.mcmc.trace import Progress
from sursum.posterior.posterior import Posterior


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a run: a script that does not catch it ends as well; `posterior` has the draws so far.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> mcmc = su.infer.MCMC(su.infer.NUTS(lambda: su.sample("z", dist.Normal(0.0, 1.0))), seed=0, progress=False)
        >>> try:
        ...     posterior = mcmc.run()
        ... except su.infer.Interrupted as stop:
        ...     posterior = stop.posterior
    """

    def __init__(self, posterior: Posterior) -> None:
        said = posterior.warnings[0] if posterior.warnings else "The run was interrupted."
        super().__init__(
            f"{said} It is the attribute `posterior` of this exception: `except su.infer.Interrupted as stop: stop.posterior`, "
            "or at a prompt `sys.last_value.posterior`."
        )
        self.posterior = posterior

    def __reduce__(self) -> tuple[Any, ...]:
        return Interrupted, (self.posterior,)


@dataclass(eq=False, repr=False)
class Run(Shown):
    """The handle of a run started by `MCMC.start`; any thread may call its methods.

    Example:
        >>> import sursum as su, sursum.distributions as dist
        >>> model = lambda: su.sample("z", dist.Normal(0.0, 1.0))
        >>> run = su.infer.MCMC(su.infer.NUTS(model), num_samples=500, seed=0, progress=False).start()
        >>> run.wait(60)
        True
        >>> run
        <Run: finished, 4 chains, 6000/6000 draws, 0 divergences>
        >>> run.result()["z"].shape
        torch.Size([4, 500])
    """

    compiled: Any
    schedule: Schedule
    keep: Keep
    num_warmup: int
    num_samples: int
    recording: StoreRecorder | None = None
    hints: Hints = field(default_factory=Hints)
    thin: int = 1
    _posterior: Posterior | None = field(default=None, init=False)
    _error: BaseException | None = field(default=None, init=False)
    _outcome: Outcome | None = field(default=None, init=False)
    _said: bool = field(default=False, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _making: threading.Lock = field(default_factory=threading.Lock, init=False)

    # While it runs.

    @property
    def progress(self) -> tuple[Progress, ...]:
        """The progress of each chain: `draws` (including the warm-up), `divergences`, `steps`, `step_size`, `warming`."""
        return self.schedule.progress()

    @property
    def state(self) -> str:
        """ "running", "paused", "finished", "stopped", "interrupted" or "failed"."""
        if not self._ended.is_set():
            return "paused" if self.schedule.paused else "running"
        if self._error is not None or self._outcome is None:
            return "failed"
        return self._outcome.happened.removeprefix("was ") or "finished"

    def pause(self) -> None:
        """Pause every chain after its current draw."""
        self.schedule.pause()

    def resume(self) -> None:
        """Continue after `pause`; the draws are the same as without it."""
        self.schedule.resume()

    def partial(self) -> Posterior:
        """The posterior of the draws so far; for a run that has ended, of all draws.

        Raises:
            SamplingError: there are no draws yet.
        """
        if self._ended.is_set():
            return self._make_once()
        outcome = self.schedule.so_far()
        if self.recording is not None:
            return self._load_stored(self.recording)
        return posterior_of(self.compiled, outcome, self.num_samples, self.keep, self.hints, self.thin)

    # Its end.

    def stop(self) -> Posterior:
        """Stop the run, and return the draws so far. Chains that have none yet are left a third of a second for one.

        Raises:
            SamplingError: there are no draws yet.
        """
        self.schedule.stop(GRACE)
        self._ended.wait()
        return self.result()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds, and return whether the run has ended; a paused run has not."""
        return self._ended.wait(timeout)

    def result(self) -> Posterior:
        """Wait for the posterior. Each problem with the draws gives one `DiagnosticWarning`, the first time.

        Raises:
            SursumError: the run failed.
            Exception: any exception of the program.
        """
        self._ended.wait()
        return self.announced()

    def announced(self) -> Posterior:
        """The posterior, with its warnings issued at the caller's caller.

        Raises:
            Interrupted: Ctrl-C ended the run.
        """
        posterior = self.silently()
        if not self._said:
            self._said = True
            for text in posterior.warnings:
                warn(text, DiagnosticWarning)
        return posterior

    def silently(self) -> Posterior:
        """The posterior, without warnings.

        Raises:
            Interrupted: Ctrl-C ended the run.
        """
        self._ended.wait()
        posterior = self._make_once()
        if self.interrupted:
            raise Interrupted(posterior)
        return posterior

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the run."""
        return self._outcome is not None and self._outcome.happened == INTERRUPTED

    def _make_once(self) -> Posterior:
        if self._error is not None:
            raise self._error
        with self._making:
            if self._posterior is None:
                self._posterior = self._make()
        return self._posterior

    def _make(self) -> Posterior:
        if self._outcome is None:
            raise nothing_yet()
        try:
            if self.recording is not None:
                return self._with_ending(self._load_stored(self.recording))
            posterior = posterior_of(self.compiled, self._outcome, self.num_samples, self.keep, self.hints, self.thin)
            return self._with_ending(replace(posterior, states=self._outcome.states))
        except (SamplingError, StorageError):  # there is no draw yet
            if self.interrupted:
                raise KeyboardInterrupt from None
            raise

    def _with_ending(self, posterior: Posterior) -> Posterior:
        """The posterior, which says where a run with `until` has ended."""
        if self.schedule.ending is None or self._outcome is None or self._outcome.happened:
            return posterior
        note, warning = self.schedule.ending.said(self.num_samples)
        notes = posterior.notes if not note or note in posterior.notes else (*posterior.notes, note)
        return replace(posterior, notes=notes, warnings=(warning, *posterior.warnings) if warning else posterior.warnings)

    def _load_stored(self, recording: StoreRecorder) -> Posterior:
        posterior = Posterior.load(recording.store.path)
        states = () if self._outcome is None else self._outcome.states
        return replace(posterior, program=self.compiled.density.program, states=states)

    # The work.

    def work(self) -> None:
        """Run the chains in this thread; errors are raised by `result`.

        Raises:
            KeyboardInterrupt: Ctrl-C before the first chain started.
        """
        try:
            self._outcome = self.schedule.run()
        except Exception as error:
            self._error = error
        finally:
            try:
                if self.recording is not None:
                    self._close(self.recording)
            except Exception as error:
                self._error = self._error or error  # of two errors the first, which may be the cause of the other
            finally:
                if self.recording is not None:
                    self.recording.writer.release()
                self._ended.set()

    def _close(self, recording: StoreRecorder) -> None:
        outcome, ending = self._outcome, self.schedule.ending
        if outcome is None or ending is None or outcome.happened:
            recording.close("failed" if outcome is None else outcome.happened)
        else:
            counts = min(recording.store.counts("sample"))
            recording.close("", counts if ending.late and counts else ending.kept, ending.said(self.num_samples)[0])

    def begin(self) -> Run:
        """Run the chains in a new thread, which sees the handlers that are active here."""
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._work_and_leave,), name="sursum run", daemon=True)
        atexit.register(self._leave)
        thread.start()
        return self

    def _work_and_leave(self) -> None:
        try:
            self.work()
        finally:
            atexit.unregister(self._leave)

    def _leave(self) -> None:
        """At interpreter exit, stop the chains before the functions that they call are gone."""
        self.schedule.stop()
        self._ended.wait(5.0)

    def __getitem__(self, name: str) -> NoReturn:
        raise OptionError(
            f"a run has no draws itself: `run.result()[{abbreviate(name)}]` waits for them, and "
            f"`run.partial()[{abbreviate(name)}]` does not."
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """For an attribute that does not exist, say what to write instead."""
            of_draws = {n: f"write `run.result().{n}`, or `run.partial().{n}`" for n in dir(Posterior) if not n.startswith("_")}
            refuse_name(self, name, of_draws)

    def __repr__(self) -> str:
        chains = self.progress
        done, total = sum(chain.draws for chain in chains), (self.num_warmup + self.num_samples) * len(chains)
        divergences = sum(chain.divergences for chain in chains)
        many = "chain" if len(chains) == 1 else "chains"
        return f"<Run: {self.state}, {len(chains)} {many}, {done}/{total} draws, {divergences} divergences>"
