"""Data are taken when a density is made: what the caller does with its buffers afterwards changes nothing."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.common.snapshot import snapshot_of

Pair = namedtuple("Pair", "a b")


@dataclass(frozen=True)
class Batch:
    x: Any
    name: str = "batch"


def test_tensors_and_arrays_are_copied_wherever_they_are() -> None:
    x, n = torch.ones(2), np.ones(2)
    kept = snapshot_of({"a": [x, (n, 1)], "b": Pair(x, None), "c": Batch(x)})
    x.zero_()
    n[:] = 0.0
    assert kept["a"][0].tolist() == kept["b"].a.tolist() == kept["c"].x.tolist() == [1.0, 1.0]
    assert kept["a"][1][0].tolist() == [1.0, 1.0]
    assert kept["c"].name == "batch"


def test_what_has_no_array_comes_back_itself() -> None:
    net, tree = torch.nn.Linear(1, 1), {"a": [1, "x", None]}
    assert snapshot_of(tree) is tree
    assert snapshot_of(net) is net
    assert snapshot_of(net.weight) is net.weight


def test_a_view_is_copied_alone_and_repetitions_are_not() -> None:
    big = torch.arange(1000.0)
    assert snapshot_of(big[:10]).untyped_storage().nbytes() == 40
    repeated = snapshot_of(torch.arange(3.0)[:, None].expand(3, 1000))
    assert repeated.untyped_storage().nbytes() == 12
    assert torch.equal(repeated, torch.arange(3.0)[:, None].expand(3, 1000))


def test_sites_are_computed_from_the_data_that_the_density_has() -> None:
    """Data in arguments, arrays that share memory, closures and buffers of networks."""
    top, shared, closed, net = torch.tensor(1.0), np.array([2.0]), torch.tensor(4.0), torch.nn.Linear(1, 1)
    net.register_buffer("scale", torch.tensor(8.0))
    y = torch.tensor([1.0, 2.0])

    def model(top, data, y):
        m = su.sample("m", dist.Uniform(0.0, top))
        su.deterministic("d", m * torch.as_tensor(data["shared"]) * closed * net.scale)
        with su.plate("n", 2):
            su.sample("y", dist.Normal(m, 1.0), obs=y)

    density = su.compile(model, top, {"shared": shared}, y, engine="torch")
    before = density.value_and_grad([0.0])[0]
    for buffer in (top, closed, net.scale, y):
        buffer.fill_(100.0)
    shared[:] = 100.0
    found = density.expand(np.zeros((1, 1)))
    assert found["m"].tolist() == [0.5]
    assert found["d"].tolist() == [[0.5 * 2 * 4 * 8]]
    assert density.density.observed["y"].tolist() == [1.0, 2.0]
    assert density.value_and_grad([0.0])[0] == before
    assert float(density.density(torch.zeros(1, dtype=torch.float64))) == pytest.approx(before, abs=1e-5)


def test_a_posterior_keeps_its_data() -> None:
    top, y = torch.tensor(1.0), torch.tensor([0.5, 0.25])

    def model(top, y):
        m = su.sample("m", dist.Uniform(0.0, top))
        with su.plate("n", 2):
            su.sample("y", dist.Normal(m, 1.0), obs=y)

    run = su.infer.MCMC(su.infer.NUTS(model), num_warmup=50, num_samples=50, num_chains=1, seed=0, progress=False).start(top, y)
    top.fill_(100.0)
    y.zero_()
    posterior = run.silently()
    assert posterior["m"].max() <= 1.0
    assert posterior.observed["y"].tolist() == [0.5, 0.25]
    assert posterior.program.args[1].tolist() == [0.5, 0.25]


def test_the_names_of_sites_need_no_second_run_in_another_default_dtype() -> None:
    def model():
        su.deterministic("d", su.sample("m", dist.Normal(torch.zeros(()), 1.0)) * 2)

    density = su.compile(model, engine="torch")
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert density.expand(np.ones((2, 1)))["d"].tolist() == [2.0, 2.0]
    finally:
        torch.set_default_dtype(before)


def test_new_data_make_a_new_density() -> None:
    def model(y):
        m = su.sample("m", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        su.sample("y", dist.Normal(m, 1.0), obs=y)

    y = torch.tensor(1.0, dtype=torch.float64)
    density = su.compile(model, y, engine="torch")
    y.fill_(3.0)
    other = density.with_data(y)
    assert other.value_and_grad([0.0])[0] - density.value_and_grad([0.0])[0] == pytest.approx(-4.0)
