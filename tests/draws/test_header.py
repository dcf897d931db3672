"""What stands beside draws in a file: read as what it must be, or refused."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from sursum.draws.header import describe, labels_by_name, note_of, words, words_by_name

NOTE = {
    "latents": ["mu"],
    "coordinates": ["mu", "s"],
    "dims": {"y": ["house"], "mu": []},
    "coords": {},
    "notes": ["careful"],
    "engine": "native",
    "pareto_k": 0.3,
}


def test_a_whole_note():
    assert describe(NOTE, (4, 100, 2)) == {
        "latents": ("mu",),
        "coordinates": ("mu", "s"),
        "dims": {"y": ("house",), "mu": ()},
        "coords": {},
        "notes": ("careful",),
        "engine": "native",
        "pareto_k": 0.3,
    }


def test_what_earlier_writers_left_out():
    found = describe({key: NOTE[key] for key in ("latents", "coordinates", "dims")}, (4, 100, 2))
    assert (found["notes"], found["engine"], found["pareto_k"], found["coords"]) == ((), None, None, {})
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


def test_what_is_no_name_of_an_engine():
    with pytest.raises(TypeError, match="the name of an engine was expected, but found 3"):
        describe(NOTE | {"engine": 3}, (4, 100, 2))


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
    fields["coords"] = {}
    note = note_of(SimpleNamespace(**fields))
    assert json.loads(json.dumps(note)) == note
    assert describe(note, (4, 100, 2)) == fields | {"notes": (), "pareto_k": None}


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["Aitkin", "Żółw", ""]),
        np.array([3, -1, 2**60]),
        np.array([0.1, 1e-300, -2.0]),
        np.array(["2026-11-30", "1969-12-31"], dtype="M8[D]"),
        np.array(["2026-11-30T12:00:00.000000001"], dtype="M8[ns]"),
        np.array([90, -1], dtype="m8[s]"),
        np.array([], dtype="<U1"),
    ],
    ids=lambda labels: labels.dtype.str,
)
def test_labels_are_read_as_they_were_noted(labels):
    subject = SimpleNamespace(latents=(), coordinates=(), dims={}, engine=None, coords={"county": labels})
    found = describe(json.loads(json.dumps(note_of(subject))), (4, 100, 0))["coords"]["county"]
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("value", [["A"], {"county": ["A"]}, {"county": {"dtype": "O", "labels": ["A"]}}])
def test_what_are_no_labels(value):
    with pytest.raises(TypeError):
        labels_by_name(value)
    with pytest.raises(ValueError, match="a list of labels was expected"):
        labels_by_name({"county": {"dtype": "<i8", "labels": [[1, 2]]}})
