"""Losses and gradients summed over the ranks, in buckets that are sent while the rest is still being computed.

All ranks take the same steps: draws come from the same seed, and the sums are the same numbers on every rank. A rank that fails
takes part in the step with a mark, by which the others know.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sursum.core.calling import OfThisProcess
from sursum.distributed.group import RankEnded, RankGroup
from sursum.errors import ShardError

BUCKET = 25 * 2**20
"""Bytes of gradients that are sent together, as torch's DistributedDataParallel does."""

AGREEMENT = {torch.float64: 1e-9}
"""The relative difference from the whole loss at which the sum of the parts is believed, by dtype; 1e-4 for narrower ones."""


class Gradients(OfThisProcess):
    """Sums gradients of the same tensors over all ranks, step by step.

    Args:
        leaves: the tensors, by name.
    """

    def __init__(self, leaves: Mapping[str, Tensor]) -> None:
        self.group = RankGroup()
        self.leaves = {name: leaf.detach() for name, leaf in leaves.items()}
        self.buckets = buckets(self.leaves)
        self._home = {name: number for number, names in enumerate(self.buckets) for name in names}
        self._found: dict[str, Tensor] = {}
        self._sent: list[tuple[Tensor, Any]] = []

    def ready(self, name: str, gradient: Tensor | None) -> None:
        """A gradient is known: its bucket is sent once all of it is, and those before it have been."""
        leaf = self.leaves[name]
        self._found[name] = torch.zeros_like(leaf) if gradient is None else gradient.detach().to(leaf.dtype)
        while len(self._sent) < len(self.buckets) and all(name in self._found for name in self.buckets[len(self._sent)]):
            self._send([self._found[name] for name in self.buckets[len(self._sent)]])

    def total(self, loss: float, gradients: Mapping[str, Tensor | None]) -> tuple[float, dict[str, Tensor]]:
        """The sums over all ranks; of the gradients those that are not `ready` yet are sent.

        Raises:
            ShardError: another rank has failed; says which, and why.
            RankEnded: a rank is not there any more.
        """
        for name in self.leaves:
            if name not in self._found:
                self.ready(name, gradients.get(name))
        found, failed = self._end(loss, 0.0)
        if failed:
            raise ShardError(f"{failed} of {self.group.size} ranks failed, and with them the run: {self.group.told()}")
        return found

    def leading(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values that rank 0 has."""
        mine = self.group.rank == 0
        _, found = self.total(0.0, {name: value if mine else None for name, value in values.items()})
        return found

    def _send(self, parts: Sequence[Tensor]) -> None:
        flat = torch.cat([part.reshape(-1) for part in parts])
        self._sent.append((flat, self._reduce(flat)))

    def _reduce(self, flat: Tensor) -> Any:
        work: list[Any] = []
        self.group.safely(lambda: work.append(dist.all_reduce(flat, async_op=True)))
        return work[0]

    def _end(self, loss: float, failed: float) -> tuple[tuple[float, dict[str, Tensor]], int]:
        head = torch.tensor([loss, failed], dtype=torch.float64)
        works = [*(work for _, work in self._sent), self._reduce(head)]
        for work in works:
            self.group.safely(work.wait)
        found: dict[str, Tensor] = {}
        for names, (flat, _) in zip(self.buckets, self._sent, strict=True):
            parts = flat.split([self.leaves[name].numel() for name in names])
            found |= {name: part.reshape(self.leaves[name].shape) for name, part in zip(names, parts, strict=True)}
        self._found, self._sent = {}, []
        return (float(head[0]), {name: found[name] for name in self.leaves}), int(head[1])

    def fail(self, error: BaseException) -> None:
        """Tell the other ranks, in the step that they are at, that this one failed."""
        self.group.tell(error)
        with contextlib.suppress(ShardError):
            for names in self.buckets[len(self._sent) :]:
                self._send([torch.zeros_like(self.leaves[name]) for name in names])
            self._end(0.0, 1.0)


def check_sum(over: Gradients, part: float, whole: Tensor) -> None:
    """That the parts of a loss add up to that of the whole program.

    Raises:
        ShardError: they do not.
    """
    total, _ = over.total(part, {})
    size, _ = over.total(abs(part), {})
    if not abs(total - float(whole)) <= AGREEMENT.get(whole.dtype, 1e-4) * max(1.0, size):
        raise ShardError(
            f"the losses of the ranks add up to {total:.10g}, and that of the whole program is {float(whole):.10g}: the "
            "program does not use its data row by row. A mean or a sum over all rows inside it, or a layer that normalises a "
            "batch, is that of a part: compute it outside, and pass it as an argument."
        )


@contextlib.contextmanager
def together(over: Callable[[], Gradients | None]) -> Iterator[None]:
    """Whatever fails inside ends the run of all ranks; `over` gives what sums their gradients, if there is more than one."""
    try:
        yield
    except RankEnded:
        raise
    except BaseException as error:
        if (gradients := over()) is not None:
            gradients.fail(error)
        raise


def buckets(leaves: Mapping[str, Tensor], size: int = BUCKET) -> list[list[str]]:
    """The names of tensors that are sent together, of one dtype and device each: the last first, whose gradients come first.

    Example:
        >>> buckets({"a": torch.ones(4), "b": torch.ones(2), "c": torch.ones(1)}, size=12)
        [['c', 'b'], ['a']]
    """
    found: list[list[str]] = []
    filled, kind = math.inf, None
    for name, leaf in reversed(list(leaves.items())):
        wide = leaf.numel() * leaf.element_size()
        if filled + wide > size or kind != (leaf.dtype, leaf.device):
            found.append([])
            filled, kind = 0, (leaf.dtype, leaf.device)
        found[-1].append(name)
        filled += wide
    return found
