"""Dtypes and devices that do not go together: which data are to blame, and in what words."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sursum as su
import sursum.distributions as dist
from sursum.core.trace import Trace
from sursum.density.dtype_errors import explain_torch_errors, mismatch
from sursum.errors import OutOfRangeError, SiteError

PRIOR = dist.Normal(0.0, 1.0)
CLASH = RuntimeError("expected m1 and m2 to have the same dtype, but got: double != float\nand more")


def traced(program):
    with su.trace() as t:
        program()
    return t.trace


NETWORK = traced(lambda: su.module("net", nn.Sequential(nn.Linear(2, 1))))
SITES = traced(lambda: (su.sample("w", PRIOR), su.sample("y", PRIOR, obs=torch.tensor(0.0)), su.sample("k", dist.Poisson(1.0))))


def test_data_against_a_network():
    found = mismatch(CLASH, NETWORK, {"x": torch.zeros(3, 2, dtype=torch.float64)})
    assert type(found) is SiteError
    assert str(found) == (
        "network 'net' computes in torch.float32 on cpu, but the data in x are torch.float64 on cpu "
        "(shape (3, 2)); torch says: expected m1 and m2 to have the same dtype, but got: double != float. Convert the data, "
        "x.to(dtype=…, device=…), or the network."
    )


def test_data_against_a_site():
    found = mismatch(CLASH, SITES, {"x": [torch.zeros(3, dtype=torch.float64)]})
    assert str(found).startswith(f"sample site {SITES['w']} has torch.float32 on cpu (shape ()), but the data")
    assert "x.to(torch.float32)" in str(found)


def test_floating_data_are_blamed_before_integers():
    data = {"k": torch.zeros(2, dtype=torch.int64), "x": torch.zeros(2, dtype=torch.float64)}
    for sites in (NETWORK, SITES):
        assert "the data in x are torch.float64" in str(mismatch(CLASH, sites, data))
        assert "the data in k are torch.int64" in str(mismatch(CLASH, sites, {"k": data["k"]}))


def test_another_device():
    assert "x are torch.float32 on meta" in str(mismatch(CLASH, NETWORK, {"x": {"deep": torch.zeros(2, device="meta")}}))


@pytest.mark.parametrize(
    ("error", "sites", "data"),
    [
        (RuntimeError("shape '[2]' is invalid for input of size 3"), NETWORK, {"x": torch.zeros(2, dtype=torch.float64)}),
        (CLASH, NETWORK, {"x": torch.zeros(2)}),
        (CLASH, NETWORK, {"x": 3.0}),
        (CLASH, Trace(), {"x": torch.zeros(2, dtype=torch.float64)}),
        (CLASH, traced(lambda: su.sample("y", PRIOR, obs=torch.tensor(0.0))), {"x": torch.zeros(2, dtype=torch.float64)}),
    ],
)
def test_what_is_of_another_kind_is_left_alone(error, sites, data):
    assert mismatch(error, sites, data) is None


def test_a_network_is_named_without_the_path_of_the_parameter():
    bare = traced(lambda: su.module("", nn.Linear(2, 1)))
    deep = traced(lambda: su.module("a.b", nn.Sequential(nn.Sequential(nn.Linear(2, 1)))))
    x = {"x": torch.zeros(2, dtype=torch.float64)}
    assert str(mismatch(CLASH, bare, x)).startswith("network '' computes")
    assert str(mismatch(CLASH, deep, x)).startswith("network 'a.b' computes")


def model(first, /, second, *others, third=None):
    """Never run."""


@pytest.mark.parametrize(
    ("program", "args", "kwargs", "name"),
    [
        (model, (torch.zeros(2, dtype=torch.float64),), {}, "first"),
        (model, (1, torch.zeros(2, dtype=torch.float64)), {}, "second"),
        (model, (1, 2, torch.zeros(2, dtype=torch.float64)), {}, "argument 3"),
        (model, (1, 2), {"third": torch.zeros(2, dtype=torch.float64)}, "third"),
        (su.poutine.scale(su.poutine.trace(model), 2.0), (torch.zeros(2, dtype=torch.float64),), {}, "first"),
        (min, (torch.zeros(2, dtype=torch.float64),), {}, "argument 1"),
    ],
)
def test_an_argument_is_called_as_the_program_calls_it(program, args, kwargs, name):
    with (
        pytest.raises(SiteError, match=f"the data in {name} are torch.float64") as caught,
        explain_torch_errors(lambda: NETWORK, program, args, kwargs),
    ):
        raise CLASH
    assert caught.value.__cause__ is CLASH


def test_an_index_is_told_with_the_last_site():
    with pytest.raises(OutOfRangeError, match=r"after site 'k'\)"), explain_torch_errors(lambda: SITES, model, (), {}):
        torch.zeros(3)[torch.tensor([3])]


@pytest.mark.parametrize(
    "error", [KeyError("x"), SiteError("ours"), RuntimeError("no such thing"), IndexError("list index out of range")]
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, explain_torch_errors(lambda: NETWORK, model, (), {}):
        raise error
    assert caught.value is error


def test_data_that_are_integers() -> None:
    net = nn.Linear(2, 1)

    def program(x):
        su.sample("y", dist.Normal(su.module("net", net)(x).squeeze(-1), 1.0).to_event(1), obs=torch.zeros(6))

    message = r"network 'net' computes in torch.float32 on cpu, but the data in .*x.* are torch.int64 on cpu .*Convert the data"
    with pytest.raises(SiteError, match=message):
        su.infer.LogDensity(su.lift(program, PRIOR), (torch.ones(6, 2, dtype=torch.int64),))
