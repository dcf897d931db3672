"""SWAG: the moments of iterates that are known, and its Gaussian."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptimisationError, SamplingError, VariationalError
from sursum.networks.swag import SWAG, Moments
from sursum.training.training import Training

X = torch.tensor([[0.5, 1.0], [1.0, -0.5], [-1.0, 0.3], [0.2, 0.8]], dtype=torch.float64)
Y = torch.tensor([1.0, 0.5, -0.5, 0.9], dtype=torch.float64)


def test_the_iterates_are_those_of_gradient_descent() -> None:
    """On a least-squares problem they are known: the moments are those of a sequence computed by hand."""
    net = nn.Linear(2, 1, bias=False).double()
    nn.init.zeros_(net.weight)

    def model(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 1.0), obs=y)

    swag = SWAG(model, su.optim.SGD({"lr": 0.1}), num_steps=40, num_warmup=5, every=4, rank=6, num_samples=20_000, seed=0)
    posterior = swag.run(X, Y)
    w, kept = torch.zeros(2, dtype=torch.float64), []
    for step in range(1, 46):
        w = w + 0.1 * X.mT @ (Y - X @ w)
        if step > 5 and (step - 5) % 4 == 0:
            kept.append(w)
    iterates = torch.stack(kept)
    mean = iterates.mean(0)
    running = torch.stack([iterates[: i + 1].mean(0) for i in range(10)])
    low = (iterates - running)[-6:]
    covariance = 0.5 * torch.diag(iterates.var(0, unbiased=False)) + 0.5 * low.mT @ low / 5
    draws = posterior["net.weight"][0, :, 0]
    sd = covariance.diagonal().sqrt()
    assert ((draws.mean(0) - mean).abs() < 4.5 * sd / 20_000**0.5).all()
    torch.testing.assert_close(
        draws.mT.cov() / sd / sd[:, None], covariance / sd / sd[:, None], rtol=0.0, atol=4.5 * (2 / 20_000) ** 0.5
    )
    assert torch.equal(net.weight, torch.zeros(1, 2, dtype=torch.float64)), "the user's network is as it was"
    assert torch.equal(swag.run(X, Y)["net.weight"], posterior["net.weight"])


def test_parameters_with_a_constraint_and_a_prior() -> None:
    """σ is a parameter: its iterates are those of maximum likelihood, without a Jacobian; μ is lifted."""

    def model(y: Tensor) -> None:
        mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 2.0))
        sigma = su.param("sigma", torch.tensor(1.0, dtype=torch.float64), constraint=dist.constraints.positive)
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(mu, sigma), obs=y)

    y = torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64)
    fit = su.infer.Fit(model).run(y)
    posterior = SWAG(model, su.optim.Adam({"lr": 0.01}), num_steps=100, num_warmup=1500, num_samples=10, seed=0).run(y)
    for name in ("mu", "sigma"):
        torch.testing.assert_close(posterior[name].mean(), fit[name].double(), rtol=2e-3, atol=2e-3)
    assert posterior.latents == ("mu", "sigma")


def test_moments_by_hand() -> None:
    moments = Moments(2)
    for value in ([1.0, 0.0], [3.0, 2.0], [5.0, -2.0]):
        moments.add(torch.tensor(value))
    assert moments.mean.tolist() == [3.0, 0.0]
    torch.testing.assert_close(moments.square / 3, torch.tensor([8 / 3, 8 / 3], dtype=torch.float64))
    assert [value.tolist() for value in moments.deviations] == [[1.0, 1.0], [2.0, -2.0]]


def test_settings() -> None:
    model = lambda: None
    optim = su.optim.SGD({"lr": 0.1})
    for settings, text in (
        ({"rank": 1}, "`rank` is 1"),
        ({"num_steps": 15, "every": 10}, "15 steps give 1 iterates"),
        ({"seed": -1}, "`seed` is -1"),
    ):
        with pytest.raises(OptimisationError, match=text):
            SWAG(model, optim, **settings)  # type: ignore[arg-type]


def test_iterates_that_leave_the_numbers() -> None:
    net = nn.Linear(2, 1)

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 1.0), obs=y)

    swag = SWAG(program, su.optim.SGD({"lr": 1e9}), num_steps=60, num_samples=2, seed=0)
    with pytest.raises(SamplingError, match=r"SWAG left the (numbers|parameters)"):
        swag.run(X.float(), Y.float())


def normalised() -> su.lift:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 1.0), obs=y)

    return su.lift(program, dist.Normal(0.0, 1.0))


def test_a_run_that_was_cut_short_equals_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a schedule, momentum, batches in an order of the run's own, and running averages."""
    schedule = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 4, gamma=0.5)
    optim = su.optim.SGD({"lr": 1e-2, "momentum": 0.9}, scheduler=schedule)
    data = DataLoader(TensorDataset(X.float(), Y.float()), batch_size=2, shuffle=True)
    settings: dict[str, Any] = {"num_steps": 12, "num_warmup": 5, "every": 3, "rank": 3, "num_samples": 5}
    path, model = tmp_path / "swag.npz", normalised()
    whole = SWAG(model, optim, seed=2, **settings).run(data)
    plain, taken = Training.descend, 0

    def descend(self: Training, *args: Any) -> None:
        nonlocal taken
        if taken == 15:
            raise KeyboardInterrupt
        taken += 1
        plain(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "descend", descend)
        with pytest.raises(KeyboardInterrupt):
            SWAG(model, optim, seed=2, checkpoint=path, checkpoint_every=7, **settings).run(data)
    again = SWAG(model, optim, **settings).resume(path, data)
    assert (again.unconstrained == whole.unconstrained).all()
    assert all(torch.equal(value, again.buffers[name]) for name, value in whole.buffers.items())
    with pytest.raises(OptimisationError, match="written by a run with rank=3, and here it is 4"):
        SWAG(model, optim, **{**settings, "rank": 4}).resume(path, data)
    with pytest.raises(VariationalError, match="saved with the optimiser SGD, but this run has Adam"):
        SWAG(model, su.optim.Adam(lr=0.1), **settings).resume(path, data)


def mean(y: Tensor) -> None:
    mu = su.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 10.0))
    with su.plate("data", len(y), subsample_size=2) as rows:
        su.sample("y", dist.Normal(mu, 1.0), obs=y[rows])


def averaged(num_steps: int, optim: Any = None, **settings: Any) -> SWAG:
    optim = su.optim.Adam({"lr": 0.01}) if optim is None else optim
    return SWAG(mean, optim, num_steps=num_steps, num_warmup=2, every=3, num_samples=3, **settings)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run that took eleven steps."""
    path = tmp_path_factory.mktemp("swag") / "ended.npz"
    averaged(9, seed=1, engine="torch", checkpoint=path).run(Y)
    return path


def test_a_longer_run_goes_on_with_the_engine_of_the_file(ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sursum.training.work.FEWEST", 15)
    assert averaged(13, seed=1).run(Y).engine == "native", "by the rule, a run of so many steps is in C"
    again, whole = averaged(13).resume(ended, Y), averaged(13, seed=1, engine="torch").run(Y)
    assert again.engine == "torch"
    assert (again.unconstrained == whole.unconstrained).all()
    with pytest.raises(OptimisationError, match="a run with engine='torch', and here it is 'native'"):
        averaged(13, engine="native").resume(ended, Y)


def test_a_run_of_fewer_steps_than_were_taken(ended: Path) -> None:
    with pytest.raises(OptimisationError, match=r"has taken 11 steps, more than the 10 .* `num_steps` of at least 9"):
        averaged(8).resume(ended, Y)
    assert averaged(9).resume(ended, Y).num_samples == 3


def test_a_run_is_resumed_with_its_data_and_its_optimiser(ended: Path) -> None:
    with pytest.raises(OptimisationError, match="was written by a run with other data"):
        averaged(13).resume(ended, Y + 100.0)
    schedule = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 4, gamma=0.5)
    for optim, text in (
        (su.optim.Adam({"lr": 0.05}), r"optim\.lr=0\.01, and here it is 0\.05"),
        (su.optim.Adam({"lr": 0.01, "betas": (0.9, 0.99)}), r"optim\.betas=\[0\.9, 0\.999\], and here it is \(0\.9, 0\.99\)"),
        (su.optim.Adam({"lr": 0.01}, clip_norm=1.0), r"optim\.clip_norm=None, and here it is 1\.0"),
        (su.optim.Adam({"lr": 0.01}, scheduler=schedule), r"optim\.initial_lr=None, and here it is 0\.01"),
    ):
        with pytest.raises(VariationalError, match=text):
            averaged(13, optim).resume(ended, Y)


def test_a_schedule_is_compared_as_it_was_at_the_start(tmp_path: Path) -> None:
    """By its end it has changed the learning rate."""
    step_lr = lambda gamma: lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 4, gamma=gamma)
    optim = {gamma: su.optim.Adam({"lr": 0.01}, scheduler=step_lr(gamma)) for gamma in (0.5, 0.25)}
    path = tmp_path / "run.npz"
    averaged(6, optim[0.5], seed=1, checkpoint=path).run(Y)
    again, whole = averaged(10, optim[0.5], checkpoint=path).resume(path, Y), averaged(10, optim[0.5], seed=1).run(Y)
    assert (again.unconstrained == whole.unconstrained).all()
    assert averaged(10, optim[0.5]).resume(path, Y).num_samples == 3  # what a resumed run has written can be resumed too
    with pytest.raises(VariationalError, match=r"scheduler\.gamma=0\.5, and here it is 0\.25"):
        averaged(10, optim[0.25]).resume(path, Y)
