"""`Bound`: the loss of one guide and one model, as every engine needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sursum.distributed.division import Division
from sursum.handlers import ParamStore
from sursum.handlers.buffers import Buffers
from sursum.training.batch import Batch
from sursum.training.packed import PackedLoss
from sursum.training.rows import Rows
from sursum.training.step import Loss
from sursum.vi.elbo import ELBO
from sursum.vi.particle import Pair, Program, needs_score, pair

BUFFER = "buffer "
"""What the name of a network's buffer begins with in the state of a run, beside the baselines."""


def buffers_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The buffers of networks in the state of a run, by their names."""
    return {name.removeprefix(BUFFER): value for name, value in state.items() if name.startswith(BUFFER)}


@dataclass
class Bound:
    """The negative bound of a model and a guide, as a function of the parameters in a store.

    Args:
        loss: the bound, as the programs compute it: particles in a batch only where they take one.
        scored: a site of the guide whose draws cannot be differentiated, once the programs have run.
        averaged: whether a site of the guide asks for a running average as its baseline.
        rows: the plates over the rows of a batch, where the batches of a loader stand for all.
        division: how the rows of a plate are divided over ranks, of which each has a part of the loss.
    """

    loss: ELBO
    model: Program
    guide: Program
    store: ParamStore
    scored: str | None = None
    averaged: bool = False
    rows: Rows | None = None
    division: Division | None = None

    @property
    def title(self) -> str:
        """What the loss is called in messages."""
        return f"loss of {getattr(self.guide, '__name__', type(self.guide).__name__)}"

    @property
    def programs(self) -> tuple[Program, Program]:
        """Model and guide, with the terms that this process has."""
        if self.division is None:
            return self.model, self.guide
        return self.division.model(self.model), self.division.guide(self.guide)

    @property
    def custom(self) -> str | None:
        """Why the bound cannot be captured; None if no reason is known."""
        own = type(self.loss).estimate is not ELBO.estimate
        return f"{type(self.loss).__name__} has a custom estimate" if own else None

    def look(self, first: Pair) -> None:
        """Note what the traces of a first run say about the bound."""
        sites = [(name, site) for name, site in first.guide.stochastic.items() if needs_score(site)]
        self.scored = sites[0][0] if sites else None
        self.averaged = any((site.infer.get("baseline") or {}).get("use_decaying_avg_baseline") for _, site in sites)

    def estimate(self, args: Sequence[Any], kwargs: Mapping[str, Any], baselines: dict[str, Tensor]) -> Tensor:
        """The loss of all particles; `baselines` are updated.

        Raises:
            VariationalError: it is not finite; names the site.
        """
        buffers = buffers_of(baselines)
        with self.here(args), Buffers(held=buffers):
            found = self.loss.estimate(*self.programs, args, kwargs, baselines)
        baselines |= {f"{BUFFER}{name}": value for name, value in buffers.items()}
        return found

    def here(self, args: Sequence[Any]) -> AbstractContextManager[Any]:
        """While it is entered, the rows of this batch stand for all."""
        return nullcontext() if self.rows is None else self.rows.here(args)

    def weigh(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, check: bool = False) -> Tensor:
        """−log w of one particle.

        Raises:
            VariationalError: with `check`, it is not finite; names the site.
        """
        with self.here(args):
            drawn = pair(*self.programs, args, kwargs, averages=self.loss.averages)
        bound = self.loss.log_weight(drawn, None)
        if check:
            drawn.check_finite(bound)
        return -bound

    def packed(self, args: Sequence[Any], kwargs: Mapping[str, Any], batch: Batch | None) -> PackedLoss:
        """−log w of one particle as a function of the trained parameters and of a batch."""

        def loss(trained: Mapping[str, Tensor], tensors: Sequence[Tensor]) -> Tensor:
            given = (args, kwargs) if batch is None else batch.arguments(tensors)
            with self._with(trained):
                return self.weigh(*given)

        return loss

    def step(self, called: tuple[Sequence[Any], Mapping[str, Any]] | None) -> Loss:
        """The loss of all particles as a function of the trained parameters, the baselines and a batch, unless it is `called`
        with fixed arguments."""

        def loss(
            trained: Mapping[str, Tensor], state: Mapping[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Tensor:
            baselines = dict(state)
            given = called or (args, kwargs)
            with self._with(trained), self.here(given[0]), Buffers(held=buffers_of(state)):
                value = self.loss.weigh(*self.programs, *given, baselines)
            for name, now in baselines.items():
                if name in state and now is not state[name]:
                    state[name].copy_(now)
            return value

        return loss

    def _with(self, trained: Mapping[str, Tensor]) -> ParamStore:
        """The store with other leaves in the place of those that are trained."""
        other = ParamStore(double=self.store.double)
        other.sites, other.unconstrained = self.store.sites, {**self.store.unconstrained, **trained}
        return other
