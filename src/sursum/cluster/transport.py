"""Programs as bytes, which travel to workers: lambdas, closures, and what a notebook defines."""

from __future__ import annotations

import functools
import hashlib
import pickle
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sursum.common.optional_packages import require
from sursum.errors import TransportError

DEPTH = 8
"""How far to look for the object that cannot be sent."""

REMEMBERED = 2
"""How many tasks a worker keeps, with what they have compiled."""


def pack(value: Any, what: str, to: str = "to a worker") -> bytes:
    """`value` as bytes.

    Args:
        what, to: what it is, and where it is sent, for the error.

    Raises:
        TransportError: it holds something that belongs to this process, such as a lock or an open file; the error names it.

    Example:
        >>> limit = 3
        >>> unpack(pack(lambda x: x + limit, "the task"))(1)
        4
    """
    cloudpickle = require("cloudpickle", "Sending a program to a worker")
    try:
        packed: bytes = cloudpickle.dumps(value)
    except Exception as error:
        where = _culprit(value, cloudpickle.dumps)
        raise TransportError(
            f"{what} cannot be sent {to}: {where or 'a part of it'} belongs to this process ({error}). "
            "Make it inside the program, or give it as data that can be copied."
        ) from error
    return packed


def unpack(packed: bytes) -> Any:
    """The value of `pack`."""
    return pickle.loads(packed)


@dataclass(frozen=True)
class Parcel:
    """A task as bytes. A worker that has done an item of it knows it by its key, and needs the bytes no more."""

    key: bytes
    packed: bytes

    @classmethod
    def of(cls, task: Any) -> Parcel:
        """The task, packed.

        Raises:
            TransportError: it cannot be sent.
        """
        packed = pack(task, "the task")
        return cls(hashlib.blake2b(packed, digest_size=16).digest(), packed)


def perform(key: bytes, packed: Callable[[], bytes], item: bytes) -> bytes:
    """In a worker: what the task of this key gives for an item, as bytes, so that the pool need not know what it is made of.

    Args:
        packed: called for the bytes of the task, unless it is remembered, with what it has compiled.

    Raises:
        TransportError: the result, or what the task raised, cannot be sent back.
        Exception: what the task raises.
    """
    task = _remembered(key, packed)
    value = unpack(item)
    try:
        result = task(value)
    except Exception as error:
        other = _other_words(error)
        if other is None:
            raise
        raise other from None
    return pack(result, "the result", "back")


def _remembered(key: bytes, packed: Callable[[], bytes]) -> Any:
    tasks = _tasks()
    task = tasks.pop(key, None)
    if task is None:
        task = unpack(packed())
    while len(tasks) >= REMEMBERED:
        tasks.pop(next(iter(tasks)), None)
    tasks[key] = task  # the last is the one that was used last
    return task


@functools.cache
def _tasks() -> dict[bytes, Any]:
    """The tasks of this process, which is a worker."""
    return {}


def _other_words(error: Exception) -> TransportError | None:
    """For an error that cannot be sent and put together again: one that says the same."""
    try:
        unpack(pack(error, "the error", "back"))
    except Exception:
        return TransportError(f"the task raised {type(error).__name__}, which cannot be sent back: {error}")
    return None


def _culprit(value: Any, dump: Callable[[Any], bytes], path: str = "", depth: int = 0) -> str | None:
    """The path to the smallest part of `value` that cannot be dumped, and what that is."""
    for name, part in _parts(value) if depth < DEPTH else ():
        try:
            dump(part)
        except Exception:
            return _culprit(part, dump, f"{path}.{name}" if path else name, depth + 1)
    return f"`{path}`, which is {_article(type(value).__name__)}," if path else None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of an object, by name, as its pickle holds them."""
    if isinstance(value, types.FunctionType):
        names = value.__code__.co_freevars
        for name, cell in zip(names, value.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # it has no value yet
                continue
        for name in value.__code__.co_names:
            if name in value.__globals__ and not isinstance(value.__globals__[name], types.ModuleType):
                yield name, value.__globals__[name]
    elif isinstance(value, functools.partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif isinstance(value, types.MethodType):
        yield from (("__func__", value.__func__), ("__self__", value.__self__))
    elif isinstance(value, dict):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{i}]", part) for i, part in enumerate(value))
    elif not isinstance(value, type):
        yield from list(getattr(value, "__dict__", {}).items())


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
