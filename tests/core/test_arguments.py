"""Arrays and columns are data: as arguments of a program in every verb, as `obs=`, and as what handlers are given."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import CallError, ObservationError, ObservationWarning

X = np.linspace(-1.0, 1.0, 7) / 3
Y = 2 * X + 0.1


def line(x, y=None):
    b = su.sample("b", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
    with su.plate("n", len(x)):
        return su.sample("y", dist.Normal(b * x, 0.5), obs=y)


def received(*args, **kwargs):
    """What a program gets that is called so."""
    got = []
    su.poutine.trace(lambda *a, **k: got.append((a, k))).get_trace(*args, **kwargs)
    return (*got[0][0], *got[0][1].values())


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


@pytest.mark.parametrize(
    "verb",
    [
        lambda x, y: su.compile(line, x, y=y).value_and_grad([0.3])[0],
        lambda x, y: su.infer.Fit(line).run(x, y)["b"],
        lambda x, y: su.infer.Laplace(line, num_samples=2, seed=0).run(x, y=y)["b"],
        lambda x, y: su.infer.Pathfinder(line, seed=0, num_samples=5).run(x, y)["b"],
        lambda x, y: su.infer.Importance(line, num_samples=5, seed=0).run(x, y).log_weights,
        lambda x, y: su.infer.Predictive(line, num_samples=3, seed=0)(x)["y"],
        lambda x, y: su.infer.log_likelihood(line, {"b": torch.zeros(2)}, x, y=y)["y"],
        lambda x, y: su.trace(su.seed(line, 0)).get_trace(x, y).log_prob_sum(),
        lambda x, y: su.seed(line, 0)(x),
        lambda x, y: su.condition(line, {"b": np.array(0.3), "y": y})(x),
        lambda x, y: len(str(su.report(line, x, y))),
        lambda x, y: str(su.render(line, x, y)),
    ],
)
def test_every_verb_takes_arrays(verb):
    tensors, arrays = verb(torch.from_numpy(X), torch.from_numpy(Y)), verb(X, Y)
    assert np.array_equal(np.asarray(tensors), np.asarray(arrays))


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_run_and_what_comes_of_it(pandas):
    frame = pandas.DataFrame({"x": X, "y": Y})
    mcmc = su.infer.MCMC(su.infer.NUTS(line), num_samples=100, num_warmup=100, num_chains=2, seed=0, progress=False)
    of_columns, of_tensors = mcmc.run(frame.x, frame["y"]), mcmc.run(torch.tensor(X), torch.tensor(Y))
    assert torch.equal(of_columns["b"], of_tensors["b"])
    assert torch.equal(of_columns.observed["y"], torch.tensor(Y))
    assert torch.equal(of_columns.predict(frame.x, seed=1)["y"], of_tensors.predict(torch.tensor(X), seed=1)["y"])
    assert torch.equal(of_columns.log_likelihood()["y"], of_tensors.log_likelihood()["y"])


def test_variational_inference():
    def losses(x, y):
        svi = su.infer.SVI(line, su.infer.autoguide.AutoNormal(line), su.optim.Adam({"lr": 0.1}), seed=0, engine="torch")
        svi.run(3, x, y)
        svi.step(x, y)
        return svi.losses, svi.sample(3)["b"]

    for of_arrays, of_tensors in zip(losses(X, Y), losses(torch.tensor(X), torch.tensor(Y)), strict=True):
        assert torch.equal(of_arrays, of_tensors)


def test_a_later_run_on_a_buffer_that_was_written_since():
    x, y = X.astype(np.float32), Y.copy()
    svi = su.infer.SVI(line, su.infer.autoguide.AutoNormal(line), su.optim.Adam({"lr": 1e-9}), seed=0, engine="torch")
    first = svi.run(1, x, y).losses
    y += 10.0
    assert float(svi.run(1, x, y).losses - first) > 100


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, ">i4"])
def test_integers_are_indices(dtype):
    (got,) = received(np.array([2, 0, 1], dtype=dtype))
    assert got.dtype == torch.int64
    assert torch.tensor([5.0, 6.0, 7.0])[got].tolist() == [7.0, 5.0, 6.0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8", np.longdouble, bool, np.complex64])
def test_no_digits_are_lost(dtype):
    array = np.array([0.1, 1.0]).astype(dtype)
    (got,) = received(array)
    assert np.array_equal(got.numpy(), array if dtype is not np.longdouble else array.astype(np.float64))
    assert got.dtype.itemsize == min(array.dtype.itemsize, 8)


def test_layouts_that_torch_has_not():
    grid = np.arange(12.0).reshape(3, 4)
    grid.flags.writeable = False
    record = np.zeros(3, dtype=[("a", "i1"), ("b", "f8")])
    for array in (grid, grid[::-1, ::-2], grid.T, record["b"]):
        assert np.array_equal(received(array)[0].numpy(), array)


def test_what_is_inside_of_containers_and_what_is_no_array():
    pair = namedtuple("pair", "a b")
    same = [1, [2.0, "three"], {"four": None}]
    got = received({"x": [np.array([1, 2], dtype=np.uint8)]}, pair(X, "name"), same, n=np.int64(3), scale=np.float32(0.5))
    assert got[0]["x"][0].dtype == torch.int64
    assert isinstance(got[1], pair)
    assert torch.equal(got[1].a, torch.tensor(X))
    assert got[2] is same
    assert [type(got[3]), type(got[4])] == [int, float]
    tensor = torch.ones(2, dtype=torch.uint8)
    assert received(tensor)[0] is tensor


def test_columns(pandas):
    whole = pandas.array([1, 2, 3], dtype="Int64")
    assert received(pandas.Series(whole))[0].tolist() == [1, 2, 3]
    assert received(pandas.array([True, False], dtype="boolean"))[0].dtype == torch.bool
    codes = pandas.Series(["b", "a", "b"], dtype="category").cat.codes
    assert received(codes)[0].tolist() == [1, 0, 1]
    frame = pandas.DataFrame({"x": X})
    assert received(frame)[0] is frame
    assert received(dict(frame))[0]["x"].dtype == torch.float64


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda pd: pd.Series(["a", "b"]), r"the argument 'x' holds text\..*pandas.factorize"),
        (lambda pd: np.array(["a", "b"]), "holds text"),
        (lambda pd: pd.Series(["a", "b"], dtype="category"), r"a column of categories\. .*`\.cat\.codes`"),
        (lambda pd: pd.Series(pd.date_range("2020", periods=2)), r"holds times\..*np\.timedelta64"),
        (lambda pd: pd.Series([1, None, 3], dtype="Int64"), r"has missing values, at \[1\]\. .*mask\(present\)"),
        (lambda pd: np.array([1, None]), r"has missing values, at \[1\]"),
        (lambda pd: np.ma.array([1, 2], mask=[True, False]), r"has missing values, at \[0\]"),
        (lambda pd: np.array([object()]), "holds Python objects, such as object"),
        (lambda pd: np.zeros(2, dtype=[("a", float)]), "records with the fields 'a'"),
        (lambda pd: np.array([2**63], dtype=np.uint64), "larger than any integer in torch"),
        (lambda pd: {"g": [np.array(["a"])]}, r"the argument 'x'\['g'\]\[0\] holds text"),
    ],
)
def test_what_is_no_data(pandas, make, said):
    with pytest.raises(CallError, match=said):
        su.poutine.trace(lambda x: x).get_trace(make(pandas))
    with pytest.raises(CallError, match=said):
        su.infer.LogDensity(lambda x: su.sample("b", dist.Normal(0.0, 1.0)), [make(pandas)])


def test_observations_and_given_values():
    model = lambda: su.sample("y", dist.Normal(torch.zeros(7), 1.0), obs=Y)
    assert torch.equal(su.poutine.trace(model).get_trace()["y"].value, torch.tensor(Y))
    with pytest.raises(ObservationError, match="the value given to site 'y' holds text"):
        su.sample("y", dist.Normal(0.0, 1.0), obs=np.array("a"))
    with pytest.raises(ObservationError, match="the value given to site 'y' .*holds text"):
        su.condition(line, {"y": np.array(["a"])})(X)
    with su.plate("n", 5, subsample=np.array([4, 0], dtype=np.uint8)) as rows:
        assert rows.tolist() == [4, 0]


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
@pytest.mark.parametrize(
    "run",
    [
        lambda x, y: su.infer.MCMC(su.infer.NUTS(line), num_samples=1, num_warmup=1, num_chains=1, progress=False).run(x, y),
        lambda x, y: su.infer.Laplace(line, num_samples=1).run(x, y),
        lambda x, y: su.infer.Pathfinder(line).run(x, y),
        lambda x, y: su.infer.SVI(line, su.infer.autoguide.AutoNormal(line), su.optim.Adam({"lr": 0.1})).step(x, y),
    ],
)
def test_empty_data_are_said(run):
    with pytest.warns(ObservationWarning, match=r"the data are empty, 'y' of shape \(0,\), so the result is the prior"):
        run(X[:0], Y[:0])
