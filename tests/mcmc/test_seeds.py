"""The randomness of chains: the same for (seed, k), and independent of everything else."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from sursum.mcmc.seeds import chain_seed, draw_seed

CASES = list(itertools.product((0, 1, 2**40), range(5), (0, 1, 500)))


def numbers(seed, chain, after=0):
    found = chain_seed(seed, chain, after)
    return (*found.start.integers(2**62, size=3).tolist(), found.sampler)


def test_the_same_again():
    assert [numbers(*case) for case in CASES] == [numbers(*case) for case in CASES]


def test_no_two_are_alike():
    every = [number for case in CASES for number in numbers(*case)]
    assert len(set(every)) == len(every)


def test_draws_that_are_added_are_not_a_chains_children():
    """The stream of what is added after k draws is none that a chain's own start or sampler spawns."""
    for chain, after in itertools.product(range(3), repeat=2):
        sequence = np.random.SeedSequence(0, spawn_key=(chain,)).spawn(3)[after]
        assert chain_seed(0, chain, after + 1).sampler != int(sequence.generate_state(1, np.uint64)[0])


def test_a_sampler_has_64_bits():
    seeds = [chain_seed(seed, 0).sampler for seed in range(64)]
    assert all(type(seed) is int and 0 <= seed < 2**64 for seed in seeds)
    # Each bit is set in about half of 64: none in fewer than 8 or more than 56, six standard deviations away.
    counts = [sum(seed >> bit & 1 for seed in seeds) for bit in range(64)]
    assert min(counts) >= 8
    assert max(counts) <= 56


def test_a_drawn_seed_comes_from_torchs_generator():
    state = torch.get_rng_state()
    try:
        torch.manual_seed(3)
        first, second = draw_seed(), draw_seed()
        torch.manual_seed(3)
        assert (draw_seed(), draw_seed()) == (first, second)
        assert first != second
        assert 0 <= first < 2**63
    finally:
        torch.set_rng_state(state)
