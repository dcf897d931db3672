"""What a place for independent work offers: `Workers`, and the account of an item whose worker was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

ATTEMPTS = 3
"""How often an item is given to a worker before it is lost: a worker may die for reasons of its machine's, or of the item's."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Lost:
    """An item that has no result, because each worker that had it died; `reason` says how."""

    reason: str


@runtime_checkable
class Workers(Protocol):
    """A place where a function is applied to items, independently of each other."""

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result | Lost]]:
        """The number of each item and its result, in the order in which they are finished.

        A worker that dies is replaced, and its item is done again, up to `ATTEMPTS` times. Ending the iteration early, as
        Ctrl-C does, cancels what is still to be done.

        Raises:
            TransportError: the task or an item cannot be sent to a worker.
            Exception: what the task raises for an item; the others are cancelled.
        """

    def sent(self, task: Callable[[Item], Result]) -> Callable[[Item], Result | Lost]:
        """The task as a function whose calls are done by workers, one each; any thread may call it.

        The task is sent once to where it can be kept. A call waits for its result, and a worker that dies is replaced, as in
        `map`.
        """


@dataclass(frozen=True)
class Here:
    """In this process, one item after another: nothing is sent anywhere."""

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Any]]:
        for number, item in enumerate(items):
            yield number, task(item)

    def sent(self, task: Callable[[Item], Result]) -> Callable[[Item], Any]:
        return task
