"""Batch norm in the posteriors of networks: every draw has its own running averages, and the user's network none of them."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.errors import DiagnosticWarning, EngineWarning
from sursum.infer import SGHMC, SGMCMC, SWAG, DeepEnsemble

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")

ROWS = 24
X = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)) * 2.0 + 1.0
Y = X[:, 0].tanh()
NAMES = ("1.running_mean", "1.running_var", "1.num_batches_tracked")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))


def program(net: nn.Module) -> Any:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(x)[:, 0])
        with su.plate("rows", len(x)):
            su.sample("y", dist.Normal(f, 0.5), obs=y)

    return model


def with_weights(net: nn.Module, posterior: su.Posterior, draw: int) -> nn.Module:
    """The network at a draw of the last chain, with running averages of its own."""
    own = copy.deepcopy(net)
    own.load_state_dict({path: posterior[f"net.{path}"][-1, draw].float() for path, _ in net.named_parameters()}, strict=False)
    return own


def averages(net: nn.Module) -> dict[str, Tensor]:
    return {path: value.clone() for path, value in net.named_buffers()}


@pytest.mark.parametrize("engine", [None, "eager"])
def test_a_draw_of_sgmcmc_has_the_averages_of_its_chain(engine: str | None, tmp_path: Path) -> None:
    net = network()
    before = averages(net)
    lifted = su.lift(program(net), dist.Normal(0.0, 1.0))
    run = SGMCMC(SGHMC(lifted, 1e-3), num_samples=5, num_warmup=0, num_chains=2, seed=0, engine=engine)
    posterior = run.run(X, Y)
    assert all(torch.equal(value, before[path]) for path, value in net.named_buffers())

    # A step takes the batch into the averages with the weights before it, and these are the draw before.
    own = with_weights(net, posterior, 0)
    own.load_state_dict({path: posterior.buffers[f"net.{path}"][-1, 0].to(before[path].dtype) for path in NAMES}, strict=False)
    own(X)
    for path in NAMES:
        found = posterior.buffers[f"net.{path}"][-1, 1]
        torch.testing.assert_close(found.to(before[path].dtype), averages(own)[path], rtol=1e-5, atol=1e-6)
    assert posterior.buffers["net.1.num_batches_tracked"][0].tolist() == [1, 2, 3, 4, 5]

    # In evaluation mode networks and predictions take them.
    net.eval()
    own = with_weights(net, posterior, 3).eval()
    own.load_state_dict({path: posterior.buffers[f"net.{path}"][-1, 3].to(before[path].dtype) for path in NAMES}, strict=False)
    nets = posterior.module("net")
    wanted = own(X).detach()[:, 0]
    torch.testing.assert_close(nets(X)[5 + 3, :, 0], wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(nets[5 + 3](X)[:, 0].detach(), wanted, rtol=1e-5, atol=1e-6)
    assert "1.running_mean" not in dict(nets[8].named_parameters())
    assert {path for path, _ in nets[8].named_buffers()} == set(NAMES)
    torch.testing.assert_close(posterior.predict(X, seed=0)["f"][-1, 3].float(), wanted, rtol=1e-5, atol=1e-6)
    density = dist.Normal(wanted.double(), 0.5).log_prob(Y.double())
    torch.testing.assert_close(posterior.log_likelihood(X, Y)["y"][-1, 3], density, rtol=1e-4, atol=1e-5)

    # And so they do from a file, without the program.
    posterior.save(tmp_path / "draws.npz")
    again = su.Posterior.load(tmp_path / "draws.npz")
    assert all(torch.equal(value, posterior.buffers[name]) for name, value in again.buffers.items())
    torch.testing.assert_close(again.module("net", net, members=2)(X), nets.thin(2)(X), rtol=0, atol=0)


def test_swag_makes_them_anew_for_every_draw() -> None:
    net = network()
    batches = DataLoader(TensorDataset(X, Y), batch_size=8)
    swag = SWAG(program(net), su.optim.SGD({"lr": 1e-4}), num_steps=20, every=2, rank=2, num_samples=3, seed=0)
    posterior = swag.run(batches)
    for draw in range(3):
        own = with_weights(net, posterior, draw)
        torch.optim.swa_utils.update_bn([X[:8], X[8:16], X[16:]], own)
        for path in NAMES[:2]:
            torch.testing.assert_close(
                posterior.buffers[f"net.{path}"][0, draw].float(), averages(own)[path], rtol=1e-4, atol=1e-5
            )
    assert not averages(net)["1.num_batches_tracked"]


def test_members_of_an_ensemble_have_those_of_their_fits() -> None:
    net = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)  # there are no standard errors in training mode
        ensemble = DeepEnsemble(program(net), 2, optim=su.optim.SGD({"lr": 1e-5}), num_steps=10, seed=0)
        posterior = ensemble.run(X, Y)
    # At a rate this small the weights hardly move, so that the averages are those of the batch after 10 steps.
    for member in range(2):
        with torch.no_grad():
            hidden = with_weights(net, posterior, member)[0](X)
        found = posterior.buffers["net.1.running_mean"][0, member].float()
        torch.testing.assert_close(found, hidden.mean(0) * (1.0 - 0.9**10), rtol=1e-2, atol=1e-2)
    assert not torch.allclose(*posterior.buffers["net.1.running_mean"][0])


class Counting(nn.Module):
    """A layer that gives its buffer a new tensor, where batch norm writes into it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen = self.seen + len(x)
        return self.scale * x


def test_a_layer_may_set_a_buffer() -> None:
    net = Counting()

    def model(x: Tensor) -> None:
        with su.plate("rows", ROWS, subsample_size=len(x)):
            su.sample("y", dist.Normal(su.module("net", net)(x)[:, 0], 1.0), obs=x[:, 1])

    with warnings.catch_warnings():
        for kind in (EngineWarning, DiagnosticWarning):
            warnings.simplefilter("ignore", kind)
        fit = su.infer.Fit(model, optim=su.optim.SGD({"lr": 1e-4}), num_steps=3, seed=0).run(X)
        more = su.infer.Fit(model, optim=su.optim.SGD({"lr": 1e-4}), num_steps=2, seed=0, init=fit).run(X)
    assert (float(fit.buffers["net.seen"]), float(more.buffers["net.seen"]), float(net.seen)) == (72.0, 120.0, 0.0)


def test_a_fit_and_its_store_keep_them_in_files(tmp_path: Path) -> None:
    net = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = su.infer.Fit(program(net), optim=su.optim.SGD({"lr": 1e-5}), num_steps=4, seed=0).run(X, Y)
    fit.save(tmp_path / "fit.npz")
    fit.params.save(tmp_path / "params.npz")
    again, store = su.infer.FitResult.load(tmp_path / "fit.npz", program(net)), su.ParamStore()
    store.load(tmp_path / "params.npz")
    for path in NAMES:
        for found in (again.buffers, store.buffers, again.params.buffers):
            assert torch.equal(found[f"net.{path}"], fit.buffers[f"net.{path}"])
            assert found[f"net.{path}"].dtype is dict(net.named_buffers())[path].dtype
    net.eval()

    def output(run: Any) -> Tensor:
        with su.poutine.trace() as recorder, torch.no_grad():
            run(X, Y)
        return recorder.trace["f"].value

    wanted = output(fit.program)
    assert not torch.allclose(wanted, output(program(net)), atol=1e-2)
    for run in (again.program, store(program(net)), fit.params(program(net)), su.lift(fit.program, dist.Normal(0.0, 1.0))):
        if isinstance(run, su.lift):
            run = su.poutine.condition(run, data={name: value for name, value in fit.items() if name != "f"})
        torch.testing.assert_close(output(run), wanted, rtol=1e-5, atol=1e-6)


def test_a_run_that_starts_at_a_fit_goes_on_with_its_averages() -> None:
    net = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = su.infer.Fit(program(net), optim=su.optim.SGD({"lr": 1e-5}), num_steps=4, seed=0).run(X, Y)
        lifted = su.lift(fit.program, dist.Normal(0.0, 1.0))
        for model, init in ((lifted, None), (su.lift(program(net), dist.Normal(0.0, 1.0)), fit)):
            run = SGMCMC(SGHMC(model, 1e-4), num_samples=2, num_warmup=0, num_chains=1, seed=0, init=init)
            assert run.run(X, Y).buffers["net.1.num_batches_tracked"].tolist() == [[5, 6]]
        svi = su.infer.SVI(lifted, su.infer.autoguide.AutoDelta(lifted), su.optim.SGD({"lr": 0.0}), seed=0, progress=False)
        svi.step(X, Y)
    assert int(svi.params.buffers["net.1.num_batches_tracked"]) == 5
    assert int(fit.buffers["net.1.num_batches_tracked"]) == 4
