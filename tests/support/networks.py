"""Networks of every kind that a lift must take as they are, each with what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import sursum as su
import sursum.distributions as dist


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **settings: Any) -> None:
        super().__init__()
        self.rnn = kind(3, 4, batch_first=True, **settings)
        self.out = nn.Linear(8 if settings.get("bidirectional") else 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0])


class Attention(nn.Module):
    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **settings)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


class Containers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
        self.heads = nn.ModuleDict({"mean": nn.Linear(3, 1), "scale": nn.Linear(3, 1)})
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))])
        self.gains = nn.ParameterDict({"all": nn.Parameter(torch.ones(()))})

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).tanh()
        return self.gains["all"] * (self.heads["mean"](x) + self.heads["scale"](x) * self.bias[1] + self.bias[0])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x).tanh())


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.twice = nn.Sequential(self.inner, nn.Tanh(), self.inner)

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(x) + self.inner(x)


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).mT


class Hooked(nn.Linear):
    """What the old weight normalisation does: a tensor computed from parameters is kept as an attribute."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.kept = self.weight * 2.0
        self.register_forward_pre_hook(lambda layer, args: setattr(layer, "kept", layer.weight * 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.kept.mT


def symmetric() -> nn.Module:
    net = nn.Linear(3, 3)
    parametrize.register_parametrization(net, "weight", Symmetric())
    return net


VECTORS, SERIES = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, 24).reshape(2, 4, 3)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "linear": (lambda: nn.Linear(3, 2), VECTORS),
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), VECTORS),
    "flattened": (lambda: nn.Sequential(nn.Flatten(0), nn.Linear(15, 1)), VECTORS),
    "conv": (lambda: nn.Conv2d(1, 2, 2), torch.ones(1, 1, 4, 4)),
    "transposed conv": (lambda: nn.ConvTranspose1d(1, 2, 2), torch.ones(1, 1, 4)),
    "batch norm": (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval(), VECTORS),
    "layer norm": (lambda: nn.LayerNorm(3), VECTORS),
    "group norm": (lambda: nn.GroupNorm(1, 3), VECTORS),
    "prelu": (lambda: nn.PReLU(), VECTORS),
    "rnn": (lambda: Recurrent(nn.RNN), SERIES),
    "gru": (lambda: Recurrent(nn.GRU), SERIES),
    "lstm": (lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), SERIES),
    "attention": (lambda: Attention(), torch.ones(2, 3, 4)),
    "attention, other keys": (lambda: Attention(kdim=4, vdim=4, add_bias_kv=True), torch.ones(2, 3, 4)),
    "transformer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), torch.rand(2, 3, 4)),
    "transformer in evaluation": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval(), torch.rand(2, 3, 4)),
    "embedding": (lambda: nn.Embedding(5, 2), torch.tensor([1, 4])),
    "containers": (Containers, VECTORS),
    "tied": (Tied, VECTORS),
    "shared": (Shared, VECTORS),
    "symmetric": (symmetric, VECTORS),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(3, 3)), VECTORS),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(3, 2)), VECTORS),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(3, 2)).eval(), VECTORS),
    "hooked": (Hooked, VECTORS),
    "half frozen": (lambda: nn.Sequential(nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 1)), VECTORS),
}


def regression(net: nn.Module, direct: Callable[[Any, Tensor], Tensor] | None = None) -> Callable[[], None]:
    """A program of five ones that are N(f, 1), with f from `VECTORS` by the network, or by `direct` from its own weights."""

    def program() -> None:
        f = su.module("net", net)
        mean = f(VECTORS) if direct is None else direct(net, VECTORS)
        su.sample("y", dist.Normal(mean.squeeze(-1), 1.0), obs=torch.ones(5))

    return program
