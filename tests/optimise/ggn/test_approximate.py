"""Generalised Gauss–Newton matrices of programs: against exact posteriors, brute-force Jacobians and laplace-torch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sursum as su
import sursum.distributions as dist
from sursum.density.log_density import LogDensity
from sursum.errors import DiagnosticWarning, OptimisationError
from sursum.optimise.ggn.approximate import LayerBatches, approximate
from sursum.optimise.ggn.structures import Diagonal, Full, LayerBlocks, Subnetwork

PRIOR = dist.Normal(0.0, 0.5**0.5)
X = torch.linspace(-1, 1, 16, dtype=torch.float64).reshape(8, 2)
X = torch.stack([X[:, 0], X[:, 1] ** 2], 1)
T = torch.arange(8) % 3
NOT_THE_MODE = pytest.mark.filterwarnings("ignore:The approximation is not at the mode")
NOT_JUDGED = pytest.mark.filterwarnings("ignore:Pareto k is")


def filled(net: nn.Module, scale: float = 1.0) -> nn.Module:
    """Weights that need no random generator."""
    with torch.no_grad():
        for k, p in enumerate(net.parameters()):
            p.copy_(scale * torch.sin(torch.arange(p.numel(), dtype=torch.float64) + k).reshape(p.shape))
    return net.double().eval()


def mlp() -> nn.Module:
    return filled(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3)))


def classifier(net: nn.Module) -> Any:
    def program(x: Tensor, t: Tensor | None = None) -> None:
        logits = su.module("net", net)(x)
        with su.plate("data", len(x)):
            su.sample("t", dist.Categorical(logits=logits), obs=t)

    return program


def at(model: Any, *args: Any, **settings: Any) -> Any:
    """The approximation where the program starts."""
    usual = {"hessian": "ggn", "structure": "full", "shared": "expand", "subnetwork": None, "init": None, "engine": None}
    data = LayerBatches(args, {})
    return approximate(LogDensity(model, *data.first()), data, **{**usual, "num_steps": 0, **settings})


def jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """Of the outputs in all weights, (row, output, weight), by torch."""
    values = dict(net.named_parameters())
    rows = torch.func.jacrev(lambda v: torch.func.functional_call(net, v, (x,)))(values)
    return torch.cat([rows[name].flatten(2) for name in values], -1).detach()


def by_hand(net: nn.Module, x: Tensor) -> Tensor:
    p = net(x).softmax(-1).detach()
    information = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    j = jacobian(net, x)
    return torch.einsum("nkp,nkl,nlq->pq", j, information, j)


# Linear models have exact answers.


@NOT_JUDGED
@pytest.mark.parametrize("structure", ["full", "kron"])
@pytest.mark.parametrize("batched", [False, True])
def test_a_linear_regression_is_met_exactly(structure: str, batched: bool) -> None:
    """One layer with one output and one prior: its block is a Kronecker product. The posterior and the evidence are normal."""
    net = filled(nn.Linear(2, 1))

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f.squeeze(-1), 0.3), obs=y)

    y = X[:, 0] - 0.5 * X[:, 1] + 0.2
    lifted = su.lift(program, dist.Normal(0.0, 2.0))
    design = torch.cat([X, torch.ones(8, 1)], 1)
    precision = design.mT @ design / 0.09 + torch.eye(3) / 4.0
    mean = torch.linalg.solve(precision, design.mT @ y / 0.09)
    init = {"net.weight": mean[None, :2], "net.bias": mean[2:]}
    data = (DataLoader(TensorDataset(X, y), batch_size=3),) if batched else (X, y)
    found = at(lifted, *data, structure=structure, init=init)
    draws = found.precision.shape(torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(draws.mT @ draws, torch.linalg.inv(precision), check_dtype=False)
    assert found.precision.log_det == pytest.approx(float(torch.logdet(precision)))
    posterior = su.infer.Laplace(lifted, hessian="ggn", structure=structure, num_samples=5, init=init, seed=0).run(*data)
    evidence = dist.MultivariateNormal(
        torch.zeros(8).double(), 0.09 * torch.eye(8).double() + 4.0 * design @ design.mT
    ).log_prob(y)
    assert posterior.log_evidence == pytest.approx(float(evidence), abs=1e-9)
    torch.testing.assert_close(posterior.mode["net.weight"], mean[None, :2])


@NOT_JUDGED
def test_logistic_regression_has_the_hessian_itself() -> None:
    def program(x: Tensor, y: Tensor) -> None:
        w, b = su.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1)), su.sample("b", dist.Normal(0.0, 3.0))
        with su.plate("data", len(x)):
            su.sample("y", dist.Bernoulli(logits=x @ w + b), obs=y)

    y = torch.tensor([1.0, 0, 0, 1, 1, 0, 1, 1], dtype=torch.float64)
    exact = su.infer.Laplace(program, seed=0, num_samples=50).run(X, y)
    ggn = su.infer.Laplace(program, hessian="ggn", seed=0, num_samples=50).run(X, y)
    assert ggn.log_evidence == pytest.approx(exact.log_evidence, abs=1e-8)
    for name, value in exact.mode.items():
        torch.testing.assert_close(ggn.mode[name], value, rtol=1e-5, atol=1e-7)
    design = torch.cat([X, torch.ones(8, 1)], 1)
    p = torch.sigmoid(X @ exact.mode["w"] + exact.mode["b"])
    expected = design.mT @ (design * (p * (1 - p))[:, None]) + torch.diag(torch.tensor([1.0, 1.0, 1 / 9]).double())
    torch.testing.assert_close(at(program, X, y, init=exact.mode).precision.matrix, expected, rtol=1e-6, atol=1e-6)


# A network, against torch's own Jacobians.


@NOT_THE_MODE
@pytest.mark.parametrize("batched", [False, True])
def test_a_classifier_by_brute_force(batched: bool) -> None:
    net = mlp()
    lifted = su.lift(classifier(net), PRIOR)
    data = (DataLoader(TensorDataset(X, T), batch_size=5),) if batched else (X, T)
    expected = by_hand(net, X) + 2.0 * torch.eye(21)
    full = at(lifted, *data).precision
    assert isinstance(full, Full)
    torch.testing.assert_close(full.matrix, expected, check_dtype=False)
    diag = at(lifted, *data, structure="diag").precision
    assert isinstance(diag, Diagonal)
    torch.testing.assert_close(diag.values, expected.diagonal(), check_dtype=False)
    some = at(lifted, *data, subnetwork=4).precision
    assert isinstance(some, Subnetwork)
    assert some.chosen.tolist() == sorted(expected.diagonal().argsort()[:4].tolist())
    torch.testing.assert_close(some.inner.matrix, expected[some.chosen][:, some.chosen], check_dtype=False)


@NOT_THE_MODE
def test_the_empirical_fisher_matrix_by_brute_force() -> None:
    net = mlp()
    p = net(X).softmax(-1).detach()
    scores = torch.einsum("nk,nkp->np", nn.functional.one_hot(T, 3) - p, jacobian(net, X))
    expected = scores.mT @ scores + 2.0 * torch.eye(21)
    lifted = su.lift(classifier(net), PRIOR)
    found = at(lifted, X, T, hessian="empirical_fisher").precision
    torch.testing.assert_close(found.matrix, expected, check_dtype=False)
    found = at(lifted, X, T, hessian="empirical_fisher", structure="diag").precision
    torch.testing.assert_close(found.values, expected.diagonal(), check_dtype=False)


# The numbers of laplace-torch 0.3 (curvlinops 3.0.1) for this network; the bias is a layer's last input here.
FIRST = [
    [0.24701092989414036, 0.1057273396649446, -0.35607818178795825],
    [0.1057273396649446, 0.09730975363510257, -0.12594993117100708],
    [-0.35607818178795825, -0.12594993117100708, 0.6351527158054071],
]
FIRST_INPUTS = [[0.3777777777777778, 0.02459259259259261], [0.02459259259259261, 0.2555456790123457]]
SECOND = [
    [1.7613637425594038, -0.28124682990252314, -1.4801169126568805],
    [-0.28124682990252314, 0.399263230618209, -0.11801640071568584],
    [-1.4801169126568805, -0.11801640071568584, 1.5981333133725666],
]
SECOND_INPUTS = [
    [0.6486793613439884, 0.4934212772164539, -0.09121154503543766],
    [0.4934212772164539, 0.46332125600705254, -0.15467937333649806],
    [-0.09121154503543766, -0.15467937333649806, 0.21635271956992075],
]
CONVOLUTION = [[0.35620497040714205, -0.2868169693071655], [-0.2868169693071655, 0.3158596940412238]]
CONVOLUTION_INPUTS = [
    [0.2202714907106202, 0.04936143725563668, -0.04629898352749754, -0.033277921711315446],
    [0.04936143725563668, 0.2337712781271968, -0.10403651515929721, -0.05485229982084374],
    [-0.04629898352749754, -0.10403651515929721, 0.23418870179439022, 0.052051079012984634],
    [-0.033277921711315446, -0.05485229982084374, 0.052051079012984634, 0.21743505601370003],
]


@NOT_THE_MODE
def test_kronecker_factors_are_those_of_laplace_torch() -> None:
    blocks = at(su.lift(classifier(mlp()), PRIOR), X, T, structure="kron").precision
    assert isinstance(blocks, LayerBlocks)
    for block, outputs, inputs in zip(blocks.layers, (FIRST, SECOND), (FIRST_INPUTS, SECOND_INPUTS), strict=True):
        torch.testing.assert_close(block.outputs, torch.tensor(outputs, dtype=torch.float64))
        torch.testing.assert_close(block.inputs[:-1, :-1], torch.tensor(inputs, dtype=torch.float64))
        assert block.inputs[-1, -1] == pytest.approx(1.0)


def convolutional() -> nn.Module:
    return filled(nn.Sequential(nn.Conv2d(1, 2, 2, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(18, 2)), scale=0.5)


IMAGES = torch.cos(torch.arange(48, dtype=torch.float64)).reshape(3, 1, 4, 4)


@NOT_THE_MODE
def test_a_convolution() -> None:
    net = convolutional()
    lifted = su.lift(classifier(net), PRIOR)
    labels = torch.tensor([0, 1, 0])
    expected = by_hand(net, IMAGES) + 2.0 * torch.eye(48)
    torch.testing.assert_close(at(lifted, IMAGES, labels).precision.matrix, expected, check_dtype=False)
    found = at(lifted, IMAGES, labels, structure="diag").precision.values
    torch.testing.assert_close(found, expected.diagonal(), check_dtype=False)
    expand = at(lifted, IMAGES, labels, structure="kron").precision.layers[0]
    torch.testing.assert_close(expand.outputs, torch.tensor(CONVOLUTION, dtype=torch.float64))
    torch.testing.assert_close(expand.inputs[:-1, :-1], torch.tensor(CONVOLUTION_INPUTS, dtype=torch.float64))
    # Reduced, the bias of a layer has the derivatives of the whole row, and its block is the exact one.
    reduced = at(lifted, IMAGES, labels, structure="kron", shared="reduce").precision.layers[0]
    torch.testing.assert_close(reduced.outputs, (expected - 2.0 * torch.eye(48))[8:10, 8:10], check_dtype=False)
    windows = nn.functional.unfold(IMAGES, 2, stride=2, padding=1).mean(2)
    torch.testing.assert_close(reduced.inputs[:-1, :-1], windows.mT @ windows / 3.0)


@NOT_THE_MODE
@pytest.mark.parametrize("structure", ["full", "diag"])
def test_unknowns_outside_of_layers(structure: str) -> None:
    """A normalising layer, and the noise: they have no layer's derivatives, and are exact all the same."""
    net = filled(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Tanh(), nn.Linear(3, 1)))

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x).squeeze(-1)
        sigma = su.sample("sigma", dist.LogNormal(0.0, 1.0))
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f, sigma), obs=y)

    lifted = su.lift(program, PRIOR)
    found = at(lifted, X, X[:, 0], structure=structure, init={"sigma": torch.tensor(0.7)}).precision
    j = jacobian(net, X)[:, 0]
    # By log σ, the information of σ is 2 for each row.
    n = j.shape[1]
    expected = torch.zeros(n + 1, n + 1, dtype=torch.float64)
    expected[:n, :n] = j.mT @ j / 0.49 + 2.0 * torch.eye(n)
    expected[n, n] = 2.0 * 8 + 1.0
    if structure == "full":
        torch.testing.assert_close(found.matrix, expected)
    else:
        torch.testing.assert_close(found.values, expected.diagonal())


@NOT_THE_MODE
def test_scales_masks_and_several_outputs_of_a_row() -> None:
    net = filled(nn.Linear(2, 2))
    mask = torch.arange(8) % 2 == 0

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x)
        with su.plate("data", len(x)), su.scale(scale=3.0), su.mask(mask=mask):
            su.sample("y", dist.Normal(f, 0.5).to_event(1), obs=y)

    design = torch.cat([X, torch.ones(8, 1)], 1)[mask]
    one = 3.0 * design.mT @ design / 0.25 + 2.0 * torch.eye(3)
    found = at(su.lift(program, PRIOR), X, torch.zeros(8, 2)).precision.matrix
    order = [0, 1, 4, 2, 3, 5]  # the weights of the first output and its bias, then those of the second
    torch.testing.assert_close(found[order][:, order], torch.block_diag(one, one), check_dtype=False)


@NOT_THE_MODE
def test_different_priors_of_a_weight_and_its_bias() -> None:
    net = filled(nn.Linear(2, 1))

    def program(x: Tensor, y: Tensor) -> None:
        f = su.module("net", net)(x)
        with su.plate("data", len(x)):
            su.sample("y", dist.Normal(f.squeeze(-1), 0.3), obs=y)

    lifted = su.lift(program, {"net.weight": dist.Normal(0.0, 2.0), "net.bias": dist.Normal(0.0, 0.5)})
    full, kron = (at(lifted, X, X[:, 0], structure=s).precision for s in ("full", "kron"))
    draws = kron.shape(torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.inv(draws.mT @ draws), full.matrix)
    odd = su.lift(program, {"net.weight": dist.Normal(0.0, torch.tensor([[1.0, 2.0]])), "net.bias": dist.Normal(0.0, 0.5)})
    assert at(odd, X, X[:, 0], structure="kron").precision.definite, "one number for each input"


def test_a_frozen_backbone_is_evaluated_once_for_each_row() -> None:
    class Counting(nn.Module):
        rows = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.rows += len(x)
            return x

    net = nn.Sequential(Counting(), *mlp())
    net[1].requires_grad_(False)
    lifted = su.lift(classifier(net), {"net.3.*": PRIOR})
    loader = DataLoader(TensorDataset(X, T), batch_size=4)
    density = LogDensity(lifted, (X[:4], T[:4]))
    Counting.rows = 0
    data = LayerBatches((loader,), {})
    settings: dict[str, Any] = {"subnetwork": None, "init": None, "num_steps": None, "engine": None}
    with pytest.warns(DiagnosticWarning, match=r"not at the mode.*Train on, or let it search: `num_steps=`"):
        approximate(density, data, hessian="ggn", structure="kron", shared="expand", **settings)
    assert Counting.rows == len(X) + 4, "each row once, and one run for the starting point"


class LoRA(nn.Module):
    """A frozen layer with a correction of low rank beside it."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down, self.up = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.up(self.down(x))


def lora() -> tuple[Any, nn.Module]:
    """A classifier whose last layer has such a correction, lifted; and a network of the lifted weights alone."""
    torch.manual_seed(0)
    body = filled(nn.Sequential(nn.Linear(2, 4), nn.Tanh())).requires_grad_(False)
    adapted = LoRA(filled(nn.Linear(4, 3)), 2).double()
    filled(adapted.down), filled(adapted.up)
    net = nn.Sequential(*body, adapted)

    class Rest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = adapted.down, adapted.up

        def forward(self, x: Tensor) -> Tensor:
            return adapted.layer(x) + self.up(self.down(x))

    return su.lift(classifier(net), {"net.2.down.*": PRIOR, "net.2.up.*": PRIOR}), Rest()


@NOT_THE_MODE
def test_a_low_rank_correction_has_the_matrix_of_its_weights_alone() -> None:
    lifted, rest = lora()
    features = torch.tanh(X @ lifted_weight(lifted, "net.0.weight").mT + lifted_weight(lifted, "net.0.bias"))
    found = at(lifted, X, T)
    torch.testing.assert_close(found.precision.matrix, by_hand(rest, features) + 2.0 * torch.eye(14), check_dtype=False)
    factors = at(lifted, X, T, structure="kron")
    assert factors.precision.definite
    both = X.repeat(2, 1), T.repeat(2)
    batched = at(lifted, DataLoader(TensorDataset(*both), batch_size=8), structure="full")
    torch.testing.assert_close(batched.precision.matrix, 2.0 * found.precision.matrix - 2.0 * torch.eye(14), check_dtype=False)


def lifted_weight(program: Any, name: str) -> Tensor:
    with su.trace() as recorder:
        program(X, T)
    return recorder.trace[name].value.detach()


@NOT_JUDGED
@NOT_THE_MODE
def test_the_posterior_of_a_low_rank_correction_has_its_weights_and_no_others() -> None:
    lifted, _ = lora()
    posterior = su.infer.Laplace(lifted, hessian="ggn", structure="kron", num_steps=0, num_samples=6, seed=0).run(X, T)
    assert posterior.latents == ("net.2.down.weight", "net.2.up.weight")
    assert posterior.module("net")(X).shape == (6, 8, 3)
    assert posterior.predict(X, linearised=True, seed=0)["t"].shape == (1, 6, 8)


# As a posterior.


@NOT_JUDGED
def test_a_trained_relu_network_is_approximated_by_default() -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 4)
    t = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    lifted = su.lift(classifier(net), dist.Normal(0.0, 1.0))
    posterior = su.infer.Laplace(lifted, seed=0, num_samples=40).run(x, t)
    assert posterior["net.0.weight"].shape == (1, 40, 8, 4)
    assert posterior.pareto_k is not None
    assert posterior.module("net")(x).shape == (40, 60, 3)
    # It agrees with the matrix at its own mode.
    trained = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    trained.load_state_dict({name.removeprefix("net."): value for name, value in posterior.mode.items()})
    matrix = by_hand(trained, x.double()) + torch.eye(67)
    logits = trained(x.double()).detach()
    log_p = -nn.functional.cross_entropy(logits, t, reduction="sum")
    q = torch.cat([value.reshape(-1) for value in posterior.mode.values()])
    log_p = log_p + dist.Normal(0.0, 1.0).log_prob(q).sum()
    evidence = log_p + 0.5 * 67 * math.log(2 * math.pi) - 0.5 * torch.logdet(matrix.double())
    assert posterior.log_evidence == pytest.approx(float(evidence), rel=1e-6)


def test_seeds_and_large_networks_without_a_search() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(60, 100), nn.ReLU(), nn.Linear(100, 3))
    x, t = torch.randn(50, 60), torch.randint(3, (50,))
    lifted = su.lift(classifier(net), dist.Normal(0.0, 0.3))
    laplace = su.infer.Laplace(lifted, structure="kron", seed=3, num_samples=4)
    posterior, again = laplace.run(x, t), laplace.run(x, t)
    torch.testing.assert_close(posterior.mode["net.0.weight"].float(), net[0].weight.detach())
    assert posterior.pareto_k is None
    assert torch.equal(again["net.2.weight"], posterior["net.2.weight"])


# What is refused, before any work.


def test_too_many_unknowns_are_said_at_once() -> None:
    model = lambda: (su.sample("w", dist.Normal(torch.zeros(30_000), 1.0).to_event(1)), None)[1]
    text = r"30000 unknowns, whose .* 7\.2 GB: at most 8000 unknowns are allowed.*`structure=\"diag\"`, or \"kron\""
    for hessian in (None, "ggn"):
        with pytest.warns(), pytest.raises(OptimisationError, match=text):
            su.infer.Laplace(model, hessian=hessian, seed=0).run()


def test_rows_that_depend_on_one_another() -> None:
    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0)

    net = filled(nn.Sequential(nn.Linear(2, 3), Centred(), nn.Tanh(), nn.Linear(3, 3)))
    with pytest.raises(OptimisationError, match=r"rows of site 't' depend on one another .* 'net\.0\.weight'"):
        at(su.lift(classifier(net), PRIOR), X, T)


def test_what_has_no_matrix() -> None:
    net = mlp()

    def with_factor(x: Tensor) -> None:
        su.factor("loss", -su.module("net", net)(x).square().sum())

    with pytest.raises(OptimisationError, match=r"factor 'loss'.*depends on the unknowns.*\"exact\""):
        at(su.lift(with_factor, PRIOR), X)
    big = filled(nn.Sequential(nn.Embedding(3000, 3), nn.Linear(3, 3)))
    with pytest.raises(OptimisationError, match=r"'net\.0\.weight' \(9000\) are used otherwise than as the weight"):
        at(su.lift(classifier(big), PRIOR), T, T, structure="diag")
    hierarchical = su.lift(classifier(net), su.priors.hierarchical(1.0))
    with pytest.raises(OptimisationError, match=r"couples unknowns.*\"full\""):
        at(hierarchical, X, T, structure="kron")
    uneven = {"net.0.weight": dist.Normal(0.0, torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])), "net.**": PRIOR}
    with pytest.raises(OptimisationError, match=r"'net\.0\.weight' and 'net\.0\.bias' is not a product"):
        at(su.lift(classifier(net), uneven), X, T, structure="kron")


def test_settings() -> None:
    model = classifier(mlp())
    for settings, text in (
        ({"hessian": "gnn"}, r"`hessian` is 'gnn'.*Did you mean 'ggn'"),
        ({"structure": "kfac"}, r"`structure` is 'kfac'"),
        ({"hessian": "exact", "structure": "diag"}, r"needs `hessian=\"ggn\""),
        ({"subnetwork": 0}, "`subnetwork` is 0"),
        ({"subnetwork": 3, "structure": "kron"}, "`subnetwork` keeps its whole matrix"),
        ({"hessian": "ggn", "num_steps": -1}, "`num_steps` is -1"),
    ):
        with pytest.raises(OptimisationError, match=text):
            su.infer.Laplace(model, **settings)
    with pytest.raises(OptimisationError, match="`num_steps` searches the mode with all data at once"):
        su.infer.Laplace(su.lift(model, PRIOR), num_steps=5).run(DataLoader(TensorDataset(X, T), batch_size=4))
