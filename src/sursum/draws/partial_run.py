"""Unfinished runs: which of their draws make up a posterior, and the message about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class KeptDraws:
    """The chains that are kept, and the number of draws that each has in and after the warm-up."""

    chains: tuple[int, ...]
    warmup: int
    draws: int


def common_part(warmup: Sequence[int], draws: Sequence[int]) -> KeptDraws:
    """The common part of chains with these numbers of draws: of those past the warm-up, or of all that started if none is.

    Each is truncated to the shortest of them. No chain is kept if none has started.

    Example:
        >>> common_part([100, 100, 30], [50, 40, 0])
        KeptDraws(chains=(0, 1), warmup=100, draws=40)
        >>> common_part([100, 30, 0], [0, 0, 0])
        KeptDraws(chains=(0, 1), warmup=30, draws=0)
    """
    begun = [k for k in range(len(warmup)) if warmup[k] + draws[k]]
    kept = [k for k in begun if draws[k]] or begun
    if not kept:
        return KeptDraws((), 0, 0)
    return KeptDraws(tuple(kept), min(warmup[k] for k in kept), min(draws[k] for k in kept))


def cut_short(part: KeptDraws, asked: int, wanted: int, happened: str = "was interrupted") -> str:
    """The message about the posterior of such a run, of `asked` chains of `wanted` draws.

    Example:
        >>> cut_short(KeptDraws((0, 1), 100, 40), 4, 1000)
        'The run was interrupted: the posterior has 40 of 1000 draws of 2 of 4 chains.'
    """
    kept = len(part.chains)
    chains = f"all {asked} chains" if kept == asked else f"{kept} of {asked} chains"
    if part.draws == 0:
        where = f"The run {happened} during the warm-up"
        return f"{where}: there is no draw of the posterior, only `warmup` of {chains}."
    return f"The run {happened}: the posterior has {part.draws} of {wanted} draws of {chains}."
