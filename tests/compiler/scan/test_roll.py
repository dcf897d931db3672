"""Scans that stay loops: the same function as the loop written out, from one step."""

import warnings
from functools import cache

import numpy as np
import pytest
import torch
from tests.support.few import few
from tests.support.scans import MODELS, data, hidden_markov, normal, standardised, volatility

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.selection import SelectByTensor
from sursum.compiler.compiled import compile_density
from sursum.compiler.scan import rolled
from sursum.compiler.scan.expansion import log_sum_exp
from sursum.core.runtime import Messenger, handler
from sursum.core.scan import plain
from sursum.errors import ArgumentError, DensityError, EngineWarning, EscapeError, GradientWarning, UnusedSiteWarning
from sursum.infer import LogDensity

P = su.poutine


@handler
class unrolled(Messenger):
    """Runs scans step by step."""

    @property
    def roller(self):
        return plain


@cache
def looping(name, steps):
    """A model's density whose scan stays a loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UnusedSiteWarning)  # of one step not all is used
        return compile_density(LogDensity(rolled(MODELS[name]), (data(name, steps),)), "torch")


LENGTHS = [(name, steps) for name in MODELS for steps in (1, 2, 9)]


@pytest.mark.parametrize(("name", "steps"), few(LENGTHS, [*((name, 9) for name in MODELS), ("garch", 1), ("lagged", 2)]))
def test_it_is_the_loop_written_out(name, steps):
    one = looping(name, steps)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UnusedSiteWarning)
        other = compile_density(LogDensity(unrolled(MODELS[name]), (data(name, steps),)), "torch")
    assert [(x.name, x.shape) for x in one.density.latents] == [(x.name, x.shape) for x in other.density.latents]
    rng = np.random.default_rng(0)
    for _ in range(3):
        q = 0.5 * rng.normal(size=one.dim)
        value, slope = one.value_and_grad(q)
        wanted, wanted_slope = other.value_and_grad(q)
        assert value == pytest.approx(wanted, rel=1e-11)
        assert slope == pytest.approx(wanted_slope, rel=1e-9, abs=1e-11)
    draws = 0.5 * rng.normal(size=(4, one.dim))
    found, wanted = one.expand(draws), other.expand(draws)
    assert list(found) == list(wanted)
    for site, value in found.items():
        assert torch.allclose(value, wanted[site], rtol=1e-10, atol=1e-12), site


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_does_not_grow_with_the_steps(name):
    graphs = [looping(name, steps).graph for steps in (9, 40)]
    assert len(graphs[0].nodes) == len(graphs[1].nodes)


def test_what_does_not_go_round_in_a_circle_is_no_loop():
    names = [str(node.op) for node in compile_density(LogDensity(rolled(volatility), (normal(9),)), "torch").graph.nodes]
    assert "sursum.recurrence.default" not in names
    names = [str(node.op) for node in compile_density(LogDensity(rolled(standardised), (normal(9),)), "torch").graph.nodes]
    assert names.count("sursum.recurrence.default") == 2


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, -1, (0, 2), (2, 1, 0)])
def test_log_sum_exp_is_that_of_torch(dim, keepdim):
    x = normal(2, 3, 4).double()
    x[0, 1], x[1, 2, 3], x[1, 0, 0] = -torch.inf, torch.inf, -torch.inf
    x[:, :, 1] = normal(2, 3).double()
    results = []
    for function in (lambda x: log_sum_exp(x, dim, keepdim)[0], lambda x: torch.logsumexp(x, dim, keepdim)):
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        (slope,) = torch.autograd.grad(out[out.isfinite()].square().sum(), leaf)
        results.append((out.detach(), slope))
    for mine, wanted in zip(*results, strict=True):
        assert mine.shape == wanted.shape
        assert torch.allclose(mine, wanted, rtol=1e-14, atol=0.0, equal_nan=True)


def test_the_loop_backwards_computes_no_exponential_again():
    graph = su.compile(hidden_markov, data("hidden_markov", 40), engine="torch").graph
    loops = [node.op for node in graph.nodes if str(node.op) == "sursum.recurrence.default"]
    exponentials = [sum(node.op is torch.ops.aten.exp.default for node in loop.graph.nodes) for loop in loops]
    assert exponentials == [1, 0]
    # Nor does what is computed for all steps at once: every exponential outside is one of a single step.
    outside = [node.outputs[0] for node in graph.nodes if node.op is torch.ops.aten.exp.default]
    assert all(len(ref.size) < 3 for ref in outside)


def test_a_step_is_given_what_it_reads():
    """Parts of a carry of several shapes and dtypes, turned round and sliced."""

    def model(y):
        a = su.sample("a", dist.Normal(0.0, 1.0))
        rows = torch.stack([y, y + 1.0, y - 1.0], -1).reshape(len(y), 3, 1).transpose(1, 2)

        def step(carry, x):
            matrix, count, flag = carry
            matrix = (matrix.T * 0.5 + torch.sin(a * x + matrix[:, :1])).flip(1)
            return (matrix, count + 1, matrix[0, 0] > 0), matrix[1:, ::2] * count + flag

        _, ys = su.scan(step, (torch.zeros(3, 3), torch.tensor(0), torch.tensor(True)), rows)
        su.sample("y", dist.Normal(ys.sum((1, 2)), 1.0), obs=y)

    one = compile_density(LogDensity(rolled(model), (normal(6),)), "native")
    assert sum(str(node.op) == "sursum.recurrence.default" for node in one.graph.nodes) == 2
    agree(one, compile_density(LogDensity(unrolled(model), (normal(6),)), "torch"))


def test_compile_rolls():
    density = su.compile(standardised, normal(9), engine="torch")
    assert len(density.graph.nodes) < 200
    assert len(density.with_data(normal(30)).graph.nodes) == len(density.graph.nodes)


def test_every_density_that_is_compiled_rolls():
    wanted = len(su.compile(standardised, normal(9), engine="torch").graph.nodes)
    density = LogDensity(standardised, (normal(9),))
    assert len(compile_density(density, "torch").graph.nodes) == wanted
    assert len(compile_density(density.without_jacobian(), "torch").graph.nodes) < wanted
    assert not isinstance(density.model, rolled)  # which is left as it is


def test_a_check_that_fails_in_one_step():
    def model(y):
        s = su.sample("s", dist.Normal(1.0, 1.0))

        def step(x, y):
            x = x - 0.5
            su.sample("y", dist.Normal(0.0, x + s), obs=y)
            return x, None

        su.scan(step, torch.tensor(1.0), y)

    density = LogDensity(rolled(model), (torch.zeros(3),))
    compiled = compile_density(density, "torch")
    good, bad = np.array([1.0]), np.array([0.2])  # the scales are s + 0.5, s, s − 0.5
    wanted = dist.Normal(0.0, torch.tensor([1.5, 1.0, 0.5])).log_prob(torch.zeros(3)).sum() + dist.Normal(1.0, 1.0).log_prob(
        torch.tensor(1.0)
    )
    assert compiled.value_and_grad(good)[0] == pytest.approx(float(wanted))
    assert compiled.value_and_grad(bad)[0] == -np.inf
    with pytest.raises(ArgumentError, match=r"outside its constraint at test_roll.py:\d+ in step 2 of a scan"):
        density(torch.tensor(bad))


def falls_back(model, *args, match):
    """The density of a program whose scan cannot be rolled, and of the same program unrolled."""
    with pytest.warns(EngineWarning, match=match):
        one = compile_density(LogDensity(rolled(model), args), "torch")
    return one, compile_density(LogDensity(unrolled(model), args), "torch")


def agree(one, other):
    q = np.linspace(-0.5, 0.7, one.dim)
    assert one.value_and_grad(q)[0] == pytest.approx(other.value_and_grad(q)[0], rel=1e-12)
    assert one.value_and_grad(q)[1] == pytest.approx(other.value_and_grad(q)[1], rel=1e-10)


def test_a_body_that_counts_is_an_error():
    def model(y):
        steps = iter(range(100))

        def step(x, _):
            x = su.sample("x", dist.Normal(x, 1.0))
            return x, y[next(steps)]

        su.scan(step, torch.tensor(0.0), length=len(y))

    message = "run twice for one step and gave two results: it counts the steps itself.* Put what varies into xs"
    with pytest.raises(EscapeError, match=message), pytest.warns(EngineWarning, match="5 steps: the second step behaves"):
        LogDensity(rolled(model), (normal(5),))


def test_a_body_that_branches_on_data_is_run_step_by_step():
    def model(y):
        def step(x, y):
            x = su.sample("x", dist.Normal(x, 1.0 if y > 0 else 2.0))
            return x, None

        su.scan(step, torch.tensor(0.0), y)

    agree(*falls_back(model, normal(5), match="Python reads a number that differs between steps"))


def test_a_body_that_writes_is_run_step_by_step():
    def model(y):
        def step(x, y):
            x = su.sample("x", dist.Normal(x, 1.0))
            z = torch.zeros(2)
            z[0] = x
            su.sample("y", dist.Normal(z.sum(), 1.0), obs=y)
            return x, None

        su.scan(step, torch.tensor(0.0), y)

    agree(*falls_back(model, normal(5), match="writes into a tensor"))


def test_a_gradient_of_the_users_own_is_kept():
    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, slope):
            return slope

    def model(y):
        def step(x, y):
            x = su.sample("x", dist.Normal(x, 1.0))
            su.sample("y", dist.Normal(Straight.apply(x), 1.0), obs=y)
            return x, None

        su.scan(step, torch.tensor(0.0), y)

    with pytest.warns(GradientWarning, match="Straight"):
        agree(*falls_back(model, normal(5), match=r"autograd\.Function or under no_grad"))


def test_a_scan_in_a_scan():
    def model(rows):
        a = su.sample("a", dist.Normal(0.0, 1.0))

        def outer(x, row):
            def inner(z, y):
                z = torch.tanh(a * z + y)
                su.sample("y", dist.Normal(z, 1.0), obs=y)
                return z, z

            last, _ = su.scan(inner, x, row)
            x = su.sample("x", dist.Normal(last, 1.0))
            return x, None

        su.scan(outer, torch.tensor(0.0), rows)

    one, other = falls_back(model, normal(3, 6), match="is inside it")
    agree(one, other)
    # The inner one stays a loop in each step of the outer one: the graph does not grow with its steps.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        agree(su.compile(model, normal(3, 6), engine="native"), other)
        longer = su.compile(model, normal(3, 12), engine="torch")
    assert len(longer.graph.nodes) == len(one.graph.nodes)


def test_several_scans():
    def model(y):
        a = su.sample("a", dist.Normal(0.0, 1.0))
        _, first = su.scan(lambda x, y: (torch.sin(x * a + y),) * 2, torch.tensor(0.0), y)
        _, second = su.scan(lambda x, f: (torch.cos(x * f - a),) * 2, torch.tensor(0.0), first)
        su.sample("y", dist.Normal(second, 1.0), obs=y)

    one = compile_density(LogDensity(rolled(model), (normal(6),)), "torch")
    assert sum(str(node.op) == "sursum.recurrence.default" for node in one.graph.nodes) == 4
    agree(one, compile_density(LogDensity(unrolled(model), (normal(6),)), "torch"))


def test_randomness_in_a_body_is_refused():
    def model(y):
        def step(x, y):
            x = su.sample("x", dist.Normal(x, 1.0)) + torch.rand(())
            return x, None

        su.scan(step, torch.tensor(0.0), y)

    with pytest.raises(EscapeError, match="or draws at random"), pytest.warns(EngineWarning, match="draws at random"):
        LogDensity(rolled(model), (normal(3),))


def test_a_discrete_site_is_refused_by_name():
    def model(y):
        su.scan(lambda c, y: (su.sample("k", dist.Poisson(0.5)), None), torch.tensor(0.0), y)

    with pytest.raises(DensityError, match="latent site 'k' .* is discrete"):
        LogDensity(rolled(model), (normal(3),))


@pytest.mark.parametrize(
    "index",
    [
        (1,),
        (slice(None), 2),
        (Ellipsis, 3),
        (0, Ellipsis, 1),
        (None, 1, slice(1, 3), -1),
        (1, 1, 1, 1),
        (Ellipsis, 1, slice(None)),
        (1, None, 2),
        (Ellipsis, 2, None),
    ],
    ids=str,
)
def test_indexing_by_a_number_in_a_tensor(index):
    x = torch.arange(120).reshape(2, 3, 4, 5)
    numbers = tuple(torch.tensor(item) if isinstance(item, int) else item for item in index)
    with SelectByTensor():
        assert torch.equal(x[numbers], x[index])
        assert torch.equal(x[torch.tensor([1, 0])], x.flip(0))


@pytest.mark.parametrize("steps", [6, 40])
def test_a_body_that_counts_its_steps_is_refused(steps: int) -> None:
    """It does the same in the first steps, and something else in a later one."""

    def model(y):
        count = [0]

        def step(x, yt):
            count[0] += 1
            x = su.sample("x", dist.Normal(x, 1.0 if count[0] <= steps - 2 else 5.0))
            su.sample("y", dist.Normal(x, 1.0), obs=yt)
            return x, None

        su.scan(step, torch.tensor(0.0), y)

    with pytest.raises(EscapeError, match="counts the steps itself"):
        su.compile(model, torch.arange(float(steps)), engine="torch")


def test_a_body_that_keeps_a_log_is_no_body_that_counts() -> None:
    log = []

    def model(y):
        def step(x, yt):
            log.append(len(log))
            x = su.sample("x", dist.Normal(x, 1.0))
            su.sample("y", dist.Normal(x, 1.0), obs=yt)
            return x, None

        su.scan(step, torch.tensor(0.0), y)

    assert su.compile(model, torch.arange(6.0), engine="torch").engine == "torch"
