"""Runs that did not come to their end: which of their draws make a posterior, and what is said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """The chains that are kept, and how many draws of the warm-up and after it each of them has."""

    chains: tuple[int, ...]
    warmup: int
    draws: int


def common_part(warmup: Sequence[int], draws: Sequence[int]) -> Part:
    """What chains that have come so far have in common: those that have left the warm-up, or all that have begun if none has.

    Each is cut to the shortest of them. No chain is kept where none has begun.

    Example:
        >>> common_part([100, 100, 30], [50, 40, 0])
        Part(chains=(0, 1), warmup=100, draws=40)
        >>> common_part([100, 30, 0], [0, 0, 0])
        Part(chains=(0, 1), warmup=30, draws=0)
    """
    begun = [k for k in range(len(warmup)) if warmup[k] + draws[k]]
    kept = [k for k in begun if draws[k]] or begun
    if not kept:
        return Part((), 0, 0)
    return Part(tuple(kept), min(warmup[k] for k in kept), min(draws[k] for k in kept))


def cut_short(part: Part, asked: int, wanted: int, happened: str = "was interrupted") -> str:
    """What is said about the posterior of such a run, of `asked` chains of `wanted` draws.

    Example:
        >>> cut_short(Part((0, 1), 100, 40), 4, 1000)
        'The run was interrupted: the posterior has 40 of 1000 draws of 2 of 4 chains.'
    """
    kept = len(part.chains)
    chains = f"all {asked} chains" if kept == asked else f"{kept} of {asked} chains"
    if part.draws == 0:
        where = f"The run {happened} during the warm-up"
        return f"{where}: there is no draw of the posterior, only `warmup` of {chains}."
    return f"The run {happened}: the posterior has {part.draws} of {wanted} draws of {chains}."
