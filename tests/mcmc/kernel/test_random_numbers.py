"""Philox by its published answers; uniform and normal numbers by their distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sursum.mcmc.kernel.random_numbers import MOMENTUM, Decisions, normals, philox, unit


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        (0, (0, 0, 0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (2**64 - 1, (2**32 - 1,) * 4, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (0x299F31D0A4093822, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_words(key, counter, words):
    index, stream, low, high = counter
    for number in (index, np.array(index, dtype=np.uint64)):
        found = philox(key, high << 32 | low, stream, number)
        assert " ".join(f"{int(word):08x}" for word in found) == words


def test_uniform_numbers_never_reach_the_ends():
    least, most = (np.full(1, word, dtype=np.uint64) for word in (0, 2**32 - 1))
    assert unit(least, least)[0] == 2.0**-53
    assert unit(most, most)[0] == 1.0 - 2.0**-53


def test_numbers_have_their_distributions_and_are_independent_between_coordinates_draws_and_keys():
    many = np.stack([normals(3, draw, MOMENTUM, 0, 101) for draw in range(200)])
    assert stats.kstest(many.ravel(), "norm").pvalue > 0.01
    bound = 4.0 / np.sqrt(many.size)
    assert abs(np.corrcoef(many[:, :-1].ravel(), many[:, 1:].ravel())[0, 1]) < bound
    assert abs(np.corrcoef(many[:-1].ravel(), many[1:].ravel())[0, 1]) < bound
    other = np.stack([normals(4, draw, MOMENTUM, 0, 101) for draw in range(200)])
    assert abs(np.corrcoef(many.ravel(), other.ravel())[0, 1]) < bound
    decide = Decisions(3, 5)
    assert stats.kstest([decide() for _ in range(2000)], "uniform").pvalue > 0.01


def test_a_number_depends_on_its_place_alone():
    assert normals(1, 2, MOMENTUM, 0, 7).tolist() == normals(1, 2, MOMENTUM, 0, 50)[:7].tolist()
    assert normals(1, 2, MOMENTUM, 3, 4).tolist() == normals(1, 2, MOMENTUM, 0, 10)[6:].tolist()
