"""The posterior of a network as one module, and as single ones; in function space; and what cannot be."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.core.calling import Program
from sursum.draws.ess_rhat import mixing
from sursum.errors import CaptureError, DiagnosticWarning, DuplicateSiteError, ModuleWarning, PredictionError, SiteError
from sursum.infer import ModuleEnsemble
from sursum.predict import vectorise

PRIOR = dist.Normal(0.0, 1.0)
X = torch.linspace(-1.0, 1.0, 12).reshape(6, 2)


def mlp(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))


def regression(net: nn.Module) -> Any:
    def program(x: Tensor, y: Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(x).squeeze(-1))
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, 0.1), obs=y)

    return program


def posterior_of(program: Any, sites: dict[str, tuple[int, ...]], *args: Any, chains: int = 2, draws: int = 15) -> su.Posterior:
    generator = torch.Generator().manual_seed(7)
    values = {n: torch.randn(chains, draws, *s, generator=generator, dtype=torch.float64) for n, s in sites.items()}
    return su.Posterior(values, {}, np.zeros((chains, draws, 1)), latents=tuple(sites), program=Program(program, args))


def shapes(net: nn.Module, name: str = "net") -> dict[str, tuple[int, ...]]:
    return {f"{name}.{path}" if name else path: tuple(value.shape) for path, value in net.named_parameters()}


def by_hand(net: nn.Module, posterior: su.Posterior, x: Tensor, name: str = "net") -> Tensor:
    """Each network by torch's functional call."""
    flat = {path: posterior[site].flatten(0, 1).float() for path, site in zip(shapes(net, ""), shapes(net, name), strict=True)}
    return torch.stack([functional_call(net, {p: v[i] for p, v in flat.items()}, (x,)) for i in range(30)])


def test_the_ensemble_is_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    net = mlp()
    posterior = posterior_of(su.lift(regression(net), PRIOR), shapes(net), X)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    nets = posterior.module("net")
    expected = by_hand(net, posterior, X)
    assert len(nets) == 30
    assert nets(X).dtype == torch.float32
    torch.testing.assert_close(nets(X), expected)
    for chunk in (1, 7):
        torch.testing.assert_close(posterior.module("net", chunk=chunk)(X), expected)
    torch.testing.assert_close(torch.stack([one(X) for one in nets]), expected)
    torch.testing.assert_close(nets[-1](X), expected[-1])
    torch.testing.assert_close(posterior.predict(X)["f"].flatten(0, 1).float(), expected.squeeze(-1))
    monkeypatch.setattr(vectorise, "_map", lambda *args: None)
    monkeypatch.setattr(ModuleEnsemble, "_map_members", lambda *args: 1 / 0)
    torch.testing.assert_close(posterior.module("net")(X), expected)
    few = posterior.module("net", members=4)
    torch.testing.assert_close(few(X), expected[[0, 7, 15, 22]])
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())


def test_a_single_network_is_trained_without_changing_anything_else() -> None:
    net = mlp()
    posterior = posterior_of(su.lift(regression(net), PRIOR), shapes(net), X)
    nets = posterior.module("net")
    single, kept = nets[3], nets[3](X).detach().clone()
    assert all(isinstance(p, nn.Parameter) for p in single.parameters())
    optimiser = torch.optim.SGD(single.parameters(), lr=0.1)
    single(X).square().sum().backward()
    optimiser.step()
    assert not torch.equal(single(X), kept)
    assert torch.equal(nets[3](X), kept)
    assert all(p.grad is None for p in net.parameters())
    with pytest.raises(IndexError, match="draw 30 of an ensemble of 30"):
        nets[30]


def test_it_is_differentiable_in_its_inputs() -> None:
    net = mlp()
    nets = posterior_of(su.lift(regression(net), PRIOR), shapes(net), X).module("net", chunk=4)
    x = X.clone().requires_grad_()
    (ours,) = torch.autograd.grad(nets(x).mean(0).sum(), x)
    torch.testing.assert_close(ours, sum(torch.autograd.grad(one(x).sum(), x)[0] for one in nets) / 30)


def test_what_was_not_lifted_keeps_its_value() -> None:
    net = mlp()
    lifted = su.lift(regression(net), {"net.2.*": PRIOR})
    posterior = posterior_of(lifted, {"net.2.weight": (1, 3), "net.2.bias": (1,)}, X)
    hidden = torch.tanh(net[0](X)).detach()
    flat = posterior["net.2.weight"].flatten(0, 1).float(), posterior["net.2.bias"].flatten(0, 1).float()
    torch.testing.assert_close(posterior.module("net")(X), hidden @ flat[0].mT + flat[1][:, None])
    # A handler's value where a handler gives one.
    given = su.substitute(lifted, data={"net.0.bias": torch.full((3,), 5.0)})
    posterior = posterior_of(given, {"net.2.weight": (1, 3), "net.2.bias": (1,)}, X)
    hidden = torch.tanh(X @ net[0].weight.detach().T + 5.0)
    torch.testing.assert_close(posterior.module("net")(X), hidden @ flat[0].mT + flat[1][:, None])


def test_several_networks_and_one_used_twice() -> None:
    first, second = mlp(1), mlp(2)

    def program(x: Tensor) -> None:
        a = su.module("first", first)
        su.deterministic("f", a(x) + su.module("second", second)(x) * a(2 * x))

    lifted = su.lift(program, PRIOR)
    posterior = posterior_of(lifted, shapes(first, "first") | shapes(second, "second"), X)
    a, b = (by_hand(net, posterior, X, name) for net, name in ((first, "first"), (second, "second")))
    torch.testing.assert_close(posterior.module("first")(X), a)
    torch.testing.assert_close(posterior.module("second")(X), b)
    twice = by_hand(first, posterior, 2 * X, "first")
    torch.testing.assert_close(posterior.predict(X)["f"].flatten(0, 1).float(), a + b * twice)


def test_a_network_as_the_whole_program_and_inside_a_plate() -> None:
    net = mlp()
    whole = posterior_of(su.lift(net, PRIOR), shapes(net, ""), X)
    torch.testing.assert_close(whole.module()(X), by_hand(net, whole, X, ""))

    def program(x: Tensor, y: Tensor | None = None) -> None:
        with su.plate("data", len(x)):
            f = su.module("net", net)(x).squeeze(-1)
            su.sample("y", dist.Normal(f, 0.1), obs=y)

    outside, inside = (su.trace(su.seed(su.lift(p, PRIOR), 0)).get_trace(X, X[:, 0]) for p in (regression(net), program))
    # The weights are global: one network for all rows, not one for each, and not scaled.
    torch.testing.assert_close(outside.log_prob_sum(), inside.log_prob_sum())
    plated = posterior_of(su.lift(program, PRIOR), shapes(net), X)
    torch.testing.assert_close(plated.module("net")(X), by_hand(net, plated, X))


def test_outputs_of_any_structure_and_layers_that_cannot_be_mapped() -> None:
    torch.manual_seed(0)
    net = nn.LSTM(2, 3, batch_first=True)

    def program(x: Tensor) -> None:
        su.deterministic("f", su.module("net", net)(x)[0])

    series = X.reshape(2, 3, 2)
    posterior = posterior_of(su.lift(program, PRIOR), shapes(net), series)
    out, (hidden, cell) = posterior.module("net")(series)
    assert (out.shape, hidden.shape, cell.shape) == ((30, 2, 3, 3), (30, 1, 2, 3), (30, 1, 2, 3))
    one, (_, last) = posterior.module("net")[4](series)
    torch.testing.assert_close(out[4], one)
    torch.testing.assert_close(cell[4], last)


def test_dtype_of_the_network() -> None:
    net = mlp().double()
    posterior = posterior_of(su.lift(regression(net), PRIOR), shapes(net), X.double())
    assert posterior.module("net")(X.double()).dtype == torch.float64
    assert posterior.predict(X.double())["y"].dtype == torch.float64
    half = mlp().bfloat16()
    assert posterior.module("net", half)(X.bfloat16()).dtype == torch.bfloat16


def test_a_data_loader() -> None:
    net = mlp()
    posterior = posterior_of(su.lift(regression(net), PRIOR), shapes(net), X, torch.zeros(6))
    whole = posterior.predict(X, seed=0)
    for loader in (DataLoader(X, batch_size=4), DataLoader(TensorDataset(X, torch.zeros(6)), batch_size=4)):
        parts = posterior.predict(loader, seed=0)
        torch.testing.assert_close(parts["f"], whole["f"])
        assert parts["y"].shape == (2, 15, 6)
        # Noise of its own in every batch.
        assert not torch.equal(parts["y"][..., 0] - parts["f"][..., 0], parts["y"][..., 4] - parts["f"][..., 4])
        assert torch.equal(parts["y"], posterior.predict(loader, seed=0)["y"])
    with pytest.raises(PredictionError, match="the data loader has no batches"):
        posterior.predict(DataLoader([]))


def test_a_loaded_posterior_needs_the_network(tmp_path: Any) -> None:
    net = mlp()
    posterior = posterior_of(su.lift(regression(net), PRIOR), shapes(net), X)
    posterior.save(tmp_path / "run")
    loaded = su.Posterior.load(tmp_path / "run")
    with pytest.raises(PredictionError, match=r"no program that contains.*posterior\.module\('net', net\)"):
        loaded.module("net")
    torch.testing.assert_close(loaded.module("net", net)(X), posterior.module("net")(X))


# What cannot be.


def test_wrong_names_and_shapes() -> None:
    net = mlp()
    posterior = posterior_of(su.lift(regression(net), PRIOR), shapes(net), X)
    with pytest.raises(PredictionError, match=r"no network named 'nett'\. Did you mean 'net'"):
        posterior.module("nett")
    with pytest.raises(PredictionError, match=r"It has none: networks are read by module"):
        posterior_of(lambda: su.sample("z", PRIOR), {"z": ()}).module("net")
    with pytest.raises(PredictionError, match=r"no draws of a parameter of network 'other'.*none of them was lifted"):
        posterior.module("other", net)
    with pytest.raises(PredictionError, match=r"'0.weight' have shape \(30, 3, 2\), but the network needs \(30, 5, 2\)"):
        posterior.module("net", nn.Sequential(nn.Linear(2, 5)))
    with pytest.raises(PredictionError, match=r"the network has no parameter 'wait'. Did you mean 'weight'"):
        ModuleEnsemble(nn.Linear(1, 1), {"wait": torch.ones(2, 1, 1)})
    with pytest.raises(PredictionError, match=r"there are no draws of any parameter"):
        ModuleEnsemble(nn.Linear(1, 1), {})
    with pytest.raises(PredictionError, match=r"`chunk` is 0"):
        posterior.module("net", chunk=0)


def test_data_of_another_dtype() -> None:
    net = mlp()
    message = r"network 'net' computes in torch.float32 on cpu, but the data in .* are torch.float64 on cpu \(shape \(6, 2\)\)"
    with pytest.raises(SiteError, match=message):  # a training step is torch's own
        su.infer.Fit(regression(net), optim=partial(torch.optim.Adam, lr=0.1), num_steps=1).run(X.double(), torch.zeros(6))
    program = su.lift(regression(net), PRIOR)
    q = np.linspace(-1.0, 1.0, sum(p.numel() for p in net.parameters()))
    values = [su.compile(program, x, torch.zeros(6)).value_and_grad(q)[0] for x in (X, X.double())]
    assert values[0] == pytest.approx(values[1], rel=1e-14)
    posterior = posterior_of(program, shapes(net), X)
    torch.testing.assert_close(posterior.predict(X.double())["f"], posterior.predict(X)["f"], rtol=1e-12, atol=1e-12)


def test_data_on_another_device() -> None:
    net = mlp()
    with pytest.raises(SiteError, match=r"computes in torch.float32 on cpu, but the data in .* on meta .*Convert the data"):
        su.compile(su.lift(regression(net), PRIOR), X.to("meta"), torch.zeros(6))


def test_a_name_used_for_two_networks() -> None:
    def program() -> None:
        su.module("net", mlp(1))
        su.module("net", mlp(2))

    for one in (program, su.lift(program, PRIOR)):
        with pytest.raises(DuplicateSiteError, match=r"two different networks"):
            su.trace(one).get_trace()


@pytest.mark.filterwarnings("ignore::sursum.errors.ModuleWarning")
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm1d(3), r"batch_norm updates the running statistics of a batch norm.*net\.eval\(\)"),
        (nn.Dropout(), r"draws at random while it is scored.*network's dropout.*net\.eval\(\)"),
        (nn.AlphaDropout(), r"draws at random while it is scored.*network's dropout.*net\.eval\(\)"),
        (nn.RReLU(), r"draws at random while it is scored.*evaluation mode, net\.eval\(\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_in_training_mode_cannot_be_scored(layer: nn.Module, message: str) -> None:
    net = nn.Sequential(nn.Linear(2, 3), layer, nn.Linear(3, 1))
    mcmc = su.infer.MCMC(su.infer.NUTS(su.lift(regression(net), PRIOR)), num_warmup=10, num_samples=10, engine="torch")
    with pytest.raises(CaptureError, match=message):
        mcmc.run(X, torch.zeros(6))
    net.eval()
    assert su.compile(su.lift(regression(net), PRIOR), X, torch.zeros(6), engine="torch").engine == "torch"


def test_batch_norm_in_training_mode_says_which_layer() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    with pytest.warns(ModuleWarning, match="layer '1' of module 'net' .*training mode"), pytest.raises(CaptureError):
        su.compile(su.lift(regression(net), PRIOR), X, torch.zeros(6))


def test_buffers_of_a_network_in_training_mode_are_no_obstacle() -> None:
    class Shifted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 1)
            self.register_buffer("shift", torch.tensor(3.0))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.shift

    density = su.compile(su.lift(regression(Shifted()), PRIOR), X, torch.zeros(6), engine="torch")
    q = np.array([0.0, 0.0, -3.0])
    prior = -0.5 * 9.0 - 1.5 * np.log(2 * np.pi)
    assert abs(density.value_and_grad(q)[0] - (prior - 6 * 0.5 * np.log(2 * np.pi * 0.01))) < 1e-6


# In function space.


def test_weights_that_disagree_and_predictions_that_agree() -> None:
    """Two chains in two modes of the same network, its hidden units in another order."""
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Tanh(), nn.Linear(2, 1, bias=False))
    x = torch.linspace(-2.0, 2.0, 20)[:, None]
    y = (torch.tanh(3.0 * x) - 2.0 * torch.tanh(0.5 * x)).squeeze(-1)
    program = su.lift(regression(net), {"net.**": dist.Normal(0.0, 3.0)})
    modes = np.array([[3.0, 0.5, 1.0, -2.0], [0.5, 3.0, -2.0, 1.0]])
    # Short steps: otherwise the chains diverge in the neck of a funnel, and what they are worth depends on the machine.
    kernel = su.infer.NUTS(program, target_accept=0.99)
    mcmc = su.infer.MCMC(kernel, num_warmup=500, num_samples=1000, num_chains=2, seed=0, init=modes)
    with pytest.warns(DiagnosticWarning) as caught:
        posterior = mcmc.run(x, y)
    text = next(str(w.message) for w in caught if "R-hat" in str(w.message))
    assert "R-hat of `net." in text
    assert "not identified" in text
    assert "posterior.predict(x).summary()" in text
    new = torch.tensor([[-1.0], [0.3], [1.5]])
    prediction = posterior.predict(new, seed=0)
    table = posterior.summary(["net.0.weight"], predictions=prediction)
    assert table["net.0.weight"]["r_hat"].min() > 1.5
    # Four halves of chains that draw from one law differ as χ² of 3 degrees of freedom says, and R-hat² - 1 with them.
    worth = sum(mixing(chain[None]).ess_bulk for chain in prediction["f"].numpy()).min()
    bound = 1 + 2 * chi2.isf(1e-4, 3) / 3 / worth
    assert table["f (predicted)"]["r_hat"].max() < bound < 1.1
    np.testing.assert_allclose(table["f (predicted)"]["ess_bulk"], prediction.summary()["f"]["ess_bulk"])
    with pytest.raises(PredictionError, match=r"draws of x \(predicted\) have shape \(3,\).*begin with \(2, 1000\)"):
        posterior.summary(predictions={"x": torch.zeros(3)})
