"""Memory-mapped data: the compiled density reads them where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.row_regression import PLACES, regression

import sursum as su
from sursum.common.mapped_files import is_mapped, map_file
from sursum.core.arguments import with_data

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(3000, 3)), RNG.normal(size=3000)


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return [np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "y.npy")]


def reads(constant, data):
    """Whether the memory of a constant contains that of the data."""
    start, stop = constant.data_ptr(), constant.data_ptr() + constant.nbytes
    return start <= data.data_ptr() and data.data_ptr() + data.nbytes <= stop


def test_the_density_reads_the_file(files):
    (x, y), _ = with_data(regression, files, {})
    assert is_mapped(x)
    density = su.compile(regression, x, y)
    copied = su.compile(regression, torch.from_numpy(X), torch.from_numpy(Y))
    for data in (x, y):
        assert any(reads(constant, data) for constant in density.graph.constants.values())
        assert not any(reads(constant, data) for constant in copied.graph.constants.values())
    for q in PLACES:
        value, gradient = density.value_and_grad(q)
        wanted, slope = copied.value_and_grad(q)
        assert value == wanted
        np.testing.assert_array_equal(gradient, slope)
    posterior = su.infer.Laplace(regression, seed=0).run(*files)
    np.testing.assert_array_equal(posterior.observed["y"], Y)


@pytest.mark.parametrize(
    "part",
    [lambda x: x[10:20], lambda x: x[::3, 1], lambda x: x.T, lambda x: x[5:, ::2], lambda x: x[0], lambda x: x[7:8][0][2:]],
)
def test_views_are_of_the_file(files, part):
    mapped = map_file(part(files[0]))
    assert is_mapped(mapped)
    np.testing.assert_array_equal(mapped, part(X))


def test_what_cannot_be_mapped_is_copied(files, tmp_path):
    (backwards, single), _ = with_data(None, [files[1][::-1], files[1].astype(np.float32)], {})
    assert not is_mapped(backwards)
    np.testing.assert_array_equal(backwards, Y[::-1])
    assert not is_mapped(single)
    assert map_file(np.memmap(tmp_path / "x.npy", np.uint8, "r")[1:9].view(np.float64)) is None


def test_nothing_is_written_to_the_file(files, tmp_path):
    map_file(files[1]).zero_()
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), Y)
