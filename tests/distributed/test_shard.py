"""A density in parts of rows, over threads: the same numbers, whatever the threads; and programs that cannot be divided."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.row_regression import PLACES, X, Y, regression

import sursum as su
import sursum.distributions as dist
from sursum.distributed import shard
from sursum.distributed.density import _parts
from sursum.distributed.rows import divide
from sursum.errors import OptionError, ShardError


def network(x, y):
    w = su.param("w", torch.ones(3, dtype=torch.float64))
    s = su.param("s", torch.tensor(1.0, dtype=torch.float64), constraint=dist.constraints.positive)
    su.sample("other", dist.Normal(s, 1.0), obs=torch.tensor(0.3, dtype=torch.float64))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(x @ w, s), obs=y)


def lifting(program):
    return su.lift(program, prior={"w": dist.Normal(0.0, 1.0), "s": dist.Gamma(2.0, 1.0)})


LIFTED = lifting(network)


@pytest.mark.parametrize("program", [regression, LIFTED], ids=["regression", "lifted"])
def test_the_parts_add_up_and_threads_change_nothing(program):
    whole = su.compile(program, X, Y)
    one, two = (su.compile(shard(program, plate="data", threads=threads), X, Y) for threads in (1, 2))
    assert one.engine == "native in 2 parts"
    assert one.density.coordinate_names() == whole.density.coordinate_names()
    for q in PLACES:
        value, gradient = whole.value_and_grad(q)
        found, slope = one.value_and_grad(q)
        # Sums of a hundred terms in another order: some units in the last place of their size.
        np.testing.assert_allclose(found, value, rtol=1e-12)
        np.testing.assert_allclose(slope, gradient, rtol=1e-12, atol=1e-12 * np.abs(gradient).max())
        other, again = two.value_and_grad(q)
        assert other == found
        np.testing.assert_array_equal(again, slope)


def test_handlers_may_be_around_it():
    inside, around = (
        su.compile(one, X, Y)
        for one in (shard(LIFTED, plate="data", threads=1), lifting(shard(network, plate="data", threads=1)))
    )
    assert around.engine == "native in 2 parts"
    for q in PLACES:
        assert around.value_and_grad(q)[0] == inside.value_and_grad(q)[0]


def test_a_program_is_divided_once():
    with pytest.raises(OptionError, match="by the rows of the plate 'data' already"):
        shard(su.handlers.mask(shard(regression, plate="data"), mask=True), plate="data")


def test_methods_take_a_sharded_program():
    sharded = shard(regression, plate="data", threads=1)
    fit, whole = (su.infer.Fit(program).run(X, Y) for program in (sharded, regression))
    np.testing.assert_allclose(fit["b"], whole["b"], atol=1e-5)
    np.testing.assert_allclose(fit.log_density, whole.log_density, rtol=1e-10)
    laplace = su.infer.Laplace(sharded, seed=0).run(X, Y)
    np.testing.assert_allclose(laplace["b"].mean((0, 1)), fit["b"], atol=0.05)
    mcmc = su.infer.MCMC(su.infer.NUTS(sharded), num_warmup=200, num_samples=200, num_chains=2, seed=0, progress=False)
    found = mcmc.run(X, Y)
    sd = found["b"].std((0, 1))
    assert (found["b"].mean((0, 1)) - whole["b"]).abs().div(sd).max() < 5 * 200**-0.5
    assert found.predict()["y"].shape == (2, 200, 101)


def test_only_named_arguments_are_cut():
    square = torch.eye(3, dtype=torch.float64)

    def program(x, mix, y):
        regression(x @ mix, y)

    x, y = X[:3], Y[:3]  # as many rows as the matrix has
    value, _ = su.compile(program, x, square, y).value_and_grad(PLACES[0])
    parts = su.compile(shard(program, plate="data", split=[0, 2], threads=1), x, square, y)
    np.testing.assert_allclose(parts.value_and_grad(PLACES[0])[0], value, rtol=1e-12)


@pytest.mark.parametrize(("rows", "parts"), [(1, 1), (3, 2), (1999, 3), (7999, 15), (10**6, 16)])
def test_the_number_of_parts_is_by_the_rows(rows, parts):
    slices = divide(rows, _parts(rows))
    assert len(slices) == parts
    assert [i for part in slices[:2] for i in range(part.start, part.stop)] == list(range(slices[:2][-1].stop))
    assert slices[-1].stop == rows


def centred(x, y):
    b = su.sample("b", dist.Normal(0.0, 2.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(b * (x - x.mean()), 1.0), obs=y)


def local(x, y):
    with su.plate("data", len(y)):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(z, 1.0), obs=y)


def fixed(x, y):
    b = su.sample("b", dist.Normal(0.0, 2.0))
    with su.plate("data", 101):
        su.sample("y", dist.Normal(b, 1.0), obs=Y)


def loop(x, y):
    b = su.sample("b", dist.Normal(0.0, 2.0))
    for i in su.plate("data", len(y)):
        su.sample(f"y{i}", dist.Normal(b, 1.0), obs=y[i])


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        (centred, {}, "does not use its data row by row"),
        (local, {}, "site 'z' .* is unknown, and in the plate 'data'"),
        (fixed, {}, "size 101 in a part of 51 rows"),
        (loop, {}, "is a loop"),
        (regression, {"plate": "rows"}, "no plate 'rows'.*'data'"),
        (regression, {"split": ["z"]}, "names the argument 'z'"),
    ],
)
def test_what_cannot_be_divided(program, options, message):
    x = X[:, 0] if program is centred else X
    with pytest.raises(ShardError, match=message):
        su.compile(shard(program, **{"plate": "data", **options}), x, Y)


@pytest.mark.parametrize("options", [{"plate": 3}, {"split": "x"}, {"threads": 0}, {"model": None}])
def test_bad_settings(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        shard(**{"model": regression, "plate": "data", **options})
