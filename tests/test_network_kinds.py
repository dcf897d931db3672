"""Networks of every kind, from the lift to the ensemble: a few draws by NUTS, predictions, and torch's own functional call."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import sursum as su
import sursum.distributions as dist
from sursum.errors import BranchError, DensityError, PriorTypeError, SiteError
from tests.support.few import few
from tests.support.networks import NETWORKS, SERIES, VECTORS

PRIOR = dist.Normal(0.0, 0.5)
TOKENS = torch.tensor([1, 4, 1])


class LowRank(nn.Module):
    """A frozen layer with a correction of low rank."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(3, 2).requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(1, 3)), nn.Parameter(torch.zeros(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.a.mT @ self.b.mT


class Experts(nn.Module):
    """Which weights a row meets is chosen by the data."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.Parameter(torch.randn(3, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, None] @ self.experts[x.argmax(-1)]).squeeze(1)


class Masked(nn.Module):
    """Rows are divided by a mask of the data, and written into an empty tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out, chosen = x.new_empty(len(x), 1), x[:, 0] > 0
        out[chosen], out[~chosen] = self.high(x[chosen]), self.low(x[~chosen])
        return out


class BranchOnData(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.high(x) if x.sum() > 0 else self.low(x)


class BranchOnWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        return h if h.sum() > 0 else -h


class Clipped(torch.autograd.Function):
    """An operator that can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=-0.5)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope * (ctx.saved_tensors[0] > -0.5)


class OnceDifferentiable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return Clipped.apply(self.layer(x))


class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(x, self.centres)


class Spectral(nn.Module):
    """A convolution by the Fourier transform: complex numbers inside."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(self.kernel), n=3)


class Packed(nn.Module):
    """A recurrent layer on series of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(3, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 2]), batch_first=True)
        return self.layer(packed)[1][0]


def normed() -> nn.Module:
    """The old weight normalisation, by a hook that has run without gradients: its weight is a plain tensor then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        net: nn.Module = nn.utils.weight_norm(nn.Linear(3, 2))
    net = net.double()
    with torch.no_grad():
        net(VECTORS.double())
    return net


KINDS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "low rank": (LowRank, VECTORS),
    "experts": (Experts, VECTORS),
    "masked": (Masked, VECTORS),
    "branch on data": (BranchOnData, VECTORS),
    "once differentiable": (OnceDifferentiable, VECTORS),
    "distances": (Distances, VECTORS),
    "spectral": (Spectral, VECTORS),
    "packed": (Packed, SERIES),
    "normed": (normed, VECTORS),
    "batch norm without averages": (
        lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        VECTORS,
    ),
    "embedding with sparse gradients": (lambda: nn.Embedding(5, 2, sparse=True), TOKENS),
    "bag with sparse gradients": (lambda: nn.EmbeddingBag(5, 2, mode="sum", sparse=True), torch.tensor([[1, 4], [0, 0]])),
    "averaged": (lambda: torch.optim.swa_utils.AveragedModel(nn.Linear(3, 2)), VECTORS),
    "bidirectional": (lambda: Wrapped(nn.LSTM(3, 2, bidirectional=True, batch_first=True)), SERIES),
    "no bias": (lambda: nn.Bilinear(3, 3, 2, bias=False), (VECTORS, VECTORS.flip(0))),
}


class Wrapped(nn.Module):
    """The first of several results."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)[0]
        return out


def program_of(net: nn.Module) -> Any:
    def program(*inputs: Tensor, y: Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(*inputs))
        su.sample("y", dist.Normal(f, 1.0).to_event(f.dim()), obs=torch.full_like(f, 0.3) if y is None else y)

    return program


def sampled(net: nn.Module, inputs: tuple[Tensor, ...], draws: int = 3, engine: str | None = "torch") -> su.Posterior:
    with torch.no_grad():
        y = torch.full_like(net(*inputs), 0.3)
    kernel = su.infer.NUTS(su.lift(program_of(net), PRIOR), max_tree_depth=3)
    mcmc = su.infer.MCMC(kernel, num_warmup=5, num_samples=draws, num_chains=1, seed=0, progress=False, engine=engine)
    return mcmc.run(*inputs, y=y)


# What differs most from another: a recurrent one, tied and computed weights, what is frozen, hooks, averages, complex numbers.
SOON = {
    *("mlp", "conv", "gru", "attention", "embedding", "tied", "weight norm", "hooked", "half frozen", "low rank", "experts"),
    *("packed", "averaged", "once differentiable", "spectral", "batch norm without averages"),
}


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
@pytest.mark.filterwarnings("ignore::sursum.errors.HeldParameterWarning")
@pytest.mark.filterwarnings("ignore::sursum.errors.UnusedSiteWarning")  # a branch that is not taken, a bias that a hook drops
@pytest.mark.filterwarnings("ignore:the program is run by Python:sursum.errors.EngineWarning")  # complex numbers
@pytest.mark.parametrize("name", few([*NETWORKS, *KINDS], SOON))
def test_from_the_lift_to_the_ensemble(name: str) -> None:
    build, x = (NETWORKS | KINDS)[name]
    torch.manual_seed(0)
    net = build().double()
    inputs = tuple(part.double() if part.is_floating_point() else part for part in (x if isinstance(x, tuple) else (x,)))
    posterior = sampled(net, inputs, engine=None if name == "spectral" else "torch")
    nets, predicted = posterior.module("net"), posterior.predict(seed=0)["f"][0]
    together = nets(*inputs)
    paths = [path for path, value in net.named_parameters() if value.requires_grad]
    assert set(posterior.latents) == {f"net.{path}" for path in paths}
    for i in range(3):
        values = {path: posterior[f"net.{path}"][0, i] for path in paths}
        # (functional_call leaves other values in a network with a shared layer.)
        expected = functional_call(copy.deepcopy(net) if name not in ("hooked", "normed") else net, values, inputs)
        for found in (together[i], predicted[i], nets[i](*inputs)):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_half_precision_is_sampled_in_double(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)
    posterior = sampled(net, (VECTORS.to(dtype),))
    assert posterior["net.0.weight"].dtype == torch.float64
    out = posterior.module("net")(VECTORS.to(dtype))
    assert out.dtype == dtype
    predicted = posterior.predict(seed=0)["f"].flatten(0, 1)
    wide = {path: posterior[f"net.{path}"][0, 1] for path, _ in net.named_parameters()}
    exact = functional_call(copy.deepcopy(net).double(), wide, (VECTORS.to(dtype).double(),))
    torch.testing.assert_close(predicted[1], exact, rtol=1e-12, atol=1e-12)
    values = {path: posterior[f"net.{path}"][0, 1].to(dtype) for path, _ in net.named_parameters()}
    torch.testing.assert_close(out[1], functional_call(net, values, (VECTORS.to(dtype),)))


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_compiled_network_is_the_network_that_was_compiled() -> None:
    class Compiled(nn.Module):
        """As torch.compile wraps one."""

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self._orig_mod = net

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("compiled code is not called")

    net = nn.Linear(3, 1)
    tr = su.trace(su.lift(Compiled(net), PRIOR)).get_trace(VECTORS)
    assert list(tr) == ["weight", "bias"]
    torch.testing.assert_close(tr.result, VECTORS @ tr["weight"].value.T + tr["bias"].value)


def test_a_parameter_that_is_held_where_modules_do_not_look_for_it() -> None:
    class Tied(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 3)
            self.__dict__["again"] = self.weight

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) @ self.again

    tr = su.trace(su.lift(Tied(), PRIOR)).get_trace(VECTORS)
    weight, bias = tr["weight"].value, tr["bias"].value
    torch.testing.assert_close(tr.result, (VECTORS @ weight.T + bias) @ weight)


def test_gradients_of_a_sparse_embedding_are_dense_and_the_network_stays_as_it_was() -> None:
    net = nn.Embedding(5, 2, sparse=True)
    assert su.module("net", net).sparse is False
    assert net.sparse is True


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net: nn.Module = torch.jit.script(nn.Sequential(nn.Linear(3, 1)))
    return net


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 1, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(self.w.dtype) @ self.w).abs()


REFUSED: dict[str, tuple[Callable[[], nn.Module], Tensor, type[Exception], str]] = {
    "branch on weights": (BranchOnWeights, VECTORS, BranchError, r"looked at a value that depends on the unknowns"),
    "complex": (Complex, VECTORS, PriorTypeError, r"'net\.w' .*complex64\. Lift its parts as two parameters"),
    "script": (scripted, VECTORS, SiteError, r"cannot be replaced, because RecursiveScriptModule has custom copying"),
    "meta": (
        lambda: nn.Linear(3, 1, device="meta"),
        VECTORS,
        SiteError,
        r"'net\.weight' .* is on the meta device, so it has a shape but no values\. Allocate the network's memory",
    ),
    "largest norm": (
        lambda: nn.Embedding(5, 2, max_norm=0.1).double(),
        TOKENS,
        SiteError,
        r"site 'net\.weight' .* was changed in place after the site",
    ),
    "no parameters": (nn.Tanh, VECTORS, DensityError, r"no latent site and no parameter"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_an_error_of_ours(name: str) -> None:
    build, x, error, message = REFUSED[name]
    torch.manual_seed(0)
    net = build()
    with pytest.raises(error, match=message):
        su.compile(su.lift(program_of(net), PRIOR), x, engine="torch")
