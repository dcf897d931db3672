"""Ranks and their verdict: the test statistic against a sum by hand, what is said, and what passes."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy.stats import kstest

from sursum.studies import sbc_result, uniformity
from sursum.studies.sbc_result import SBCResult


def result(p, ranks=None, divergences=0):
    p = {name: np.asarray(value) for name, value in p.items()}
    ranks = ranks or {
        name: np.tile(np.arange(10), 4)[(...,) + (None,) * value.ndim] + np.zeros(value.shape, int) for name, value in p.items()
    }
    return SBCResult(ranks, 9, p, divergences)


def test_a_study_passes_where_the_smallest_is_likely_enough_for_so_many():
    assert result({"a": 0.5, "b": [0.004, 0.9]}).passed()  # 0.01 / 3 = 0.0033
    assert not result({"a": 0.5, "b": [0.003, 0.9]}).passed()
    assert not result({"a": 0.5, "b": [0.004, 0.9]}).passed(0.05)
    assert not result({"a": 0.009}).passed()


def test_what_is_said():
    found = result({"mu": 0.25, "v": [0.5, 0.0004]}, divergences=3)
    text = str(found)
    assert found.num_simulations == 40
    assert text == repr(found)
    assert text.startswith("40 simulations, ranks among 9 draws: FAILED: the ranks are not uniform. 3 of them had divergences.")
    rows = [line.split() for line in text.splitlines() if line and line.split()[0] in ("mu", "v[0]", "v[1]")]
    # Ranks 0 to 9 of 9: the mean of k / 9 is a half, its sd √(99 / 12) / 9.
    assert rows == [
        [name, p, "0.500", f"{np.sqrt(99 / 12) / 9:.3f}"]
        for name, p in (("mu", "0.250"), ("v[0]", "0.500"), ("v[1]", "<0.001"))
    ]
    assert "divergences" not in str(result({"mu": 0.25}))
    assert "passed." in str(result({"mu": 0.25}))


def cdf(k, n, z):
    return sum(comb(n, i) * z**i * (1 - z) ** (n - i) for i in range(k + 1))


def test_the_statistic_by_hand():
    rows = np.random.default_rng(0).uniform(size=(3, 6))
    expected = []
    for row in rows:
        tails = []
        for i in range(1, 6):
            z, below = i / 6, int((row <= i / 6).sum())
            tails += [cdf(below, 6, z), 1 - (cdf(below - 1, 6, z) if below else 0.0)]
        expected.append(2 * min(tails))
    np.testing.assert_allclose(uniformity.unevenness(rows), expected, rtol=1e-12)


def test_ranks_are_spread_over_their_share():
    ranks = np.array([0, 0, 3, 9])
    u = sbc_result._uniform(ranks, 9)
    assert ((ranks / 10 <= u) & (u < (ranks + 1) / 10)).all()
    np.testing.assert_array_equal(u, sbc_result._uniform(ranks, 9))


def test_p_values_of_uniform_ranks_are_uniform():
    rng = np.random.default_rng(5)
    p = sbc_result.rank_p_values(rng.integers(0, 100, size=(80, 400)), 99)
    assert kstest(p, "uniform").pvalue > 0.001


def test_p_values_of_other_ranks_are_small():
    rng = np.random.default_rng(5)
    uneven = {"narrow": rng.beta(0.5, 0.5, 100), "wide": rng.beta(3, 3, 100), "biased": rng.beta(2, 1, 100)}
    for name, u in uneven.items():
        assert sbc_result.rank_p_values((100 * u).astype(int), 99) < 0.005, name


def test_p_values_have_the_shape_of_the_site():
    ranks = np.random.default_rng(0).integers(0, 10, size=(20, 2, 3))
    p = sbc_result.rank_p_values(ranks, 9)
    assert p.shape == (2, 3)
    assert p[1, 2] == sbc_result.rank_p_values(ranks[:, 1, 2], 9)


def test_the_band_holds_what_it_says():
    """Of other samples of uniform numbers 95 % stay inside as a whole; 1000 of them, so four standard errors are 2.8 %."""
    count = 60
    z, low, up = uniformity.band(count)
    np.testing.assert_allclose(z, np.arange(1, 60) / 60)
    u = np.random.default_rng(9).uniform(size=(1000, count))
    ecdf = (u[:, :, None] <= z).mean(axis=1)
    inside = ((ecdf >= low - 1e-12) & (ecdf <= up + 1e-12)).all(axis=1).mean()
    assert abs(inside - 0.95) < 0.028


@pytest.mark.parametrize("sites", [None, ["v"]])
def test_the_picture(tmp_path, sites):
    figure = result({"mu": 0.25, "v": [0.5, 0.75]}).plot(tmp_path / "sbc.png", sites=sites)
    assert (tmp_path / "sbc.png").stat().st_size > 5000
    titles = [axes.get_title().split() for axes in figure.axes if axes.get_visible()]
    expected = [["mu", "p", "=", "0.25"], ["v[0]", "p", "=", "0.50"], ["v[1]", "p", "=", "0.75"]]
    assert titles == expected[-2 if sites else 0 :]


def test_ranks_in_arviz():
    pytest.importorskip("xarray")
    ranks = np.arange(10)[:, None].repeat(3, 1)
    tree = result({"a": 0.5, "b": [0.5, 0.5, 0.5]}, {"a": np.arange(10), "b": ranks}).to_arviz()
    assert tree["prior_sbc"]["b"].dims == ("chain", "draw", "b_dim_0")
    np.testing.assert_allclose(tree["prior_sbc"]["b"].values[0, :, 2], (np.arange(10) + 0.5) / 10)
    assert tree["prior_sbc"]["a"].shape == (1, 10)


def test_arviz_draws_the_ranks():
    plots = pytest.importorskip("arviz_plots")
    drawn = plots.plot_ecdf_pit(result({"a": 0.5}, {"a": np.arange(10)}).to_arviz(), backend="none")
    assert "a" in drawn.viz["ecdf_lines"]
