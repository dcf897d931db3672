"""An optimiser's steps up a log density in C: those of torch, and what it says where there are none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.errors import CaptureError, OptimisationError
from sursum.infer import Fit

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

D = torch.float64
X = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=D)
Y = 2.0 * X + 0.5


def line(x: Tensor, y: Tensor) -> None:
    slope = su.sample("slope", dist.Normal(torch.zeros((), dtype=D), 1.0))
    sigma = su.param("sigma", torch.tensor(1.0, dtype=D), constraint=constraints.positive)
    with su.plate("data", len(x)):
        su.sample("y", dist.Normal(slope * x, sigma), obs=y)


def few(x: Tensor, y: Tensor) -> None:
    slope = su.sample("slope", dist.Normal(torch.zeros((), dtype=D), 1.0))
    with su.plate("data", len(x), subsample_size=4) as rows:
        su.sample("y", dist.Normal(slope * x[rows], 1.0), obs=y[rows])


def fits(program: Any, *data: Any, **settings: Any) -> dict[str, su.infer.FitResult]:
    return {engine: Fit(program, seed=3, engine=engine, **settings).run(*data) for engine in ("native", "torch")}


@pytest.mark.parametrize(
    "optim",
    [
        su.optim.Adam(lr=0.05),
        su.optim.SGD({"lr": 0.01, "momentum": 0.9}, clip_norm=1.0, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 5)),
    ],
)
def test_the_steps_are_torchs(optim: su.optim.Optim) -> None:
    found = fits(line, X, Y, optim=optim, num_steps=25, jacobian=True)
    assert {engine: fit.engine for engine, fit in found.items()} == {"native": "native", "torch": "torch"}
    for name, value in found["torch"].items():
        torch.testing.assert_close(found["native"][name], value, rtol=1e-9, atol=1e-9)
    assert found["native"].log_density == pytest.approx(found["torch"].log_density, rel=1e-9)
    assert "by the native engine. " in str(found["native"])


def test_single_precision_is_rounded_once_at_the_end() -> None:
    """The leaves in C are doubles; the caller's are those of the program."""
    torch.manual_seed(0)
    net = nn.Linear(1, 1)

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x[:, None].float()).squeeze(-1)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 1.0), obs=y.float())

    found = fits(program, X, Y, optim=su.optim.Adam(lr=0.05), num_steps=200)
    leaves = found["native"].params.unconstrained
    assert {leaf.dtype for leaf in leaves.values()} == {torch.float32}
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf, found["torch"].params.unconstrained[name], rtol=1e-4, atol=1e-5)
    assert not torch.equal(leaves["net.bias"], net.bias)


@pytest.mark.filterwarnings("ignore:the fit has no standard errors")
def test_the_rule_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    def engine(program: Any, *data: Any, num_steps: int = 4, optim: Any = None) -> str | None:
        return Fit(program, optim=optim or su.optim.SGD(lr=1e-3), num_steps=num_steps, seed=0).run(*data).engine

    monkeypatch.setattr("sursum.training.work.FEWEST", 4)
    loader = DataLoader(TensorDataset(X, Y), batch_size=5)
    assert engine(few, X, Y) == "native"
    assert engine(few, X, Y, num_steps=3) == "torch"
    assert engine(few, X, Y, optim=su.optim.RMSprop({"lr": 1e-3, "centered": True})) == "torch"
    assert engine(line, loader) == "torch"
    norm = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)).double()

    def normalised(x: Tensor, y: Tensor) -> None:
        su.sample("y", dist.Normal(su.module("net", norm)(x[:, None]).squeeze(-1), 1.0).to_event(1), obs=y)

    assert engine(normalised, X, Y) == "torch"
    with pytest.raises(CaptureError, match="layers in training mode update their buffers"):
        Fit(normalised, optim=su.optim.SGD(lr=1e-3), num_steps=4, engine="native").run(X, Y)


def test_batches_of_a_loader() -> None:
    """Both have the same batches in the same order, and the last, smaller one is another function."""
    data = DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True)
    found = fits(line, data, optim=su.optim.Adam(lr=0.05), num_steps=7)
    assert found["native"].engine == "native"
    for name in ("slope", "sigma"):
        torch.testing.assert_close(found["native"][name], found["torch"][name], rtol=1e-9, atol=1e-9)


def test_by_python_where_that_is_asked_for() -> None:
    fit = Fit(line, optim=su.optim.Adam(lr=0.05), num_steps=25, seed=3, engine="eager").run(X, Y)
    assert fit.engine == "eager"
    assert fit.density is not None
    by_torch = Fit(line, optim=su.optim.Adam(lr=0.05), num_steps=25, seed=3, engine="torch").run(X, Y)
    torch.testing.assert_close(fit["sigma"], by_torch["sigma"], rtol=1e-12, atol=0.0)
    with pytest.raises(OptimisationError, match="`engine` is 'eager', but must be 'native', 'torch' or None"):
        Fit(line, engine="eager")


def test_what_has_no_steps_in_c() -> None:
    with pytest.raises(CaptureError, match="takes the steps of SGD, Adam, AdamW, Adagrad and RMSprop"):
        Fit(line, optim=su.optim.Adam({"lr": 0.1, "amsgrad": True}), engine="native").run(X, Y)


def test_a_log_density_that_is_not_finite_names_the_site() -> None:
    def program() -> None:
        mu = su.param("mu", torch.tensor(0.0, dtype=D))
        su.factor("edge", torch.where(mu < 2.5, mu, -torch.inf))

    with pytest.raises(OptimisationError, match=r"not finite at step 3, by 'edge'"):
        Fit(program, optim=su.optim.SGD(lr=1.0), num_steps=9, engine="native").run()
