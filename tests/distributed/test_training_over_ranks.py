"""SVI, SGMCMC and SWAG over ranks of gloo: the steps of one process, to rounding; and ranks that differ, fail or are killed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.support.ranks import run_ranks

PROGRAMS = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import torch
import sursum as su, sursum.distributions as dist
from sursum.distributed import gradients
from tests.support.row_regression import X, Y, regression

SAID = []

def some(x, y):
    b = su.sample("b", dist.Normal(torch.zeros(3, dtype=torch.float64), 2.0).to_event(1))
    with su.plate("data", len(y), subsample_size=21) as rows:
        su.sample("y", dist.Normal(x[rows] @ b, torch.tensor(1.0, dtype=torch.float64)), obs=y[rows])

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()

def network(x, y):
    f = su.module("net", net)(x).squeeze(-1)
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(f, torch.tensor(1.0, dtype=torch.float64)), obs=y)

def lifting(program):
    return su.lift(program, prior=lambda value: dist.Normal(torch.zeros_like(value), 1.0))

lifted = lifting(network)

def loader():
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), 20, shuffle=True)

def divided(program, **options):
    return su.distributed.shard(program, plate="data", **options) if size > 1 else program

def svi(program, *data, engine=None, steps=12, guide=su.infer.autoguide.AutoNormal, optim=None, seed=3, loss=None, **options):
    run = su.infer.SVI(
        divided(program, **options), guide(program), optim or su.optim.Adam({"lr": 0.05}), loss, seed=seed, engine=engine
    )
    run.run(steps, *data)
    return run

def numbers(run):
    return [run.losses.tolist(), *(run.params[name].detach().flatten().tolist() for name in run.params)]
"""

STEPS = """
gradients.BUCKET = 64  # so that there are several
found = {"of a loader": numbers(svi(lifted, loader(), engine="torch", steps=8))}
"""

DYNAMICS = """
gradients.BUCKET = 64
dynamics = su.infer.SGHMC(lifting(divided(network)), 0.01, precondition=True)  # `shard` inside of `lift`
draws = su.infer.SGMCMC(dynamics, num_samples=4, num_warmup=6, num_chains=1, seed=1).run(loader())
found = {"SGHMC": [draws.stats["lp"].tolist(), draws.unconstrained.tolist()]}
"""

MORE = """
found = {
    "in C": numbers(svi(regression, X, Y, steps=5)),
    "of a subsampled plate": numbers(svi(some, X, Y, engine="torch")),
    "by Python": numbers(svi(some, X, Y, engine="eager", steps=3)),
    "of several particles": numbers(svi(regression, X, Y, steps=3, loss=su.infer.TraceMeanField_ELBO(num_particles=2))),
}
swag = su.infer.SWAG(divided(lifted), su.optim.SGD({"lr": 1e-4}), num_steps=30, num_samples=2, seed=0).run(loader())
found["SWAG"] = swag.unconstrained.tolist()
narrow = su.infer.SGLD(divided(regression), 1e-3)  # s is of single precision, and b of double
draws = su.infer.SGMCMC(narrow, num_samples=3, num_warmup=3, num_chains=1, seed=1).run(X, Y)
found["SGLD"] = [draws.unconstrained.tolist()]
for few in (2, 0):  # there is a rank without rows
    found[f"of {few} rows"] = numbers(svi(regression, X[:few], Y[:few], steps=3))
run = svi(regression, X, Y, steps=3)
found["a loss"] = [run.evaluate_loss(X, Y)]
found["draws"] = [run.sample(5, X, Y).stats["log_weight"].tolist()]
"""

OWN = """
own = slice(0, 51) if rank == 0 else slice(51, 101)
rows = (slice(None),) if size == 1 else (own,)
run = svi(regression, X[rows], Y[rows], steps=5, split=())
within = su.infer.SVI(
    su.handlers.scale(divided(regression, split=()), scale=0.5), su.infer.autoguide.AutoNormal(regression),
    su.optim.Adam({"lr": 0.05}), seed=3,
).run(5, X[rows], Y[rows])
found = {"steps": numbers(run), "inside of a handler": [within.losses.tolist()]}
found["draws"] = run.sample(5, X[rows], Y[rows]).stats["log_weight"].tolist()
rows = (slice(None) if rank == 0 else slice(0, 0),)
found["one has them all"] = numbers(svi(regression, X[rows], Y[rows], steps=3, split=()))
data = torch.utils.data.TensorDataset(X[:100], Y[:100])
sampler = torch.utils.data.DistributedSampler(data, num_replicas=size, rank=rank)
batches = torch.utils.data.DataLoader(data, 100 // size, sampler=sampler)
found["loader"] = numbers(svi(regression, batches, engine="torch", steps=3, split=()))
"""

BREAKS = """
class Breaks(Exception):
    pass

def breaking(x, y):
    if rank == 1 and breaking.steps > 4:
        raise Breaks("no more disk")
    breaking.steps += 1
    regression(x, y)

def hiding(x, y):
    divided(regression, split=())(x, y)

breaking.steps = 0
found = []
guide = lambda program: su.infer.autoguide.AutoNormal(regression)
for call in (
    lambda: svi(regression, X + rank, Y),
    lambda: svi(breaking, X, Y, engine="eager", guide=guide),
    lambda: su.infer.SVI(hiding, guide(hiding), su.optim.Adam({"lr": 0.1})).run(3, X, Y),
    lambda: su.infer.SGMCMC(su.infer.SGLD(hiding, 1e-3), num_samples=2, num_warmup=2, num_chains=1).run(X, Y),
    lambda: su.infer.MCMC(su.infer.NUTS(hiding), progress=False).run(X, Y),
    lambda: su.compile(hiding, X, Y),
):
    try:
        call()
    except (su.errors.ShardError, Breaks) as error:
        found.append(f"{type(error).__name__}: {error}")
"""

REFUSED = """
def refused(name, call):
    try:
        call()
    except su.errors.ShardError as error:
        SAID.append([name, str(error)])

torch.manual_seed(rank)
mine = torch.nn.Linear(3, 1).double()

def own_start(x, y):
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(su.module("net", mine)(x).squeeze(-1), torch.tensor(1.0, dtype=torch.float64)), obs=y)

def local(x, y):
    with su.plate("data", len(y)):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(z, 1.0), obs=y)

def centred(x, y):
    b = su.sample("b", dist.Normal(0.0, 2.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(b * (x[:, 0] - x[:, 0].mean()), 1.0), obs=y)

def fixed(x, y):
    b = su.sample("b", dist.Normal(0.0, 2.0))
    with su.plate("data", 101):
        su.sample("y", dist.Normal(b, 1.0), obs=Y)

refused("data", lambda: svi(regression, X + rank, Y))
refused("rows", lambda: svi(regression, X[: 100 + rank], Y[: 100 + rank]))
refused("steps", lambda: svi(regression, X, Y, steps=10 + rank))
refused("rate", lambda: svi(regression, X, Y, optim=su.optim.Adam({"lr": 0.1 + rank})))
refused("sites", lambda: svi(regression if rank else some, X, Y))
refused("local", lambda: svi(local, X, Y))
refused("centred", lambda: svi(centred, X, Y, engine="eager"))
refused("fixed", lambda: svi(fixed, X, Y))
refused("renyi", lambda: svi(regression, X, Y, loss=su.infer.RenyiELBO(0.5, num_particles=2)))
refused("optim", lambda: su.infer.Fit(divided(own_start), optim=su.optim.Adam({"lr": 0.1})).run(X, Y))
same = numbers(svi(own_start, X, Y, seed=None, guide=lambda program: lambda x, y: None, engine="torch", steps=3))
found = [dict(SAID), same]
"""


PRINT = "\nprint(json.dumps(found))\n"


def _over_ranks(script, folder, size=2):
    ended = run_ranks(PROGRAMS + script + PRINT, folder, size=size)
    assert [status for status, _, _ in ended] == [0] * size, "".join(error for _, _, error in ended)
    return [json.loads(out.splitlines()[-1]) for _, out, _ in ended]


def _alone(script):
    space = {"size": 1, "rank": 0}
    exec(PROGRAMS + script, space)
    return space["found"]


def _check_same(one, two):
    assert one.keys() == two.keys()
    for which in one:
        for here, there in zip(one[which], two[which], strict=True):
            # Sums in another order, of losses of some hundreds; some steps multiply the differences.
            np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-9)


FAST = PROGRAMS + STEPS + "steps = found\n" + BREAKS + "found = [steps, found]" + PRINT
"""Run by `two_ranks`."""


@pytest.fixture(scope="module")
def two(two_ranks):
    return two_ranks["training"]


def test_steps_are_those_of_one_process(two):
    assert two[0][0] == two[1][0]
    _check_same(_alone(STEPS), two[0][0])


def test_data_that_differ_are_told_apart(two):
    for _, said in two:
        assert "rank 1 differs from rank 0 in its data: ['argument 1: float64 of shape (101, 3)" in said[0]
        assert "split=()" in said[0]


def test_a_rank_that_fails_tells_the_others(two):
    assert two[1][1][1] == "Breaks: no more disk"
    assert two[0][1][1] == "ShardError: 1 of 2 ranks failed, and with them the run: rank 1: Breaks: no more disk"


def test_a_function_that_calls_a_divided_program_is_refused(two):
    for _, said in two:
        for error in said[2:]:
            assert "ShardError: the program hiding calls one that `shard` has marked, and is not marked itself" in error
        assert len(said) == 6


@pytest.mark.slow
@pytest.mark.parametrize("script", [DYNAMICS, MORE, OWN], ids=["dynamics", "more", "own"])
def test_other_steps_are_those_of_one_process(script, tmp_path):
    many = _over_ranks(script, tmp_path, size=3 if script is MORE else 2)
    assert many[0] == many[1]
    _check_same(_alone(script), many[0])


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    return _over_ranks(REFUSED, tmp_path_factory.mktemp("refused"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("data", "rank 1 differs from rank 0 in its data"),
        ("rows", "shape (101, 3)"),
        ("steps", "its number of steps: 11, and not 10"),
        ("rate", "lr=1.1"),
        ("sites", "rank 1 differs from rank 0 in its program: shard(regression"),
        ("local", "'z'"),
        ("centred", "does not use its data row by row"),
        ("fixed", "has size 101 on a rank of 5"),
        ("renyi", "RenyiELBO"),
        ("optim", "Leave `optim` out"),
    ],
)
def test_ranks_that_differ_and_what_cannot_be_divided(refused, which, message):
    for said, _ in refused:
        assert message in said[which]


@pytest.mark.slow
def test_ranks_start_where_the_first_does(refused):
    assert refused[0][1] == refused[1][1]
