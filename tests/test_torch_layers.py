"""Every layer of `torch.nn` that has parameters: lifted, in a density, and as an ensemble of networks.

A layer that a later torch brings fails here until it has a row.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as td
from torch import Tensor, nn
from torch.func import functional_call

import sursum as su
import sursum.distributions as dist
from sursum.infer import ModuleEnsemble

PRIOR = dist.Normal(0.0, 0.5)


def some(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) + 0.1


Build = Callable[[], nn.Module]
LAYERS: dict[str, tuple[Build, tuple[Any, ...]]] = {
    "Linear": (lambda: nn.Linear(3, 2), (some(4, 3),)),
    "Bilinear": (lambda: nn.Bilinear(3, 2, 2), (some(4, 3), some(4, 2))),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, padding=1, groups=2), (some(2, 2, 5),)),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 2, stride=2), (some(2, 1, 4, 4),)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2), (some(1, 1, 3, 3, 3),)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(1, 2, 2), (some(2, 1, 4),)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(1, 2, 2), (some(1, 1, 3, 3),)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(1, 1, 2), (some(1, 1, 2, 2, 2),)),
    "Embedding": (lambda: nn.Embedding(5, 2), (torch.tensor([1, 4, 1]),)),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(5, 2), (torch.tensor([[1, 4], [0, 0]]),)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3).eval(), (some(4, 3),)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2).eval(), (some(2, 2, 3, 3),)),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(1).eval(), (some(2, 1, 2, 2, 2),)),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(2, affine=True), (some(2, 2, 5),)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(2, affine=True), (some(2, 2, 3, 3),)),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(1, affine=True), (some(1, 1, 2, 2, 2),)),
    "LayerNorm": (lambda: nn.LayerNorm(3), (some(4, 3),)),
    "RMSNorm": (lambda: nn.RMSNorm(3), (some(4, 3),)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (some(3, 4),)),
    "PReLU": (lambda: nn.PReLU(), (some(4, 3) - 0.6,)),
    "RNN": (lambda: nn.RNN(3, 2, batch_first=True), (some(2, 3, 3),)),
    "GRU": (lambda: nn.GRU(3, 2, bidirectional=True), (some(3, 2, 3),)),
    "LSTM": (lambda: nn.LSTM(3, 2, num_layers=2), (some(3, 2, 3),)),
    "RNNBase": (lambda: nn.RNNBase("LSTM", 3, 2), ()),
    "RNNCell": (lambda: nn.RNNCell(3, 2), (some(4, 3),)),
    "GRUCell": (lambda: nn.GRUCell(3, 2), (some(4, 3),)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 2), (some(4, 3),)),
    "RNNCellBase": (lambda: nn.modules.rnn.RNNCellBase(3, 2, True, 1), ()),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), (some(2, 3, 4),) * 3),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0), (some(3, 2, 4),)),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(4, 2, 6, dropout=0.0), (some(3, 2, 4), some(2, 2, 4))),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, 0.0), 2, enable_nested_tensor=False),
        (some(3, 2, 4),),
    ),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, 0.0), 2),
        (some(3, 2, 4), some(2, 2, 4)),
    ),
    "Transformer": (lambda: nn.Transformer(4, 2, 1, 1, 6, 0.0, batch_first=True), (some(1, 2, 4), some(1, 3, 4))),
    "AdaptiveLogSoftmaxWithLoss": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 6, cutoffs=[3]),
        (some(3, 4), torch.tensor([0, 5, 2])),
    ),
    "LinearCrossEntropyLoss": (
        lambda: nn.LinearCrossEntropyLoss(3, 4),
        (some(5, 3), torch.tensor([0, 1, 2, 3, 0])),
    ),
}
ON_REQUEST = {"InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"}
"""They have parameters where they are asked for, `affine=True`."""

COMPOSED = {"Transformer", "TransformerEncoder", "TransformerDecoder"}
"""They are made of layers that have a row of their own; a capture of all of them takes seconds."""

ABSTRACT = {"RNNBase", "RNNCellBase"}
"""They have parameters and no forward pass of their own."""

ELSEWHERE = {"SyncBatchNorm": "needs a process group", "DataParallel": "needs GPUs", "Module": "the base class"}

ARGUMENTS: list[tuple[Any, ...]] = [
    (),
    (2,),
    (2, 2),
    (2, 2, 2),
    (1, (2,)),
    ([2],),
    (2, 2, 2, 2),
    (2, [2]),
    ({},),
]
"""What layers without parameters can be made with."""


def classes() -> dict[str, type[nn.Module]]:
    return {
        name: cls for name, cls in vars(nn).items() if inspect.isclass(cls) and issubclass(cls, nn.Module) and name[0] != "_"
    }


def has_no_parameters(cls: type[nn.Module]) -> bool:
    """Whether the class can be made with simple arguments, and has no parameters then."""
    for arguments in ARGUMENTS:
        try:
            return not list(cls(*arguments).parameters())
        except (TypeError, ValueError, AttributeError, NotImplementedError):
            continue
    if "Pool" in cls.__name__:
        return not list(cls(2, output_size=2).parameters())
    return False


@pytest.mark.filterwarnings("ignore")
def test_every_layer_with_parameters_has_a_row() -> None:
    lazy = {name for name in classes() if name.startswith("Lazy")}
    found = {name for name, cls in classes().items() if name not in ELSEWHERE.keys() | lazy and not has_no_parameters(cls)}
    assert found == LAYERS.keys() - ON_REQUEST


def tensors(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    return [tensor for part in out if part is not None for tensor in tensors(part)] if isinstance(out, tuple) else []


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook")
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name: str) -> None:
    build, inputs = LAYERS[name]
    torch.manual_seed(0)
    net = build()
    paths = [path for path, _ in net.named_parameters()]
    if name in ABSTRACT:
        program: Any = lambda: su.module("net", net)
        assert su.trace(su.lift(program, PRIOR)).get_trace().stochastic_nodes == [f"net.{path}" for path in paths]
        return
    lifted = su.lift(net, PRIOR)
    with su.seed(rng_seed=0):
        found = su.trace(lifted).get_trace(*inputs)
    values = {path: found[path].value for path in paths}

    # Its forward pass is that of torch's own functional call at these values.
    expected = tensors(functional_call(build_like(build, net), values, inputs))
    ours = tensors(found.result)
    assert len(ours) == len(expected) > 0
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(
        found.log_prob_sum(), torch.as_tensor(sum(td.Normal(0.0, 0.5).log_prob(v).sum() for v in values.values()))
    )

    # Many of it at once are each of them by itself.
    draws = {path: torch.stack([value, 0.5 * value, -value]) for path, value in values.items()}
    with torch.no_grad():
        many = tensors(ModuleEnsemble(net, draws)(*inputs))
        for i, single in enumerate(ModuleEnsemble(net, draws)):
            assert type(single) is type(net)
            for one, other in zip(many, tensors(single(*inputs)), strict=True):
                torch.testing.assert_close(one[i], other, rtol=1e-4, atol=1e-5)

    # Its log density is captured, in double precision.
    if name in COMPOSED:
        return

    def scored() -> None:
        out = tensors(su.module("net", net)(*inputs))[0]
        su.sample("y", dist.Normal(out, 1.0).to_event(out.dim()), obs=torch.full_like(out, 0.3))

    density = su.compile(su.lift(scored, PRIOR), engine="torch")
    q = density.density.start(np.random.default_rng(0))
    value, gradient = density.value_and_grad(q)
    free = torch.tensor(q, requires_grad=True)
    eager = density.density(free)
    assert abs(value - eager.item()) < 1e-4 * max(1.0, abs(value))
    (theirs,) = torch.autograd.grad(eager, free)
    torch.testing.assert_close(torch.from_numpy(gradient), theirs, rtol=1e-3, atol=1e-3)


def build_like(build: Build, net: nn.Module) -> nn.Module:
    twin = build()
    twin.load_state_dict(net.state_dict())
    return twin


LAZY: Mapping[str, tuple[Any, ...]] = {
    "LazyLinear": (2,),
    **{f"LazyConv{n}d": (2, 2) for n in (1, 2, 3)},
    **{f"LazyConvTranspose{n}d": (2, 2) for n in (1, 2, 3)},
    **{f"LazyBatchNorm{n}d": () for n in (1, 2, 3)},
    **{f"LazyInstanceNorm{n}d": () for n in (1, 2, 3)},
}


def test_every_lazy_layer_has_a_row() -> None:
    assert {name for name in classes() if name.startswith("Lazy")} == LAZY.keys()


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_layer_is_an_error_that_says_what_to_do(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = classes()[name](*LAZY[name], **({"affine": True} if "Norm" in name else {}))
    with pytest.raises(su.errors.SiteError, match=r"lazy network has no shape yet\. Run the network once on data"):
        su.lift(net, PRIOR)(some(1, 1))
