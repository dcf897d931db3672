"""The run that finds discrete sites, and the proof that all values at once give the terms of one."""

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.density.survey import PROOFS, Survey, _numbers
from sursum.errors import DensityError
from sursum.infer import LogDensity


def program():
    a = su.sample("a", dist.Bernoulli(0.5))
    with su.plate("rows", 3):
        b = su.sample("b", dist.Categorical(torch.ones(4)))
        su.sample("y", dist.Normal(a + b, 1.0), obs=torch.zeros(3))
    su.scan(lambda z, _: (su.sample("z", dist.Bernoulli(0.3 + 0.4 * z)), None), torch.tensor(0.0), torch.zeros(5))
    su.sample("left", dist.Bernoulli(0.5), infer={"enumerate": None})


def test_what_a_survey_finds():
    with Survey(seed=1) as survey, su.trace() as t:
        program()
    plan = survey.plan()
    assert plan is not None
    assert plan.nesting == 1
    assert {name: tuple(shape) for name, shape in plan.sites.items()} == {"a": (), "b": (3,), "z": ()}
    assert plan.scans == (("z",),)
    assert {name: plan.supports[name].size for name in plan.sites} == {"a": 2, "b": 4, "z": 2}
    assert survey.chosen["z"].shape == (5,)
    assert torch.equal(t.trace["b"].value, survey.chosen["b"])
    assert plan.plates == {-1: "plate 'rows'"}


def test_a_program_without_discrete_sites_has_no_plan():
    with Survey() as survey:
        su.sample("x", dist.Normal(0.0, 1.0))
        su.sample("k", dist.Poisson(1.0))
    assert survey.plan() is None


@pytest.mark.parametrize("size", [1, 2, 3, 16, 500])
def test_neighbours_differ_in_one_of_the_runs_in_every_element(size):
    runs = np.array([[_numbers(seed, place, size, (4, 5)) for place in range(20)] for seed in range(PROOFS)])
    assert runs.shape == (PROOFS, 20, 4, 5)
    assert set(np.unique(runs)) <= set(range(size))
    if size == 500:  # by chance
        assert len(np.unique(runs)) > 200
        return
    for apart in range(1, min(size**PROOFS, 20)):
        assert (runs[:, apart:] != runs[:, :-apart]).any(0).all()


@pytest.mark.parametrize("before", range(8))
def test_a_loop_that_looks_further_back_than_it_says_is_found_wherever_it_stands(before):
    """Of three steps the last takes the first one's values for its own: its term is right where both are equal."""

    def program():
        su.sample("x", dist.Normal(0.0, 1.0))
        for k in range(before):
            su.sample(f"b{k}", dist.Bernoulli(0.5))
        one, two = torch.tensor(0.0), torch.tensor(0.0)
        for k in su.markov(range(3), history=1):
            one, two = su.sample(f"z{k}", dist.Bernoulli(0.2 + 0.3 * one + 0.1 * two)), one

    with pytest.raises(DensityError, match="'z2' .* is not the same"):
        LogDensity(program)
