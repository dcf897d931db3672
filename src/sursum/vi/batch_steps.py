"""Steps on batches: the engine of each shape of batch, and the loader from which they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sursum.common.user_frame import warn
from sursum.core.arguments import with_data
from sursum.core.calling import valued
from sursum.core.messages import Site
from sursum.errors import CaptureError, EngineWarning
from sursum.handlers.buffers import Buffers
from sursum.training import seeds
from sursum.training.batch import Batch
from sursum.training.loader import Batches, count_rows
from sursum.training.rows import check_global, find_rows
from sursum.training.step import SHAPES
from sursum.training.surroundings import Surroundings
from sursum.vi.autoguide.guide import AutoGuide
from sursum.vi.bound import buffers_of
from sursum.vi.engine import Eager, Engine, Engines
from sursum.vi.particle import pair
from sursum.vi.set_up import SetUp

_CHANGES = 3
_TOGETHER = 64


class BatchSteps:
    """Takes steps of an SVI on batches.

    Args:
        set_up: the first runs.
        engines: what makes an engine.
        asked: the name of the engine that was asked for, or None.
    """

    def __init__(self, set_up: SetUp, engines: Engines, asked: str | None) -> None:
        self.set_up, self.engines, self.asked = set_up, engines, asked
        self.bound, self.training = set_up.bound, set_up.training
        self.by_shape: dict[Any, Engine] = {}
        self._by_python = asked == "eager"
        self._noted: set[str] = set()
        self._around: Surroundings | None = None
        self._changes = 0
        self._batches: tuple[Any, Batches] | None = None
        self._loader: Any = None  # whose batches stand for all rows

    def __getstate__(self) -> dict[str, Any]:
        """All but what was captured, and the batches of a loader."""
        return {**self.__dict__, "by_shape": {}, "_around": None, "_batches": None, "_loader": None}

    def forget(self) -> None:
        """Capture again: the parameters are those of a file."""
        self.by_shape.clear()

    def step(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Take one step on a batch that stands for itself, and return the name of the engine."""
        if self._loader is not None:
            self._loader, self.bound.rows = None, None
            self.by_shape.clear()
        engine, batch = self.find(args, kwargs)
        engine.advance(1, [] if batch is None else [batch])
        return engine.name

    def from_loader(self, loader: Any, more: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[int], str]:
        """A function that takes steps on the next batches of a loader, and returns the name of the engine."""
        training = self.training
        if self._batches is None or self._batches[0] is not loader:
            self._batches = loader, Batches(loader, training.seed, training.taken)
        batches = self._batches[1]
        args, named = with_data(self.bound.model, (*batches.peek(), *more), kwargs)
        if self._loader is not loader:
            self._meet(loader, args, named)
        was = training.seed, training.taken
        self.set_up.prepare(args, named)
        if (training.seed, training.taken) != was and batches.repeats:  # those of a file that was loaded
            batches = batches.from_the_start(training.seed, training.taken)
            self._batches = loader, batches

        def advance(steps: int) -> str:
            engine: Engine | None = None
            group: list[Batch] = []
            for _ in range(steps):
                args, named = with_data(self.bound.model, (*batches.take(), *more), kwargs)
                training.taken += 1
                found, batch = self.find(args, named)
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
            return self._run_once(batch, kwargs)

        self.bound.rows = find_rows(sites, args, count_rows(loader))
        self._loader = loader
        self.by_shape.clear()
        if isinstance(self.bound.guide, AutoGuide):
            check_global(sites(args), self.bound.rows, type(self.bound.guide).__name__)

    def _run_once(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Site]:
        """The sites of one execution, which leaves nothing behind but parameters that are new in the store."""
        passive = Buffers(held=buffers_of(self.training.baselines), live=False)
        with valued(), self.training.store, self.set_up.seeded(seeds.SET_UP, 0), passive:
            first = pair(self.bound.model, self.bound.guide, args, kwargs)
        return [*first.model.values(), *first.guide.values()]

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Engine, Batch | None]:
        """The engine for batches of this shape."""
        self.set_up.choose_particles(args, kwargs)
        training, eager = self.training, Eager(self.bound, self.training, args, kwargs)
        if self._by_python or self.bound.custom or (self.bound.averaged and not training.baselines):
            return eager, None
        try:
            batch = Batch.of(args, kwargs)
        except CaptureError as error:
            if self.asked is not None:
                raise
            self._note(f"the programs are run by Python at every step, which is slow: {error}")
            return eager, None
        engine = self.by_shape.get(batch.key)
        if engine is not None and self._around is not None and self._around.changed():
            engine = self._look_again(engine, batch)
        if engine is None:
            if len(self.by_shape) >= SHAPES:
                self._note(
                    f"batches of more than {SHAPES} shapes: those of a new shape are run by Python, which is slow. Pad them to "
                    "a few shapes."
                )
                return eager, None
            engine = self.by_shape[batch.key] = self.engines.make(args, kwargs, batch)
            self._around = Surroundings(self.bound.model, self.bound.guide)
        return engine, batch

    def _look_again(self, engine: Engine, batch: Batch) -> Engine | None:
        """The engine, if the programs still have its loss and parameters although something around them has changed."""
        self._around = Surroundings(self.bound.model, self.bound.guide)
        known = set(self.training.leaves)
        self._run_once(*batch.arguments(batch.tensors))
        if known == set(self.training.leaves) and engine.still_right(batch):
            return engine
        self._changes += 1
        self.by_shape.clear()
        if self._changes > _CHANGES:
            self._by_python = True
            self._note(
                "the programs are run by Python at every step, which is slow: a number or a flag that they read from outside "
                "their arguments changes between steps. Pass it to `step` as a tensor."
            )
            return Eager(self.bound, self.training, *batch.arguments(batch.tensors))
        return None

    def _note(self, message: str) -> None:
        """Warn once that the programs run at every step."""
        if message not in self._noted:
            self._noted.add(message)
            warn(message, EngineWarning)
