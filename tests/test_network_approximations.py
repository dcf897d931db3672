"""The ensemble of networks after methods other than NUTS, the network lifted whole and in part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import sursum as su
import sursum.distributions as dist
from tests.support.few import few

PRIOR = dist.Normal(0.0, 1.0)
X = torch.linspace(-1.0, 1.0, 24, dtype=torch.float64).reshape(12, 2)
Y = X[:, 0] - 0.5 * X[:, 1]
DRAWS = 5
Approximate = Callable[[Callable[..., Any]], tuple[su.Posterior, dict[str, Tensor]]]


def by_laplace(model: Callable[..., Any]) -> tuple[su.Posterior, dict[str, Tensor]]:
    return su.infer.Laplace(model, num_samples=DRAWS, seed=0, engine="torch").run(X, Y), {}


def by_pathfinder(model: Callable[..., Any]) -> tuple[su.Posterior, dict[str, Tensor]]:
    return su.infer.Pathfinder(model, num_samples=DRAWS, num_paths=2, seed=0, engine="torch").run(X, Y), {}


def by_svi(model: Callable[..., Any]) -> tuple[su.Posterior, dict[str, Tensor]]:
    guide = su.infer.autoguide.AutoNormal(model)
    svi = su.infer.SVI(model, guide, su.optim.Adam({"lr": 0.02}), su.infer.Trace_ELBO(), seed=0)
    result = svi.run(60, X, Y)
    return svi.sample(DRAWS, X, Y), dict(result.params)


WAYS: dict[str, Approximate] = {"Laplace": by_laplace, "Pathfinder": by_pathfinder, "SVI": by_svi}
EACH = [(way, lifted) for way in WAYS for lifted in ("net.**", "net.2.*")]


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")  # five draws judge nothing
@pytest.mark.filterwarnings("ignore::sursum.errors.HeldParameterWarning")
@pytest.mark.parametrize(("way", "lifted"), few(EACH, [("Laplace", "net.**"), ("SVI", "net.**"), ("Pathfinder", "net.2.*")]))
def test_the_ensemble_is_torchs_functional_call_at_every_draw(way: str, lifted: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    before = {path: value.clone() for path, value in net.state_dict().items()}

    def program(x: Tensor, y: Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(x).squeeze(-1))
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 0.3), obs=y)

    posterior, trained = WAYS[way](su.lift(program, {lifted: PRIOR}))
    nets, predicted = posterior.module("net"), posterior.predict(X, seed=0)["f"].flatten(0, 1)
    out = nets(X).squeeze(-1)
    held = {path: trained.get(f"net.{path}", value) for path, value in before.items()}
    if way == "SVI" and lifted == "net.2.*":
        assert not torch.equal(held["0.weight"], before["0.weight"]), "what is not lifted is trained"
    for i in range(DRAWS):
        drawn = {path: posterior[f"net.{path}"].flatten(0, 1)[i] for path in before if f"net.{path}" in posterior.latents}
        assert len(drawn) == (4 if lifted == "net.**" else 2)
        with torch.no_grad():
            expected = functional_call(net, held | drawn, (X,)).squeeze(-1)
        for found in (out[i], predicted[i], nets[i](X).squeeze(-1)):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(value, before[path]) for path, value in net.state_dict().items())
