"""Check a program that Python runs for every gradient: it must neither draw at random nor modify its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sursum.common.torch_private import TorchDispatchMode
from sursum.common.user_frame import Lines
from sursum.compiler.capture import refusals
from sursum.compiler.capture.operators import Operator, results_of
from sursum.compiler.capture.where import site_at_work
from sursum.compiler.graph.assumption import same_bits
from sursum.compiler.graph.graph import Where
from sursum.errors import CaptureError, EscapeError


def check_pure(run: Callable[[Tensor], Sequence[Tensor]], points: Sequence[Tensor]) -> None:
    """Check that `run` is a function of q alone, as far as two runs at each of the points show.

    Raises:
        CaptureError: it draws at random, or writes to a tensor from outside.
        EscapeError: it has two different results at one point.
    """
    for q in points:
        with _Watch() as watch:
            first = run(q)
        if watch.failure is not None:  # the program may have swallowed it
            raise watch.failure
        if not all(map(same_bits, first, run(q))):
            raise EscapeError(
                "the density was run twice at one point and gave two results: something outside torch changes between "
                "runs (a random generator, a counter). A density is a function of the unknowns alone: keep the rest fixed."
            )


class _Watch(TorchDispatchMode):
    """Raises for operators that draw, and those that write to memory that was not created while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: CaptureError | None = None
        self._lines = Lines()
        self._operators: dict[Any, Operator] = {}
        self._made: dict[int, torch.UntypedStorage] = {}
        self._outside: set[int] = set()
        self._alive: list[torch.UntypedStorage] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        facts = self._operators.get(func)
        if facts is None:
            facts = self._operators[func] = Operator.of(func)
        try:
            self._refuse(facts, args, given)
        except CaptureError as error:
            self.failure = self.failure or error
            raise
        if not facts.lifts:
            self._meet([*args, *given.values()])
        out = func(*args, **given)
        for memory in map(_memory, results_of(out)):
            if memory is not None and memory._cdata not in self._outside:
                self._made[memory._cdata] = memory
        return out

    def _meet(self, items: Sequence[Any]) -> None:
        """Record what comes from outside: an operator may return a view of it."""
        for memory in map(_memory, results_of(items)):
            if memory is not None and memory._cdata not in self._made:
                self._outside.add(memory._cdata)
                self._alive.append(memory)

    def _refuse(self, facts: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        if facts.random and facts.draws(args, kwargs):
            raise refusals.randomness(facts.name, self._where())
        if facts.batch_norm and facts.updates_statistics(args, kwargs):
            raise refusals.batch_norm(facts.name, self._where())
        for name in facts.written:
            for memory in map(_memory, results_of(facts.argument(name, args, kwargs))):
                if memory is not None and memory._cdata not in self._made:
                    raise refusals.outside_write(facts.name, self._where())

    def _where(self) -> Where:
        site = site_at_work()
        return site if site.line is not None else Where(site.site, self._lines.current())


def _memory(item: Any) -> torch.UntypedStorage | None:
    """The storage of a tensor; None if it has none."""
    if not isinstance(item, Tensor) or item.layout is not torch.strided:
        return None
    try:
        return item.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None
