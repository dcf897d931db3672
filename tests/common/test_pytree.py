"""Trees: taken apart and put together again, of any depth and kind."""

from __future__ import annotations

from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils import _pytree

from sursum.common.pytree import flatten

Pair = namedtuple("Pair", ["a", "b"])
TREES = st.recursive(
    st.one_of(st.integers(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.builds(Pair, inner, inner),
        st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(TREES)
def test_apart_and_together(tree):
    leaves, shape = flatten(tree)
    again = shape.build(leaves)
    assert again == tree
    assert type(again) is type(tree)
    # torch keeps None as a leaf.
    assert leaves == [leaf for leaf in _pytree.tree_leaves(tree) if leaf is not None]


@given(TREES, TREES)
def test_shapes_are_equal_where_trees_are_alike(one, other):
    alike = lambda tree: _pytree.tree_map(lambda leaf: leaf is None, tree)
    assert (flatten(one)[1] == flatten(other)[1]) == (repr(alike(one)) == repr(alike(other)))
    assert flatten(one)[1] == flatten(_pytree.tree_map(lambda leaf: leaf, one))[1]


def test_other_leaves():
    _, shape = flatten({"x": [1, None], "y": Pair(2, (3,))})
    assert shape.build("abc") == {"x": ["a", None], "y": Pair("b", ("c",))}
    with pytest.raises(StopIteration):
        shape.build("ab")


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (1, "*"),
        (None, "None"),
        ((1,), "(*,)"),
        ((1, None), "(*, None)"),
        ([1, [2]], "[*, [*]]"),
        ({"a": 1, 2: ()}, "{'a': *, 2: ()}"),
        (Pair(1, 2), "(*, *)"),
    ],
)
def test_how_it_looks(tree, text):
    assert str(flatten(tree)[1]) == text
