"""Memory-mapped data: the compiled density reads them where they lie."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.support.row_regression import PLACES, regression

import sursum as su
import sursum.distributions as dist
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


def _column(path, **options):
    pa, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    rng = np.random.default_rng(1)
    table = pa.table({"y": rng.normal(size=20_000), "k": np.arange(20_000)})
    feather.write_feather(table, path, **{"compression": "uncompressed", "chunksize": len(table), **options})
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()["y"]


def mean(y):
    mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 10.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


def test_arrow_columns_are_read_from_their_file(tmp_path):
    column = _column(tmp_path / "y.arrow")
    (y,), _ = with_data(mean, [column], {})
    assert is_mapped(y)
    np.testing.assert_array_equal(y, column.to_numpy())
    (part,), _ = with_data(mean, [column.slice(5_000, 10_000)], {})
    assert is_mapped(part)
    np.testing.assert_array_equal(part, column.to_numpy()[5_000:15_000])
    # The tensor's memory is the file's: a byte that is written to the file is read by the tensor.
    density = su.compile(mean, y)
    assert any(reads(constant, y) for constant in density.graph.constants.values())
    before = float(y[0])
    content = (tmp_path / "y.arrow").read_bytes()
    place = content.index(np.float64(before).tobytes())
    with (tmp_path / "y.arrow").open("r+b") as file:
        file.seek(place)
        file.write(np.float64(2.5).tobytes())
    assert float(y[0]) == 2.5
    y.zero_()
    assert (tmp_path / "y.arrow").read_bytes()[place : place + 8] == np.float64(2.5).tobytes()


def test_arrow_columns_in_pieces_are_copied_with_a_warning(tmp_path):
    column = _column(tmp_path / "y.arrow", chunksize=12_000)
    with pytest.warns(su.errors.EngineWarning, match="in 2 pieces"):
        (y,), _ = with_data(mean, [column], {})
    assert not is_mapped(y)
    np.testing.assert_array_equal(y, column.to_numpy())
    (compressed,), _ = with_data(mean, [_column(tmp_path / "z.arrow", compression="lz4")], {})
    assert not is_mapped(compressed)
    np.testing.assert_array_equal(compressed, y)


RESIDENT = """
import sys
import numpy as np, torch
import sursum as su, sursum.distributions as dist

def mean(y):
    mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 10.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

def columns():
    if sys.argv[1].endswith(".npy"):
        return np.load(sys.argv[1], mmap_mode="r")
    import pyarrow as pa
    return pa.ipc.open_file(pa.memory_map(sys.argv[1])).read_all()["y"]

su.compile(mean, torch.ones(100, dtype=torch.float64)).value_and_grad([0.3])  # what is loaded once
density = su.compile(mean, columns())
before = anonymous()
density.value_and_grad([0.3])
print(anonymous() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "arrow"])
def test_memory_does_not_grow_where_data_are_read(kind, tmp_path):
    y = np.random.default_rng(0).normal(size=4_000_000)  # 32 MB
    path = tmp_path / f"y.{kind}"
    if kind == "npy":
        np.save(path, y)
    else:
        pa, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
        feather.write_feather(pa.table({"y": y}), path, compression="uncompressed", chunksize=len(y))
    grown = subprocess.run([sys.executable, "-c", RESIDENT, str(path)], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < y.nbytes / 8
