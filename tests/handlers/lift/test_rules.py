"""`lift`, rules 1, 2, 4, 10: which parameters are drawn, from what, and how often in one execution."""

from __future__ import annotations

import asyncio
import math
import pickle
import threading
from typing import Any

import pytest
import torch
import torch.distributions as td
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from sursum.core.messages import Param, Sample
from sursum.errors import UnusedPriorWarning


def model(x: Any) -> Tensor:
    s = su.param("s", torch.tensor(0.5))
    z = su.sample("z", dist.Normal(x, s))
    return z**2


def located(x: Any) -> Tensor:
    s = su.param("s", torch.tensor(0.5))
    z = su.sample("z", dist.Normal(s, 1.0))
    return z + x


def test_the_example_at_the_top() -> None:
    lifted = su.poutine.lift(model, prior={"s": dist.Exponential(0.3)})
    tr = su.poutine.trace(lifted).get_trace(0.0)
    assert tr.nodes["s"]["type"] == "sample"
    assert tr.nodes["s"]["is_observed"] is False
    s, z = tr["s"].value, tr["z"].value
    expected = math.log(0.3) - 0.3 * s + td.Normal(0.0, s).log_prob(z)
    torch.testing.assert_close(tr.log_prob_sum(), expected)
    assert tr.result == z**2


def test_its_sibling_with_one_prior_for_all() -> None:
    tr = su.poutine.trace(su.poutine.lift(located, prior=dist.Normal(0, 1))).get_trace(0.0)
    s, z = tr["s"].value, tr["z"].value
    assert tr["s"].type == "sample"
    expected = -0.5 * s**2 - 0.5 * (z - s) ** 2 - math.log(2 * math.pi)
    torch.testing.assert_close(tr.log_prob_sum(), expected)


def test_its_sibling_with_a_stochastic_function() -> None:
    lifted = su.poutine.lift(located, prior=lambda name, *args: dist.Normal(0, 1).sample())
    traces = [su.poutine.trace(lifted).get_trace(0.0) for _ in range(3)]
    # What the function draws is not shown outwards, but the program runs with it.
    assert [list(tr) for tr in traces] == [["z"]] * 3
    means = {float(tr["z"].fn.mean) for tr in traces}
    assert len(means | {0.5}) == 4


def test_two_executions_draw_two_values() -> None:
    lifted = su.lift(lambda: su.param("s", torch.tensor(0.0)), dist.Normal(0.0, 1.0))
    assert lifted() != lifted()


def test_a_mapping_leaves_the_others_parameters() -> None:
    def program() -> tuple[Tensor, Tensor]:
        return su.param("a", torch.tensor(1.0)), su.param("b", torch.tensor(2.0))

    tr = su.trace(su.lift(program, {"a": dist.Normal(0.0, 1.0)})).get_trace()
    assert isinstance(tr["a"], Sample)
    assert isinstance(tr["b"], Param)
    assert tr.result[1] == 2.0
    torch.testing.assert_close(tr.log_prob_sum(), td.Normal(0.0, 1.0).log_prob(tr["a"].value))


def test_read_twice_is_one_site_and_one_value() -> None:
    def program() -> tuple[Tensor, Tensor]:
        with su.trace() as first:
            a = su.param("s", torch.tensor(0.0))
        with su.trace() as second:
            b = su.param("s", torch.tensor(0.0))
        copies.append((first.trace["s"], second.trace["s"]))
        return a, b

    copies: list[tuple[Any, Any]] = []
    passed: list[Sample] = []

    class watch(su.handlers.block):
        def hides(self, site: Any) -> bool:
            passed.append(site)
            return False

    with watch():
        a, b = su.lift(program, dist.Normal(0.0, 1.0))()
    assert a is b
    first, second = copies[0]
    assert (first.type, first.is_observed) == ("sample", False)
    assert (second.type, second.is_observed) == ("sample", True)
    assert [site.name for site in passed] == ["s"]


def test_read_twice_scores_once_and_its_gradient_counts_both_reads() -> None:
    def program() -> None:
        a = su.param("s", torch.tensor(0.0))
        b = su.param("s", torch.tensor(0.0))
        su.factor("f", 3.0 * a + b**2)

    density = su.infer.LogDensity(su.lift(program, dist.Normal(0.0, 1.0)))
    q = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    value = density(q)
    (gradient,) = torch.autograd.grad(value, q)
    expected = -0.5 * 0.7**2 - 0.5 * math.log(2 * math.pi) + 3 * 0.7 + 0.7**2
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert float(gradient) == pytest.approx(-0.7 + 3 + 1.4, rel=1e-6)


def test_the_cache_lives_for_one_execution_of_each() -> None:
    lifted = su.lift(lambda: su.param("s", torch.tensor(0.0)), dist.Normal(0.0, 1.0))
    with lifted:
        a, inner, b = su.param("s"), lifted(), su.param("s")
    assert a is b
    assert inner != a


def test_a_prior_that_was_used_is_not_unused_where_an_inner_lift_has_the_same_name() -> None:
    lifted = su.lift(lambda: su.param("s", torch.tensor(0.0)), dist.Delta(torch.tensor(2.0)))
    with su.lift(prior=dist.Delta(torch.tensor(3.0))):  # warnings are errors
        own, inner = su.param("s", torch.tensor(0.0)), lifted()
    assert (float(own), float(inner)) == (3.0, 2.0)


def test_used_as_decorator_and_as_context() -> None:
    @su.lift(prior=dist.Delta(torch.tensor(2.0)))
    def program() -> Tensor:
        return su.param("s", torch.tensor(0.0))

    with su.lift(prior={"s": dist.Delta(torch.tensor(3.0))}):
        inside = su.param("s", torch.tensor(0.0))
    assert (float(program()), float(inside)) == (2.0, 3.0)


def test_threads_and_tasks_that_share_one_lift() -> None:
    lifted = su.lift(lambda: [su.param("s", torch.zeros(4)) for _ in range(3)], dist.Normal(0.0, 1.0))
    seen: list[Tensor] = []

    def work() -> None:
        for _ in range(25):
            reads = lifted()
            assert all(read is reads[0] for read in reads)
            seen.append(reads[0])

    async def task() -> None:
        with lifted:
            a = su.param("s", torch.zeros(4))
            await asyncio.sleep(0)
            assert su.param("s", torch.zeros(4)) is a
            seen.append(a)

    async def tasks() -> None:
        await asyncio.gather(*(task() for _ in range(10)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(tasks())
    for thread in threads:
        thread.join()
    assert len({tuple(draw.tolist()) for draw in seen}) == len(seen) == 110


def module_level() -> Tensor:
    return su.param("s", torch.tensor(0.0))


def test_a_lift_can_be_pickled() -> None:
    lifted = pickle.loads(pickle.dumps(su.lift(module_level, {"s": dist.Normal(3.0, 1e-6)})))
    assert float(lifted()) == pytest.approx(3.0, abs=1e-3)


@pytest.mark.parametrize(
    ("priors", "expected"),
    [
        ({"*.weight": 1.0, "net.weight": 2.0}, 2.0),  # an exact name wins, wherever it stands
        ({"net.*": 1.0, "**": 2.0}, 1.0),  # else the first that matches
        ({"net.w*": 3.0}, 3.0),
        ({"**.weight": 4.0}, 4.0),
    ],
)
def test_which_key_speaks(priors: dict[str, float], expected: float) -> None:
    lifted = su.lift(
        lambda: su.param("net.weight", torch.tensor(0.0)),
        {key: dist.Delta(torch.tensor(value)) for key, value in priors.items()},
    )
    assert float(lifted()) == expected


def test_the_first_pattern_speaks_though_another_is_narrower() -> None:
    priors = {"**": dist.Delta(torch.tensor(2.0)), "net.*": dist.Delta(torch.tensor(1.0))}
    with pytest.warns(UnusedPriorWarning, match=r"'net.\*' was not used: '\*\*', which comes before it"):
        assert su.lift(lambda: su.param("net.weight", torch.tensor(0.0)), priors)() == 2.0


def test_the_innermost_lift_that_answers_wins() -> None:
    def program() -> tuple[Tensor, Tensor]:
        return su.param("a", torch.tensor(0.0)), su.param("b", torch.tensor(0.0))

    inner = su.lift(program, {"a": dist.Delta(torch.tensor(1.0))})
    outer = su.lift(inner, {"a": dist.Delta(torch.tensor(5.0)), "b": dist.Delta(torch.tensor(2.0))})
    with pytest.warns(UnusedPriorWarning, match="'a' was not used: an inner lift already gives this parameter a prior"):
        tr = su.trace(outer).get_trace()
    assert [float(value) for value in tr.result] == [1.0, 2.0]
    assert list(tr) == ["a", "b"]


def test_what_an_inner_callable_declines_an_outer_lift_may_take() -> None:
    inner = su.lift(lambda: su.param("a", torch.tensor(0.0)), {"a": lambda init: None, "**": dist.Normal(0.0, 1.0)})
    assert inner() == 0.0  # the search ends: "**" is not asked
    tr = su.trace(su.lift(inner, dist.Delta(torch.tensor(7.0)))).get_trace()
    assert float(tr["a"].value) == 7.0
    assert isinstance(tr["a"], Sample)


def test_a_parameter_with_a_value_from_inside_stays_one() -> None:
    inner = su.substitute(lambda: su.param("a", torch.tensor(0.0)), data={"a": torch.tensor(4.0)})
    tr = su.trace(su.lift(inner, {"a": dist.Normal(0.0, 1.0)})).get_trace()
    assert isinstance(tr["a"], Param)
    assert tr.result == 4.0


def test_a_parameter_without_an_initial_value() -> None:
    tr = su.trace(su.lift(lambda: su.param("a"), dist.Normal(torch.zeros(3), 1.0))).get_trace()
    assert tr["a"].value.shape == (3,)
    assert tr["a"].fn.batch_shape == (3,)


def test_the_site_knows_where_it_comes_from() -> None:
    tr = su.trace(su.lift(lambda: su.param("a", torch.tensor(2.0)), dist.Normal(0.0, 1.0))).get_trace()
    site = tr["a"]
    assert site.where.startswith("test_rules.py:")
    assert isinstance(site.param, Param)
    assert site.init == 2.0


def test_draws_come_from_the_seed_on_either_side() -> None:
    def program() -> Tensor:
        return su.param("a", torch.zeros(3))

    outside = su.seed(su.lift(program, dist.Normal(0.0, 1.0)), rng_seed=3)
    inside = su.lift(su.seed(program, rng_seed=3), dist.Normal(0.0, 1.0))
    state = torch.get_rng_state()
    a, b, c = outside(), outside(), inside()
    assert torch.equal(a, b)
    assert torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_lazy_initial_value_is_made_once_and_may_be_random() -> None:
    calls: list[int] = []

    def start() -> Tensor:
        calls.append(1)
        return torch.randn(3)

    program = su.lift(lambda: su.param("w", start) + su.param("w", start), dist.Normal(0.0, 1.0))
    assert program().shape == (3,)
    assert len(calls) == 1
    value, gradient = su.compile(program, engine="torch").value_and_grad(torch.ones(3).double().numpy())
    assert value == pytest.approx(3 * (-0.5 - 0.5 * math.log(2 * math.pi)))
    assert gradient.tolist() == [-1.0, -1.0, -1.0]
