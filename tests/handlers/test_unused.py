"""Names and patterns that do nothing are said, once, and those that do something in some execution are not."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.common.patterns import covers
from sursum.infer.reparam import LocScaleReparam

NORMAL = dist.Normal(0.0, 1.0)


def model(extra: bool = True) -> None:
    su.sample("theta", dist.Normal(5.0, 2.0))
    su.param("net.0.weight", torch.zeros(2))
    su.param("net.2.weight", torch.zeros(2))
    if extra:
        su.sample("extra", dist.Normal(0.0, 1.0))


def said(program: Any, *runs: tuple[Any, ...]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for args in runs or ((),):
            program(*args)
    return [str(one.message) for one in caught]


MISSPELT: dict[str, Any] = {
    "reparam": lambda name: su.reparam(model, {name: LocScaleReparam(0.0)}),
    "block, hide": lambda name: su.block(model, hide=[name]),
    "block, expose": lambda name: su.block(model, expose=[name]),
    "reprior": lambda name: su.reprior(model, {name: NORMAL}),
    "condition": lambda name: su.condition(model, data={name: torch.tensor(1.0)}),
    "substitute": lambda name: su.substitute(model, data={name: torch.tensor(1.0)}),
    "do": lambda name: su.do(model, data={name: torch.tensor(1.0)}),
}


@pytest.mark.parametrize("make", MISSPELT.values(), ids=MISSPELT)
def test_a_misspelt_name_is_said_once_with_what_it_may_have_meant(make: Any) -> None:
    (text,) = said(make("thetta"), (), ())
    assert "'thetta'" in text
    assert "Did you mean 'theta'" in text
    assert said(make("theta")) == []


@pytest.mark.parametrize("make", MISSPELT.values(), ids=MISSPELT)
def test_nothing_is_said_of_an_execution_that_did_not_end(make: Any) -> None:
    def fails() -> None:
        raise KeyError("mine")

    handler = make("thetta").around(fails)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyError, match="mine"):
            handler()


@pytest.mark.parametrize("verb", MISSPELT)
def test_a_name_that_some_executions_have_is_used(verb: str) -> None:
    assert said(MISSPELT[verb]("extra"), (True,), (False,)) == []


@pytest.mark.parametrize("verb", ["condition", "substitute", "do"])
def test_values_are_given_to_names_and_not_to_patterns(verb: str) -> None:
    (text,) = said(MISSPELT[verb]("th*"))
    assert "the value for 'th*' was not used: no site of that name was reached" in text


def test_a_collection_of_names_that_is_a_trace_may_know_more() -> None:
    with su.seed(rng_seed=0):
        recorded = su.trace(model).get_trace()
    assert said(su.block(model, hide=recorded), (False,)) == []
    assert said(su.block(model, hide_types=["factor"])) == []
    assert said(su.block(model, expose=[])) == []


def test_a_reparameteriser_for_what_is_observed_is_no_mistake() -> None:
    observed = su.condition(model, data={"theta": torch.tensor(1.0)})
    assert said(su.reparam(observed, {"th*": LocScaleReparam(0.0)})) == []


@pytest.mark.parametrize("verb", ["lift", "reprior", "reparam"])
def test_a_narrow_pattern_behind_a_broad_one_is_said(verb: str) -> None:
    names = {"lift": ("net.2.*", "net.0.*"), "reprior": ("th*", "e*"), "reparam": ("th*", "e*")}[verb]
    value = LocScaleReparam(0.0) if verb == "reparam" else NORMAL
    make = getattr(su, verb)
    (text,) = said(make(model, {"**": value, names[0]: value}))
    assert f"{names[0]!r} was not used: '**', which comes before it, takes everything that it matches." in text
    assert said(make(model, {names[0]: value, "**": value})) == []
    assert said(make(model, {names[0]: value, names[1]: value, "**": value})) == []  # a fallback that was not needed


def test_an_exact_name_may_stand_behind_a_pattern() -> None:
    assert said(su.lift(model, {"net.**": NORMAL, "net.2.weight": NORMAL})) == []
    assert said(su.lift(model, {"net.0.weight": NORMAL, "net.2.weight": NORMAL, "net.*.weight": NORMAL})) == []


def test_which_pattern_is_broader() -> None:
    pairs = [("**", "*"), ("net.**", "net.*.weight"), ("*", "a"), ("a*", "ab"), ("**.weight", "net.*.weight")]
    assert [(covers(a, b), covers(b, a)) for a, b in pairs] == [(True, False)] * len(pairs)
    assert not covers("*.weight", "net.*")
    assert not covers("net.*", "*.weight")


@pytest.mark.parametrize("outer", [{"net.2.*": NORMAL}, {"net.0.weight": NORMAL}, NORMAL])
def test_a_prior_outside_of_one_that_answers_is_said(outer: Any) -> None:
    (text,) = said(su.lift(su.lift(model, {"net.**": NORMAL}), outer), (), ())
    assert "was not used: an inner lift already gives this parameter a prior" in text
    assert "write reprior(" in text


def test_a_prior_outside_that_has_something_left_is_used() -> None:
    some = su.lift(model, {"net.2.*": NORMAL})
    assert said(su.lift(some, NORMAL)) == []
    assert said(su.lift(some, {"net.**": NORMAL})) == []
    assert said(su.lift(su.lift(model, lambda init: None), {"net.**": NORMAL})) == []
