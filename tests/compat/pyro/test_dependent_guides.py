"""Pyro's guides whose sites depend on each other: their parameters are in the global store."""

from __future__ import annotations

import pytest
import torch

import sursum.compat.pyro as pyro
import sursum.compat.pyro.distributions as dist
from sursum.compat.pyro import infer
from sursum.compat.pyro.infer import autoguide


def model():
    z = pyro.sample("z", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0))
    pyro.sample("y", dist.Normal(z, 1.0), obs=torch.tensor(2.0))


# log p(y) is that of N(2; 0, 3).
EVIDENCE = float(torch.distributions.Normal(0.0, 3.0**0.5).log_prob(torch.tensor(2.0)))


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (
            autoguide.AutoHierarchicalNormalMessenger,
            {"locs.mu": 2 / 3, "scales.mu": (2 / 3) ** 0.5, "locs.z": 1.0, "scales.z": 0.5**0.5, "weights.z": 0.5},
        ),
        (
            autoguide.AutoStructured,
            {
                "locs.mu": [2 / 3],
                "scales.mu": [(2 / 3) ** 0.5],
                "locs.z": [4 / 3],
                "scales.z": [0.5**0.5],
                "weight.z.mu": [[0.5]],
            },
        ),
        (autoguide.AutoNormalMessenger, {}),
        (autoguide.AutoRegressiveMessenger, {}),
    ],
)
def test_bounds_at_the_exact_posterior_are_the_evidence(make, values):
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    svi = infer.SVI(model, make(model), pyro.optim.Adam({"lr": 0.02}), infer.Trace_ELBO())
    losses = [svi.step() for _ in range(300)]
    assert sum(losses[-50:]) < sum(losses[:50])
    for name, value in values.items():
        pyro.get_param_store()[f"{make.__name__}.{name}"] = torch.tensor(value)
    if values:
        assert svi.evaluate_loss() == pytest.approx(-EVIDENCE, abs=1e-5)
        assert svi.evaluate_loss() == pytest.approx(-EVIDENCE, abs=1e-5)
