"""What a fit has found: values by name, standard errors by the delta method, a table, and a program that starts there."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import CallError
from sursum.optimise.fit_result import FitResult, started

D = torch.float64


def double(value):
    return torch.tensor(value, dtype=D)


def model(y):
    """The log density of (mu, log s) is that of n normal data."""
    mu = su.param("mu", double(0.0))
    s = su.param("s", double(1.0), constraint=constraints.positive)
    su.deterministic("twice", 2 * mu + double([0.0, 1.0]))
    su.deterministic("count", torch.tensor(3))
    with su.plate("row", len(y)):
        su.sample("y", dist.Normal(mu, s), obs=y)


Y = double([1.0, 2.0, 4.0, 7.0])


@pytest.fixture(scope="module")
def fit():
    return su.infer.Fit(model).run(Y)


def test_it_is_a_mapping_of_what_was_found(fit):
    assert list(fit) == ["mu", "s", "twice", "count"]
    assert len(fit) == 4
    assert fit.fitted == ("mu", "s")
    np.testing.assert_allclose([fit["mu"], fit["s"], *fit["twice"]], [3.5, Y.std(correction=0), 7.0, 8.0], rtol=1e-7)
    np.testing.assert_allclose(fit.unconstrained, [3.5, float(Y.std(correction=0).log())], rtol=1e-7)
    with pytest.raises(KeyError, match=r"no site 'nu' in this fit. Did you mean 'mu'"):
        fit["nu"]
    with pytest.raises(AttributeError, match=r"fit\['mu'\]"):
        fit.mu  # noqa: B018


def test_standard_errors_by_closed_form(fit):
    """Of n normal data: s / √n for mu, s / √(2 n) for s, and twice the first for 2 mu + c."""
    s = float(fit["s"])
    assert list(fit.standard_errors) == ["mu", "s", "twice"]
    np.testing.assert_allclose(fit.standard_errors["mu"], s / 2, rtol=1e-5)
    np.testing.assert_allclose(fit.standard_errors["s"], s / np.sqrt(8), rtol=1e-5)
    np.testing.assert_allclose(fit.standard_errors["twice"], [s, s], rtol=1e-5)
    assert fit.undetermined == ()
    assert fit.standard_errors is fit.standard_errors


def made(**changes):
    """A result that nothing was fitted for."""
    settings = {
        "sites": {"w": torch.arange(3.0), "k": torch.tensor(2)},
        "fitted": ("w",),
        "params": su.ParamStore(),
        "program": lambda: None,
        "log_density": -12.3456789,
        "converged": True,
        "message": "It ended.",
        "num_steps": 3,
        "unconstrained": np.arange(3.0),
        "density": None,
    }
    return FitResult(**(settings | changes))


def test_without_a_density_there_are_no_errors():
    found = made()
    assert list(found.standard_errors) == ["w"]
    assert torch.isnan(found.standard_errors["w"]).all()
    assert found.standard_errors["w"].dtype == D
    assert found.undetermined == ()
    assert [line.split() for line in str(found).splitlines()] == [
        ["value", "standard", "error"],
        ["w[0]", "0", "-"],
        ["w[1]", "1", "-"],
        ["w[2]", "2", "-"],
        ["k", "2", "-"],
        [],
        ["log", "density", "-12.3457.", "It", "ended."],
    ]
    assert repr(found) == str(found)


@pytest.mark.parametrize(("count", "shown", "left"), [(12, 12, None), (13, 11, 2), (40, 11, 29)])
def test_a_long_site_is_cut(count, shown, left):
    lines = str(made(sites={"w": torch.arange(float(count))})).splitlines()
    rows = [line.split() for line in lines if line.startswith("w[")]
    assert len(rows) == shown
    assert rows[-1][:2] == [f"w[{count - 1}]", str(count - 1)]
    assert [line for line in lines if "more" in line] == ([] if left is None else [f"… {left} more"])


def test_what_the_data_do_not_determine():
    def program():
        a, b = su.param("a", double(0.0)), su.param("b", double(0.0))
        su.sample("y", dist.Normal(a + b, 1.0), obs=double(1.0))

    density = su.compile(su.lift(program, su.priors.flat))
    found = made(sites={"a": double(0.5), "b": double(0.5)}, unconstrained=np.array([0.5, 0.5]), density=density)
    assert set(found.undetermined) == {"a", "b"}
    assert torch.isnan(found.standard_errors["a"])
    assert "No standard errors: the log density has no strict maximum in 'a', 'b'." in str(found)


def test_a_program_that_starts_elsewhere():
    def program():
        su.param("s", double(1.0))
        su.sample("z", dist.Normal(double(0.0), 1.0))
        su.sample("y", dist.Normal(double(0.0), 1.0), obs=double(0.5))

    values = {"s": double(3.0), "z": double(4.0), "y": double(5.0)}
    with su.trace() as t:
        started(program, values=values)()
    assert float(t.trace["s"].value) == 3.0
    assert float(t.trace["z"].init) == 4.0
    assert float(t.trace["z"].value) != 4.0
    assert t.trace["y"].init is None
    assert float(t.trace["y"].value) == 0.5
    # What a handler inside has set is left alone.
    with su.trace() as t:
        started(su.substitute(program, data={"s": double(7.0)}), values=values)()
    assert float(t.trace["s"].value) == 7.0


def test_a_fit_that_was_saved_is_the_same_without_its_density(tmp_path):
    def program(y):
        mu = su.sample("mu", dist.Normal(0.0, 10.0))
        s = su.param("s", torch.tensor(1.0), constraint=dist.constraints.positive)
        su.sample("y", dist.Normal(mu, s).expand([4]).to_event(1), obs=y)

    fit = su.infer.Fit(program).run(torch.tensor([1.0, 2.0, 4.0, 5.0]))
    shown = str(fit)
    fit.save(tmp_path / "fit.npz")
    again = su.infer.FitResult.load(tmp_path / "fit.npz", program)
    assert dict(again.items()).keys() == dict(fit.items()).keys()
    assert all(torch.equal(again[name], fit[name]) for name in fit)
    assert str(again) == shown
    assert again.fitted == fit.fitted
    assert torch.equal(again.params["s"], fit.params["s"].detach())
    su.infer.Fit(program, init=again).run(torch.tensor([1.0, 2.0, 4.0, 5.0]))
    copied = pickle.loads(pickle.dumps(su.infer.FitResult.load(tmp_path / "fit.npz")))
    assert torch.equal(copied["mu"], fit["mu"])
    with pytest.raises(CallError, match="this fit was loaded without its program"):
        copied.program(torch.zeros(4))


def test_a_pickled_fit_has_all_but_the_density(fit):
    assert fit.density is not None
    errors = fit.standard_errors
    for found in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):
        assert {name: value.tolist() for name, value in found.items()} == {n: v.tolist() for n, v in fit.items()}
        assert (found.log_density, found.converged, found.fitted) == (fit.log_density, fit.converged, fit.fitted)
        assert found.density is None
        assert {n: v.tolist() for n, v in found.standard_errors.items()} == {n: v.tolist() for n, v in errors.items()}
