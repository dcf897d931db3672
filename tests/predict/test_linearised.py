"""Predictions that are linear in the weights of networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

import sursum as su
import sursum.distributions as dist
from sursum.errors import PredictionError

X = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)[:, None]
NOT_JUDGED = pytest.mark.filterwarnings("ignore:Pareto k is", "ignore:The approximation is not at the mode")
TORCHS_OWN = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")


def fitted(double: bool = True) -> tuple[nn.Module, su.Posterior]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
    net = net.double() if double else net

    def program(x: Tensor, y: Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(x).squeeze(-1))
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 0.3), obs=y)

    laplace = su.infer.Laplace(su.lift(program, dist.Normal(0.0, 1.0)), hessian="ggn", num_steps=0, num_samples=6, seed=0)
    x = X if double else X.float()
    return net, laplace.run(x, x.squeeze(-1))


@NOT_JUDGED
@TORCHS_OWN
@pytest.mark.parametrize("double", [True, False])
def test_predictions_are_the_tangent_at_the_mode(double: bool) -> None:
    net, posterior = fitted(double)
    new = 3.0 * (X if double else X.float())
    net = net.double()
    mode = {name.removeprefix("net."): value for name, value in posterior.mode.items()}
    found = posterior.predict(new, linearised=True, seed=0)
    for k in range(6):
        moves = {name: posterior[f"net.{name}"][0, k] - value for name, value in mode.items()}
        value, slope = jvp(lambda w: functional_call(net, w, (new.double(),)), (mode,), (moves,))
        torch.testing.assert_close(found["f"][0, k], (value + slope).squeeze(-1), rtol=1e-9, atol=1e-9)
    plain = posterior.predict(new, seed=0)
    assert not torch.allclose(plain["f"], found["f"], atol=1e-3)
    # The noise is the same, and so is the likelihood of what was drawn.
    torch.testing.assert_close(plain["y"] - plain["f"], found["y"] - found["f"])
    scored = posterior.log_likelihood(new, new.squeeze(-1), linearised=True)["y"]
    torch.testing.assert_close(scored, dist.Normal(found["f"], 0.3).log_prob(new.squeeze(-1).double()))


@NOT_JUDGED
def test_what_cannot_be_linearised() -> None:
    _, posterior = fitted()
    drawn = su.Posterior(posterior.sites, {}, posterior.unconstrained, program=posterior.program, latents=posterior.latents)
    with pytest.raises(PredictionError, match="for posteriors with a mode"):
        drawn.predict(X, linearised=True)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).double()

    def parts(x: Tensor, y: Tensor | None = None) -> Any:
        f = su.module("net", net)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f[2](f[1](f[0](x))).squeeze(-1), 0.3), obs=y)

    lifted = su.lift(parts, dist.Normal(0.0, 1.0))
    posterior = su.infer.Laplace(lifted, hessian="ggn", num_steps=0, num_samples=3, seed=0).run(X, X.squeeze(-1))
    with pytest.raises(PredictionError, match="does not call the network 'net' itself"):
        posterior.predict(X, linearised=True)
