"""Loaders over files: rows of Zarr arrays and row groups of Parquet files are batches like those in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

import sursum as su
import sursum.distributions as dist

X = torch.linspace(-1.0, 1.0, 60, dtype=torch.float64)
Y = 2.0 * X + 0.1 * torch.sin(40.0 * X)


def line(x, y):
    b = su.sample("b", dist.Normal(torch.zeros((), dtype=torch.float64), 2.0))
    with su.plate("rows", len(y)):
        su.sample("y", dist.Normal(b * x, torch.ones((), dtype=torch.float64)), obs=y)


def losses(loader):
    svi = su.infer.SVI(line, su.infer.autoguide.AutoNormal(line), su.optim.Adam(lr=0.05), seed=0, engine="torch")
    return svi.run(7, loader).losses


class Stored(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return self.y.shape[0]

    def __getitem__(self, rows):
        return torch.from_numpy(self.x.oindex[rows]), torch.from_numpy(self.y.oindex[rows])


def test_rows_of_zarr_arrays(tmp_path):
    zarr = pytest.importorskip("zarr")
    for name, values in (("x", X), ("y", Y)):
        zarr.open_array(tmp_path / name, mode="w", shape=values.shape, chunks=(25,), dtype="f8")[:] = values.numpy()
    rows = Stored(*(zarr.open_array(tmp_path / name, mode="r") for name in ("x", "y")))
    batches = DataLoader(rows, sampler=BatchSampler(RandomSampler(rows), 20, drop_last=False), batch_size=None)
    in_memory = TensorDataset(X, Y)
    known = DataLoader(in_memory, sampler=BatchSampler(RandomSampler(in_memory), 20, drop_last=False), batch_size=None)
    np.testing.assert_array_equal(losses(batches), losses(known))


def test_row_groups_of_a_parquet_file(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"x": X.numpy(), "y": Y.numpy()}), tmp_path / "rows.parquet", row_group_size=20)

    class Groups(IterableDataset):
        file = parquet.ParquetFile(tmp_path / "rows.parquet")

        def __len__(self):
            return self.file.metadata.num_rows

        def __iter__(self):
            for group in range(self.file.num_row_groups):
                table = self.file.read_row_group(group, columns=["x", "y"])
                yield tuple(torch.from_numpy(table[name].to_numpy().copy()) for name in ("x", "y"))

    wanted = losses(DataLoader(TensorDataset(X, Y), 20))
    np.testing.assert_array_equal(losses(DataLoader(Groups(), batch_size=None)), wanted)
