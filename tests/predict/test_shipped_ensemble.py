"""An ensemble that leaves the program: its state, conversions, exports, thinning, and a call that costs one mapped call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

import sursum.distributions as dist
from sursum.errors import PredictionError
from sursum.infer import ModuleEnsemble
from sursum.predict import module_ensemble

X = torch.linspace(-1.0, 1.0, 12).reshape(6, 2)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).eval()


def draws_of(net: nn.Module, count: int = 5, only: str = "") -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        path: torch.randn(count, *value.shape, generator=generator, dtype=torch.float64)
        for path, value in net.named_parameters()
        if path.startswith(only)
    }


def by_hand(net: nn.Module, draws: dict[str, Tensor], x: Tensor) -> Tensor:
    return vmap(lambda values: functional_call(net, values, (x,)))({n: v.to(x.dtype) for n, v in draws.items()})


def test_the_members_are_in_the_state() -> None:
    net = mlp()
    draws = draws_of(net, only="2.")
    nets = ModuleEnsemble(net, draws)
    state = nets.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "net.0.weight": (3, 2),
        "net.0.bias": (3,),
        "net.2.weight": (5, 1, 3),
        "net.2.bias": (5, 1),
    }
    assert not any(value.requires_grad for value in nets.parameters()), "an optimiser finds nothing to train"
    other = ModuleEnsemble(mlp(), {name: torch.zeros_like(value) for name, value in draws.items()})
    assert not torch.equal(other(X), nets(X))
    other.load_state_dict(state)
    assert torch.equal(other(X), nets(X))
    assert torch.equal(net[2].weight, mlp()[2].weight), "the user's network is as it was"
    with pytest.raises(RuntimeError, match="size mismatch"):
        ModuleEnsemble(net, draws_of(net, 4, "2.")).load_state_dict(state)


def test_conversions() -> None:
    net = mlp()
    draws = draws_of(net)
    nets = ModuleEnsemble(net, draws)
    nets(X)
    nets.double()
    assert nets(X.double()).dtype == torch.float64
    assert nets[0][0].weight.dtype == torch.float64
    assert net[0].weight.dtype == torch.float32
    nets.to("meta")
    assert {value.device.type for value in nets.state_dict().values()} == {"meta"}
    assert nets.to(torch.bfloat16).weights["0.weight"].dtype == torch.bfloat16


def test_references_elsewhere_follow() -> None:
    class Keeping(nn.Module):
        """It computes with a parameter that it also keeps in a list."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))
            self.kept = [self.w]

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.kept[0]

    w = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    nets = ModuleEnsemble(Keeping(), {"w": w})
    torch.testing.assert_close(nets(X), w @ X.T)
    torch.testing.assert_close(nets.double()(X.double()), w.double() @ X.double().T)
    torch.testing.assert_close(nets[2](X.double()), X.double() @ w[2].double())
    with pytest.raises(PredictionError, match="Keeping keeps a parameter in an ordinary attribute as well"):
        torch.export.export(nets, (X.double(),))


def test_tied_and_frozen_parameters() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)
            self.out.weight = self.embed.weight
            self.out.bias.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.embed(x))

    net = Tied()
    w = torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(0))
    nets = ModuleEnsemble(net, {"embed.weight": w})
    torch.testing.assert_close(nets(X), X @ w.mT @ w.mT + net.out.bias.detach())
    one = nets[1]
    assert one.out.weight is one.embed.weight
    assert [name for name, value in one.named_parameters() if value.requires_grad] == ["embed.weight"]
    assert list(one.state_dict()) == list(net.state_dict())


@pytest.mark.parametrize("training", [False, True])
def test_an_exported_ensemble_takes_batches_of_any_size(training: bool) -> None:
    net = mlp().train(training)
    draws = draws_of(net)
    nets = ModuleEnsemble(net, draws)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(nets, (X,), dynamic_shapes={"input": {0: rows}} if training else ({0: rows},))
    for x in (X, torch.cat([X, X + 1.0]), X[:2]):
        torch.testing.assert_close(program.module()(x), by_hand(net, draws, x))


class Attending(nn.Module):
    """Words, attention among them, and normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm, self.out = nn.Embedding(7, 4), nn.LayerNorm(4), nn.Linear(4, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words)
        return self.out(self.norm(x + self.attention(x, x, x, need_weights=False)[0])).mean(1)


def convolving() -> nn.Module:
    pooled = (nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GroupNorm(1, 2), *pooled)


IMAGES = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(2))
WORDS = torch.randint(7, (5, 3), generator=torch.Generator().manual_seed(3))
LAYERS = [("mapped", mlp, X), ("images", convolving, IMAGES), ("words", Attending, WORDS)]


@pytest.mark.parametrize(("make", "x"), [row[1:] for row in LAYERS[1:]], ids=[row[0] for row in LAYERS[1:]])
def test_layers_whose_mapping_reads_sizes_are_exported_for_batches_of_any_size(make: Any, x: Tensor) -> None:
    torch.manual_seed(0)
    net = make().eval()
    nets = ModuleEnsemble(net, draws_of(net, 3)).eval()
    program = torch.export.export(nets, (x,), dynamic_shapes=({0: torch.export.Dim("rows", min=2)},))
    for rows in (x, torch.cat([x, x, x[:1]]), x[:2]):
        expected = torch.stack([one(rows) for one in nets])
        torch.testing.assert_close(program.module()(rows), expected, rtol=1e-5, atol=1e-6)


def test_only_layers_whose_mapping_reads_sizes_are_exported_one_by_one() -> None:
    rows = torch.export.Dim("rows", min=2)
    count = lambda nets, **given: str(torch.export.export(nets, (X,), **given).graph).count("aten.tanh")
    nets = ModuleEnsemble(mlp(), draws_of(mlp()))
    assert count(nets, dynamic_shapes=({0: rows},)) == 1
    normed = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Tanh()).eval()
    nets = ModuleEnsemble(normed, draws_of(normed))
    assert count(nets) == 1, "without free sizes"
    assert count(nets, dynamic_shapes=({0: rows},)) == 5


@pytest.mark.parametrize(("make", "x"), [row[1:] for row in LAYERS], ids=[row[0] for row in LAYERS])
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_onnx_takes_batches_of_any_size(make: Any, x: Tensor, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    nets = ModuleEnsemble(make().eval(), draws_of(make(), 3)).eval()
    shapes = ({0: torch.export.Dim("rows", min=2)},)
    written = torch.onnx.export(nets, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert written is not None
    written.save(tmp_path / "nets.onnx")
    session = runtime.InferenceSession(tmp_path / "nets.onnx")
    assert session.get_inputs()[0].shape[0] == "rows"
    for rows in (x, torch.cat([x, x, x[:1]]), x[:2]):
        found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: rows.numpy()})[0])
        torch.testing.assert_close(found, nets(rows), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(torch.__version__ < "2.13", reason="torch 2.11 cannot write an exported vmap to a file")
def test_the_files_load_where_there_is_no_sursum(tmp_path: Path) -> None:
    net = mlp()
    nets = ModuleEnsemble(net, draws_of(net))
    torch.export.save(torch.export.export(nets, (X,)), tmp_path / "nets.pt2")
    torch.save(nets.state_dict(), tmp_path / "nets.pt")
    torch.save((X, nets(X)), tmp_path / "expected.pt")
    script = """
import sys, torch
sys.modules["sursum"] = None
from torch import nn
x, expected = torch.load("expected.pt", weights_only=True)
torch.testing.assert_close(torch.export.load("nets.pt2").module()(x), expected)
members = {name[4:]: value for name, value in torch.load("nets.pt", weights_only=True).items()}
net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
found = torch.func.vmap(lambda w: torch.func.functional_call(net, w, (x,)))(members)
torch.testing.assert_close(found, expected)
print("same")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "same\n", done.stderr


@pytest.mark.filterwarnings("ignore:The tensor attributes self.net.recurrent._flat_weights")  # torch's own
def test_recurrent_layers_are_exported_one_by_one() -> None:
    torch.manual_seed(0)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.GRU(2, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.recurrent(x)[0][:, -1]

    net = Last().eval()
    nets = ModuleEnsemble(net, draws_of(net, 3))
    series = X.reshape(2, 3, 2)
    expected = torch.stack([one(series) for one in nets])
    torch.testing.assert_close(nets(series), expected)
    torch.testing.assert_close(torch.export.export(nets, (series,)).module()(series), expected)


def test_thinned() -> None:
    net = mlp()
    net[0].weight.requires_grad_(False)
    draws = draws_of(net, 10)
    few = ModuleEnsemble(net, draws).thin(4)
    assert len(few) == 4
    for path, value in few.weights.items():
        assert torch.equal(value, draws[path][[0, 2, 5, 7]].float())
    assert not few[0][0].weight.requires_grad
    for wrong in (0, 11, 2.5):
        with pytest.raises(PredictionError, match="`members`"):
            ModuleEnsemble(net, draws).thin(wrong)  # type: ignore[arg-type]


def test_a_call_is_one_mapped_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call of a kind looks at one member and a pair; each later one maps once over all of them."""
    net = mlp()
    nets = ModuleEnsemble(net, draws_of(net, 200))
    calls: list[int] = []
    whole = module_ensemble.at_values

    def counted(stacked: nn.Module, values: Any) -> nn.Module:
        calls.append(1)
        return whole(stacked, values)

    monkeypatch.setattr(module_ensemble, "at_values", counted)
    nets(X)
    assert len(calls) == 3
    nets(X + 1.0)
    assert len(calls) == 4
    nets(X[:3])
    assert len(calls) == 7, "inputs of another shape are looked at again"


def test_inside_a_transformation_of_functions() -> None:
    net = mlp()
    nets = ModuleEnsemble(net, draws_of(net))
    slopes = torch.func.jacrev(lambda x: nets(x[None]).squeeze())(X[0])
    expected = torch.stack([torch.func.jacrev(lambda x, one=one: one(x).squeeze())(X[0]) for one in nets])
    torch.testing.assert_close(slopes, expected)
    torch.testing.assert_close(vmap(lambda x: nets(x[None]))(X)[:, :, 0], nets(X).transpose(0, 1))


# Networks that return distributions.


class Returning(nn.Module):
    def __init__(self, make: Any) -> None:
        super().__init__()
        self.layer, self.make = nn.Linear(2, 3), make

    def forward(self, x: Tensor) -> Any:
        return self.make(self.layer(x))


TRIL = torch.tensor([[1.0, 0.0, 0.0], [0.3, 1.0, 0.0], [0.1, 0.2, 0.5]])


@pytest.mark.parametrize(
    "make",
    [
        lambda f: torch.distributions.Normal(f, 1.0),
        lambda f: dist.Normal(f, f.exp()).to_event(1),
        lambda f: dist.Categorical(logits=f),
        lambda f: dist.MultivariateNormal(f, scale_tril=TRIL),
        lambda f: torch.distributions.TransformedDistribution(
            dist.Normal(0.0, 1.0).expand(f.shape), torch.distributions.AffineTransform(f[0, 0], 2.0)
        ),
        lambda f: dist.MixtureSameFamily(dist.Categorical(logits=f), dist.Normal(f, 1.0)),
    ],
    ids=["normal", "independent", "categorical", "shared covariance", "affine by a number", "mixture"],
)
def test_distributions_are_stacked(make: Any) -> None:
    torch.manual_seed(0)
    net = Returning(make).eval()
    nets = ModuleEnsemble(net, draws_of(net))
    whole, alone = nets(X), [one(X) for one in nets]
    assert whole.batch_shape == (5, *alone[0].batch_shape)
    value = alone[0].sample()
    torch.testing.assert_close(whole.log_prob(value), torch.stack([fn.log_prob(value) for fn in alone]))
    assert whole.sample().shape == (5, *value.shape)


def test_a_pair_of_a_distribution_and_a_tensor() -> None:
    net = Returning(lambda f: {"y": dist.Normal(f, 1.0), "f": f, "name": "normal"}).eval()
    found = ModuleEnsemble(net, draws_of(net))(X)
    torch.testing.assert_close(found["y"].mean, found["f"])
    assert found["name"] == "normal"


def test_what_cannot_be_stacked_is_refused() -> None:
    class Box:
        def __init__(self, value: Tensor) -> None:
            self.value = value

    net = Returning(Box).eval()
    with pytest.raises(PredictionError, match="Returning returns a Box, whose tensors cannot be stacked"):
        ModuleEnsemble(net, draws_of(net))(X)
    for odd in (lambda f: f[f > 0.0], lambda f: (f, float(f.sum().detach()))):
        net = Returning(odd).eval()
        with pytest.raises(PredictionError, match="returns something of another structure or shape with the weights of draw"):
            ModuleEnsemble(net, draws_of(net))(X)


@pytest.mark.slow
def test_compiled_by_torch() -> None:
    net = mlp()
    draws = draws_of(net)
    nets = torch.compile(ModuleEnsemble(net, draws), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(nets(X), by_hand(net, draws, X))
