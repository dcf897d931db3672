"""A posterior: read by name, summarised, exported, saved and loaded bit for bit."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from tests.support.arviz_groups import groups_of

from sursum.draws.draws import Draws
from sursum.errors import StorageError
from sursum.posterior.posterior import Posterior

CHAINS, DRAWS, WARMUP = 3, 40, 10


def draws(length: int, seed: int) -> Draws:
    q = np.random.default_rng(seed).normal(size=(CHAINS, length, 3))
    sites = {
        "tau": torch.from_numpy(q[..., 0]).exp(),
        "theta": torch.from_numpy(q[..., 1:].copy()),
        "best": torch.from_numpy(q[..., 1:].argmax(-1)),
        "positive": torch.from_numpy(q[..., 0] > 0),
    }
    stats = {"lp": -0.5 * (q**2).sum(-1), "diverging": q[..., 0] > 2, "n_steps": np.full((CHAINS, length), 7)}
    return Draws(sites, stats, q)


@pytest.fixture
def posterior() -> Posterior:
    after = draws(DRAWS, 0)
    return Posterior(
        after.sites,
        after.stats,
        after.unconstrained,
        warmup=draws(WARMUP, 1),
        latents=("tau", "theta"),
        coordinates=("tau", "theta[0]", "theta[1]"),
        dims={"theta": ("school",), "y": ("school",), "tau": ()},
        observed={"y": torch.tensor([28.0, 8.0])},
        warnings=("Something is wrong.",),
    )


def test_it_is_a_mapping_of_tensors(posterior):
    assert list(posterior) == ["tau", "theta", "best", "positive"]
    assert posterior["theta"].shape == (CHAINS, DRAWS, 2)
    assert posterior["best"].dtype == torch.int64
    assert "theta" in posterior
    assert "eta" not in posterior
    assert (posterior.num_chains, posterior.num_samples) == (CHAINS, DRAWS)
    assert posterior.warmup["tau"].shape == (CHAINS, WARMUP)


def test_an_unknown_site_names_close_ones(posterior):
    with pytest.raises(KeyError, match=r"no site 'tehta' in these draws\. Did you mean 'theta'.* It has 'tau'"):
        posterior["tehta"]
    with pytest.raises(KeyError, match="It has 'tau', 'theta', 'best', 'positive'"):
        posterior["qqq"]


def test_it_says_what_it_is(posterior):
    assert repr(posterior) == "<Posterior: 3 × 40 draws of tau (), theta (2,), best (), positive ()>"
    assert repr(posterior.warmup).startswith("<Draws: 3 × 10 draws of ")


def test_it_is_frozen(posterior):
    with pytest.raises(AttributeError):
        posterior.warnings = ()


def test_summary(posterior):
    table = posterior.summary()
    assert list(table) == list(posterior)
    np.testing.assert_allclose(table["theta"]["mean"], posterior["theta"].mean(dim=(0, 1)), rtol=1e-12)
    assert str(table).endswith("Something is wrong.")
    assert list(posterior.summary(["tau"])) == ["tau"]
    assert "… 1 more" not in str(table)


def test_arviz_groups_names_and_values(posterior):
    data = posterior.to_arviz()
    assert groups_of(data) == {
        "posterior",
        "sample_stats",
        "warmup_posterior",
        "warmup_sample_stats",
        "observed_data",
    }
    assert data.posterior["theta"].dims == ("chain", "draw", "school")
    assert data.observed_data["y"].dims == ("school",)
    np.testing.assert_array_equal(data.posterior["theta"].values, posterior["theta"].numpy())
    np.testing.assert_array_equal(data.warmup_posterior["tau"].values, posterior.warmup["tau"].numpy())
    np.testing.assert_array_equal(data.sample_stats["lp"].values, posterior.stats["lp"])
    np.testing.assert_array_equal(data.warmup_sample_stats["n_steps"].values, posterior.warmup.stats["n_steps"])
    assert data.posterior["best"].dtype == np.int64
    assert data.posterior["positive"].dtype == bool


def test_arviz_dims_of_any_kind(posterior):
    """Dimensions without a plate, and plates that are called like a site, a chain or a draw."""
    sites = {"x": torch.zeros(2, 4, 3, 5), "y": torch.zeros(2, 4, 3), "z": torch.zeros(2, 4, 5)}
    plain = Posterior(sites, {}, np.zeros((2, 4, 1)), dims={"x": ("y",), "y": ("y",), "z": ("draw",)})
    data = plain.to_arviz().posterior
    assert data["x"].dims == ("chain", "draw", "y_plate", "x_dim_1")
    assert data["y"].dims == ("chain", "draw", "y_plate")
    assert data["z"].dims == ("chain", "draw", "draw_plate")


def test_arviz_without_warmup_or_data():
    data = Posterior({"x": torch.zeros(2, 4)}, {"lp": np.zeros((2, 4))}, np.zeros((2, 4, 1))).to_arviz()
    assert groups_of(data) == {"posterior", "sample_stats"}


def test_saved_and_loaded_bit_for_bit(posterior, tmp_path):
    posterior["tau"][0, 0] = torch.nan
    path = tmp_path / "run.npz"
    posterior.save(path)
    loaded = Posterior.load(path)
    assert list(loaded) == list(posterior)
    for ours, theirs in ((loaded, posterior), (loaded.warmup, posterior.warmup)):
        for name in theirs:
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].numpy().tobytes() == theirs[name].numpy().tobytes()
        for name, values in theirs.stats.items():
            assert ours.stats[name].dtype == values.dtype
            np.testing.assert_array_equal(ours.stats[name], values)
        np.testing.assert_array_equal(ours.unconstrained, theirs.unconstrained)
    assert torch.equal(loaded.observed["y"], posterior.observed["y"])
    for name in ("latents", "coordinates", "dims", "warnings"):
        assert getattr(loaded, name) == getattr(posterior, name)
    assert str(loaded.summary()) == str(posterior.summary())


def test_names_may_be_anything(tmp_path):
    names = ["a/b", "../up", "quote'\"", "line\nbreak", "header", "ü", "0"]
    sites = {name: torch.full((1, 4), float(i)) for i, name in enumerate(names)}
    Posterior(sites, {}, np.zeros((1, 4, 1))).save(tmp_path / "x")
    loaded = Posterior.load(tmp_path / "x")
    assert [float(loaded[name][0, 0]) for name in names] == list(range(len(names)))
    assert [item.name for item in tmp_path.iterdir()] == ["x"]


def test_a_truncated_or_foreign_file(posterior, tmp_path):
    path = tmp_path / "run.npz"
    posterior.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    message = re.escape(f"{str(path)!r} could not be read: ")
    with pytest.raises(StorageError, match=message + ".+Save it again, or give the path of a different file"):
        Posterior.load(path)
    np.savez(path, theta=np.zeros(3))
    with pytest.raises(StorageError, match=message):
        Posterior.load(path)


def test_copies_and_pickles_of_our_own(posterior):
    for other in (copy.deepcopy(posterior), pickle.loads(pickle.dumps(posterior))):
        assert torch.equal(other["theta"], posterior["theta"])
        assert other.dims == posterior.dims
