"""Pyro's guides whose sites depend on each other: their parameters are in the global store."""

from __future__ import annotations

import pytest
import torch

import sursum.compat.pyro as pyro
import sursum.compat.pyro.distributions as dist
from sursum.compat.pyro import infer
from sursum.compat.pyro.infer import autoguide
from sursum.errors import GuideError


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
    losses = [svi.step() for _ in range(150)]
    assert sum(losses[-50:]) < sum(losses[:50])
    for name, value in values.items():
        begin = "" if issubclass(make, autoguide.AutoMessenger) else f"{make.__name__}."
        pyro.get_param_store()[f"{begin}{name}"] = torch.tensor(value)
    if values:
        assert svi.evaluate_loss() == pytest.approx(-EVIDENCE, abs=1e-5)
        assert svi.evaluate_loss() == pytest.approx(-EVIDENCE, abs=1e-5)


def grouped():
    with pyro.plate("groups", 3):
        z = pyro.sample("z", dist.Normal(pyro.sample("mu", dist.Normal(0.0, 1.0)), 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=torch.zeros(3))


def test_a_gaussian_has_pyros_names_and_shapes():
    pyro.clear_param_store()
    guide = autoguide.AutoGaussian(grouped)
    guide()
    store = pyro.get_param_store()
    shapes = {name.removeprefix("AutoGaussianDense."): tuple(value.shape) for name, value in store.items()}
    # Pyro 1.9.2's.
    assert shapes == {
        "locs.mu": (3,),
        "locs.z": (3,),
        "scales.mu": (3,),
        "scales.z": (3,),
        "white_vecs.mu": (3, 1),
        "prec_sqrts.mu": (3, 1, 1),
        "white_vecs.z": (3, 1),
        "prec_sqrts.z": (3, 2, 1),
        "white_vecs.y": (3, 1),
        "prec_sqrts.y": (3, 1, 1),
    }
    assert {name for name, _ in guide.named_parameters()} == shapes.keys()
    assert guide.median()["z"].shape == (3,)
    with pytest.raises(GuideError, match="'dense'"):
        autoguide.AutoGaussian(grouped, backend="funsor")


def shaped():
    return pyro.sample("z", dist.Poisson(2.0))


def part():
    with pyro.plate("data", 4, subsample_size=2):
        pyro.sample("z", dist.Bernoulli(0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: autoguide.AutoDiscreteParallel(shaped)(), "Poisson"),
        (lambda: autoguide.AutoDiscreteParallel(model)(), "Normal"),
        (lambda: autoguide.AutoDiscreteParallel(part)(), "subsampled"),
    ],
)
def test_what_cannot_be_done_is_said(make, message):
    pyro.clear_param_store()
    with pytest.raises(GuideError, match=message):
        make()


def test_guides_by_get_posterior_say_what_is_missing_and_take_subsamples():
    pyro.clear_param_store()
    with pytest.raises(NotImplementedError, match="get_posterior"):
        autoguide.AutoMessenger(grouped)()

    def rows():
        with pyro.plate("data", 6, subsample_size=2):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=torch.zeros(2))

    for plates, shape in ((("data",), ()), ((), (6,))):
        pyro.clear_param_store()
        guide = autoguide.AutoNormalMessenger(rows, amortized_plates=plates)
        svi = infer.SVI(rows, guide, pyro.optim.SGD({"lr": 0.0}), infer.Trace_ELBO())
        for _ in range(3):
            svi.step()
        assert pyro.get_param_store()["locs.z"].shape == shape
