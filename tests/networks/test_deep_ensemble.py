"""Deep ensembles: members whose answers are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptimisationError

X = torch.tensor([[0.5, 1.0, -0.3, 0.2], [1.0, -0.5, 0.7, 0.1]], dtype=torch.float64)
Y = torch.tensor([1.0, 0.5], dtype=torch.float64)


def program(net: nn.Module):
    def model(x: Tensor, y: Tensor | None = None) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 0.1), obs=y)

    return model


def test_members_differ_where_the_data_say_nothing() -> None:
    """Two rows and four weights: gradient descent moves a member's start onto the plane of solutions, and no further."""
    net = nn.Linear(4, 1, bias=False).double()
    ensemble = su.infer.DeepEnsemble(program(net), 2, optim=su.optim.SGD({"lr": 3e-3}), num_steps=300, seed=0)
    posterior = ensemble.run(X, Y)
    weights = posterior["net.weight"][0, :, 0]
    assert weights.shape == (2, 4)
    torch.testing.assert_close(weights @ X.mT, Y.expand(2, 2), rtol=1e-6, atol=1e-6)
    across = torch.eye(4, dtype=torch.float64) - torch.linalg.pinv(X) @ X
    left = weights @ across
    assert torch.pdist(left).min() > 1e-2, "each has the part of its own start that the data do not change"
    assert left.abs().max() <= 0.5 * 2.0, "which nn.Linear draws within ±1/2"
    assert posterior.module("net")(X).shape == (2, 2, 1)
    assert torch.equal(ensemble.run(X, Y)["net.weight"], posterior["net.weight"])


def test_lifted_members_are_modes() -> None:
    """With a normal prior there is one mode, ridge regression, whatever the start."""
    net = nn.Linear(4, 1, bias=False).double()
    posterior = su.infer.DeepEnsemble(su.lift(program(net), dist.Normal(0.0, 1.0)), 3, seed=1).run(X, Y)
    ridge = torch.linalg.solve(X.mT @ X / 0.01 + torch.eye(4), X.mT @ Y / 0.01)
    torch.testing.assert_close(posterior["net.weight"][0, :, 0], ridge.expand(3, 4), rtol=1e-5, atol=1e-6)
    assert posterior.stats["lp"].shape == (1, 3)


def test_settings() -> None:
    with pytest.raises(OptimisationError, match="`members` is 0"):
        su.infer.DeepEnsemble(program(nn.Linear(4, 1)), 0)
