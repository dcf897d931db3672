"""Names of coordinates that are written when they are asked for."""

from __future__ import annotations

import math
import pickle

import pytest

from sursum.density.coordinate_names import CoordinateNames

SHAPES = {"tau": (), "theta[0]": (3,), "none": (0, 2), "w": (2, 1, 3), "last": ()}


@pytest.mark.parametrize("shapes", [{}, {"tau": ()}, {"none": (0,)}, SHAPES])
def test_they_are_those_of_the_elements_in_order(shapes):
    names = CoordinateNames(shapes)
    written = tuple(names)
    assert len(written) == len(names) == sum(math.prod(shape) for shape in shapes.values())
    assert tuple(names[k] for k in range(len(names))) == written == names[:]
    assert names[::-2] == written[::-2]
    assert names == written == CoordinateNames(dict(shapes))
    assert hash(names) == hash(written)
    for outside in (len(names), -len(names) - 1):
        with pytest.raises(IndexError):
            names[outside]


def test_every_dimension_is_counted():
    names = CoordinateNames(SHAPES)
    assert names[:5] == ("tau", "theta[0][0]", "theta[0][1]", "theta[0][2]", "w[0, 0, 0]")
    assert names[-2:] == ("w[1, 0, 2]", "last")
    assert names.index("w[1, 0, 0]") == 7
    assert "none[0, 0]" not in names


def test_others_are_different():
    names = CoordinateNames({"w": (2, 3)})
    assert names != CoordinateNames({"w": (3, 2)})
    assert names != CoordinateNames({"v": (2, 3)})
    assert names != tuple(names)[:-1]
    assert names != list(names)
    assert CoordinateNames({"w": (2,)}) == CoordinateNames({"w[0]": (), "w[1]": ()})


def test_they_are_small_whatever_they_name():
    names = CoordinateNames({"w": (100_000, 100_000)})
    assert len(names) == 10**10
    assert names[10**10 - 1] == "w[99999, 99999]"
    assert repr(names) == "('w[0, 0]', 'w[0, 1]', …, 'w[99999, 99999]')"
    assert len(pickle.dumps(names)) < 200
    assert pickle.loads(pickle.dumps(names)) == names
