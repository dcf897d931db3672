"""`SVI`: stochastic variational inference."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.other_libraries import answers
from sursum.common.progress import State, display_for
from sursum.common.reprs import call_text, shapes_text, text
from sursum.common.settings import optional_seed, whole_number
from sursum.common.shown import abbreviate
from sursum.common.user_frame import warn
from sursum.compiler.engine import check_engine
from sursum.core.arguments import with_data
from sursum.core.calling import innermost, refuse_coroutines, refuse_misnamed, refuse_shadowed, valued
from sursum.core.messages import Param, Site
from sursum.core.trace import Trace
from sursum.density.bypassed_module import watch_originals
from sursum.density.unobserved import announce_empty, announce_unobserved, find_unobserved
from sursum.distributions.randomness import global_seed
from sursum.errors import CallError, CaptureError, EngineWarning, VariationalError
from sursum.handlers import ParamStore, seed
from sursum.handlers.enumerate.enumerated import can_enumerate, listed
from sursum.optim import as_optim
from sursum.posterior.posterior import Posterior
from sursum.training import seeds
from sursum.training.batch import Batch
from sursum.training.loader import Batches, count_rows, is_loader
from sursum.training.rows import check_global, find_rows
from sursum.training.step import SHAPES
from sursum.training.surroundings import Surroundings
from sursum.training.training import Training
from sursum.training.work import Work
from sursum.vi.autoguide.guide import AutoGuide
from sursum.vi.bound import Bound
from sursum.vi.draws import draw_posterior
from sursum.vi.early_stopping import EarlyStopping
from sursum.vi.elbo import ELBO, batch
from sursum.vi.engine import ENGINES, Eager, Engine, Engines
from sursum.vi.particle import Pair, pair
from sursum.vi.trace_elbo import Trace_ELBO

_GLANCE = 0.1
_CHUNK = 2**17
_CHANGES = 3
_TOGETHER = 64


@dataclass(frozen=True, repr=False)
class SVIResult:
    """The result of a run of `SVI`.

    Args:
        losses: float64, one for each step of the run.
        params: the constrained values of all parameters, by name.
        stopped_early: whether early stopping ended the run.
        engine: the engine that computed the gradients.
    """

    losses: Tensor
    params: Mapping[str, Tensor]
    stopped_early: bool
    engine: str

    def __repr__(self) -> str:
        ended = ", stopped early" if self.stopped_early else ""
        return (
            f"<SVIResult: {len(self.losses)} steps by the {self.engine} engine{ended}, loss {float(self.losses[0]):.4g} to "
            f"{float(self.losses[-1]):.4g}; {shapes_text(self.params, 'no parameters')}>"
        )


class SVI:
    r"""Fit a guide to the posterior of a model by stochastic gradient steps on a lower bound of the evidence.

    .. math:: \lambda^* = \arg\max_\lambda E_{q_\lambda(z)}[\log p(x, z) - \log q_\lambda(z)]

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
        engine: the engine of `run`. "native": the loss and its gradient in C, many steps per call; "torch": the
            same captured graph, replayed; "eager": the programs themselves. None is the fastest available, with a
            warning if it is unexpectedly slow; discrete sites and subsampled plates need "eager".
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
        checkpoint_every = _at_least_one("checkpoint_every", checkpoint_every)
        if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
            raise VariationalError(f"`checkpoint` is {checkpoint!r}, but must be the path of a file.")
        self.model, self.guide, self.loss = model, guide, Trace_ELBO() if loss is None else loss
        self.early_stopping, self.progress = early_stopping, progress
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self._training = Training(as_optim(optim, VariationalError), global_seed() if seed is None else seed)
        self.engine = engine
        self._bound = Bound(self.loss, model, guide, self._training.store)
        self._engines = Engines(self._bound, self._training, engine)
        self._is_batched = False  # whether it is known if particles can be drawn in a batch
        self._last: tuple[Any, Engine, Any] | None = None
        self._by_shape: dict[Any, Engine] = {}
        self._noted: set[str] = set()
        self._around: Surroundings | None = None
        self._changes = 0
        self._batches: tuple[Any, Batches] | None = None
        self._loader: Any = None  # whose batches stand for all rows
        self._called: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._chunk = 1  # steps between clock checks

    def __repr__(self) -> str:
        done = (
            f"{len(self._training.losses)} steps, loss {self._training.losses[-1]:.4g}" if self._training.losses else "not run"
        )
        optim = self._training.optim
        return f"<SVI of {text(innermost(self.model))} by {text(self.guide)}, {optim}, {call_text(self.loss)}: {done}>"

    # What there is.

    @property
    def params(self) -> ParamStore:
        """The parameters: ``svi.params["s"]`` is the current value, ``with svi.params:`` runs a program with them."""
        return self._training.store

    @property
    def losses(self) -> Tensor:
        """The loss at every step so far, float64."""
        return torch.from_numpy(np.array(self._training.losses))

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The torch optimiser; None before the first step."""
        return self._training.optimizer

    # Training.

    @answers()
    def run(self, num_steps: int, /, *args: Any, **kwargs: Any) -> SVIResult:
        """Take `num_steps` steps, on the program as called with these arguments. May be called again, and goes on then.

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
        training = self._training
        if args and is_loader(args[0]):
            advance = self._on_batches(args[0], args[1:], kwargs)
        else:
            args, kwargs = with_data(self.model, args, kwargs)
            self._set_up(args, kwargs)
            advance = _fixed(self._engine_for(args, kwargs))
        before = training.steps
        display, stopped, engine = display_for(self.progress), False, ""
        chunk = self._chunk

        def present() -> State:
            return _state(training.steps - before, num_steps, training.losses)

        try:
            while training.steps < before + num_steps and not stopped:
                began = time.monotonic()
                engine = advance(self._until_pause(before + num_steps, chunk))
                # As many steps between clock checks as take about a tenth of a second.
                chunk = min(2 * chunk, _CHUNK) if time.monotonic() - began < _GLANCE / 2 else max(chunk // 2, 1)
                stopped = self._pause()
                display.update(present)
        finally:
            self._chunk = chunk
            display.close()
        if self.checkpoint is not None:
            self.save(self.checkpoint)
        values = {name: self.params[name].detach() for name in self.params}
        return SVIResult(self.losses[before:], values, stopped, engine)

    def _on_batches(self, loader: Any, more: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[int], str]:
        """A function that takes steps on the next batches of a loader, and returns the name of the engine."""
        training = self._training
        if self._batches is None or self._batches[0] is not loader:
            self._batches = loader, Batches(loader, training.seed, training.taken)
        batches = self._batches[1]
        args, named = with_data(self.model, (*batches.peek(), *more), kwargs)
        if self._loader is not loader:
            self._meet(loader, args, named)
        was = training.seed, training.taken
        self._set_up(args, named)
        if (training.seed, training.taken) != was and batches.repeats:  # those of a file that was loaded
            batches = Batches(loader, training.seed, training.taken)
            self._batches = loader, batches

        def advance(steps: int) -> str:
            engine: Engine | None = None
            group: list[Batch] = []
            for _ in range(steps):
                args, named = with_data(self.model, (*batches.take(), *more), kwargs)
                training.taken += 1
                found, batch = self._engine_for_batch(args, named)
                if engine is not None and (found is not engine or len(group) >= _TOGETHER):
                    engine.advance(len(group), group)
                    group = []
                engine = found
                if batch is None:
                    engine.advance(1)
                else:
                    group.append(batch)
            if group and engine is not None:
                engine.advance(len(group), group)
            return "" if engine is None else engine.name

        return advance

    def _meet(self, loader: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find, at the first batch of a loader, which plates are over the rows."""

        def sites(batch: Sequence[Any]) -> list[Site]:
            with valued(), self.params, self._seeded(seeds.SET_UP, 0):
                first = pair(self.model, self.guide, batch, kwargs)
            return [*first.model.values(), *first.guide.values()]

        self._bound.rows = find_rows(sites, args, count_rows(loader))
        self._loader = loader
        self._by_shape.clear()
        if isinstance(self.guide, AutoGuide):
            check_global(sites(args), self._bound.rows, type(self.guide).__name__)

    def step(self, *args: Any, **kwargs: Any) -> float:
        """Take one step on this batch, and return the loss before it.

        The first call with a batch of a new shape captures the step; its tensors are inputs.
        """
        args, kwargs = with_data(self.model, args, kwargs)
        self._set_up(args, kwargs)
        if self._loader is not None:
            self._loader, self._bound.rows = None, None
            self._by_shape.clear()
        engine, batch = self._engine_for_batch(args, kwargs)
        engine.advance(1, [] if batch is None else [batch])
        return self._training.losses[-1]

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> float:
        """The loss at the current parameters, estimated once, without a step. The same seed and step give the same value.

        Also works for programs without parameters.
        """
        args, kwargs = with_data(self.model, args, kwargs)
        self._set_up(args, kwargs, trains=False)
        self._batched(args, kwargs)
        with valued(), self.params, self._seeded(seeds.EVALUATE, self._training.steps):
            return float(self._bound.estimate(args, kwargs, {}).detach())

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
        unknown = not args and not kwargs and self._called is None
        if not args and not kwargs and self._called is not None:
            args, kwargs = self._called
        args, kwargs = with_data(self.model, args, kwargs)
        try:
            self._set_up(args, kwargs, trains=False)
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
        return draw_posterior(self.model, guide, self.params, args, kwargs, self._training.seed, num_samples)

    def __getstate__(self) -> dict[str, Any]:
        """All but what was captured, which is captured again, and the batches of a loader. `save` needs no pickle."""
        fresh: dict[str, Any] = {"_last": None, "_by_shape": {}, "_around": None, "_batches": None, "_loader": None}
        return {**self.__dict__, **fresh}

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
        self._by_shape.clear()

    # Implementation.

    def _set_up(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, trains: bool = True) -> None:
        """Run both programs once, so that the store has their parameters, and make the optimiser if there are any, or if it
        `trains`."""
        self._called = (args, kwargs)
        if self._training.optimizer is None:
            with Work() as work:
                first = self._first(args, kwargs)
            sites = [*first.guide.values(), *first.model.values()]
            params = [site if isinstance(site, Param) else getattr(site, "param", None) for site in sites]
            if any(param is not None and param.owner is not None for param in params):
                # Now that the store has the networks' parameters, nothing needs to read the networks' own.
                with watch_originals() as originals:
                    first = self._first(args, kwargs)
                for found in (first.guide, first.model):
                    originals.check(found, trained=True)
            if not self.loss.averages:
                _announce_requests(first.guide)
            announce_unobserved(find_unobserved(first.model))
            announce_empty({name: site.value for name, site in first.model.observed.items()})
            self._bound.look(first)
            if trains or self._training.leaves:
                if self._training.leaves:
                    self._engines.choose(work)
                self._training.ready()

    def _first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pair:
        with valued(), self.params, self._seeded(seeds.SET_UP, 0):
            return pair(self.model, self.guide, args, kwargs, averages=self.loss.averages)

    def _engine_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Engine:
        """The engine for these arguments: that of the last run, if it is still valid."""
        key = _identity((args, kwargs))
        if self._last is None or self._last[0] != key or not self._last[1].still_right():
            found = self._engines.make(args, kwargs, None)
            if isinstance(found, Eager):  # one that is captured maps the particles itself
                self._batched(args, kwargs)
            # The arguments are kept alive, since an id is unique only as long as the object lives.
            self._last = (key, found, (args, kwargs))
        return self._last[1]

    def _engine_for_batch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Engine, Batch | None]:
        """The engine for batches of this shape."""
        self._batched(args, kwargs)
        training, eager = self._training, Eager(self._bound, self._training, args, kwargs)
        if self.engine == "eager" or self._bound.custom or (self._bound.averaged and not training.baselines):
            return eager, None
        try:
            batch = Batch.of(args, kwargs)
        except CaptureError as error:
            if self.engine is not None:
                raise
            self._note(f"the programs are run by Python at every step, which is slow: {error}")
            return eager, None
        engine = self._by_shape.get(batch.key)
        if engine is not None and self._around is not None and self._around.changed():
            engine = self._look_again(engine, batch)
        if engine is None:
            if len(self._by_shape) >= SHAPES:
                self._note(
                    f"batches of more than {SHAPES} shapes: those of a new shape are run by Python, which is slow. Pad them to "
                    "a few shapes."
                )
                return eager, None
            engine = self._by_shape[batch.key] = self._engines.make(args, kwargs, batch)
            self._around = Surroundings(self.model, self.guide)
        return engine, batch

    def _look_again(self, engine: Engine, batch: Batch) -> Engine | None:
        """The engine, if the programs still have its loss although something around them has changed."""
        self._around = Surroundings(self.model, self.guide)
        if engine.still_right(batch):
            return engine
        self._changes += 1
        self._by_shape.clear()
        if self._changes > _CHANGES:
            self.engine = "eager"
            self._note(
                "the programs are run by Python at every step, which is slow: a number or a flag that they read from outside "
                "their arguments changes between steps. Pass it to `step` as a tensor."
            )
            return Eager(self._bound, self._training, *batch.arguments(batch.tensors))
        return None

    def _note(self, message: str) -> None:
        """Warn once that the programs run at every step."""
        if message not in self._noted:
            self._noted.add(message)
            warn(message, EngineWarning)

    def _batched(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Determine once how the programs themselves draw particles: in a batch or one after another."""
        if not self._is_batched:
            with valued(), self.params, self._seeded(seeds.SET_UP, 0):
                self._bound.loss = batch(self.loss, self.model, self.guide, args, kwargs)
            self._is_batched = True

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
        if self.checkpoint is not None and steps % self.checkpoint_every == 0:
            self.save(self.checkpoint)
        stopping = self.early_stopping
        return stopping is not None and steps % stopping.window == 0 and stopping.stops(self._training.losses)

    def _seeded(self, purpose: int, index: int) -> seed:
        return seed(rng_seed=seeds.derive(self._training.seed, purpose, index))


def _announce_requests(guide: Trace) -> None:
    """Warn where a guide asks for exact sums that this bound does not have."""
    asked = [
        name for name, site in guide.stochastic.items() if site.infer.get("enumerate") and can_enumerate(site.but(value=None))
    ]
    if asked:
        warn(
            f"the guide asks for exact sums over {listed(asked)}, by infer={{'enumerate': …}} or config_enumerate, and "
            "this bound draws them: its gradient has the noise of a score function. Use loss=su.infer.TraceEnum_ELBO().",
            EngineWarning,
        )


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


def _state(done: int, total: int, losses: Sequence[float]) -> State:
    """How far a run has come, and the mean of its last 100 losses."""
    recent = losses[-max(min(len(losses), 100), 1) :]
    return State(done, total, (f"{done}/{total} steps", *([f"loss {np.mean(recent):.6g}"] if recent else [])))
