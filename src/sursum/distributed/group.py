"""What every run over ranks needs: a number of its own, and that a rank which ends or fails is named to the others."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sursum.common.torch_private import default_store
from sursum.distributed.processes import Process
from sursum.errors import ShardError

GRACE, GATHERING = 10.0, 1.0
"""Seconds that the ranks have to report after a failure, if nobody sees which processes are gone; and if somebody does."""

_LOOKED = 1000
"""How many elements of a tensor say whether it is that of another rank."""

SAME_SCRIPT = "Run the same script, with the same settings, on every rank."
SAME_DATA = (
    "Every rank needs the same whole data, of which it takes its part: read or draw them with the same seed. Where each rank "
    "brings its own rows, say so with `split=()`."
)


class RankEnded(ShardError):
    """A rank is not there any more, so that nothing can be agreed with it."""


def is_distributed() -> bool:
    """Whether there is a process group of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@dataclass(eq=False)
class RankGroup:
    """One run of a method by all ranks."""

    rank: int = field(default_factory=dist.get_rank)
    size: int = field(default_factory=dist.get_world_size)
    number: int = field(default=-1)
    _reads: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.number < 0:
            self.number = default_store().add(f"sursum/sessions/{self.rank}", 1)
        default_store().set(_process_key(self.rank), Process.of_this().written())

    def compare(self, facts: Mapping[str, Any], remedy: str = SAME_SCRIPT) -> None:
        """That all ranks say the same.

        Raises:
            ShardError: one does not; names it and what differs.
        """
        everyone = self.gather(dict(facts))
        for rank, theirs in enumerate(everyone):
            for what, here in everyone[0].items():
                if theirs.get(what) != here:
                    self.all_have_read()
                    raise ShardError(
                        f"rank {rank} differs from rank 0 in its {what}: {theirs.get(what)}, and not {here}. {remedy}"
                    )

    def gather(self, item: Any) -> list[Any]:
        """That of every rank, on every rank."""
        everyone: list[Any] = [None] * self.size
        self.safely(lambda: dist.all_gather_object(everyone, item))
        return everyone

    def all_have_read(self) -> None:
        """Wait, some seconds at most, until every rank has what was gathered: one that leaves closes the connection."""
        store = default_store()
        with contextlib.suppress(RuntimeError):  # the store is gone with a rank that has seen all
            count = store.add(f"sursum/read/{self.number}", 1)
            for _ in range(200):
                if count >= self.size:
                    return
                time.sleep(0.05)
                count = store.add(f"sursum/read/{self.number}", 0)

    def safely(self, collective: Callable[[], Any]) -> None:
        """Do what all ranks do together.

        Raises:
            RankEnded: a rank is not there any more; names it.
        """
        try:
            collective()
        except RuntimeError as error:
            ended = self._find_ended()
            who = f"rank {', '.join(map(str, ended))}" if ended else "a rank"
            raise RankEnded(
                f"{who} of {self.size} ended, and with it the run: {str(error).splitlines()[0]}. What a store has of it stays; "
                "start the ranks again to continue."
            ) from error

    def tell(self, error: BaseException) -> None:
        """Say why this rank failed, for the others to read."""
        with contextlib.suppress(RuntimeError):
            default_store().set(self._key("error", self.rank), f"{type(error).__name__}: {error}")

    def told(self) -> str:
        """Why a rank failed."""
        store = default_store()
        for rank in range(self.size):
            key = self._key("error", rank)
            try:
                store.wait([key], timedelta(seconds=0.5))
            except RuntimeError:
                continue
            return f"rank {rank}: {store.get(key).decode()}"
        return "no rank said why"

    def _find_ended(self) -> list[int]:
        """The ranks whose processes are gone; where none is seen to be, those that do not report within the time of grace.

        A rank that computes learns of it late, and is not one that ended.
        """
        try:
            store = default_store()
            store.set(self._key("alive", self.rank), "1")
            began, silent, gone = time.monotonic(), set(range(self.size)), set[int]()
            while silent and time.monotonic() < began + (GATHERING if gone else GRACE):
                silent = {rank for rank in silent if not store.check([self._key("alive", rank)])}
                for rank in silent - gone:
                    if self._is_gone(store, rank):
                        store.set(self._key("gone", rank), "1")
                        gone.add(rank)
                time.sleep(0.05)
        except RuntimeError:  # the store was a part of rank 0
            return [0]
        return sorted(gone & silent or silent)

    def _is_gone(self, store: dist.Store, rank: int) -> bool:
        """Whether this rank, or one on the machine of the other, sees that the process of the other is gone."""
        if store.check([self._key("gone", rank)]):
            return True
        # One that ended while its last words were being read has said them by now.
        known = store.check([_process_key(rank)])
        gone = known and Process.read(store.get(_process_key(rank))).is_gone()
        return bool(gone) and not store.check([self._key("alive", rank)])

    def _key(self, what: str, rank: int) -> str:
        return f"sursum/{self.number}/{what}/{rank}"


def _process_key(rank: int) -> str:
    return f"sursum/process/{rank}"


def shown_data(args: Sequence[Any], kwargs: Mapping[str, Any], *, numbers: bool = True) -> list[str]:
    """The arguments of a program in words that are the same for the same data: shapes and dtypes, and if `numbers` the sum over
    some of the elements, by which data drawn by each rank for itself are told apart.

    Example:
        >>> shown_data((torch.ones(2, 3), 5), {}, numbers=False)
        ['argument 1: float32 of shape (2, 3)', 'argument 2: 5']
    """
    named = [(f"argument {k + 1}", value) for k, value in enumerate(args)] + [(name, value) for name, value in kwargs.items()]
    return [f"{name}: {_show(value, numbers)}" for name, value in named]


def _show(value: Any, numbers: bool) -> str:
    if not isinstance(value, Tensor):
        return repr(value) if isinstance(value, (int, float, str, bool, type(None))) else type(value).__name__
    said = f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    if not numbers or not value.numel() or not value.is_floating_point():
        return said
    some = value.detach().reshape(-1) if value.is_contiguous() else value.detach().flatten()
    total = float(torch.nan_to_num(some[:: max(len(some) // _LOOKED, 1)].double()).sum())
    return f"{said} with elements that add up to {total:.9g}"
