"""`block` hides exactly what it is told to."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sursum as su
import sursum.distributions as dist
from sursum.errors import OptionError

P = su.poutine
KINDS = {"z": "sample", "y": "observe", "s": "param", "d": "deterministic", "f": "factor"}


def model():
    s = su.param("s", torch.tensor(1.0))
    z = su.sample("z", dist.Normal(0.0, 1.0))
    su.deterministic("d", z)
    su.factor("f", torch.tensor(-1.0))
    su.sample("y", dist.Normal(z, s), obs=torch.tensor(0.5))


def shown(**settings):
    return set(P.trace(P.block(model, **settings)).get_trace())


names = st.sets(st.sampled_from(sorted(KINDS)))
kinds = st.sets(st.sampled_from(sorted(KINDS.values())))


@settings(max_examples=40, deadline=None)
@given(names, kinds)
def test_hiding_hides_exactly_these(hide, types):
    expected = {name for name, kind in KINDS.items() if name not in hide and kind not in types}
    assert shown(hide=hide, hide_types=types) == expected
    assert shown(hide_fn=lambda site: site.name in hide, hide_types=types) == expected


@settings(max_examples=40, deadline=None)
@given(names, kinds)
def test_exposing_shows_exactly_these(expose, types):
    expected = {name for name, kind in KINDS.items() if name in expose or kind in types}
    assert shown(expose=expose, expose_types=types) == expected
    assert shown(expose_fn=lambda site: site.name in expose, expose_types=types) == expected


@settings(max_examples=25, deadline=None)
@given(names, names)
def test_hiding_wins_over_exposing(hide, expose):
    assert shown(hide=hide, expose=expose) == expose - hide


@pytest.mark.parametrize("settings", [{"hide_fn": bool, "expose": ["z"]}, {"expose_fn": bool, "hide_types": ["param"]}])
def test_a_function_and_names_of_the_opposite_are_not_mixed(settings):
    with pytest.raises(OptionError, match="is not clear"):
        shown(**settings)


def test_without_arguments_everything_is_hidden():
    assert shown() == set()
    assert shown(hide=[]) == set(KINDS)
    assert shown(expose=[]) == set()


def test_a_predicate_may_read_messages_like_mappings():
    assert shown(hide_fn=lambda msg: msg["is_observed"]) == {"z", "s", "d"}
    assert shown(hide_fn=lambda msg: msg["type"] == "param") == set(KINDS) - {"s"}


def test_a_hidden_site_still_runs():
    tr = P.trace(P.block(lambda: su.param("s", torch.tensor(2.0)) + 1)).get_trace()
    assert tr.result == 3


def test_handlers_inside_still_see_hidden_sites():
    blocked = P.block(P.condition(model, data={"z": torch.tensor(3.0)}), hide=["z"])
    tr = P.trace(blocked).get_trace()
    assert "z" not in tr
    assert tr["d"].value == 3
    assert torch.allclose(tr.log_prob_sum(), torch.distributions.Normal(3.0, 1.0).log_prob(torch.tensor(0.5)) - 1)


def test_a_string_is_no_collection_of_names():
    with pytest.raises(TypeError, match=r"not the string 'sigma': write hide=\['sigma'\]"):
        P.block(model, hide="sigma")


def test_unknown_types_are_refused():
    with pytest.raises(ValueError, match=r"block knows the types .*, not \['latent'\]"):
        P.block(model, hide_types=["latent"])
