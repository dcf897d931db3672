"""Dropout masks as draws of weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptimisationError

X = torch.linspace(-1.0, 1.0, 12).reshape(6, 2)


def program(net: nn.Module) -> Any:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 0.1), obs=y)

    return model


def test_a_member_is_the_network_with_one_mask() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 50), nn.ReLU(), nn.Dropout(0.2), nn.Linear(50, 1)).eval()
    posterior = su.infer.MCDropout(program(net), 400, seed=0).run(X)
    w, whole = posterior["net.3.weight"][0, :, 0].float(), net[3].weight.detach()[0]
    kept = w != 0.0
    assert abs(float(kept.double().mean()) - 0.8) < 4.5 * (0.16 / kept.numel()) ** 0.5
    torch.testing.assert_close(w[kept], (whole / 0.8).expand(400, 50)[kept])
    hidden = net[:2](X).detach()
    nets = posterior.module("net")
    for k in (0, 399):
        torch.testing.assert_close(nets(X)[k, :, 0], hidden @ w[k] + net[3].bias.detach())
    # Their mean is the network without dropout.
    out = nets(X)[..., 0]
    assert ((out.mean(0) - net(X).detach()[:, 0]).abs() < 4.5 * out.std(0) / 20).all()
    torch.testing.assert_close(posterior["net.0.weight"][0, 7].float(), net[0].weight.detach())


def test_channels_of_a_convolution() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(1, 4, 2), nn.Dropout1d(0.5), nn.Conv1d(4, 1, 2), nn.Flatten(), nn.Linear(3, 1)).eval()
    posterior = su.infer.MCDropout(program(net), 60, seed=0).run(torch.randn(5, 1, 5))
    w = posterior["net.2.weight"][0]
    dropped = (w == 0.0).all(-1).all(1)
    assert dropped.any()
    assert not dropped.all()
    whole = (2.0 * net[2].weight.detach()).expand(60, 1, 4, 2)
    kept = ~dropped[:, None]
    torch.testing.assert_close(w[kept].float(), whole[kept])


def test_what_is_refused() -> None:
    for net, text in (
        (nn.Sequential(nn.Linear(2, 1)).eval(), "reads no network with dropout"),
        (nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 1)), r"layer '0' is in training mode.*\.eval\(\)"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1), nn.Tanh(), nn.Linear(2, 1)).eval(),
            "layer '1' .Dropout. is not followed by",
        ),
    ):
        with pytest.raises(OptimisationError, match=text):
            su.infer.MCDropout(program(net), 3, seed=0).run(X)
    with pytest.raises(OptimisationError, match="`members` is 0"):
        su.infer.MCDropout(program(nn.Linear(2, 1)), 0)
