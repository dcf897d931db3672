"""`markov`: a loop of Python each of whose steps depends on the few before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from sursum.common.other_libraries import answers
from sursum.common.settings import whole_number
from sursum.common.user_frame import calling_line
from sursum.core.messages import Moment
from sursum.core.scope import InFrame
from sursum.errors import OptionError


@dataclass(eq=False)
class _MarkovLoop:
    """One loop: its name, and how many of its steps have begun."""

    name: str
    begun: int = 0


def _moment(loop: _MarkovLoop, index: int, history: int) -> InFrame:
    return InFrame(opened=Moment(loop.name, None, 1, index=index, history=history, loop=loop))


@answers(keep="sites that are used after the loop are kept by themselves", dim="dimensions are chosen by themselves")
@dataclass(eq=False)
class markov:
    """A loop whose steps depend on the `history` steps before them: ``for t in markov(range(100)): …``.

    Where discrete sites are summed out, those of one step take dimensions that those of steps further back had, so that a loop
    may have any number of steps; and what depends on more steps is an error. Elsewhere it changes nothing. ``su.scan`` is
    compiled to a loop, and its code does not grow with its length.

    As a context manager each `with` is one step more: ``step = markov(history=1)``, then ``with step: …``.

    Args:
        steps: what to iterate over; None for a context manager.
        history: how many steps back a step may depend on.

    Raises:
        OptionError: `steps` cannot be iterated over, `history` is not a whole number of at least 0.

    Example:
        >>> import sursum as su, sursum.distributions as dist, torch
        >>> def model(y):
        ...     stays, z = su.sample("stays", dist.Beta(2.0, 2.0)), torch.tensor(0.0)
        ...     for t in su.markov(range(len(y))):
        ...         z = su.sample(f"z{t}", dist.Bernoulli(z * stays + (1 - z) * (1 - stays)))
        ...         su.sample(f"y{t}", dist.Normal(z, 1.0), obs=y[t])
        >>> su.compile(model, torch.randn(4)).dim
        1
    """

    steps: Iterable[Any] | None = None
    history: int = 1

    _loop: _MarkovLoop = field(init=False, repr=False)
    _open: list[InFrame] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        if self.steps is not None and not hasattr(self.steps, "__iter__"):
            raise OptionError(
                f"markov got {self.steps!r}, but takes what a loop iterates over: `for t in su.markov(range(10)): …`; as a "
                "context "
                "manager, `with` each step, it takes its `history` only."
            )
        self.history = whole_number("history", self.history, 0, OptionError, "it is how many steps back a step depends on")
        self._loop = _MarkovLoop(f"markov ({calling_line()})")

    def __iter__(self) -> Iterator[Any]:
        if self.steps is None:
            raise OptionError("this markov has no steps to iterate over: `for t in su.markov(range(10)): …`.")
        loop = _MarkovLoop(self._loop.name)
        for index, item in enumerate(self.steps):
            with _moment(loop, index, self.history):
                yield item

    def __enter__(self) -> Self:
        moment = _moment(self._loop, self._loop.begun, self.history)
        self._loop.begun += 1
        moment.__enter__()
        self._open.append(moment)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.pop().__exit__(*error)
