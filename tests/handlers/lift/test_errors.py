"""`lift`, rule 3 and bad input: kinds of prior refused at construction, and keys that matched nothing."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.errors import DuplicateSiteError, HandlerError, PriorTypeError, UnusedPriorWarning, UnusedSiteWarning

NORMAL = dist.Normal(0.0, 1.0)


def model() -> tuple[Tensor, Tensor]:
    return su.param("scale", torch.tensor(1.0)), su.param("net.weight", torch.tensor(2.0))


def unused(program: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program()
    assert all(w.category is UnusedPriorWarning for w in caught)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("wrong", [None, 3, 1.5, "Normal", torch.tensor(1.0), [NORMAL], dist.Normal, int, object()])
def test_the_wrong_kind_of_prior_is_refused_at_construction(wrong: Any) -> None:
    with pytest.raises(TypeError, match="the prior must be a Distribution, a callable that returns one, or a mapping") as whole:
        su.lift(model, wrong)
    with pytest.raises(PriorTypeError, match="the prior for 'scale' must be a Distribution, a callable that returns one, but"):
        su.lift(model, {"scale": wrong})
    with pytest.raises(PriorTypeError):
        su.random_module("net", nn.Linear(1, 1), wrong)
    if isinstance(wrong, type):
        assert f"it is the class {wrong.__name__}" in str(whole.value)
        assert ("write Normal(…)" in str(whole.value)) == (wrong is dist.Normal)


def test_mappings_in_mappings_and_keys_that_are_no_strings() -> None:
    with pytest.raises(PriorTypeError, match="the prior for 'net' must be a Distribution"):
        su.lift(model, {"net": {"weight": NORMAL}})
    with pytest.raises(PriorTypeError, match="keys of a prior must be strings, .* one is 0"):
        su.lift(model, {0: NORMAL})


def test_no_prior_at_all() -> None:
    with pytest.raises(TypeError, match=r"lift needs `prior`: lift\(model, prior=…\) or with lift\(prior=…\)"):
        su.lift(model)


def test_a_generator_or_coroutine_is_no_program() -> None:
    def steps() -> Any:
        yield su.param("s", torch.tensor(1.0))

    async def later() -> Any:
        return su.param("s", torch.tensor(1.0))

    for program, kind in ((steps, "a generator"), (later, "a coroutine")):
        with pytest.raises(HandlerError, match=kind):
            su.lift(program, NORMAL)


def test_a_key_that_matched_nothing_warns_with_close_names() -> None:
    assert unused(su.lift(model, {"scael": NORMAL, "scale": NORMAL})) == [
        "the prior for 'scael' was not used: no parameter of that name was read. Did you mean 'scale'?"
    ]
    assert unused(su.lift(model, {"zzz": NORMAL})) == [
        "the prior for 'zzz' was not used: no parameter of that name was read. There are: 'scale', 'net.weight'."
    ]
    assert unused(su.lift(lambda: None, {"a": NORMAL}))[0].endswith("no parameter of that name was read. There are none.")


def test_a_pattern_that_matched_nothing_warns() -> None:
    assert len(unused(su.lift(model, {"decoder.**": NORMAL}))) == 1


def test_outranked_declined_or_given_a_value_inside_is_used() -> None:
    assert unused(su.lift(model, {"scale": NORMAL, "sc*": NORMAL, "net.weight": lambda init: None, "**": NORMAL})) == []
    inner = su.substitute(model, data={"scale": torch.tensor(3.0)})
    assert unused(su.lift(inner, {"scale": NORMAL})) == []


INSIDE = "an inner lift already gives this parameter a prior. To replace that prior, write reprior(…)."


def test_lifted_inside_already_is_not_used() -> None:
    outer = su.lift(su.lift(model, {"scale": NORMAL}), {"scale": NORMAL, "net.weight": NORMAL})
    assert unused(outer) == [f"the prior for 'scale' was not used: {INSIDE}"]


def test_lifted_and_reparameterised_inside_is_not_used() -> None:
    from_inside = su.reparam(su.lift(model, {"scale": NORMAL}), {"scale": su.infer.reparam.LocScaleReparam(0.0)})
    assert unused(su.lift(from_inside, {"scale": NORMAL})) == [f"the prior for 'scale' was not used: {INSIDE}"]


def test_once_for_a_handler_object() -> None:
    lifted = su.lift(model, {"scael": NORMAL})
    assert len(unused(lambda: [lifted() for _ in range(3)])) == 1
    assert len(unused(su.lift(model, {"scael": NORMAL}))) == 1
    with pytest.warns(UnusedPriorWarning, match="scael"), su.lift(prior={"scael": NORMAL}):
        model()


def test_the_warning_points_at_the_line_that_ran_the_program() -> None:
    lifted = su.lift(model, {"scael": NORMAL})
    with pytest.warns(UnusedPriorWarning) as caught:
        lifted()
    assert caught[0].filename.endswith("test_errors.py")


def test_not_while_an_exception_is_in_flight() -> None:
    def broken() -> None:
        raise KeyError("before the parameter was read")

    lifted = su.lift(broken, {"s": NORMAL})
    with pytest.raises(KeyError):
        lifted()


def test_not_where_validation_is_off() -> None:
    with su.enable_validation(False):
        assert unused(su.lift(model, {"scael": NORMAL})) == []


def test_a_key_for_what_is_frozen_says_how_to_lift_it() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net[0].requires_grad_(False)
    x = torch.ones(1, 2)
    (text,) = unused(lambda: su.lift(net, {"0.weight": NORMAL})(x))
    assert text == (
        "the prior for '0.weight' was not used: it names frozen parameters (requires_grad=False). "
        "To lift those as well, write lift(…, frozen=True)."
    )
    assert unused(lambda: su.lift(net, {"**": NORMAL})(x)) == []
    assert unused(lambda: su.lift(net, {"0.weight": NORMAL}, frozen=True)(x)) == []
    inner = su.lift(net, {"0.weight": NORMAL}, frozen=True)
    assert unused(lambda: su.lift(inner, {"0.weight": NORMAL})(x)) == [f"the prior for '0.weight' was not used: {INSIDE}"]


def test_data_for_a_name_that_is_a_parameter_there_warns() -> None:
    for verb in (su.condition, su.do):
        inside = su.lift(verb(model, data={"scale": torch.tensor(2.0)}), {"scale": NORMAL})
        with pytest.warns(UnusedSiteWarning, match=r"'scale'.* is a parameter here.*outside lift, .*or use substitute"):
            inside()
        outside = verb(su.lift(model, {"scale": NORMAL}), data={"scale": torch.tensor(2.0)})
        assert outside()[0] == 2.0


def test_one_name_for_two_networks_is_an_error() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)

    def program() -> None:
        su.module("net", first)
        su.module("net", second)

    for outer in (lambda fn: fn, su.trace):
        with pytest.raises(DuplicateSiteError, match=r"net\.weight.*different n"):
            outer(su.lift(program, NORMAL))()
    with pytest.raises(DuplicateSiteError, match="of two different networks"):
        su.trace(program)()


def test_one_name_for_a_network_and_a_parameter_is_an_error() -> None:
    def program() -> None:
        su.param("net.weight", torch.zeros(1, 1))
        su.module("net", nn.Linear(1, 1))

    with pytest.raises(DuplicateSiteError, match=re.escape("net.weight")):
        su.lift(program, NORMAL)()


def test_a_lifted_parameter_and_a_sample_site_of_one_name() -> None:
    def program() -> None:
        su.param("s", torch.tensor(1.0))
        su.sample("s", NORMAL)

    with pytest.raises(DuplicateSiteError, match="two sites are named 's'"):
        su.trace(su.lift(program, NORMAL)).get_trace()


def test_a_program_that_cannot_be_called() -> None:
    for wrong, shown in ((3, "3"), ("model", "'model'"), ({"y": 1.0}, r"\{'y': 1\.0\}")):
        message = rf"lift got {shown} as its program\. A callable was expected, a function or a module: lift\(model, …\)"
        with pytest.raises(HandlerError, match=message):
            su.lift(wrong, NORMAL)  # type: ignore[arg-type]
    with pytest.raises(HandlerError, match="condition got 3 as its program"):
        su.condition(3, data={})  # type: ignore[arg-type]


@pytest.mark.parametrize("prior", [lambda: NORMAL, lambda a, b: NORMAL, lambda value, *, shape: NORMAL])
def test_a_prior_that_cannot_be_called_so(prior: Any) -> None:
    def program() -> None:
        su.param("s", torch.tensor(1.0))

    message = (
        r"prior of parameter 's' \(test_errors\.py:\d+\) is a function with the signature \(.*\), which cannot be called: "
    )
    with pytest.raises(PriorTypeError, match=message + r".*the parameter's current value as its only positional argument"):
        su.lift(program, {"s": prior})()


def test_a_prior_of_a_parameter_without_a_value_is_called_without_one() -> None:
    with pytest.raises(PriorTypeError, match=r"It gets nothing, since the program gives the parameter no value,"):
        su.lift(lambda: su.param("s"), lambda value: NORMAL)()


def test_a_mistake_inside_a_prior_is_its_own() -> None:
    def prior(value: torch.Tensor) -> Any:
        return len(3)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match=r"object of type 'int' has no len\(\)"):
        su.lift(lambda: su.param("s", torch.tensor(1.0)), prior)()


def test_a_network_that_is_called_by_itself():
    net = torch.nn.Linear(2, 1)
    prior = {"net.**": dist.Normal(0.0, 1.0), "s": dist.HalfNormal(1.0)}

    def without(x):
        return net(x) * su.param("s", torch.tensor(1.0))

    def within(x):
        return su.module("net", net)(x) * su.param("s", torch.tensor(1.0))

    with pytest.warns(UnusedPriorWarning, match=r"'net\.\*\*' was not used.*calls it through su\.module\(name, net\)"):
        su.seed(su.lift(without, prior), 0)(torch.ones(3, 2))
    with pytest.warns(UnusedPriorWarning, match=r"'nett\.\*' was not used") as caught:
        su.seed(su.lift(within, {"nett.*": dist.Normal(0.0, 1.0)}), 0)(torch.ones(3, 2))
    assert "su.module" not in str(caught[0].message)
