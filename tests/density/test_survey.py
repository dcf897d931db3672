"""The run that finds discrete sites, and the proof that all values at once give the terms of one."""

import torch

import sursum as su
import sursum.distributions as dist
from sursum.density.survey import Survey


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
