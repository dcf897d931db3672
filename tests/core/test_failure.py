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
    assert "Convert them to one dtype" in note


def test_shapes_that_do_not_go_together():
    note = note_of(lambda: su.poutine.trace(product).get_trace(torch.zeros(30, 3)))
    assert "x is a tensor of shape (30, 3)" in note
    assert "The inner sizes of a product must be equal" in note


def test_a_function_of_numpys():
    leaf = torch.zeros(4, requires_grad=True)
    note = note_of(lambda: su.poutine.trace(su.substitute(numpys, data={"beta": leaf})).get_trace(None))
    assert "b (site 'beta')" in note
    assert "torch.exp instead of np.exp" in note


@pytest.mark.parametrize(("group", "said"), [(torch.tensor([0.0, 1.0]), "index.long()"), (torch.tensor([3]), "run from 0")])
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


def test_columns_that_the_program_took_from_outside():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.0, 2.0]})

    def outside():
        b = su.param("b", torch.zeros((), requires_grad=True))
        return b * frame["x"]

    leaf = torch.zeros((), requires_grad=True)
    note = note_of(lambda: su.poutine.trace(su.substitute(outside, data={"b": leaf})).get_trace())
    assert "test_failure.py:" in note
    assert "b (site 'b')" in note
    assert "frame is a pandas DataFrame" in note
    assert "pass arrays and columns to the program as arguments, of a whole data frame its x.to_numpy(), or write" in note


@pytest.mark.parametrize(
    ("line", "x", "said"),
    [
        (lambda x: torch.zeros(len(x)), 0.5, "x is 0.5. Data are tensors, even a single number: torch.tensor([x])"),
        (lambda x: torch.from_numpy(x), np.zeros(2), "a program receives array and column arguments as tensors"),
        (lambda x: x.astype("f4"), np.zeros(2), "arguments as tensors: drop the conversion"),
        (
            lambda x: x.max().item(),
            torch.zeros(2, device="meta"),
            "of shape (2,) of torch.float32 on meta. A tensor on the meta",
        ),
        (lambda x: dist.Normal([0.0], x), torch.ones(1), "data are tensors: pass arrays"),
    ],
)
def test_data_of_other_kinds(line, x, said):
    assert said.lower() in note_of(lambda: su.poutine.trace(line).get_trace(x)).lower()


def test_a_data_frame_used_as_a_matrix():
    frame = pytest.importorskip("pandas").DataFrame({"a": [1.0, 2.0], "b": [0.5, 0.1]})

    def model(x):
        w = su.param("w", torch.zeros(2))
        return su.sample("y", dist.Normal(x @ w, 1.0))

    note = note_of(lambda: su.poutine.trace(model).get_trace(frame))
    assert "x is a pandas DataFrame" in note
    assert "of a whole data frame its x.to_numpy()" in note
    su.poutine.trace(model).get_trace(frame.to_numpy(dtype=np.float32))  # as it says


def test_arguments_of_different_lengths():
    def model(treated, weeks):
        with su.plate("data", len(treated)):
            rate = torch.exp(su.sample("a", dist.Normal(0.0, 1.0)) * treated)
            su.sample("y", dist.Censored(dist.Weibull(rate, 1.0), high=weeks), obs=weeks)

    with pytest.raises(RuntimeError, match="do not broadcast") as caught:
        su.infer.LogDensity(model, (torch.zeros(2), torch.ones(3)))
    assert "arguments of one plate have as many rows each" in caught.value.__notes__[0].lower()


def test_the_support_of_censored_data_shows_its_bounds():
    bound = torch.tensor([2.0, 5.0])
    assert repr(dist.Censored(dist.Weibull(1.0, 1.0), high=bound).support).endswith(", high=2 to 5)")
    assert repr(dist.Censored(dist.Normal(0.0, 1.0), low=torch.tensor(-1.0)).support).endswith(", low=-1)")


def test_a_statement_of_several_lines():
    def model(
        x,
        unused=None,
    ):
        b = su.sample("beta", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        with su.plate("n", 3):
            return su.sample(
                "y",
                dist.Normal(x @ b, 1.0),
            )

    note = note_of(lambda: su.poutine.trace(model).get_trace(torch.zeros(3, 5)))
    assert "x is a tensor of shape (3, 5)" in note
    assert "b (site 'beta') is a tensor of shape (4,)" in note
    assert "unused" not in note
