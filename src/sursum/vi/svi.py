"""`SVI`: stochastic variational inference."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.other_libraries import answers
from sursum.common.progress import ProgressState, display_for
from sursum.common.reprs import call_text, text
from sursum.common.settings import optional_seed, whole_number
from sursum.common.shown import abbreviate
from sursum.compiler.engine import check_engine
from sursum.core.arguments import with_data
from sursum.core.calling import innermost, refuse_coroutines, refuse_misnamed, refuse_shadowed, valued
from sursum.core.labels import Labels, labels_of
from sursum.distributed.gradients import together
from sursum.distributed.group import RankEnded
from sursum.distributions.randomness import global_seed
from sursum.errors import CallError, VariationalError
from sursum.handlers import ParamStore
from sursum.handlers.buffers import StartingBuffers
from sursum.optim import as_optim
from sursum.posterior.assemble import stack_buffers
from sursum.posterior.posterior import Posterior
from sursum.training import seeds
from sursum.training.checkpoint import check_checkpoint
from sursum.training.loader import is_loader
from sursum.training.training import Training
from sursum.vi.autoguide.guide import AutoGuide
from sursum.vi.batch_steps import BatchSteps
from sursum.vi.bound import Bound, buffers_of
from sursum.vi.draws import draw_posterior
from sursum.vi.early_stopping import EarlyStopping
from sursum.vi.elbo import ELBO
from sursum.vi.engine import ENGINES, Eager, Engine, Engines
from sursum.vi.ranks import own_rows
from sursum.vi.set_up import SetUp
from sursum.vi.svi_result import SVIResult
from sursum.vi.trace_elbo import Trace_ELBO

_GLANCE = 0.1
_CHUNK = 2**17


class SVI:
    r"""Fit a guide to the posterior of a model by stochastic gradient steps on a lower bound of the evidence.

    .. math:: \lambda^* = \operatorname{argmax}_\lambda E_{q_\lambda(z)}[\log p(x, z) - \log q_\lambda(z)]

    Parameters of the guide, and those of the model that are not lifted, are trained together. They are kept in `params`, an
    explicit store: there is no global one.

    Args:
        model: the program.
        guide: a program with the model's latent sites, called with the same arguments; one of `infer.autoguide`, or
            written by hand with `param` and `module`.
        optim: ``su.optim.Adam({"lr": 0.01})`` or another of `su.optim`, a torch optimiser's class, or a function from
            parameters to a torch optimiser.
        loss: the bound.
        seed: an integer of at least 0. The same seed gives the same run; randomness of step t comes from (seed, t). None
            draws a seed from torch's global generator, which is otherwise left alone.
        engine: what takes the steps. "native": the loss and its gradient in C, many steps per call; "torch": the
            same captured graph, replayed; "eager": the programs themselves. None chooses by a fixed rule, with a
            warning if that is unexpectedly slow. `svi.engine` and the result of `run` say which it was.
        early_stopping: when `run` may end before its last step.
        checkpoint: a file that `run` writes every `checkpoint_every` steps, and at its end; see `save`.
        checkpoint_every: steps between checkpoints.
        progress: True or False; None shows it in a terminal.

    Raises:
        VariationalError: an invalid setting.

    References:
        Hoffman, Blei, Wang, Paisley, "Stochastic variational inference" (2013).

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> def model(y):
        ...     mu = su.sample("mu", dist.Normal(0.0, 1.0))
        ...     with su.plate("data", len(y)):
        ...         su.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> guide = su.infer.autoguide.AutoNormal(model)
        >>> svi = su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.05}), su.infer.Trace_ELBO(), seed=0)
        >>> result = svi.run(300, torch.tensor([1.0, 2.0, 3.0]))
        >>> abs(float(svi.params["auto.loc.mu"].detach()) - 1.5) < 0.5
        True
        >>> svi.sample(100)["mu"].shape
        torch.Size([1, 100])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        optim: Any,
        loss: ELBO | None = None,
        *,
        seed: int | None = None,
        engine: str | None = None,
        early_stopping: EarlyStopping | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1000,
        progress: bool | None = None,
    ) -> None:
        for what, program in (("model", model), ("guide", guide)):
            if not callable(program):
                raise VariationalError(f"`{what}` is {abbreviate(program)}, but must be a program: a callable.")
            if isinstance(program, type):
                given = "model" if what == "guide" and issubclass(program, AutoGuide) else "…"
                raise VariationalError(
                    f"`{what}` is the class {program.__name__}, but must be a program: write {program.__name__}({given})."
                )
            refuse_coroutines(program)
        if loss is not None and not isinstance(loss, ELBO):
            raise VariationalError(f"`loss` is {loss!r}, but must be a bound: give `Trace_ELBO()`, with parentheses.")
        seed = optional_seed(seed, VariationalError)
        check_engine(engine, VariationalError, ENGINES)
        if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
            raise VariationalError(
                f"`early_stopping` is {early_stopping!r}, but must be `EarlyStopping(window=…, patience=…)`."
            )
        checkpoint_every = check_checkpoint(checkpoint, checkpoint_every, VariationalError)
        self.model, self.guide, self.loss = model, guide, Trace_ELBO() if loss is None else loss
        self.early_stopping, self.progress = early_stopping, progress
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self._training = Training(as_optim(optim, VariationalError), global_seed() if seed is None else seed)
        self._ran = engine
        self._bound = Bound(self.loss, model, guide, self._training.store)
        self._engines = Engines(self._bound, self._training, engine)
        self._set_up = SetUp(self.loss, self._bound, self._training, self._engines)
        self._batch_steps = BatchSteps(self._set_up, self._engines, engine)
        self._last: tuple[Any, Engine, Any] | None = None
        self._labels: tuple[Labels, ...] = ()
        self._chunk = 1  # steps between clock checks

    def __repr__(self) -> str:
        losses, by = self._training.losses, "" if self._ran is None else f" by the {self._ran} engine"
        done = f"{len(losses)} steps{by}, loss {losses[-1]:.4g}" if losses else "not run"
        optim = self._training.optim
        return f"<SVI of {text(innermost(self.model))} by {text(self.guide)}, {optim}, {call_text(self.loss)}: {done}>"

    # What there is.

    @property
    def params(self) -> ParamStore:
        """The parameters: ``svi.params["s"]`` is the current value, ``with svi.params:`` runs a program with them."""
        store = self._training.store
        store.buffers.update(buffers_of(self._training.baselines))
        return store

    @property
    def losses(self) -> Tensor:
        """The loss at every step so far, float64."""
        return torch.from_numpy(np.array(self._training.losses))

    @property
    def engine(self) -> str | None:
        """The engine that took the last step; before the first, the one that was asked for, or None."""
        return self._ran

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimiser; None before the first step."""
        return self._training.optimizer

    # Training.

    @answers()
    def run(self, num_steps: int, /, *args: Any, **kwargs: Any) -> SVIResult:
        """Take `num_steps` steps, on the program as called with these arguments. May be called again, and continues then.

        If the first argument is a `DataLoader`, or another iterable of batches, each step is on the next batch (its elements,
        if it is a tuple, are arguments), epoch after epoch. A plate over the rows of a batch then counts for all rows of the
        loader, as if it subsampled them.

        Returns:
            The losses of these steps and the parameters after them.

        Raises:
            GuideError: the guide's latent sites are not the model's.
            VariationalError: no parameters; a loss that is not finite, naming the site that causes it.
            DensityError: a network whose parameters are trained is called directly, instead of what `module` returns.

        Warns:
            ObservationWarning: no site is observed, and there is no factor.
        """
        num_steps = _at_least_one("num_steps", num_steps)
        with together(lambda: self._training.gradients):
            return self._run(num_steps, args, kwargs)

    def _run(self, num_steps: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SVIResult:
        training = self._training
        if args and is_loader(args[0]):
            self._labels = ()
            advance = self._batch_steps.from_loader(args[0], args[1:], kwargs)
        else:
            args, kwargs = self._with_data(args, kwargs)
            self._set_up.prepare(args, kwargs)
            advance = _fixed(self._engine_for(args, kwargs))
        if training.gradients is not None:
            training.gradients.group.compare({"number of steps": num_steps})
        before = training.steps
        display, stopped, engine = display_for(self.progress), False, ""
        chunk = self._chunk

        def present() -> ProgressState:
            return _state(training.steps - before, num_steps, training.losses)

        try:
            while training.steps < before + num_steps and not stopped:
                began = time.monotonic()
                engine = self._ran = advance(self._until_pause(before + num_steps, chunk))
                # As many steps between clock checks as take about a tenth of a second.
                chunk = min(2 * chunk, _CHUNK) if time.monotonic() - began < _GLANCE / 2 else max(chunk // 2, 1)
                stopped = self._pause()
                display.update(present)
        except RankEnded:
            self._save_checkpoint()
            raise
        finally:
            self._chunk = chunk
            display.close()
        training.agree()
        self._save_checkpoint()
        values = {name: self.params[name].detach() for name in self.params}
        return SVIResult(self.losses[before:], values, stopped, engine)

    def step(self, *args: Any, **kwargs: Any) -> float:
        """Take one step on this batch, and return the loss before it.

        The first call with a batch of a new shape captures the step; its tensors are inputs.
        """
        args, kwargs = self._with_data(args, kwargs)
        with together(lambda: self._training.gradients):
            self._set_up.prepare(args, kwargs)
            self._ran = self._batch_steps.step(args, kwargs)
        return self._training.losses[-1]

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> float:
        """The loss at the current parameters, estimated once, without a step. The same seed and step give the same value.

        Also works for programs without parameters.
        """
        args, kwargs = self._with_data(args, kwargs)
        self._set_up.prepare(args, kwargs, trains=False)
        self._set_up.choose_particles(args, kwargs)
        over = self._training.gradients
        with together(lambda: over), valued(), self.params, self._set_up.seeded(seeds.EVALUATE, self._training.steps):
            loss = float(self._bound.estimate(args, kwargs, {}).detach())
            return loss if over is None else over.total(loss, {})[0]

    def sample(self, num_samples: int = 1000, *args: Any, **kwargs: Any) -> Posterior:
        """Draws from the guide as a posterior: latent and deterministic sites, as in `MCMC`.

        The fit of the guide is judged by the Pareto k of the importance weights p/q: `posterior.stats["log_weight"]`
        has their logarithms, and above 0.7 there is a warning.

        Args:
            num_samples: how many, independent of one another, as one chain.
            args, kwargs: what the program is called with; left out, what it was last called with.

        Raises:
            OptionError: the program has a parameter that is called `num_samples`.
        """
        refuse_shadowed(self.model, "sample", ["num_samples"])
        refuse_misnamed(self.model, "sample", kwargs, dict.fromkeys(("num_draws", "draws", "n", "n_samples"), "num_samples"))
        num_samples = _at_least_one("num_samples", num_samples)
        unknown = not args and not kwargs and self._set_up.called is None
        if not args and not kwargs and self._set_up.called is not None:
            args, kwargs = self._set_up.called
        else:
            args, kwargs = self._with_data(args, kwargs)
        try:
            self._set_up.prepare(args, kwargs, trains=False)
        except CallError as error:
            if not unknown:
                raise
            raise CallError(
                "nothing has been run yet, so the program's arguments are unknown: `run` first, or pass them to "
                "`sample`, svi.sample(1000, x, y)."
            ) from error
        guide = self.guide
        if isinstance(guide, AutoGuide):
            guide = guide.approximation(self.params, args, kwargs)
        held = {name: value.clone() for name, value in buffers_of(self._training.baselines).items()}
        model = StartingBuffers(self.model, held=held) if held else self.model
        parts = own_rows(self._bound.division, model, guide)
        found = draw_posterior(model, guide, self.params, args, kwargs, self._training.seed, num_samples, parts, self._labels)
        return replace(found, engine=self._ran, buffers=stack_buffers([[held] * num_samples]) if held else {})

    def __getstate__(self) -> dict[str, Any]:
        """All but what was captured, which is captured again, and the batches of a loader. `save` needs no pickle."""
        return {**self.__dict__, "_last": None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, the optimiser's state, the step and the losses to one file (`.npz`, no pickles)."""
        self._training.save(path)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Continue from what `save` wrote, in an SVI of the same model, guide and optimiser: a resumed run equals an
        uninterrupted one bit for bit. Whether they match is checked once the programs have run with their data:
        here if they have, otherwise at the first step, before anything is changed.

        Raises:
            StorageError: the file is truncated, damaged, or of a different kind.
            VariationalError: it has different parameters, or a different optimiser.
        """
        self._training.load(path)
        self._last = None
        self._batch_steps.forget()

    # Implementation.

    def _with_data(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as tensors; what labels them is kept beside them."""
        self._labels = labels_of(args, kwargs)
        return with_data(self.model, args, kwargs)

    def _engine_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Engine:
        """The engine for these arguments: that of the last run, if it is still valid."""
        key = _identity((args, kwargs))
        if self._last is None or self._last[0] != key or not self._last[1].still_right():
            found = self._engines.make(args, kwargs, None)
            if isinstance(found, Eager):  # one that is captured maps the particles itself
                self._set_up.choose_particles(args, kwargs)
            # The arguments are kept alive, since an id is unique only as long as the object lives.
            self._last = (key, found, (args, kwargs))
        return self._last[1]

    def _until_pause(self, end: int, chunk: int) -> int:
        """How many steps to take before the next pause."""
        steps = self._training.steps
        stops = [end, steps + chunk]
        if self.checkpoint is not None:
            stops.append(steps + self.checkpoint_every - steps % self.checkpoint_every)
        if self.early_stopping is not None:
            stops.append(steps + self.early_stopping.window - steps % self.early_stopping.window)
        return min(stops) - steps

    def _pause(self) -> bool:
        """Do what is due between two steps, and return whether the run ends here."""
        steps = self._training.steps
        if steps % self.checkpoint_every == 0:
            self._save_checkpoint()
        stopping = self.early_stopping
        return stopping is not None and steps % stopping.window == 0 and stopping.stops(self._training.losses)

    def _save_checkpoint(self) -> None:
        """Write the checkpoint, if there is to be one; over ranks the first does."""
        over = self._training.gradients
        if self.checkpoint is not None and (over is None or over.group.rank == 0):
            self.save(self.checkpoint)


def _identity(tree: Any) -> Any:
    """A key that is equal only for the same objects."""
    if isinstance(tree, (tuple, list)):
        return (type(tree), *(_identity(item) for item in tree))
    if isinstance(tree, dict):
        return tuple((key, _identity(item)) for key, item in tree.items())
    return id(tree)


def _fixed(engine: Engine) -> Callable[[int], str]:
    """A function that takes steps on fixed arguments, and returns the name of the engine."""

    def advance(steps: int) -> str:
        engine.advance(steps)
        return engine.name

    return advance


def _at_least_one(name: str, value: Any) -> int:
    return whole_number(name, value, 1, VariationalError, f"write `{name}=1000`, say")


def _state(done: int, total: int, losses: Sequence[float]) -> ProgressState:
    """How far a run has come, and the mean of its last 100 losses."""
    recent = losses[-max(min(len(losses), 100), 1) :]
    return ProgressState(done, total, (f"{done}/{total} steps", *([f"loss {np.mean(recent):.6g}"] if recent else [])))
