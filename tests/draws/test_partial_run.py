"""Which draws of an unfinished run make a posterior: the laws of the part that chains have in common."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sursum.draws.partial_run import KeptDraws, common_part, cut_short

CHAIN = st.one_of(st.tuples(st.integers(0, 5), st.just(0)), st.tuples(st.just(5), st.integers(0, 9)))


@given(st.lists(CHAIN, max_size=5))
def test_the_part_that_chains_have_in_common(chains):
    part = common_part([w for w, _ in chains], [d for _, d in chains])
    drawing = tuple(k for k, (_, d) in enumerate(chains) if d)
    begun = tuple(k for k, (w, d) in enumerate(chains) if w or d)
    assert part.chains == (drawing or begun)
    # Every chain that is kept has that much, and one of them has no more.
    assert part.draws == min([chains[k][1] for k in part.chains], default=0)
    assert part.warmup == min([chains[k][0] for k in part.chains], default=0)


@pytest.mark.parametrize(
    ("warmup", "draws", "expected"),
    [
        ([100, 100, 30], [50, 40, 0], KeptDraws((0, 1), 100, 40)),
        ([100, 30, 0], [0, 0, 0], KeptDraws((0, 1), 30, 0)),
        ([0, 0], [7, 9], KeptDraws((0, 1), 0, 7)),
        ([0, 0], [0, 0], KeptDraws((), 0, 0)),
        ([], [], KeptDraws((), 0, 0)),
    ],
)
def test_examples(warmup, draws, expected):
    assert common_part(warmup, draws) == expected


def test_what_is_said():
    assert cut_short(KeptDraws((0, 2), 100, 40), 4, 1000, "was stopped") == (
        "The run was stopped: the posterior has 40 of 1000 draws of 2 of 4 chains."
    )
    assert cut_short(KeptDraws((0, 1), 100, 40), 2, 50).startswith(
        "The run was interrupted: the posterior has 40 of 50 draws of all 2"
    )
    assert cut_short(KeptDraws((1,), 30, 0), 2, 50) == (
        "The run was interrupted during the warm-up: there is no draw of the posterior, only `warmup` of 1 of 2 chains."
    )
