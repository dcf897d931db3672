"""Where the randomness of each chain comes from: a pair (seed, k), whatever the number of chains or cores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class ChainSeed:
    """The two sources of randomness of one chain: that of its start and that of its sampler (64 bits)."""

    start: np.random.Generator
    sampler: int


def chain_seed(seed: int, chain: int, after: int = 0) -> ChainSeed:
    """The randomness of chain `chain` of a run with `seed`, or of what is added `after` so many draws; all independent.

    Example:
        >>> chain_seed(0, 1).sampler == chain_seed(0, 1).sampler, chain_seed(0, 1).sampler == chain_seed(1, 0).sampler
        (True, False)
    """
    key = (chain, after) if after else (chain,)
    # Children have longer keys than their parents: a zero keeps them apart from the draws that are added.
    start, sampler = np.random.SeedSequence(seed, spawn_key=key).spawn(2)
    return ChainSeed(np.random.default_rng(start), int(sampler.generate_state(1, np.uint64)[0]))


def drawn_seed() -> int:
    """A seed from torch's global generator, as un-seeded draws are in any PyTorch program."""
    return int(torch.randint(2**63 - 1, ()))
