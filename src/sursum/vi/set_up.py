"""What is done once before the first step: a run of both programs, the optimiser, how particles are drawn."""

from __future__ import annotations

from typing import Any

from sursum.common.user_frame import warn
from sursum.core.calling import as_whole, valued
from sursum.core.messages import Param
from sursum.core.trace import Trace
from sursum.density.bypassed_module import watch_originals
from sursum.density.unobserved import announce_empty, announce_unobserved, find_unobserved
from sursum.errors import EngineWarning
from sursum.handlers import seed
from sursum.handlers.buffers import Buffers
from sursum.handlers.enumerate.enumerated import can_enumerate, listed
from sursum.training import seeds
from sursum.training.training import Training
from sursum.training.work import Work
from sursum.vi.bound import BUFFER, Bound, buffers_of
from sursum.vi.elbo import ELBO, batch
from sursum.vi.engine import Engines
from sursum.vi.particle import Pair, pair, prove_sums
from sursum.vi.ranks import join, meet


class SetUp:
    """The first runs of an SVI.

    Args:
        loss: the bound, as it was given.
        bound: the loss of the programs, which learns here what they are like.
        training: the store, which gets their parameters.
        engines: what makes the engines, which learns how large the programs are.
    """

    def __init__(self, loss: ELBO, bound: Bound, training: Training, engines: Engines) -> None:
        self.loss, self.bound, self.training, self.engines = loss, bound, training, engines
        self.called: tuple[tuple[Any, ...], dict[str, Any]] | None = None  # the arguments of the last run
        self._knows_particles = False

    def prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, trains: bool = True) -> None:
        """Run both programs once, so that the store has their parameters, and make the optimiser if there are any, or if it
        `trains`."""
        self.called = (args, kwargs)
        if self.training.optimizer is None:
            group = meet(self.bound, self.training, args, kwargs) if self.training.gradients is None else None
            with Work() as work:
                first = self.first(args, kwargs)
            if has_networks(first):
                del first  # autograd's memory of it
                # Now that the store has the networks' parameters, nothing needs to read the networks' own.
                with watch_originals() as originals:
                    first = self.first(args, kwargs)
                for found in (first.guide, first.model):
                    originals.check(found, trained=True)
            if first.plain is not None:
                self.prove(args, kwargs)
            if not self.loss.averages:
                announce_requests(first.guide)
            announce_unobserved(find_unobserved(first.model))
            announce_empty({name: site.value for name, site in first.model.observed.items()})
            self.bound.look(first)
            if trains or self.training.leaves:
                if self.training.leaves:
                    self.engines.choose(work)
                self.training.ready()
            if group is not None:
                join(self.bound, self.training, group, first, args, kwargs)

    def first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pair:
        """Both programs, run together once."""
        state = self.training.baselines
        loaded = {name: value.clone() for name, value in self.training.store.buffers.items()}
        passive = Buffers(held={**loaded, **buffers_of(state)}, live=False)
        hidden = as_whole(self.bound.model)
        with valued(), self.training.store, self.seeded(seeds.SET_UP, 0), hidden, passive as kept:
            found = pair(self.bound.model, self.bound.guide, args, kwargs, averages=self.loss.averages)
        state |= {f"{BUFFER}{name}": value for name, value in kept.held.items()}
        return found

    def prove(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check that sums over discrete sites are those of the programs."""
        passive = Buffers(held={**self.training.store.buffers, **buffers_of(self.training.baselines)}, live=False)
        with valued(), self.training.store, passive:
            prove_sums(self.bound.model, self.bound.guide, args, kwargs, averages=self.loss.averages)

    def choose_particles(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Determine once how the programs themselves draw particles: in a batch or one after another."""
        if not self._knows_particles:
            held = Buffers(held=buffers_of(self.training.baselines), live=False)
            with valued(), self.training.store, self.seeded(seeds.SET_UP, 0), held:
                self.bound.loss = batch(self.loss, self.bound.model, self.bound.guide, args, kwargs)
            self._knows_particles = True

    def seeded(self, purpose: int, index: int) -> seed:
        """The randomness of one purpose."""
        return seed(rng_seed=seeds.derive(self.training.seed, purpose, index))


def has_networks(programs: Pair) -> bool:
    """Whether a parameter of theirs is a network's."""
    sites = [*programs.guide.values(), *programs.model.values()]
    params = [site if isinstance(site, Param) else getattr(site, "param", None) for site in sites]
    return any(param is not None and param.owner is not None for param in params)


def announce_requests(guide: Trace) -> None:
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
