"""The sequence that is followed only as far as it goes, against the one from all lags."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.draws import geyer
from sursum.draws.geyer import effective_size


def autoregressive(phi: float, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    draws = noise / np.sqrt(1 - phi**2)
    for t in range(1, shape[-1]):
        draws[..., t] = phi * draws[..., t - 1] + noise[..., t]
    return draws


def from_all_lags(draws: np.ndarray) -> np.ndarray:
    """Geyer's definition for each quantity, with sums over all pairs of draws."""
    found = []
    for one in draws:
        chains, n = one.shape
        d = one - one.mean(axis=1, keepdims=True)
        covariance = np.array([(d[:, lag:] * d[:, : n - lag]).sum() / (chains * n) for lag in range(n)])
        between = one.mean(axis=1).var(ddof=1) if chains > 1 else 0.0
        rho = 1.0 - (covariance[0] * n / (n - 1) - covariance) / (covariance[0] + between)
        rho[0] = 1.0
        time, lowest, pairs = -1.0, np.inf, max(1, (n - 1) // 2)
        for k in range(pairs):
            even, odd = rho[2 * k], rho[2 * k + 1]
            if not even + odd > 0 or k == pairs - 1:
                time += even if even > 0 or even + odd >= 0 else 0.0
                break
            lowest = min(lowest, even + odd)
            time += 2 * lowest
        found.append(chains * n / max(time, 1 / np.log10(chains * n)))
    return np.array(found)


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.97, -0.9])
@pytest.mark.parametrize("shape", [(6, 4, 250), (5, 1, 301), (4, 2, 2), (4, 3, 5), (3, 2, 17)])
def test_equals_the_sequence_from_all_lags(phi, shape):
    draws = autoregressive(phi, shape)
    np.testing.assert_allclose(effective_size(draws), from_all_lags(draws), rtol=1e-10)


def test_quantities_of_all_lengths_of_sequence_stand_in_one_block():
    draws = np.concatenate([autoregressive(phi, (3, 4, 600), seed=k) for k, phi in enumerate((0.99, 0.0, 0.9, 0.5, -0.5))])
    np.testing.assert_allclose(effective_size(draws), from_all_lags(draws), rtol=1e-10)


def test_only_slow_chains_are_transformed(monkeypatch):
    seen = []
    real = geyer._at_all_lags
    monkeypatch.setattr(geyer, "_at_all_lags", lambda draws: (seen.append(len(draws)), real(draws))[1])
    effective_size(autoregressive(0.3, (10, 4, 1000)))
    assert seen == []
    effective_size(np.concatenate([autoregressive(0.3, (10, 4, 1000)), autoregressive(0.995, (2, 4, 1000))]))
    assert seen == [2]


def test_where_rounding_would_decide_the_transform_does():
    """An alternating chain has sums of pairs that are zero but for rounding."""
    draws = np.tile([1.0, -1.0], 50)[None, None] * np.ones((1, 2, 1))
    assert np.isfinite(effective_size(draws)).all()
    assert effective_size(np.ones((2, 4, 50))).tolist() == [200.0, 200.0]
