"""`SWAG`: a Gaussian from the iterates of stochastic gradient descent."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sursum.common.reprs import call_text
from sursum.common.settings import optional_seed, settle, whole_number
from sursum.compiler.engine import DENSITY_ENGINES, check_engine
from sursum.core.calling import check_program, refuse_shadowed
from sursum.distributed.division import seed_of_all
from sursum.distributed.gradients import together
from sursum.distributed.group import RankEnded
from sursum.distributions.randomness import global_seed
from sursum.errors import OptimisationError
from sursum.io.files import interpreting
from sursum.networks.target import Target
from sursum.optim import as_optim
from sursum.posterior.assemble import assemble, draws_of, stack_buffers
from sursum.posterior.init import Init
from sursum.posterior.posterior import Posterior
from sursum.training.checkpoint import (
    State,
    check_checkpoint,
    check_same_data,
    check_same_settings,
    engine_of,
    read_state,
    write_state,
)
from sursum.training.seeds import DRAW, STEP, derive
from sursum.training.training import Training

KIND = "sursum SWAG"


@dataclass(frozen=True, repr=False)
class SWAG:
    r"""Stochastic weight averaging, Gaussian: the normal distribution with the moments of an optimiser's iterates.

    From iterates :math:`\theta_1, \dots, \theta_T`, one of every `every` steps, with mean :math:`\bar\theta`, and the last K
    deviations from the running mean, the columns of D, a draw is

    .. math:: \bar\theta + \tfrac{1}{\sqrt 2} \Sigma_{diag}^{1/2} z_1 + \tfrac{1}{\sqrt{2 (K - 1)}} D z_2,
        \qquad z \sim N(0, I).

    It starts from a trained network, with a learning rate that keeps the iterates moving; what they spread over is as wide as
    that learning rate and the noise of the batches make it. All parameters and latent sites of the program take part, those
    that are lifted with their prior. The running averages of batch norm are made again for every draw, by a pass over the data.

    Args:
        model: the program.
        optim: the optimiser, such as ``su.optim.SGD({"lr": 1e-4, "momentum": 0.9})``, of the log density of all data.
        num_steps: the steps after the first `num_warmup`.
        num_warmup: steps whose iterates are not used.
        every: one iterate in this many steps is used.
        rank: K.
        num_samples: independent draws, as one chain.
        seed: an integer of at least 0; None takes one from torch's global generator, which is otherwise left alone.
        init: where to start, as for `Fit`.
        engine: what computes the gradients. "native": C; "torch": the captured operators; "eager": the program itself. None
            chooses by a fixed rule, and the posterior says which it was: C where the program is small, its data are no loader
            and there are at least a thousand steps, otherwise the captured operators where it can be captured.
        checkpoint: a file that `run` writes every `checkpoint_every` steps, and after the last; `resume` goes on from it.
        checkpoint_every: steps between checkpoints.

    Raises:
        OptimisationError: an invalid setting.

    References:
        Maddox et al. (2019), A simple baseline for Bayesian uncertainty in deep learning, NeurIPS.

    Example:
        >>> import torch, sursum as su, sursum.distributions as dist
        >>> net = torch.nn.Linear(1, 1)
        >>> def model(x, y):
        ...     f = su.module("net", net)(x).squeeze(-1)
        ...     with su.plate("data", len(x), subsample_size=5) as rows:
        ...         su.sample("y", dist.Normal(f[rows], 0.5), obs=y[rows])
        >>> x = torch.linspace(-1.0, 1.0, 20)[:, None]
        >>> swag = su.infer.SWAG(model, su.optim.SGD({"lr": 1e-3}), num_steps=200, num_warmup=200, num_samples=50, seed=0)
        >>> posterior = swag.run(x, 2.0 * x.squeeze(-1))
        >>> posterior["net.weight"].shape, abs(float(posterior["net.weight"].mean()) - 2.0) < 0.1
        (torch.Size([1, 50, 1, 1]), True)
    """

    model: Callable[..., Any]
    optim: Any
    num_steps: int = field(default=1000, kw_only=True)
    num_warmup: int = field(default=0, kw_only=True)
    every: int = field(default=10, kw_only=True)
    rank: int = field(default=20, kw_only=True)
    num_samples: int = field(default=1000, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    init: Init = field(default=None, kw_only=True)
    engine: str | None = field(default=None, kw_only=True)
    checkpoint: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    checkpoint_every: int = field(default=1000, kw_only=True)

    def __repr__(self) -> str:
        return call_text(self)

    def __post_init__(self) -> None:
        check_program("model", self.model, OptimisationError)
        limits = {"num_steps": (1, 1000), "num_warmup": (0, 1000), "every": (1, 10), "rank": (2, 20), "num_samples": (1, 1000)}
        whole = {
            name: whole_number(name, getattr(self, name), least, OptimisationError, f"{usual} is usual")
            for name, (least, usual) in limits.items()
        }
        settle(self, {**whole, "seed": optional_seed(self.seed, OptimisationError)})
        settle(self, {"optim": as_optim(self.optim, OptimisationError)})
        settle(self, {"checkpoint_every": check_checkpoint(self.checkpoint, self.checkpoint_every, OptimisationError)})
        check_engine(self.engine, OptimisationError, DENSITY_ENGINES)
        if self.num_steps // self.every < 2:
            raise OptimisationError(
                f"{self.num_steps} steps give {self.num_steps // self.every} iterates, one of every {self.every}, but at least "
                "2 are needed: raise `num_steps`, or lower `every`."
            )

    def run(self, *args: Any, **kwargs: Any) -> Posterior:
        """Train on, and draw. The first argument may be a data loader, whose batches are the program's arguments.

        Raises:
            SamplingError: the iterates left the numbers: the learning rate is too large.
        """
        return self._run(args, kwargs, None)

    def resume(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Posterior:
        """Go on with a run that has written `checkpoint`: the draws are bit for bit those of a run that was not cut short.

        Args:
            path: the file.
            args, kwargs: arguments of the program, the same as before.

        Raises:
            StorageError: the file is truncated, damaged, or of a different kind.
            OptimisationError: the run had another `every`, `rank`, `num_warmup` or `engine`, or other data, or it has taken
                more steps than this one is to have. Of a loader the data are compared that a `TensorDataset` or a list holds,
                and of others how many rows there are, and of what shape.
            VariationalError: it had other parameters, or another optimiser or options of it.
        """
        refuse_shadowed(self.model, "resume", ["path"])
        return self._run(args, kwargs, read_state(path, KIND))

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must share with the one that was cut short."""
        return {name: getattr(self, name) for name in ("every", "rank", "num_warmup")}

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], state: State | None) -> Posterior:
        engine = self.engine
        if state is None:
            own = global_seed() if self.seed is None else self.seed
        else:
            with interpreting(state.source, f"a {KIND} file"):
                check_same_settings(state, self._settings(), OptimisationError)
                own, engine = int(state.note["training"]["seed"]), engine_of(state, engine, OptimisationError)
        rng_seed = seed_of_all(self.model, own)
        target = Target(
            self.model,
            args,
            kwargs,
            init=self.init,
            rng_seed=rng_seed,
            title="SWAG",
            engine=engine,
            num_steps=self.num_warmup + self.num_steps,
            parameters=True,
            divides=True,
        )
        with together(lambda: target.gradients):
            moments, buffers = self._iterates(target, rng_seed, state)
        generator = torch.Generator().manual_seed(derive(rng_seed, DRAW, 0))
        draws = moments.draw(self.num_samples, generator)
        sites = {name: value[None] for name, value in target.coordinates.sites(draws).items()}
        found = draws_of(sites, {}, np.asarray(draws.double().cpu())[None])
        if not buffers:
            return assemble(target.subject(), found)
        rows = [
            target.buffers_at(target.coordinates.views(q), buffers, derive(rng_seed, DRAW, k + 1)) for k, q in enumerate(draws)
        ]
        return assemble(target.subject(), found, buffers=stack_buffers([rows]))

    def _iterates(self, target: Target, rng_seed: int, state: State | None) -> tuple[Moments, dict[str, Tensor]]:
        training, moments = Training(self.optim, rng_seed), Moments(self.rank)
        training.store.unconstrained.update({name: leaf.clone().requires_grad_() for name, leaf in target.leaves.items()})
        training.baselines = target.buffers()
        training.ready()
        total = self.num_warmup + self.num_steps
        if state is not None:
            with interpreting(state.source, f"a {KIND} file"):
                check_same_data(state, target.data, OptimisationError)
                training.restore(State(state.note["training"], state.within("training/")))
                moments.restore(state, target.coordinates.vector().device)
            if (taken := training.steps) > total:
                raise OptimisationError(
                    f"{os.fspath(state.source)!r} was written by a run that has taken {taken} steps, more than the "
                    f"{total} that are to be taken here. Resume it with `num_steps` of at least {taken - self.num_warmup}."
                )
        take = target.batches(rng_seed, training.steps)

        def save() -> None:
            if self.checkpoint is not None and target.writes:
                settings = {**self._settings(), "engine": target.engine}
                self._save(self.checkpoint, {"settings": settings, "data": target.data}, training, moments)

        try:
            while training.steps < total:
                held = {name: leaf.detach() for name, leaf in training.leaves.items()}
                found = target.graded(held, take(), derive(rng_seed, STEP, training.steps), training.baselines)
                training.descend(float(found.loss), found.gradients)
                after = training.steps - self.num_warmup
                if after > 0 and after % self.every == 0:
                    q = target.coordinates.vector({name: leaf.detach() for name, leaf in training.leaves.items()})
                    target.check_finite(q)
                    moments.add(q)
                if training.steps % self.checkpoint_every == 0:
                    save()
        except RankEnded:
            save()
            raise
        save()
        return moments, training.baselines

    def _save(self, path: str | os.PathLike[str], note: Mapping[str, Any], training: Training, moments: Moments) -> None:
        inner = training.state()
        note = {**note, "training": inner.note, "count": moments.count}
        tensors = {f"training/{name}": tensor for name, tensor in inner.tensors.items()}
        tensors |= {"mean": moments.mean, "square": moments.square}
        tensors |= {f"deviation/{k}": deviation for k, deviation in enumerate(moments.deviations)}
        write_state(path, KIND, State(note, tensors), OptimisationError)


@dataclass(eq=False)
class Moments:
    """Running moments of vectors, and the last deviations from the running mean."""

    rank: int
    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(0))
    square: Tensor = field(default_factory=lambda: torch.zeros(0))
    deviations: list[Tensor] = field(default_factory=list)

    def add(self, q: Tensor) -> None:
        """Take a vector into account."""
        q = q.double()
        if not self.count:
            self.mean, self.square = torch.zeros_like(q), torch.zeros_like(q)
        self.count += 1
        away = q - self.mean
        self.mean += away / self.count
        self.square += away * (q - self.mean)
        self.deviations = [*self.deviations, q - self.mean][-self.rank :]

    def restore(self, state: State, device: torch.device) -> None:
        """Take what was saved, to where the iterates are."""
        self.count = int(state.note["count"])
        self.mean, self.square = (state.tensors[name].to(device) for name in ("mean", "square"))
        saved = state.within("deviation/")
        self.deviations = [saved[str(k)].to(device) for k in range(len(saved))]

    def draw(self, number: int, generator: torch.Generator) -> Tensor:
        """Draws, (number, n)."""
        noise = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64).to(self.mean.device)
        sd = (self.square / self.count).clamp(min=0.0).sqrt()
        columns = torch.stack(self.deviations)
        low = noise(number, len(columns)) @ columns / math.sqrt(2.0 * max(len(columns) - 1, 1))
        return self.mean + math.sqrt(0.5) * sd * noise(number, len(sd)) + low
