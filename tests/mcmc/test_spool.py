"""nutpie's folder of draws: the layout that we read, and what is taken from it."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from sursum.mcmc import nutpie_door
from sursum.mcmc.spool import STATS


@pytest.fixture
def chain(native_gaussian, tmp_path):
    settings = nutpie_door.Settings(203, 517, 0.8, 10, False)
    return lambda spool: nutpie_door.start_chain(
        native_gaussian(), np.array([0.1, 0.2]), 5, settings, watched=False, spool=spool
    )


def test_the_layout_is_what_we_read(chain, tmp_path):
    """If this fails nutpie has changed: adapt `mcmc/spool.py`, or bound the version in pyproject.toml."""
    running = chain(tmp_path)
    while not running.finished():
        time.sleep(0.001)
    running.end()
    for prefix, draws in (("warmup_", 203), ("", 517)):
        for name in ("q", *STATS):
            folder = tmp_path / f"{prefix}{'posterior' if name == 'q' else 'sample_stats'}" / name
            content = json.loads((folder / "zarr.json").read_text())
            assert content["zarr_format"] == 3
            assert content["shape"] == [1, draws, 2][: 3 if name == "q" else 2]
        logp = json.loads((tmp_path / f"{prefix}sample_stats" / "logp" / "zarr.json").read_text())
        size = logp["chunk_grid"]["configuration"]["chunk_shape"][1]
        assert logp["fill_value"] == "NaN"
        files = {file.name for file in (tmp_path / f"{prefix}sample_stats" / "logp" / "c" / "0").iterdir()}
        assert files == {str(i) for i in range(-(-draws // size))}


def test_what_is_taken_is_what_was_drawn_and_its_files_are_gone(chain, tmp_path):
    plain, spooled = chain(None), chain(tmp_path)
    while not plain.finished():
        time.sleep(0.001)
    plain.end()
    blocks = []
    while not spooled.finished():
        blocks += spooled.blocks()
        time.sleep(0.001)
    spooled.end()
    blocks += spooled.blocks()
    assert [block.phase for block in blocks] == sorted((block.phase for block in blocks), reverse=True)
    trace = plain.trace()
    np.testing.assert_array_equal(np.concatenate([block.unconstrained for block in blocks]), trace.unconstrained)
    for name, values in trace.stats.items():
        found = np.concatenate([block.stats[name] for block in blocks])
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)
    assert sum(len(block.unconstrained) for block in blocks if block.phase == "warmup") == 203
    left = [file for file in tmp_path.rglob("c/0/*") if file.name not in ("12", "32")]  # the last ones, which are not full
    assert left == []
    assert list(spooled.blocks()) == []
