"""A captured step against the function itself: values, gradients, draws, subsamples, state, shapes of batches."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import sursum as su
import sursum.distributions as dist
from sursum.errors import CaptureError, DensityError, EngineWarning, EscapeError
from sursum.training import TrainingStep
from sursum.training import replayed as replayed_module
from sursum.training.folding import draws

X = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


def network(trained, state, args, kwargs):
    """Dropout, a subsampled plate, an embedding, integers, and a state that is updated."""
    x, k = args
    hidden = torch.tanh(x @ trained["w"]) + trained["table"][k]
    hidden = nn.functional.dropout(hidden, 0.4, training=True)
    with su.plate("rows", 50, subsample_size=7) as rows:
        drawn = su.sample("z", dist.Normal(hidden.mean(), trained["s"].exp()))
    state["mean"].mul_(0.9).add_(hidden.mean().detach(), alpha=0.1)
    return ((hidden.sum(-1).mean() + X[rows].sum(-1) * drawn) ** 2).sum() * kwargs["weight"]


def inputs(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    shapes = {"w": (3, 4), "table": (5, 4), "s": ()}
    trained = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    return trained, {"mean": torch.tensor(0.5, dtype=dtype)}


def batch(rows, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, generator=generator), torch.randint(5, (rows,), generator=generator)


def test_a_captured_step_is_the_function_in_every_batch_and_draw():
    step = TrainingStep(network, engine="torch")
    trained, state = inputs()
    for seed, rows in ((0, 6), (1, 6), (2, 4), (3, 6)):
        mine, theirs = ({name: value.clone() for name, value in state.items()} for _ in range(2))
        given = (trained, batch(rows, seed), {"weight": 2.0})
        found = step(*given, seed=seed, state=mine)
        wanted = step.run(*given, seed=seed, state=theirs)
        torch.testing.assert_close(found.loss, wanted.loss, rtol=1e-6, atol=1e-6)
        for name, slope in wanted.gradients.items():
            torch.testing.assert_close(found.gradients[name], slope, rtol=1e-6, atol=1e-6)
            assert found.gradients[name].dtype is torch.float32
        torch.testing.assert_close(mine["mean"], theirs["mean"], rtol=1e-6, atol=1e-7)
        assert not torch.equal(mine["mean"], state["mean"])
    assert step.engine == "torch"
    assert len(step._known) == 2
    graph = next(iter(step._known.values())).replay.graph
    assert sum(map(draws, graph.nodes)) == 2


def test_a_seed_gives_the_same_draws_and_another_seed_others():
    step = TrainingStep(network, engine="torch")
    trained, state = inputs()

    def loss(seed):
        return float(step(trained, batch(6, 0), {"weight": 2.0}, seed=seed, state={"mean": state["mean"].clone()}).loss)

    before = torch.get_rng_state()
    assert loss(3) == loss(3)
    assert loss(3) != loss(4)
    assert torch.equal(torch.get_rng_state(), before)


def test_subsamples_are_unbiased():
    """The mean over seeds of the gradient is that of the whole, within four standard errors."""
    x = torch.arange(10.0, dtype=torch.float64)

    def loss(trained, state, args, kwargs):
        with su.plate("rows", 10, subsample_size=3) as rows:
            return (trained["w"] * x[rows] ** 2).sum() * 10 / 3

    step = TrainingStep(loss, engine="torch")
    w = {"w": torch.tensor(1.0, dtype=torch.float64)}
    found = torch.stack([step(w, seed=seed).gradients["w"] for seed in range(1000)])
    assert abs(float(found.mean()) - float((x**2).sum())) < 4 * float(found.std()) / 1000**0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_step_stays_in_the_dtype_of_the_program(dtype):
    def loss(trained, state, args, kwargs):
        return (args[0] @ trained["w"]).square().mean()

    step = TrainingStep(loss, engine="torch")
    w, x = {"w": torch.ones(3, 2, dtype=dtype)}, torch.ones(4, 3, dtype=dtype)
    found = step(w, (x,), seed=0)
    assert found.loss.dtype is found.gradients["w"].dtype is dtype
    graph = next(iter(step._known.values())).replay.graph
    kinds = {ref.dtype for node in graph.nodes for ref in node.outputs if ref is not None}
    assert {kind for kind in kinds if kind.is_floating_point} == {dtype}


def test_no_operator_of_a_step_moves_data():
    step = TrainingStep(network, engine="torch")
    trained, state = inputs()
    step(trained, batch(6, 0), {"weight": 2.0}, seed=0, state=state)
    graph = next(iter(step._known.values())).replay.graph
    assert all(node.kwargs.get("device") in (None, torch.device("cpu")) for node in graph.nodes)
    assert not [node for node in graph.nodes if node.op._schema.name in ("aten::_to_copy", "aten::copy_", "aten::to")]


def test_what_changes_from_run_to_run_is_run_as_it_is_with_a_note():
    def branching(trained, state, args, kwargs):
        return trained["w"] if trained["w"] > 0 else -trained["w"]

    step = TrainingStep(branching)
    with pytest.warns(EngineWarning, match=r"the program is run by Python at every step, which is slow: .*looked at a value"):
        found = step({"w": torch.tensor(2.0)}, seed=0)
    assert (float(found.loss), float(found.gradients["w"]), step.engine) == (2.0, 1.0, "eager")
    assert "looked at a value" in step.why
    with pytest.raises(CaptureError, match="looked at a value"):
        TrainingStep(branching, engine="torch")({"w": torch.tensor(2.0)}, seed=0)

    numbers = iter(range(100))

    def counting(trained, state, args, kwargs):
        return trained["w"] * next(numbers)

    with pytest.raises(CaptureError, match="arguments"):
        TrainingStep(counting, engine="torch")({"w": torch.tensor(2.0)}, seed=0)


def test_a_check_of_arguments_that_fails_in_a_later_batch_raises():
    def scored(trained, state, args, kwargs):
        su.sample("y", dist.Normal(0.0, args[0] * trained["w"].exp()), obs=torch.tensor(1.0))
        return trained["w"] * args[0].sum()

    step = TrainingStep(scored, engine="torch")
    w = {"w": torch.tensor(0.0)}
    step(w, (torch.tensor(1.0),), seed=0)
    with pytest.raises(DensityError, match=r"a check of arguments fails .*test_step\.py:\d+"):
        step(w, (torch.tensor(-1.0),), seed=0)


def test_a_constant_of_one_number_takes_one_number():
    def prior(trained, state, args, kwargs):
        return -dist.Normal(torch.zeros(1000), 3.0 * torch.ones(1000)).log_prob(trained["w"]).sum()

    step = TrainingStep(prior, engine="torch")
    w = {"w": torch.linspace(-1, 1, 1000)}
    torch.testing.assert_close(step(w, seed=0).gradients["w"], w["w"] / 9)
    graph = next(iter(step._known.values())).replay.graph
    assert max((constant.numel() for constant in graph.constants.values()), default=0) <= 1
    assert len(graph.nodes) == 7  # a check, a square, a sum, a factor and a summand, the gradient


def test_running_averages_share_no_memory_with_other_constants():
    """A batch norm updates them in place: a one among the constants of a gradient must stay a one."""
    x, ones = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)), torch.ones(8)

    def loss(trained, state, args, kwargs):
        mean, variance = torch.zeros(8).clone(), ones.clone()
        other = ones.clone()
        normed = nn.functional.batch_norm(x * trained["w"] + trained["b"], mean, variance, training=True)
        nn.functional.batch_norm(3.0 * x * trained["w"], torch.zeros(8).clone(), other, training=True)
        return (normed**3).sum() + (variance * trained["s"]).sum() + (other * trained["s"]).sum() + trained["s"].log().sum()

    generator = torch.Generator().manual_seed(1)
    trained = {name: torch.rand(8, generator=generator) + 0.5 for name in ("w", "b", "s")}
    step = TrainingStep(loss, engine="torch")
    for seed in range(3):
        found, wanted = step(trained, seed=seed), step.run(trained, seed=seed)
        torch.testing.assert_close(found.loss, wanted.loss, rtol=1e-5, atol=0.0)
        torch.testing.assert_close(found.gradients["s"], wanted.gradients["s"], rtol=1e-5, atol=0.0)
    assert torch.equal(ones, torch.ones(8))


def test_a_pass_that_loses_the_state_is_found(monkeypatch):
    plain = replayed_module.simplify

    def careless(graph):
        graph = plain(graph)
        return replace(graph, outputs=(*graph.outputs[:-1], replace(graph.outputs[-1], offset=0, value=graph.outputs[1].value)))

    def loss(trained, state, args, kwargs):
        hidden = args[0] * trained["w"]
        state["mean"].mul_(0.9).add_(hidden.detach().mean(0), alpha=0.1)
        return (hidden**2).sum()

    given = {"w": torch.ones(3)}, (torch.arange(6.0).reshape(2, 3),)
    step = TrainingStep(loss, engine="torch")
    step(*given, seed=0, state={"mean": torch.zeros(3)})
    monkeypatch.setattr(replayed_module, "simplify", careless)
    with pytest.raises(EscapeError, match="result 2 of the captured step differs"):
        TrainingStep(loss, engine="torch")(*given, seed=0, state={"mean": torch.zeros(3)})
