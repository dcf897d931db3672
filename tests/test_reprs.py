"""What is shown of the objects that users make: what they are, and no address in memory."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.infer.reparam import LocScaleReparam


def model(y=None):
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    with su.plate("data", 2):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


class Net(torch.nn.Linear):
    pass


Y = torch.tensor([1.0, 2.0])
AUTO = su.infer.autoguide


def store():
    with su.ParamStore() as found:
        su.param("a", torch.tensor(1.0))
        su.param("w", torch.zeros(3, 4))
    return found


def svi(steps=0):
    found = su.infer.SVI(model, AUTO.AutoNormal(model), torch.optim.SGD, seed=0, engine="eager")
    return found.run(steps, Y) if steps else found


ROWS = [
    (lambda: su.plate("data", 3), "plate('data', 3)"),
    (lambda: su.plate("data", 10, subsample_size=2, dim=-2), "plate('data', 10, subsample_size=2, dim=-2)"),
    (lambda: su.ParamStore(), "<ParamStore: empty>"),
    (store, "<ParamStore: a (), w (3, 4)>"),
    (lambda: su.infer.LogDensity(model, (Y,), {}), "<LogDensity of model: 1 unknowns (mu)>"),
    (lambda: su.compile(model, Y, engine="torch"), "<CompiledDensity of model: 1 unknowns (mu), torch engine>"),
    (lambda: su.lift(Net(2, 1), dist.Normal(0.0, 1.0)), "lift(Net, Normal(loc: 0.0, scale: 1.0))"),
    (lambda: su.condition(model, data={"y": Y}), "condition(model, {'y': a tensor of shape (2,) of torch.float32})"),
    (lambda: su.condition(data={"y": Y}), "condition(data={'y': a tensor of shape (2,) of torch.float32})"),
    (lambda: su.seed(su.block(partial(model, y=3)), rng_seed=3), "seed(block(partial(model, y=3)), 3)"),
    (lambda: su.reparam(model, {"mu": LocScaleReparam(0.0)}), "reparam(model, {'mu': LocScaleReparam(centered=0.0)})"),
    (lambda: su.trace(model).get_trace(Y), "<Trace: mu (sample), y (observed)>"),
    (lambda: su.optim.Adam({"lr": 0.1}, clip_norm=2.0), "Adam(lr=0.1, clip_norm=2.0)"),
    (lambda: su.optim.SGD(dict.fromkeys), "SGD(dict.fromkeys)"),
    (lambda: AUTO.AutoNormal(model, init_scale=0.2), "AutoNormal(model, init_scale=0.2)"),
    (lambda: AUTO.AutoLowRankMultivariateNormal(model, rank=2), "AutoLowRankMultivariateNormal(model, rank=2)"),
    (lambda: svi(), "<SVI of model by AutoNormal(model), SGD(), Trace_ELBO(): not run>"),
    (lambda: su.infer.MCMC(su.infer.NUTS(model, 0.9), num_chains=2), "MCMC(NUTS(model, 0.9), num_chains=2)"),
    (lambda: su.infer.Fit(model, optim=su.optim.Adam(lr=0.1)), "Fit(model, optim=Adam(lr=0.1))"),
    (lambda: su.infer.Laplace(model, seed=3), "Laplace(model, seed=3)"),
    (lambda: su.infer.Pathfinder(model), "Pathfinder(model)"),
    (lambda: su.infer.SBC(model, fitted=su.block(model)), "SBC(model, fitted=block(model))"),
    (lambda: su.infer.Importance(model, num_samples=5), "Importance(model, num_samples=5)"),
    (lambda: su.infer.Predictive(model, {"mu": Y}), "Predictive(model, {'mu': a tensor of shape (2,) of torch.float32})"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "shown"), ROWS, ids=[row[1] for row in ROWS])
def test_what_is_shown(make, shown):
    assert repr(make()) == shown


def test_a_run_of_svi_says_how_far_it_is():
    done = svi(3)
    first, last = float(done.losses[0]), float(done.losses[-1])
    assert repr(done) == (
        f"<SVIResult: 3 steps by the eager engine, loss {first:.4g} to {last:.4g}; auto.loc.mu (), auto.scale.mu ()>"
    )


@pytest.mark.parametrize("name", [name for name in AUTO.__all__ if name.startswith("Auto")])
def test_guides(name):
    pytest.importorskip("zuko")
    assert repr(getattr(AUTO, name)(model)) == f"{name}(model)"


HANDLERS = {
    "replay": {"trace": su.Trace()},
    "lift": {"prior": {}},
    "reprior": {"prior": {}},
    "reparam": {"config": {}},
    "mask": {"mask": torch.ones(2, dtype=torch.bool)},
    "scale": {"scale": 2.0},
    "scope": {"prefix": "a"},
    "seed": {"rng_seed": 0},
    "plate": {"name": "data", "size": 3},
    **{verb: {"data": {}} for verb in ("condition", "do", "substitute")},
}


@pytest.mark.parametrize(
    "verb", [n for n in su.handlers.__all__ if n.islower() and n not in ("handler", "perform", "random_module")]
)
def test_no_handler_shows_an_address(verb):
    made = getattr(su.handlers, verb)(**HANDLERS.get(verb, {}))
    loops = verb in ("plate", "markov")  # which wrap no program
    for shown in (repr(made), "" if loops else repr(made.around(model))):
        assert " at 0x" not in shown
    assert loops or f"{verb}(model" in repr(made.around(model))
