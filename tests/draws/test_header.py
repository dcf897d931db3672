"""What stands beside draws in a file: read as what it must be, or refused."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from sursum.draws.header import describe, note_of, words, words_by_name

NOTE = {
    "latents": ["mu"],
    "coordinates": ["mu", "s"],
    "dims": {"y": ["house"], "mu": []},
    "notes": ["careful"],
    "engine": "native",
    "pareto_k": 0.3,
}


def test_a_whole_note():
    assert describe(NOTE, (4, 100, 2)) == {
        "latents": ("mu",),
        "coordinates": ("mu", "s"),
        "dims": {"y": ("house",), "mu": ()},
        "notes": ("careful",),
        "engine": "native",
        "pareto_k": 0.3,
    }


def test_what_earlier_writers_left_out():
    found = describe({key: NOTE[key] for key in ("latents", "coordinates", "dims")}, (4, 100, 2))
    assert (found["notes"], found["engine"], found["pareto_k"]) == ((), None, None)
    assert describe(NOTE | {"coordinates": []}, (4, 100, 7))["coordinates"] == ()


@pytest.mark.parametrize("missing", ["latents", "coordinates", "dims"])
def test_something_is_missing(missing):
    with pytest.raises(KeyError, match=missing):
        describe({key: value for key, value in NOTE.items() if key != missing}, (4, 100, 2))


@pytest.mark.parametrize("shape", [(4, 100, 3), (4, 100, 1), (100, 2), (1, 4, 100, 2)])
def test_names_for_other_draws(shape):
    with pytest.raises(ValueError, match="there are 2 names of coordinates for draws of shape"):
        describe(NOTE, shape)


@pytest.mark.parametrize("k", [True, "0.3", [0.3]])
def test_what_is_no_number(k):
    with pytest.raises(TypeError, match="a number was expected for Pareto k"):
        describe(NOTE | {"pareto_k": k}, (4, 100, 2))
    assert describe(NOTE | {"pareto_k": 1}, (4, 100, 2))["pareto_k"] == 1


@pytest.mark.parametrize("value", ["mu", None, 3, ["mu", 3], {"mu": 1}, [["mu"]]])
def test_what_is_no_list_of_texts(value):
    with pytest.raises(TypeError, match="a list of strings was expected, but found"):
        words(value)
    with pytest.raises(TypeError, match="expected, but found"):
        words_by_name({"y": value})


@pytest.mark.parametrize("value", [None, ["y"], "y"])
def test_what_is_no_mapping(value):
    with pytest.raises(TypeError, match="lists of strings by name were expected, but found"):
        words_by_name(value)


def test_a_list_or_a_tuple():
    assert words(["a", "b"]) == words(("a", "b")) == ("a", "b")
    assert words([]) == ()


def test_what_is_noted_is_read_again():
    fields = {"latents": ("mu",), "coordinates": ("mu", "s"), "dims": {"y": ("house",), "mu": ()}, "engine": "torch"}
    note = note_of(SimpleNamespace(**fields))
    assert json.loads(json.dumps(note)) == note
    assert describe(note, (4, 100, 2)) == fields | {"notes": (), "pareto_k": None}
