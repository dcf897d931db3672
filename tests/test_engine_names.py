"""Every result says which engine computed its gradients: as an attribute, and where it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

Y = torch.tensor([1.0, 2.0, 0.5])


def model(y: Tensor) -> None:
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


torch.manual_seed(0)
NET = nn.Linear(1, 1)


def network(y: Tensor) -> None:
    f = su.module("net", NET)(y[:, None]).squeeze(-1)
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(f, 1.0), obs=y)


SGD = su.optim.SGD({"lr": 1e-3})
METHODS: dict[str, Any] = {
    "SGMCMC": lambda e: su.infer.SGMCMC(
        su.infer.SGLD(model, 0.1), num_samples=4, num_warmup=1, num_chains=1, seed=0, engine=e
    ).run(Y),
    "SWAG": lambda e: su.infer.SWAG(model, SGD, num_steps=4, every=2, num_samples=3, seed=0, engine=e).run(Y),
    "DeepEnsemble": lambda e: su.infer.DeepEnsemble(network, 2, optim=SGD, num_steps=2, seed=0, engine=e).run(Y),
    "Fit": lambda e: su.infer.Fit(model, optim=SGD, num_steps=2, seed=0, engine=e).run(Y),
    "NUTS": lambda e: su.infer.MCMC(
        su.infer.NUTS(model), num_samples=4, num_warmup=4, num_chains=1, seed=0, engine=e, progress=False
    ).run(Y),
}


@pytest.mark.parametrize(("method", "engine"), [*((method, "torch") for method in METHODS), ("SGMCMC", "eager")])
def test_a_result_says_its_engine(method: str, engine: str, tmp_path: Path) -> None:
    found = METHODS[method](engine)
    assert found.engine == engine
    assert f"by the {engine} engine" in repr(found)
    assert f"by the {engine} engine" in found._repr_html_()
    found.save(tmp_path / "saved.npz")
    assert type(found).load(tmp_path / "saved.npz").engine == engine


def test_svi_says_it_after_a_step_and_hands_it_on() -> None:
    svi = su.infer.SVI(model, su.infer.autoguide.AutoNormal(model), su.optim.Adam(lr=0.1), seed=0)
    assert svi.engine is None
    svi.step(Y)
    assert svi.engine == "native"
    assert ": 1 steps by the native engine, loss " in repr(svi)
    assert svi.sample(10).engine == "native"
    asked = su.infer.SVI(model, su.infer.autoguide.AutoNormal(model), su.optim.Adam(lr=0.1), seed=0, engine="eager")
    asked.step(Y)
    assert asked.engine == "eager"


def test_optimisers_and_approximations_say_it() -> None:
    fit = su.infer.Fit(model).run(Y)
    assert fit.engine == "native"
    assert "by the native engine. Converged" in str(fit)
    assert su.infer.Laplace(model, num_samples=5, seed=0).run(Y).engine == "native"
    assert su.infer.Pathfinder(model, num_samples=5, seed=0, engine="torch").run(Y).engine == "torch"


def test_a_program_that_python_runs_says_so() -> None:
    def branching(y: Tensor) -> None:
        mu = su.sample("mu", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(mu if float(mu.detach()) > 0 else 2.0 * mu, 1.0).expand([3]).to_event(1), obs=y)

    run = su.infer.SGMCMC(su.infer.SGLD(branching, 0.1), num_samples=4, num_warmup=1, num_chains=1, seed=0)
    with pytest.warns(su.errors.EngineWarning, match="run by Python at every step"):
        assert run.run(Y).engine == "eager"


def test_no_engine_is_claimed_where_none_ran() -> None:
    net = nn.Sequential(nn.Linear(1, 2), nn.Dropout(0.5), nn.Linear(2, 1)).eval()
    program = lambda y: su.sample("y", dist.Normal(su.module("net", net)(y[:, None]).squeeze(-1), 1.0).to_event(1), obs=y)
    posterior = su.infer.MCDropout(program, 3, seed=0).run(Y)
    assert posterior.engine is None
    assert "engine" not in repr(posterior)
