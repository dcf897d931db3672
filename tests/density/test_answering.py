"""The handler that answers latent sites: what is latent, and what each step of a scan gets."""

from dataclasses import field
from functools import partial
from typing import Any

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.core.runtime import handler
from sursum.density.answering import Answering
from sursum.density.unconstrain import Placed
from sursum.errors import DensityError, DiagnosticWarning


@handler
class Sevens(Answering):
    """Answers with 7, 8, … of the shape that is asked for, and remembers for what."""

    asked: list[Any] = field(default_factory=list)

    def latent(self, site, steps):
        sizes = tuple(step.size for step in steps)
        self.asked.append((site.name, sizes))
        shape = sizes + tuple(site.fn.batch_shape + site.fn.event_shape)
        return 7.0 + torch.arange(torch.Size(shape).numel()).reshape(shape)


def values(model, at):
    with su.poutine.trace() as recorder, at:
        model()
    return {name: site.value.tolist() for name, site in recorder.trace.items()}


def test_only_latent_sites_are_answered():
    def model():
        su.param("p", torch.tensor(1.0))
        su.sample("seen", dist.Normal(0.0, 1.0), obs=torch.tensor(2.0))
        su.sample("point", dist.Delta(torch.tensor([3.0])).to_event(1))
        with su.plate("rows", 2):
            su.sample("z", dist.Normal(0.0, 1.0))

    at = Sevens()
    assert values(model, at) == {"p": 1.0, "seen": 2.0, "point": [3.0], "z": [7.0, 8.0]}
    assert at.asked == [("z", ())]


def test_a_site_with_a_value_is_not_latent():
    with Sevens() as running, su.substitute(data={"z": torch.tensor(0.5)}):
        assert su.sample("z", dist.Normal(0.0, 1.0)) == 0.5
    assert running.asked == []


def test_a_scan_is_answered_once_and_each_step_takes_its_part():
    def model():
        def step(x, _):
            z = su.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return x, z

        _, z = su.scan(step, torch.tensor(0.0), length=3)
        su.deterministic("kept", z)

    at = Sevens()
    rows = [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]
    assert values(model, at) == {"z": rows, "kept": rows}
    assert at.asked == [("z", (3,))]
    assert values(model, at)["z"] == rows
    assert at.asked == 2 * [("z", (3,))]


def test_scans_in_scans_are_answered_once():
    def model():
        def inner(x, _):
            return x, su.sample("z", dist.Normal(0.0, 1.0))

        def outer(x, _):
            return x, su.scan(inner, x, length=2)[1]

        su.deterministic("kept", su.scan(outer, torch.tensor(0.0), length=3)[1])

    at = Sevens()
    assert values(model, at)["kept"] == [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]
    assert at.asked == [("z", (3, 2))]


def test_coordinates_become_values_and_jacobians():
    def model():
        su.sample("s", dist.LogNormal(0.0, 1.0).expand([2]).to_event(1))
        su.sample("x", dist.Normal(0.0, 1.0))

    with Placed(choose=lambda site, shape, onto: torch.full(shape, 0.5)) as at, su.poutine.trace() as recorder:
        model()
    assert torch.allclose(recorder.trace["s"].value, torch.full((2,), 0.5).exp())
    assert recorder.trace["x"].value == 0.5
    assert list(at.jacobians) == ["s"]
    assert float(at.jacobians["s"][1].sum()) == pytest.approx(1.0)
    assert at.placed == {"s", "x"}


@pytest.mark.parametrize("optim", [None, partial(torch.optim.Adam, lr=0.1)])
def test_discrete_sites_are_refused_by_one_sentence(optim):
    def model():
        su.sample("k", dist.Poisson(3.0))

    with pytest.raises(DensityError, match=r"latent site 'k' \(.*\) is discrete \(Poisson\), but gradients need continuous"):
        su.infer.Fit(model, optim=optim, num_steps=1).run()


Y = torch.tensor([[0.3, 1.1], [0.9, 0.2], [1.8, 0.5]], dtype=torch.float64)


def walks(y, size=None):
    """Two random walks in a scan, and a positive site of each step, whose mode is known."""
    m = su.sample("m", dist.Normal(0.0, 1.0))
    with su.plate("series", y.shape[1], subsample_size=size) as rows:

        def step(x, row):
            x = su.sample("x", dist.Normal(x, 1.0))
            su.sample("y", dist.Normal(x, 1.0), obs=row)
            su.sample("none", dist.Poisson(su.sample("v", dist.Gamma(torch.full((), 3.0), 2.0))), obs=torch.zeros(len(rows)))
            return x, None

        su.scan(step, m.expand(len(rows)).double(), y[:, rows])


def exact_mode():
    """The mean of the joint normal of m and the walks: the solution of its normal equations."""
    q = torch.zeros(7, 7, dtype=torch.float64)
    b = torch.zeros(7, dtype=torch.float64)
    q[0, 0] = 1.0
    for series in range(2):
        for t in range(3):
            here, before = 1 + 3 * series + t, 3 * series + t if t else 0
            for i, j, one in ((here, here, 2.0), (before, before, 1.0), (here, before, -1.0), (before, here, -1.0)):
                q[i, j] += one
            b[here] += Y[t, series]
    found = torch.linalg.solve(q, b)
    return {"m": found[0], "x": found[1:].reshape(2, 3).T}


@pytest.mark.parametrize(("jacobian", "v"), [(False, 2 / 3), (True, 1.0)])
def test_optimisers_fit_scans(jacobian, v):
    lbfgs = partial(torch.optim.LBFGS, line_search_fn="strong_wolfe")
    found = su.infer.Fit(walks, jacobian=jacobian, optim=lbfgs, num_steps=20, seed=0).run(Y)
    exact = exact_mode() | {"v": torch.full((3, 2), v).double()}
    for name, value in exact.items():
        assert found.sites[name].shape == value.shape
        assert torch.allclose(found.sites[name].double(), value, atol=1e-3), name


def test_optimisers_start_scans_where_they_are_told():
    start = {"x": torch.arange(6.0).reshape(3, 2).double(), "v": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])}
    still = partial(torch.optim.SGD, lr=0.0)
    with pytest.warns(DiagnosticWarning, match="too few"):
        found = su.infer.Fit(walks, optim=still, num_steps=1, init=start, seed=0).run(Y)
    assert torch.allclose(found.sites["x"], start["x"])
    assert torch.allclose(found.sites["v"].float(), start["v"])


def test_subsamples_around_a_scan_move_the_elements_that_are_present():
    with pytest.warns(DiagnosticWarning, match="too few"):
        found = su.infer.Fit(walks, optim=partial(torch.optim.SGD, lr=0.01), num_steps=1, seed=0).run(Y, 1)
    moved = (found.sites["x"] != 0.0).all(0)
    assert found.sites["x"].shape == (3, 2)
    assert moved.sum() == 1
    # One element stands for two: the gradient of a step is twice that of the element.
    present = int(moved.nonzero())
    assert torch.allclose(found.sites["x"][:, present].double(), 2 * 0.01 * Y[:, present], atol=1e-7)
    assert torch.allclose(found.sites["v"][:, present].log(), torch.tensor(2 * 0.01 * (2.0 - 3.0)).expand(3), atol=1e-6)
