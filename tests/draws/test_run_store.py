"""The store of a run: what was appended is read, cut to what the chains have in common; groups are added once."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.draws import run_store
from sursum.errors import SursumError
from sursum.io.zarr_store import Column, ZarrStore

FLOAT = np.dtype(np.float64)
NOTE = {"latents": ["mu"], "coordinates": ["mu", "s"], "dims": {"pair": ["side"]}}
OBSERVED = {"y": np.array([1.0, 2.0])}


def create(path, chains=2, warmup=4, samples=6, **changes):
    settings = {
        "chains": chains,
        "lengths": {"warmup": warmup, "sample": samples},
        "sites": {"mu": Column((), FLOAT), "pair": Column((2,), FLOAT, ("side",))},
        "stats": {"lp": FLOAT, "energy": FLOAT} | dict.fromkeys(("diverging", "reached_max_treedepth"), np.dtype(np.bool_)),
        "dim": 2,
        "observed": OBSERVED,
        "dims": {"y": ("house",)},
        "note": NOTE,
    }
    return run_store.create(path, **(settings | changes))


def draws(chain, phase, length):
    rng = np.random.default_rng((chain, phase == "sample"))
    q = rng.normal(size=(length, 2))
    never = np.zeros(length, bool)
    return (
        {"mu": q[:, 0], "pair": q},
        {"lp": -q.sum(1), "energy": q[:, 1], "diverging": never, "reached_max_treedepth": never},
        q,
    )


def append(store, chain, phase, length):
    store.append(phase, chain, run_store.groups_of(phase, *draws(chain, phase, length)))


@pytest.fixture
def path(tmp_path):
    """Two chains of which the second has not come to its end."""
    store = create(tmp_path / "run.zarr")
    for chain, (warmup, samples) in enumerate([(4, 6), (4, 3)]):
        append(store, chain, "warmup", warmup)
        append(store, chain, "sample", samples)
    return store.path


def test_draws_are_read_as_far_as_all_chains_have_come(path):
    found = run_store.read(path)
    for phase, length in (("warmup", 4), ("sample", 3)):
        for chain in range(2):
            sites, stats, q = draws(chain, phase, {"warmup": 4, "sample": 6}[phase] if chain == 0 else length)
            np.testing.assert_array_equal(found.sites[phase]["pair"][chain], sites["pair"][:length])
            np.testing.assert_array_equal(found.stats[phase]["lp"][chain], stats["lp"][:length])
            np.testing.assert_array_equal(found.unconstrained[phase][chain], q[:length])
        assert found.stats[phase]["diverging"].dtype == bool
    assert found.note == NOTE | {"chains": 2, "lengths": {"warmup": 4, "sample": 6}}
    np.testing.assert_array_equal(found.observed["y"], OBSERVED["y"])
    assert found.warnings[0].startswith("The run has not finished: the posterior has 3 of 6 draws of all 2 chains.")
    assert found.warnings[0].endswith("Draws that each chain has stored: 6, 3.")


def test_a_whole_run_has_no_such_warning(path):
    store = ZarrStore(path)
    store.append("sample", 1, run_store.groups_of("sample", *draws(2, "sample", 3)))
    assert not any("has not finished" in text for text in run_store.read(path).warnings)


def test_some_sites(path):
    assert list(run_store.read(path, ["pair"]).sites["sample"]) == ["pair"]
    with pytest.raises(SursumError, match=r"run.zarr' has no site 'mi'. It has: 'mu', 'pair'."):
        run_store.read(path, ["mu", "mi"])


def test_before_the_first_draw(tmp_path):
    create(tmp_path / "run.zarr")
    with pytest.raises(SursumError, match="has no draws yet, but at least one was expected"):
        run_store.read(tmp_path / "run.zarr")


def test_a_store_without_a_run(tmp_path):
    with ZarrStore.creating(tmp_path / "x.zarr", run_store.KIND, run_store.VERSION, {}):
        pass
    with pytest.raises(SursumError, match="it holds no draws. A store written by a run of sursum was expected"):
        run_store.read(tmp_path / "x.zarr")


def test_the_chains_that_have_left_the_warmup(tmp_path):
    store = create(tmp_path / "run.zarr", chains=3)
    for chain, (warmup, samples) in enumerate([(2, 0), (4, 5), (0, 0)]):
        append(store, chain, "warmup", warmup)
        append(store, chain, "sample", samples)
    found = run_store.read(store.path)
    np.testing.assert_array_equal(found.unconstrained["sample"], draws(1, "sample", 5)[2][None])
    assert "5 of 6 draws of 1 of 3 chains" in found.warnings[0]


def test_chains_that_stand_apart_are_told_of(tmp_path):
    store = create(tmp_path / "run.zarr", samples=100)
    for chain in range(2):
        append(store, chain, "warmup", 4)
        _, stats, _ = draws(chain, "sample", 100)
        q = np.random.default_rng(chain).normal((50.0 * chain, 0.0), size=(100, 2))
        store.append("sample", chain, run_store.groups_of("sample", {"mu": q[:, 0], "pair": q}, stats, q))
    assert any("`mu`" in text for text in run_store.read(store.path).warnings)
    # Sites that are not read are judged by their coordinates.
    assert any("`mu`" in text for text in run_store.read(store.path, ["pair"]).warnings)


def test_groups_that_are_added(path):
    prior = np.random.default_rng(0).normal(size=(1, 2500, 3))
    run_store.append_groups(path, {"prior": {"y": prior}, "constant_data": {"x": np.arange(3)}}, {"y": ("house",)})
    found = run_store.read(path)
    np.testing.assert_array_equal(found.groups["prior"]["y"], prior)
    np.testing.assert_array_equal(found.data["constant_data"]["x"], np.arange(3))
    assert not any("The group" in text for text in found.warnings)
    for group in ("prior", "constant_data", "observed_data", "posterior", "warmup_sample_stats"):
        with pytest.raises(SursumError, match=f"already has a group {group!r}, and stored data are never overwritten"):
            run_store.append_groups(path, {"predictions": {"y": prior}, group: {"y": prior}}, {})
    assert not ZarrStore(path).has("predictions")


def test_a_group_that_was_only_begun_is_told_of(path):
    store = ZarrStore(path)
    columns = run_store.name_dims({"y": Column((3,), FLOAT)}, {"y": ("house",)})
    assert list(columns["y"].dims) == ["house"]
    store.add("prior", run_store.DrawTable(1, 10, {"prior": columns}))
    store.append("prior", 0, {"prior": {"y": np.ones((4, 3))}})
    found = run_store.read(path)
    assert found.groups["prior"]["y"].shape == (1, 4, 3)
    assert "The group `prior` is incomplete: it has 4 of 10 draws of each chain." in found.warnings[-1]
