"""The gradient of a density is its derivative, also where a backward operator of torch leaves something out on purpose."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import sursum as su
import sursum.distributions as dist

TOKENS = torch.tensor([[1, 2, 0], [3, 0, 0]])


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("settings", [{"padding_idx": 0}, {"scale_grad_by_freq": True}])
def test_every_row_of_an_embedding_has_its_derivative(engine: str, settings: dict[str, object]) -> None:
    """log p = -w²/2 - (Σ rows)²/2, so that the slope of row k is -w_k - c_k·(sum of its observation)."""

    def model() -> None:
        w = su.sample("w", dist.Normal(torch.zeros(4, 1, dtype=torch.float64), 1.0).to_event(2))
        rows: Tensor = functional.embedding(TOKENS, w, **settings)  # type: ignore[arg-type]
        su.factor("f", -0.5 * rows.sum((1, 2)).square().sum())

    q = np.array([0.3, -0.2, 0.5, 1.0])
    counts = np.array([[1.0, 1.0, 1.0, 0.0], [2.0, 0.0, 0.0, 1.0]])
    found = su.compile(model, engine=engine).value_and_grad(q)[1]
    assert found == pytest.approx(-q - counts.T @ (counts @ q), abs=1e-12)
