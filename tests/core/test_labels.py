"""What labels data, and which plate's elements it labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from sursum.core.labels import labels_by_plate, labels_of


def labels(index, values=None):
    found = labels_of((pd.Series(np.arange(len(index)) if values is None else values, index=index),), {})
    return found[0].tolist() if found else None


@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        (["a", "b"], ["a", "b"]),
        (pd.Index(["a", "b"], name="player"), ["a", "b"]),
        (pd.Index(["a", "b"], dtype="string"), ["a", "b"]),
        (pd.CategoricalIndex(["b", "a"]), ["b", "a"]),
        ([10, 20], [10, 20]),
        (pd.RangeIndex(1, 3), [1, 2]),
        ([0.5, 1.5], [0.5, 1.5]),
        # What numbers the rows says nothing.
        ([0, 1, 2], None),
        (pd.RangeIndex(4), None),
        # What does not tell the elements apart.
        (["a", "a"], None),
        ([1.0, np.nan], None),
        (["a", None], None),
        (pd.DatetimeIndex(["2026-01-01", None]), None),
        (pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]), None),
        # What no array of NumPy holds but as objects.
        (pd.PeriodIndex(["2026-01", "2026-02"], freq="M"), None),
        (pd.interval_range(0, 2), None),
        (["a", 1], None),
        ([True, False], None),
    ],
    ids=str,
)
def test_an_index(index, wanted):
    assert labels(index) == wanted


def test_times():
    days = pd.date_range("2026-03-28", periods=3, freq="D")
    (found,) = labels_of((pd.Series([1.0, 2.0, 3.0], index=days),), {})
    np.testing.assert_array_equal(found, days.to_numpy())
    # The clocks change on the 29th: local midnight is 23:00 and 22:00 of the day before in UTC.
    (found,) = labels_of((pd.Series([1.0, 2.0, 3.0], index=days.tz_localize("Europe/Berlin")),), {})
    assert [str(one)[:16] for one in found] == ["2026-03-27T23:00", "2026-03-28T23:00", "2026-03-29T22:00"]
    (found,) = labels_of((pd.Series([1.0], index=pd.to_timedelta(["90s"])),), {})
    assert found.dtype.kind == "m"


def test_where_data_are():
    one, frame = pd.Series([1.0], index=["a"]), pd.DataFrame({"x": [1.0, 2.0]}, index=["b", "c"])
    found = labels_of(([one, (frame,)], {"deep": {"er": one}}, np.ones(3), torch.ones(3), 4, "text", None), {"more": frame.x})
    assert [part.tolist() for part in found] == [["a"], ["b", "c"], ["a"], ["b", "c"]]


def test_columns_are_no_index():
    """A column that is called as an index of pandas is, and an object with an attribute of that name."""

    class Book:
        index = pd.Index(["a"])

    frame = pd.DataFrame({"index": [1.0, 2.0]})
    assert labels_of((frame, frame["index"], Book(), pd.Index(["a", "b"])), {}) == ()


def test_the_plate():
    a, b = np.array(["a", "b", "c"]), np.array([1, 2, 3])
    found = labels_by_plate([a, a.copy(), np.array(["x", "y"])], {("group", 3), ("row", 5)})
    assert list(found) == ["group"]
    assert found["group"].tolist() == ["a", "b", "c"]
    assert labels_by_plate([a, b], {("group", 3)}) == {}  # which of them?
    assert labels_by_plate([a], {("group", 3), ("side", 3)}) == {}  # labels of which?
    assert labels_by_plate([a], set()) == labels_by_plate([], {("group", 3)}) == {}
