"""Batch norm in training: its averages are those of a plain loop, in the run and its results, and not in the network."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.errors import DiagnosticWarning, EngineWarning, ModuleWarning

ROWS, RATE, NOISE = 24, 1e-5, 0.5
X = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)) * 2.0 + 1.0
Y = X[:, 0].tanh()
STATISTICS = ("1.running_mean", "1.running_var", "1.num_batches_tracked")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))


def program(net: nn.Module) -> Any:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        f = su.module("net", net)
        with su.plate("rows", ROWS, subsample_size=len(x)):
            su.sample("y", dist.Normal(f(x)[:, 0], NOISE), obs=y)

    return model


def by_hand(net: nn.Module, batches: list[slice], rate: float) -> dict[str, Tensor]:
    own = copy.deepcopy(net)
    optimizer = torch.optim.SGD(own.parameters(), lr=rate)
    for rows in batches:
        optimizer.zero_grad()
        terms = torch.distributions.Normal(own(X[rows])[:, 0], NOISE).log_prob(Y[rows])
        (-terms.sum() * (ROWS / len(terms))).backward()
        optimizer.step()
    return {path: value.clone() for path, value in own.named_buffers()}


def fitted(net: nn.Module, steps: int) -> su.infer.FitResult:
    with warnings.catch_warnings():
        for kind in (DiagnosticWarning, EngineWarning, ModuleWarning):  # few steps; no density while it trains
            warnings.simplefilter("ignore", kind)
        return su.infer.Fit(program(net), optim=su.optim.SGD({"lr": RATE}), num_steps=steps, seed=0).run(X, Y)


def test_a_fit_has_the_averages_of_a_plain_loop() -> None:
    net = network()
    before = {path: value.clone() for path, value in net.named_buffers()}
    found, expected = fitted(net, 4), by_hand(net, [slice(None)] * 4, RATE)
    for path in STATISTICS:
        torch.testing.assert_close(found.buffers[f"net.{path}"], expected[path], rtol=1e-6, atol=1e-7)
        assert torch.equal(dict(net.named_buffers())[path], before[path])


def test_the_fitted_program_predicts_by_them_in_evaluation_mode() -> None:
    net = network()
    found = fitted(net, 4)
    net.eval()
    own = copy.deepcopy(net)
    with su.poutine.trace() as recorder, torch.no_grad():
        found.program(X, Y)
    weights = {path: found[f"net.{path}"] for path, _ in net.named_parameters()}
    buffers = {path: found.buffers[f"net.{path}"] for path in STATISTICS}
    expected = torch.func.functional_call(own, {**weights, **buffers}, (X,))[:, 0]
    torch.testing.assert_close(recorder.trace["y"].fn.mean, expected, rtol=1e-5, atol=1e-6)


def trained(net: nn.Module, batches: list[slice]) -> su.infer.SVI:
    lifted = su.lift(program(net), {"net.**": dist.Normal(0.0, 1.0)})
    guide = su.infer.autoguide.AutoDelta(lifted)
    svi = su.infer.SVI(lifted, guide, su.optim.SGD({"lr": 0.0}), seed=0, progress=False)
    for rows in batches:
        svi.step(X[rows], Y[rows])
    return svi


def test_svi_takes_each_batch_into_them_once(tmp_path: Path) -> None:
    net, batches = network(), [slice(0, 8), slice(8, 16), slice(16, 24)]
    before = {path: value.clone() for path, value in net.named_buffers()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        svi = trained(net, batches)
        expected = by_hand(net, batches, 0.0)
        nets = svi.sample(2).module("net")
        svi.save(tmp_path / "run.npz")
        again = trained(net, batches[:1])  # one step, and then the state of another run
        again.load(tmp_path / "run.npz")
        resumed = again.sample(2).module("net")
    for path in STATISTICS:
        for found in (nets, resumed):
            torch.testing.assert_close(found.state_dict()[f"net.{path}"], expected[path], rtol=1e-5, atol=1e-6)
        assert torch.equal(dict(net.named_buffers())[path], before[path])


def test_a_step_with_buffers_is_captured_and_says_nothing() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        svi = trained(network(), [slice(0, 12), slice(12, 24)])
    assert not [one for one in caught if one.category in (EngineWarning, ModuleWarning)]
    assert svi.losses[0] != svi.losses[1]


class Layers(nn.Module):
    """A batch norm that is applied three times, of which once for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm1d(3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        return self.last(self.norm(x) + self.norm(x))


def test_a_layer_that_is_applied_again_sees_the_batch_again() -> None:
    found = fitted(Layers(), 2)
    assert int(found.buffers["net.norm.num_batches_tracked"]) == 6
    torch.testing.assert_close(found.buffers["net.norm.running_mean"], X.mean(0) * (1.0 - 0.9**6))


def test_alone_a_network_in_training_mode_is_told_of() -> None:
    with pytest.warns(ModuleWarning, match="dropped"):
        su.module("net", network())(X)
