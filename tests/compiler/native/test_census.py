"""The native engine lowers nearly everything that densities are made of."""

from __future__ import annotations

from tests.compiler.native.census import count, programs


def test_nearly_every_operator_is_lowered() -> None:
    census = count()
    assert len(programs()) > 150
    assert len(census.found) > 150
    assert census.share >= 0.999
    assert set(census.missing) == {
        "aten._trilinear.default",
        "aten._embedding_bag.default",
        "aten._embedding_bag_backward.default",
    }
