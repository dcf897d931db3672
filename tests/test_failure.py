"""An exception from inside a program names the line, the values in it, their sites, and what may help."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import SiteError


def product(x):
    b = su.sample("beta", dist.Normal(torch.zeros(4), 1.0).to_event(1))
    return x @ b


def numpys(x):
    b = su.param("beta", torch.zeros(4))
    return np.exp(b)


def indexed(group):
    a = su.sample("a", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    return a[group]


def note_of(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever torch raises
        call()
    (note,) = caught.value.__notes__
    return note


def test_dtypes_that_do_not_go_together():
    note = note_of(lambda: su.poutine.trace(product).get_trace(torch.zeros(30, 4, dtype=torch.float64)))
    assert "test_failure.py:" in note
    assert "x is a tensor of shape (30, 4) of torch.float64" in note
    assert "b (site 'beta') is a tensor of shape (4,) of torch.float32" in note
    assert "Bring them to one dtype" in note


def test_shapes_that_do_not_go_together():
    note = note_of(lambda: su.poutine.trace(product).get_trace(torch.zeros(30, 3)))
    assert "x is a tensor of shape (30, 3)" in note
    assert "The inner sizes of a product must be the same" in note


def test_a_function_of_numpys():
    leaf = torch.zeros(4, requires_grad=True)
    note = note_of(lambda: su.poutine.trace(su.substitute(numpys, data={"beta": leaf})).get_trace(None))
    assert "b (site 'beta')" in note
    assert "torch.exp in place of np.exp" in note


@pytest.mark.parametrize(("group", "said"), [(torch.tensor([0.0, 1.0]), "index.long()"), (torch.tensor([3]), "count from 0")])
def test_indices(group, said):
    note = note_of(lambda: su.poutine.trace(indexed).get_trace(group))
    assert "a (site 'a') is a tensor of shape (3,)" in note
    assert said in note


def test_our_own_errors_have_no_note():
    with pytest.raises(SiteError) as caught:
        su.poutine.trace(lambda: su.sample("x", 3.0)).get_trace()
    assert not getattr(caught.value, "__notes__", [])


def test_a_line_that_nobody_can_read():
    program = eval("lambda x: x @ x.double()")
    assert "In the program, at <string>:1" in note_of(lambda: su.poutine.trace(program).get_trace(torch.zeros(3)))
