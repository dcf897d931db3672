"""What chains drew as a posterior: cut to one length, sites from the draws, and what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.errors import SamplingError
from sursum.mcmc.chain_pool import Outcome
from sursum.mcmc.site_filter import Keep
from sursum.mcmc.to_posterior import posterior_of
from sursum.mcmc.trace import STAT_DTYPES, ChainTrace


def trace(chain, warmup, samples, away=0.0):
    rng = np.random.default_rng(chain)
    count = warmup + samples
    q = rng.normal(away, size=(count, 2))
    stats = {name: rng.normal(size=count).astype(dtype) for name, dtype in STAT_DTYPES.items()}
    never = np.zeros(count, bool)
    return ChainTrace(q, stats | {"diverging": never, "reached_max_treedepth": never}, warmup)


def put_together(gaussian, *traces, happened="", num_samples=9, keep=None):
    return posterior_of(gaussian(), Outcome(traces, happened), num_samples, Keep(keep))


def test_draws_sites_and_statistics(gaussian):
    traces = trace(0, 5, 9), trace(1, 5, 9)
    found = put_together(gaussian, *traces)
    q = np.stack([one.unconstrained for one in traces])
    np.testing.assert_array_equal(found.unconstrained, q[:, 5:])
    np.testing.assert_array_equal(found.warmup.unconstrained, q[:, :5])
    np.testing.assert_array_equal(found["mu"], q[:, 5:, 0])
    np.testing.assert_allclose(found["s"], np.exp(q[:, 5:, 1]), rtol=1e-15)
    np.testing.assert_array_equal(found.warmup["pair"], q[:, :5])
    np.testing.assert_array_equal(found["floor"], np.floor(q[:, 5:, 0]))
    assert (str(found["constant"].dtype), str(found["floor"].dtype), str(found["positive"].dtype)) == (
        "torch.float64",
        "torch.int64",
        "torch.bool",
    )
    for name, dtype in STAT_DTYPES.items():
        both = np.stack([one.stats[name] for one in traces])
        np.testing.assert_array_equal(found.stats[name], both[:, 5:])
        np.testing.assert_array_equal(found.warmup.stats[name], both[:, :5])
        assert found.stats[name].dtype == dtype


def test_what_is_known_of_the_density(gaussian):
    found = put_together(gaussian, trace(0, 5, 9))
    assert (found.latents, found.coordinates) == (("mu", "s"), ("mu", "s"))
    assert found.dims == {"pair": ("side",), "y": ("house",)}
    assert found.observed["y"].tolist() == [1.0, 2.0, 3.0]


def test_an_interrupted_run_keeps_what_chains_have_in_common(gaussian):
    traces = trace(0, 5, 7), None, trace(2, 5, 3), trace(3, 4, 0)
    found = put_together(gaussian, *traces, happened="was stopped")
    np.testing.assert_array_equal(found.unconstrained, np.stack([traces[k].unconstrained[5:8] for k in (0, 2)]))
    assert found.warmup.unconstrained.shape == (2, 5, 2)
    assert found.warnings[0] == "The run was stopped: the posterior has 3 of 9 draws of 2 of 4 chains."


def test_an_interrupted_warmup(gaussian):
    found = put_together(gaussian, trace(0, 5, 0), trace(1, 3, 0), happened="was stopped")
    assert (found["mu"].shape, found["pair"].shape) == ((2, 0), (2, 0, 2))
    assert found.warmup["pair"].shape == (2, 3, 2)
    assert "there is no draw of the posterior, only `warmup` of all 2 chains" in found.warnings[0]


def test_a_run_without_warmup(gaussian):
    found = put_together(gaussian, trace(0, 0, 4))
    assert found["pair"].shape == (1, 4, 2)
    assert found.warmup["pair"].shape == (1, 0, 2)


def test_nothing_yet(gaussian):
    for traces in ((None, None), (trace(0, 0, 0), None)):
        with pytest.raises(SamplingError, match="no chain has draws yet, but at least one draw was expected"):
            put_together(gaussian, *traces)


def test_some_sites_are_kept_and_all_are_judged(gaussian):
    found = put_together(gaussian, trace(0, 5, 60), trace(1, 5, 60, away=30.0), keep=("floor", "p*"))
    assert list(found) == list(found.warmup) == ["pair", "positive", "floor"]
    assert any("`mu`" in text for text in found.warnings)
    assert not any("was" in text for text in put_together(gaussian, trace(0, 5, 9)).warnings if text.startswith("The run"))
