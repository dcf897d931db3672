"""A data loader in the place of the data of a prediction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.errors import PredictionError
from sursum.infer import Predictive

X = torch.linspace(-1.0, 1.0, 7)
SLOPES = {"slope": torch.tensor([1.0, 2.0, -3.0])}


def line(x: Tensor, y: Tensor | None = None) -> None:
    slope = su.sample("slope", dist.Normal(0.0, 1.0))
    su.deterministic("twice", 2.0 * slope)
    su.deterministic("f", slope * x)
    with su.plate("data", len(x)):
        su.sample("y", dist.Normal(slope * x, 0.1), obs=y)


class Records(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"x": X[row], "weight": torch.ones(2)}


def test_rows_of_batches_are_put_together_and_what_has_no_rows_is_once() -> None:
    found = Predictive(line, SLOPES, seed=0)(DataLoader(X, batch_size=3))
    torch.testing.assert_close(found["f"], SLOPES["slope"].double()[:, None] * X.double())
    torch.testing.assert_close(found["twice"], 2.0 * SLOPES["slope"].double())
    assert found["y"].shape == (3, 7)


def test_batches_of_mappings_are_counted_by_their_rows() -> None:
    def program(batch: dict[str, Tensor]) -> None:
        line(batch["x"])

    found = Predictive(program, SLOPES, seed=0)(DataLoader(Records(), batch_size=3))
    torch.testing.assert_close(found["f"], SLOPES["slope"].double()[:, None] * X.double())


def test_what_differs_from_batch_to_batch_and_has_no_rows_is_an_error() -> None:
    def program(x: Tensor) -> None:
        slope = su.sample("slope", dist.Normal(0.0, 1.0))
        su.deterministic("mean", slope * x.mean())

    with pytest.raises(PredictionError, match=r"site 'mean' differs between batch 1 .*3 rows, but the site has shape \(\)"):
        Predictive(program, SLOPES, seed=0)(DataLoader(X, batch_size=3))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_seed_leaves_the_global_generator_and_gives_the_same_again(shuffle: bool) -> None:
    """A loader draws a seed from the global generator whenever its batches are asked for, and its order if it shuffles."""
    loader: Any = DataLoader(TensorDataset(X), batch_size=4, shuffle=shuffle)
    predictive = Predictive(line, SLOPES, seed=3)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = predictive(loader)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(predictive(loader)["y"], first["y"])
