"""The randomness of each chain is derived from (seed, k), independently of the number of chains or cores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class ChainSeed:
    """The two sources of randomness of one chain: for its start and for its sampler (64 bits)."""

    start: np.random.Generator
    sampler: int


def chain_seed(seed: int, chain: int, after: int = 0) -> ChainSeed:
    """The randomness of chain `chain` of a run with `seed`, or of draws added `after` that many draws; all independent.

    Example:
        >>> chain_seed(0, 1).sampler == chain_seed(0, 1).sampler, chain_seed(0, 1).sampler == chain_seed(1, 0).sampler
        (True, False)
    """
    key = (chain, after) if after else (chain,)
    # Child seeds have longer keys than their parents: a zero separates them from those of added draws.
    start, sampler = np.random.SeedSequence(seed, spawn_key=key).spawn(2)
    return ChainSeed(np.random.default_rng(start), int(sampler.generate_state(1, np.uint64)[0]))


def draw_seed() -> int:
    """A seed from torch's global generator, like any unseeded draw of a PyTorch program."""
    return int(torch.randint(2**63 - 1, ()))
