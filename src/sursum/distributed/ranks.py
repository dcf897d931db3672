"""The ranks of `torch.distributed`: rank 0 leads, the others evaluate what it asks for.

The leader broadcasts a position, every rank evaluates its part there, and the sum of all goes to every rank. Only the leader
draws random numbers and decides, so that processors which round differently cannot part ways.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from sursum.cluster.transport import pack, unpack
from sursum.core.calling import as_whole
from sursum.distributed.group import SAME_DATA, RankEnded, RankGroup, is_distributed
from sursum.errors import ShardError

Array = NDArray[np.float64]
ValueAndGradient = Callable[[Array], tuple[float, Array]]
T = TypeVar("T")

STOP, EVALUATE = 0.0, 1.0

_ACTIVE: contextvars.ContextVar[Session | None] = contextvars.ContextVar("sursum_session", default=None)


class Released(BaseException):
    """Raised in a follower when the leader has its result: it leaves the method that it was called in."""


@dataclass(eq=False)
class Session(RankGroup):
    """One run of a method that rank 0 leads."""

    program: Any = field(default=None, init=False)
    begun: bool = field(default=False, init=False)
    dim: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def agree(self, here: ValueAndGradient, names: Sequence[str], title: str, data: Sequence[str]) -> ValueAndGradient:
        """The sum over all ranks, for the leader to call.

        Raises:
            ShardError: a rank has a different program, or different data.
        """
        if self.begun:
            raise ShardError(
                "a second density is compiled in one run under `torch.distributed`, which only the leader would know."
            )
        everyone = self.gather((title, tuple(names)))
        for rank, (other, theirs) in enumerate(everyone):
            if theirs != everyone[0][1]:
                self.all_have_read()
                differing = sorted(set(theirs) ^ set(everyone[0][1]))
                raise ShardError(
                    f"rank {rank} has a different program than rank 0: {other} with {len(theirs)} unknowns, and not "
                    f"{everyone[0][0]} with {len(everyone[0][1])}{f' (differing: {differing[0]!r})' if differing else ''}. Run "
                    "the same script, with the same settings, on every rank."
                )
        self.compare({"data": list(data)}, SAME_DATA)
        self.begun, self.dim = True, len(names)

        def total(q: Array) -> tuple[float, Array]:
            with self._lock:  # chains take turns
                self._broadcast(EVALUATE, q)
                return self._sum(here, q)

        return total

    def follow(self, here: ValueAndGradient) -> None:
        """Evaluate until the leader has its result.

        Raises:
            Released: it has.
        """
        while True:
            word, q = self._received
            if word == STOP:
                raise Released
            self._sum(here, q)

    def end(self, result: T) -> T:
        """Tell the followers that there is a result, and give it to them."""
        if self.begun:
            self._broadcast(STOP, np.zeros(self.dim))
            self._exchange([pack(("result", _portable(result)), "the result")])
        return result

    def fail(self, error: BaseException) -> None:
        """Tell the followers that there is none."""
        if self.begun:
            self._broadcast(STOP, np.zeros(self.dim))
            self._exchange([pack(("error", f"{type(error).__name__}: {error}"), "the error")])

    def result(self) -> Any:
        """In a follower: the leader's result.

        Raises:
            ShardError: it failed.
        """
        kind, found = unpack(self._exchange([None])[0])
        if kind == "error":
            raise ShardError(f"rank 0 failed, and with it the run: {found}")
        # A program does not travel with draws; this rank has its own.
        return dataclasses.replace(found, program=self.program) if getattr(found, "program", self) is None else found

    def _exchange(self, box: list[Any]) -> list[Any]:
        self.safely(lambda: dist.broadcast_object_list(box, src=0))
        return box

    def _broadcast(self, word: float, q: Array) -> None:
        message = torch.from_numpy(np.concatenate([[word], q]))
        self.safely(lambda: dist.broadcast(message, src=0))

    @property
    def _received(self) -> tuple[float, Array]:
        message = torch.empty(1 + self.dim, dtype=torch.float64)
        self.safely(lambda: dist.broadcast(message, src=0))
        return float(message[0]), message[1:].numpy()

    def _sum(self, here: ValueAndGradient, q: Array) -> tuple[float, Array]:
        """Value and gradient, summed over the ranks; one that fails is told apart by a NaN in a place of its own."""
        failure: Exception | None = None
        buffer = torch.zeros(len(q) + 2, dtype=torch.float64)
        try:
            value, gradient = here(q)
            buffer[0], buffer[1:-1] = value, torch.from_numpy(gradient)
        except Exception as error:
            failure = error
            buffer[-1] = 1.0
        self.safely(lambda: dist.all_reduce(buffer))
        if failure is not None:
            self.tell(failure)
        if buffer[-1] and failure is None:
            raise ShardError(f"{int(buffer[-1])} of {self.size} ranks cannot evaluate the density: {self.told()}")
        if failure is not None:
            raise failure
        total = float(buffer[0])
        if not np.isfinite(total):
            return -np.inf, np.zeros(len(q))
        return total, buffer[1:-1].numpy()


def _portable(result: Any) -> Any:
    """A result without its compiled density, which belongs to the process that made it."""
    known = [one.name for one in dataclasses.fields(result)] if dataclasses.is_dataclass(result) else []
    return dataclasses.replace(result, density=None) if "density" in known else result


def session() -> Session | None:
    """The session that is going on, or None in a single process.

    Raises:
        ShardError: there is a process group, and no method that all ranks run.
    """
    active = _ACTIVE.get()
    if active is None and is_distributed():
        raise ShardError(
            "a sharded program is compiled under `torch.distributed` outside of a method: call `run` of MCMC, Fit, Laplace or "
            "Pathfinder on every rank, or `su.compile` before the process group is initialised."
        )
    return active


def leads() -> bool:
    """Whether this process decides: it is alone, or rank 0.

    Example:
        >>> leads()
        True
    """
    return not is_distributed() or dist.get_rank() == 0


def led(run: Callable[..., T]) -> Callable[..., T]:
    """A method that rank 0 runs and the others follow, if its program is sharded; its result is the same on every rank.

    Of a method of a class that has a `model`, or a `kernel` that has one, the program is known before it is run.
    """

    @functools.wraps(run)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        if not is_distributed() or _ACTIVE.get() is not None:
            return run(*args, **kwargs)
        current = Session()
        token = _ACTIVE.set(current)
        try:
            owner = args[0] if args else None
            with as_whole(getattr(getattr(owner, "kernel", owner), "model", None)):
                found = run(*args, **kwargs)
        except Released:
            return current.result()  # type: ignore[no-any-return]
        except RankEnded:
            raise
        except BaseException as error:
            if current.rank == 0:
                current.fail(error)
            raise
        finally:
            _ACTIVE.reset(token)
        return current.end(found) if current.rank == 0 else found

    return wrapper
