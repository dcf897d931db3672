"""Name patterns: against a definition by recursion, and which of several speaks for a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sursum.common.patterns import covers, lookup, matches, suggestion

NAMES = st.lists(st.sampled_from(["a", "b", "ab", "a[0]", ""]), min_size=1, max_size=4).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "ab", "*", "**", "a*", "*b", "a[0]", "a[*]"]), min_size=1, max_size=4).map(
    ".".join
)


def within(pattern: str, segment: str) -> bool:
    """Whether a segment is matched, where `*` is any text."""
    if not pattern:
        return not segment
    if pattern[0] == "*":
        return within(pattern[1:], segment) or (bool(segment) and within(pattern, segment[1:]))
    return bool(segment) and pattern[0] == segment[0] and within(pattern[1:], segment[1:])


def by_definition(pattern: list[str], name: list[str]) -> bool:
    """Whether segments are matched, where `**` is any number of segments that are not empty."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return by_definition(pattern[1:], name) or (bool(name and name[0]) and by_definition(pattern, name[1:]))
    return bool(name) and within(pattern[0], name[0]) and by_definition(pattern[1:], name[1:])


@given(PATTERNS, NAMES)
def test_a_pattern_matches_what_its_definition_says(pattern, name):
    assert matches(pattern, name) == (
        pattern == name or by_definition(pattern.split("."), name.split(".")) or (not name and pattern in ("**", "**.**"))
    )


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("net.**.weight", "net.weight", True),
        ("net.**.weight", "net.0.fc.weight", True),
        ("net.*.weight", "net.0.fc.weight", False),
        ("net.**", "net", True),
        ("net.**", "network", False),
        ("**.bias", "bias", True),
        ("a.b", "aXb", False),
        ("theta[1]", "theta1", False),
        ("theta[*]", "theta[12]", True),
        ("**.**", "a.b.c", True),
    ],
)
def test_examples(pattern, name, expected):
    assert matches(pattern, name) is expected


def test_an_exact_name_wins_and_then_the_first_pattern():
    table = {"net.**": 1, "net.*.weight": 2, "net.0.weight": 3, "*": 4}
    assert lookup(table, "net.0.weight") == ("net.0.weight", 3)
    assert lookup(table, "net.1.weight") == ("net.**", 1)
    assert lookup(dict(reversed(table.items())), "net.1.weight") == ("net.*.weight", 2)
    assert lookup(table, "mu") == ("*", 4)
    assert lookup(table, "other.mu") is None


@given(PATTERNS, PATTERNS, NAMES)
def test_what_covers_matches_all_that_is_covered(wide, narrow, name):
    if covers(wide, narrow):
        assert not covers(narrow, wide)
        assert not matches(narrow, name) or matches(wide, name)


def test_a_wider_pattern_covers_a_narrower_one():
    assert covers("**", "net.**")
    assert covers("net.*", "net.w")
    assert covers("net.w*", "net.weight")
    assert not covers("net.*.w", "net.w")
    assert not covers("a*", "*a")


def test_suggestions():
    assert suggestion("slop", ["sigma", "slope"]) == " Did you mean 'slope'?"
    assert suggestion("theta", ["theta1", "theta2", "mu"]) == " Did you mean 'theta2' or 'theta1'?"
    assert suggestion("x", []) == " There are none."
    assert suggestion("xyz", ["mu", "mu", "tau"]) == " There are: 'mu', 'tau'."
    assert suggestion("xyz", map(str, range(8))) == f" There are: {', '.join(repr(str(k)) for k in range(8))}."
    assert suggestion("xyz", map(str, range(9))).endswith("'7', ….")
