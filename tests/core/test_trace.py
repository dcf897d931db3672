"""The record of an execution."""

import pickle

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.errors import DuplicateSiteError, PlateError

P = su.poutine


def model():
    mu = su.sample("mu", dist.Normal(0.0, 2.0))
    sigma = su.param("sigma", torch.tensor(0.5))
    su.deterministic("twice", 2 * mu)
    with su.plate("data", 3):
        su.sample("y", dist.Normal(mu, sigma), obs=torch.tensor([1.0, 2.0, 3.0]))
    su.factor("penalty", torch.tensor(-0.25))
    return mu


def test_the_views():
    tr = P.trace(model).get_trace()
    assert list(tr) == ["mu", "sigma", "twice", "y", "penalty"]
    assert (tr.stochastic_nodes, tr.observation_nodes, tr.param_nodes) == (["mu"], ["y"], ["sigma"])
    assert (list(tr.stochastic), list(tr.observed), list(tr.params), list(tr.deterministic)) == (
        *(["mu"], ["y"], ["sigma"]),
        ["twice"],
    )
    assert len(tr) == 5
    assert "mu" in tr
    assert tr.nodes["mu"] is tr["mu"]
    assert tr.result is tr["mu"].value
    assert [tr[name]["type"] for name in tr] == ["sample", "param", "deterministic", "sample", "factor"]


def test_truth_values_and_integers_are_counted():
    def counted():
        for k in range(3):
            su.factor(f"true {k}", torch.tensor(True))
        su.factor("four", torch.tensor(4))

    assert P.trace(counted).get_trace().log_prob_sum() == 7


def test_scalar_terms_are_added_without_an_operator_each():
    def loop():
        for k in range(4):
            z = su.sample(f"z{k}", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
            su.sample(f"y{k}", dist.Normal(z, 1.0).expand([2]), obs=torch.ones(2))

    density = su.infer.LogDensity(loop)
    points = torch.ones(4).double(), torch.zeros(4).double()
    graph = capture(lambda q: (density(q),), points, gradient=False)
    assert [node.op.__name__ for node in graph.nodes].count("sum.default") == 4  # those of two numbers


def test_the_log_density_by_hand():
    tr = P.trace(P.substitute(model, data={"mu": torch.tensor(1.5)})).get_trace()
    expected = (
        torch.distributions.Normal(0.0, 2.0).log_prob(torch.tensor(1.5))
        + torch.distributions.Normal(1.5, 0.5).log_prob(torch.tensor([1.0, 2.0, 3.0])).sum()
        - 0.25
    )
    assert torch.allclose(tr.log_prob_sum(), expected)
    assert torch.allclose(tr.log_prob_sum(lambda site: site.is_observed) + tr["mu"].log_prob(), expected)
    assert {name: term.shape for name, term in tr.log_prob().items()} == {"mu": (), "y": (3,), "penalty": ()}


def test_an_empty_trace_has_log_density_zero():
    assert P.trace(lambda: 1).get_trace().log_prob_sum() == 0


def test_two_sites_of_one_name_are_refused_with_both_lines():
    def twice():
        su.sample("z", dist.Normal(0.0, 1.0))
        su.deterministic("z", torch.tensor(1.0))

    first = twice.__code__.co_firstlineno + 1
    with pytest.raises(
        DuplicateSiteError, match=rf"'z': a sample at test_trace.py:{first} and a deterministic at test_trace.py:{first + 1}"
    ):
        P.trace(twice).get_trace()


def test_a_parameter_may_be_read_again():
    def twice():
        return su.param("s", torch.tensor(1.0)) + su.param("s", torch.tensor(1.0))

    assert list(P.trace(twice).get_trace()) == ["s"]


def test_one_plate_of_two_sizes_is_refused():
    def bad():
        for size in (2, 3):
            with su.plate("p", size):
                su.sample(f"x{size}", dist.Normal(0.0, 1.0))

    with pytest.raises(PlateError, match=r"plate 'p' has size 2 and dim -1 at site 'x2'.*but size 3 and dim -1 at site 'x3'"):
        P.trace(bad).get_trace()


def test_one_plate_of_two_dims_is_refused_with_the_remedy():
    def bad():
        rows, columns = su.plate("rows", 2), su.plate("columns", 3)
        with rows:
            su.sample("a", dist.Normal(0.0, 1.0))
        with columns:
            su.sample("b", dist.Normal(0.0, 1.0))
        with rows, columns:
            su.sample("c", dist.Normal(0.0, 1.0))

    with pytest.raises(PlateError, match=r"plate 'columns' .*dim -1 at site 'b'.*dim -2 at site 'c'.*an explicit dim"):
        P.trace(bad).get_trace()


def test_the_table_shows_shapes_plates_and_lines():
    shapes = P.trace(model).get_trace().format_shapes()
    (line,) = (row for row in shapes.splitlines() if row.startswith("y "))
    row = model.__code__.co_firstlineno + 5
    assert line.split() == ["y", "observed", "(3)", "()", "(3)", "data", f"test_trace.py:{row}"]


def test_traces_compare_without_looking_into_tensors():
    one, two = P.trace(model).get_trace(), P.trace(model).get_trace()
    assert one == one
    assert one != two


def test_a_trace_can_be_pickled():
    tr = P.trace(model).get_trace()
    again = pickle.loads(pickle.dumps(tr))
    assert torch.equal(again.log_prob_sum(), tr.log_prob_sum())
    assert list(again) == list(tr)


def test_the_total_of_one_number_is_not_the_programs_own() -> None:
    own = torch.tensor(1.5)
    total = su.trace(lambda: su.factor("f", own)).get_trace().log_prob_sum()
    total += 1.0
    assert float(own) == 1.5
